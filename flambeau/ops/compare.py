"""Comparison, logic, bits, classification of values, and `where`."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core.limits import finfo
from flambeau.ir import expr as E
from flambeau.ops.record import COMPOSITE, POINTWISE, hooks, op

COMPARISONS = {
    "eq": ("==", (), lambda a, b: a == b), "ne": ("!=", ("not_equal",), lambda a, b: a != b),
    "lt": ("<", ("less",), lambda a, b: a < b), "le": ("<=", ("less_equal",), lambda a, b: a <= b),
    "gt": (">", ("greater",), lambda a, b: a > b), "ge": (">=", ("greater_equal",), lambda a, b: a >= b),
}  # fmt: skip
LOGIC = {
    "logical_and": ("both are not zero", lambda a, b: (a != 0) & (b != 0)),
    "logical_or": ("at least one is not zero", lambda a, b: (a != 0) | (b != 0)),
    "logical_xor": ("exactly one is not zero", lambda a, b: (a != 0) ^ (b != 0)),
}
BITS = {
    "bitwise_and": ("and", lambda a, b: a & b), "bitwise_or": ("or", lambda a, b: a | b),
    "bitwise_xor": ("exclusive or", lambda a, b: a ^ b),
    "bitwise_left_shift": ("shift to the left", lambda a, b: a << b),
    "bitwise_right_shift": ("shift to the right", lambda a, b: a >> b),
}  # fmt: skip


def _two(name: str, doc: str, body, **options):
    """Register a binary op given by a lambda."""

    def fn(input, other):
        return body(input, other)

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"{doc}\n\n    Shapes:   broadcast\n    Source:   torch.{name}\n    "
    return op(POINTWISE, **options)(fn)


for _name, (_sign, _aliases, _body) in COMPARISONS.items():
    globals()[_name] = _two(_name, f"True where input {_sign} other.", _body, aliases=_aliases)
for _name, (_doc, _body) in LOGIC.items():
    globals()[_name] = _two(_name, f"True where {_doc}.", _body)
for _name, (_doc, _body) in BITS.items():
    globals()[_name] = _two(_name, f"Bitwise {_doc} of integers or booleans.", _body, dtypes="biu")


@op(POINTWISE)
def logical_not(input):
    """True where input is zero.

    Source:   torch.logical_not
    """
    return input == 0


@op(POINTWISE, dtypes="biu")
def bitwise_not(input):
    """Every bit flipped (booleans: not).

    Source:   torch.bitwise_not
    """
    return ~input


@op(POINTWISE, inplace=False)
def isnan(input):
    """True where input is not a number.

    Source:   torch.isnan
    """
    return E.isnan(input)


@op(POINTWISE, inplace=False)
def isinf(input):
    """True where input is plus or minus infinity.

    Source:   torch.isinf
    """
    return E.isinf(input)


@op(POINTWISE, inplace=False)
def isfinite(input):
    """True where input is neither infinite nor NaN.

    Source:   torch.isfinite
    """
    return ~(E.isinf(input) | E.isnan(input))


@op(POINTWISE, inplace=False)
def isposinf(input):
    """True where input is plus infinity.

    Source:   torch.isposinf
    """
    return input == math.inf if input.dtype.is_floating_point else E.const(False, dt.bool)


@op(POINTWISE, inplace=False)
def isneginf(input):
    """True where input is minus infinity.

    Source:   torch.isneginf
    """
    return input == -math.inf if input.dtype.is_floating_point else E.const(False, dt.bool)


@op(POINTWISE, inplace=False)
def signbit(input):
    """True where the sign bit is set (-0.0 included).

    Source:   torch.signbit
    """
    return E.signbit(input)


@op(POINTWISE, inplace=False)
def isreal(input):
    """True where the imaginary part is zero.

    Source:   torch.isreal
    """
    return input.im == 0 if isinstance(input, E.Complex) else E.const(True, dt.bool)


@op(POINTWISE, weak=("nan", "posinf", "neginf"), function=False, method=False, node="NanToNumBackward0")
def replaced(input, nan, posinf, neginf):
    """NaN and the infinities replaced; see `nan_to_num`."""
    if isinstance(input, E.Complex):
        return E.Complex(*(replaced.record.fn(part, nan, posinf, neginf) for part in (input.re, input.im)))
    x = E.where(E.isnan(input), E.wrap(nan, input.dtype), input)
    x = E.where(input == math.inf, E.wrap(posinf, input.dtype), x)
    return E.where(input == -math.inf, E.wrap(neginf, input.dtype), x)


@op(COMPOSITE, inplace=True)
def nan_to_num(input, nan=0.0, posinf=None, neginf=None):
    """NaN replaced by `nan`, infinities by `posinf`, `neginf` (default: the largest finite values of the dtype).

    Source:   torch.nan_to_num
    """
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        return input.clone()
    largest = finfo(input.dtype).max
    return replaced(input, 0.0 if nan is None else nan, largest if posinf is None else posinf, -largest if neginf is None else neginf)


def zero_unless_finite(g, input):
    """The gradient passes where input was finite."""
    bad = (input != input) | (input == math.inf) | (input == -math.inf)
    return E.where(bad, g * 0, g) if isinstance(g, E.Expr) else where(bad, g * 0, g)


replaced.derivative(input=zero_unless_finite)


def where(condition, input=None, other=None, *, out=None):
    """input where condition is true, else other; with one argument, the indices of true elements.

    Shapes:   broadcast
    Dtypes:   promotion of input and other; condition must be bool (uint8 is deprecated)
    Source:   torch.where
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if isinstance(condition, E.Expr):
        return E.where(condition, input, other)
    if not isinstance(condition, hooks.Tensor):
        raise TypeError(f"where(): argument 'condition' (position 1) must be Tensor, not {type(condition).__name__}")
    if condition._dtype is not dt.bool:
        if condition._dtype is not dt.uint8:
            raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition._dtype}")
        condition = condition != 0
    kwargs = {} if out is None else {"out": out}
    return select_by(input, other, condition, **kwargs)


@op(POINTWISE, function=False, method=False, node="WhereBackward0", weak=("condition",))
def select_by(input, other, condition):
    """input where condition, else other; the condition is loaded as bool and not promoted."""
    return E.where(condition, input, other)


def _pass(g, keep):
    return E.where(keep, g, g * 0) if isinstance(g, (E.Expr, E.Complex)) else select_by(g, g * 0, keep)


select_by.derivative(
    input=lambda g, condition: _pass(g, condition),
    other=lambda g, condition: _pass(g, ~condition),
)


@op(COMPOSITE)
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """|input - other| <= atol + rtol * |other|, elementwise.

    Source:   torch.isclose
    """
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype} did not match {other.dtype}")
    close = input == other
    if equal_nan and (input.dtype.is_floating_point or input.dtype.is_complex):
        close = close | (isnan(input) & isnan(other))
    if rtol == 0 and atol == 0:
        return close
    if input.dtype.kind in "biu":
        x, y = input.to(dt.float64), other.to(dt.float64)
    else:
        x, y = input, other
    allowed = atol + (rtol * y).abs()
    actual = (x - y).abs()
    return close | (isfinite(actual) & (actual <= allowed))


@op(COMPOSITE)
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """True if every element is close (see `isclose`).

    Source:   torch.allclose
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all().item())


@op(COMPOSITE)
def equal(input, other):
    """True if both have the same shape and elements.

    Source:   torch.equal
    """
    if input._shape != other._shape:
        return False
    return input._numel == 0 or bool((input == other).all().item())




def where_method(self, condition, other):
    """self where condition is true, other elsewhere.

    Source:   torch.Tensor.where
    """
    return where(condition, self, other)


METHODS = {"where": where_method}
__all__ = ["where"]
