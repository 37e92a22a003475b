"""Arithmetic: add, sub, mul, div and their like. Each body is the scalar expression of the op."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ops.record import COMPOSITE, POINTWISE, hooks, op
from flambeau.ops.rounding import trunc


def scaled(x, alpha):
    """x * alpha, free when alpha is the number 1."""
    return x if not isinstance(alpha, (E.Expr, E.Complex)) and alpha == 1 else x * alpha


@op(POINTWISE, literal={"alpha": {1}})
def add(input, other, *, alpha=1):
    """input + alpha * other.

    Shapes:   broadcast
    Source:   torch.add
    """
    return input + scaled(other, alpha)


add.derivative(
    input=lambda g: g,
    other=lambda g, alpha: scaled(g, alpha),
)


def no_booleans(dtypes: list) -> None:
    """Subtraction's rule, as given: before promotion."""
    words = "Subtraction, the `-` operator, with {} not supported. "
    if all(d is dt.bool for d in dtypes):
        raise RuntimeError(words.format("two bool tensors is") + "Use the `^` or `logical_xor()` operator instead.")
    if dt.bool in dtypes:
        raise RuntimeError(
            words.format("a bool tensor is") + "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


@op(POINTWISE, literal={"alpha": {1}}, check=no_booleans, aliases=("subtract",))
def sub(input, other, *, alpha=1):
    """input - alpha * other.

    Shapes:   broadcast
    Errors:   RuntimeError for booleans (use logical_xor or ^)
    Source:   torch.sub
    """
    return input - scaled(other, alpha)


sub.derivative(
    input=lambda g: g,
    other=lambda g, alpha: -scaled(g, alpha),
)


@op(POINTWISE, literal={"alpha": {1}}, check=no_booleans)
def rsub(input, other, *, alpha=1):
    """other - alpha * input.

    Source:   torch.rsub
    """
    return other - scaled(input, alpha)


rsub.derivative(
    input=lambda g, alpha: -scaled(g, alpha),
    other=lambda g: g,
)


@op(POINTWISE, aliases=("multiply",))
def mul(input, other):
    """input * other.

    Shapes:   broadcast
    Source:   torch.mul
    """
    return input * other


def conjugate(x):
    """The conjugate of complex tensors, expressions and numbers; real ones as they are."""
    if isinstance(x, (E.Expr, float, int)):
        return x
    return x.conjugate() if isinstance(x, complex) else x.conj()


mul.derivative(input=lambda g, other: g * conjugate(other), other=lambda g, input: g * conjugate(input))


@op(POINTWISE, aliases=("negative",))
def neg(input):
    """-input.

    Source:   torch.neg
    """
    if isinstance(input, E.Expr) and input.dtype is dt.bool:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the "
            "`~` or `logical_not()` operator instead."
        )
    return -input


neg.derivative(input=lambda g: -g)


def divide_body(x, y, rounding_mode):
    """x / y, rounded as asked; integers divide truly unless a rounding mode is given."""
    if rounding_mode is None:
        return x / y
    if rounding_mode == "floor":
        return E.floordiv(x, y)
    if rounding_mode == "trunc":
        return E.trunc(x / y) if x.dtype.is_floating_point else E.node("div", (x, y), x.dtype)
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


@op(POINTWISE, promote="float", node="DivBackward0")
def true_divide(input, other):
    """input / other; integers become the default float dtype.

    Source:   torch.true_divide
    """
    return input / other


true_divide.derivative(
    input=lambda g, other: g / conjugate(other),
    other=lambda g, input, other: -g * conjugate(input / (other * other)),
)


@op(POINTWISE, function=False, method=False, node="DivBackward1")
def rounded_divide(input, other, *, rounding_mode):
    """input / other rounded to an integer ("floor" or "trunc") in the promoted dtype; see `div`."""
    return divide_body(input, other, rounding_mode)


rounded_divide.derivative(input=lambda g: g * 0, other=lambda g, other: g * other * 0)


def check_integer_divisor(name: str, input, other) -> None:
    """Integer division by zero has no value: PyTorch's RuntimeError("ZeroDivisionError")."""
    for t in (input, other):
        d = getattr(t, "dtype", None)
        if d is not None and d.kind in "fc" or isinstance(t, float):
            return
    zero = bool((other == 0).any().item()) if isinstance(other, hooks.Tensor) else other == 0
    empty = isinstance(input, hooks.Tensor) and input._numel == 0
    if zero and not empty:
        raise RuntimeError("ZeroDivisionError")


@op(COMPOSITE, aliases=("divide",), inplace=True)
def div(input, other, *, rounding_mode=None):
    """input / other; rounding_mode None (true division), "trunc" or "floor".

    Shapes:   broadcast
    Dtypes:   true division of integers gives the default float dtype
    Errors:   RuntimeError("ZeroDivisionError") for integer division by zero with a rounding mode
    Source:   torch.div
    """
    if rounding_mode is None:
        return true_divide(input, other)
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'"
        )
    check_integer_divisor("div", input, other)
    return rounded_divide(input, other, rounding_mode=rounding_mode)


@op(COMPOSITE, inplace=True)
def floor_divide(input, other):
    """floor(input / other).

    Source:   torch.floor_divide
    """
    return div(input, other, rounding_mode="floor")


@op(POINTWISE, function=False, method=False, node="RemainderBackward0")
def python_modulus(input, other):
    """input modulo other with the divisor's sign; see `remainder`."""
    return E.mod(input, other)


python_modulus.derivative(
    input=lambda g: g, other=lambda g, input, other: -g * floored(input, other)
)


@op(POINTWISE, function=False, method=False, node="FmodBackward0")
def c_modulus(input, other):
    """input modulo other with the dividend's sign; see `fmod`."""
    return E.fmod(input, other)


c_modulus.derivative(
    input=lambda g: g, other=lambda g, input, other: -g * trunc_of(input / other)
)


def floored(x, y):
    """x // y of tensors or expressions: not floor(x / y), whose quotient may round up to a whole number."""
    return E.floordiv(x, y) if isinstance(x, E.Expr) else rounded_divide(x, y, rounding_mode="floor")


def trunc_of(x):
    """trunc of a tensor or an expression."""
    return trunc(x)


@op(COMPOSITE, inplace=True)
def remainder(input, other):
    """input - other * floor(input / other): the sign is the divisor's (Python's %).

    Source:   torch.remainder
    """
    check_integer_divisor("remainder", input, other)
    return python_modulus(input, other)


@op(COMPOSITE, inplace=True)
def fmod(input, other):
    """input - other * trunc(input / other): the sign is the dividend's (C's fmod).

    Source:   torch.fmod
    """
    check_integer_divisor("fmod", input, other)
    return c_modulus(input, other)


POWERS = {2, 3, 0.5, -0.5, -1, -2, 1, 0, 2.0, 3.0, -1.0, -2.0, 1.0, 0.0}


@op(POINTWISE, literal={"exponent": POWERS}, function=False, method=False, node="PowBackward0")
def power(input, exponent):
    """input ** exponent; see `pow`."""
    return E.power(input, exponent)


def power_input_grad(g, input, exponent):
    """g * exponent * input ** (exponent - 1), and 0 where exponent is 0."""
    if isinstance(exponent, (int, float)):
        if exponent == 0:
            return g * 0
        if exponent == 1:
            return g
        return g * conjugate(exponent * power(input, exponent - 1))
    return g * conjugate(where_of(exponent == 0, 0.0, exponent * power(input, exponent - 1)))


def power_exponent_grad(g, input, exponent, result):
    """g * result * log(input), and 0 where input is 0 and exponent is not negative."""
    return g * where_of((input == 0) & (exponent >= 0), 0.0, result * log_of(input))


def log_of(x):
    """log on tensors, expressions or numbers (of a base that is no tensor)."""
    from flambeau.ops.unary import log

    if isinstance(x, (int, float)):
        return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan
    return log(x)


def where_of(cond, a, b):
    """where on tensors or expressions."""
    if isinstance(cond, E.Expr):
        return E.where(cond, a, b)
    from flambeau.ops.compare import where

    return where(cond, a, b)


power.derivative(eager=True, input=power_input_grad, exponent=power_exponent_grad)


@op(COMPOSITE, method=True, inplace=True)
def pow(input, exponent):
    """input ** exponent, elementwise; either may be a number.

    Errors:   RuntimeError for integers to negative integer powers
    Source:   torch.pow
    """
    d = getattr(input, "dtype", None)
    if isinstance(exponent, int) and exponent < 0 and d is not None and d.kind in "iu":
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    if d is dt.bool and isinstance(exponent, (int, float)) and not isinstance(exponent, bool):
        input = input.to(dt.int64)  # a number of a higher kind decides, though the kernel is made for its value
    return power(input, exponent)


@op(COMPOSITE, inplace=True)
def float_power(input, exponent):
    """input ** exponent in float64 (complex128 for complex operands).

    Source:   torch.float_power
    """
    def widen(x):
        if isinstance(x, hooks.Tensor):
            return x.to(dt.complex128 if x.dtype.is_complex else dt.float64)
        return x if isinstance(x, complex) else float(x)

    return pow(widen(input), widen(exponent))


@op(POINTWISE, aliases=("absolute",))
def abs(input):  # noqa: A001
    """|input|.

    Source:   torch.abs
    """
    return E.Expr.__abs__(input) if isinstance(input, E.Expr) else input.__abs__()


abs.derivative(eager=True, input=lambda g, input: g * sgn(input))


@op(POINTWISE)
def sign(input):
    """-1, 0 or 1 by the sign of input; 0 for NaN, as in PyTorch.

    Source:   torch.sign
    """
    if input.dtype.kind in "bu":
        return E.where(input != 0, E.const(1, input.dtype), E.const(0, input.dtype))
    zero = E.const(0, input.dtype)
    return E.where(input > 0, E.const(1, input.dtype), E.where(input < 0, E.const(-1, input.dtype), zero))


sign.derivative(input=lambda g: g * 0)


@op(POINTWISE, function=False, method=False, node="ConjBackward0")
def conj_kernel(input):
    """The complex conjugate; see `conj`."""
    return input.conj() if isinstance(input, E.Complex) else input


conj_kernel.derivative(input=lambda g: conj_kernel(g))


@op(COMPOSITE, aliases=("conj_physical",), inplace=True)
def conj(input):
    """The complex conjugate (a copy); real tensors as they are.

    Source:   torch.conj
    """
    return conj_kernel(input) if input._dtype.is_complex else input


@op(POINTWISE)
def sgn(input):
    """sign for complex numbers: input / |input|, and 0 for 0.

    Source:   torch.sgn
    """
    if isinstance(input, E.Complex):
        r = input.__abs__()
        zero = E.const(0, r.dtype)
        return E.where(r == 0, E.Complex(zero, zero), E.Complex(input.re / r, input.im / r))
    return sign.record.fn(input)


sgn.derivative(eager=True, input=lambda g, input, result: sgn_grad(g, input, result))


def sgn_grad(g, input, result):
    """0 for real input; the tangential part of g for complex."""
    if not input.dtype.is_complex:
        return g * 0
    radial = (g * result.conj()).real * result
    return where_of(input == 0, g * 0, (g - radial) / abs(input))


@op(POINTWISE, promote="float")
def reciprocal(input):
    """1 / input.

    Source:   torch.reciprocal
    """
    return 1 / input


reciprocal.derivative(input=lambda g, result: -g * conjugate(result * result))


@op(POINTWISE, node="PowBackward0", promote="number")
def square(input):
    """input ** 2.

    Source:   torch.square
    """
    return input * input


square.derivative(input=lambda g, input: g * (input * 2))
