"""Arithmetic: add, sub, mul, div and their like. Each body is the scalar expression of the op."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ops.record import COMPOSITE, POINTWISE, hooks, op


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


@op(POINTWISE, literal={"alpha": {1}})
def sub(input, other, *, alpha=1):
    """input - alpha * other.

    Shapes:   broadcast
    Errors:   RuntimeError for booleans (use logical_xor or ^)
    Source:   torch.sub
    """
    if is_bool(input, other):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    return input - scaled(other, alpha)


def is_bool(*values) -> bool:
    """True if some operand is a boolean expression (and so all are, after promotion)."""
    return any(isinstance(v, E.Expr) and v.dtype is dt.bool for v in values)


sub.derivative(
    input=lambda g: g,
    other=lambda g, alpha: -scaled(g, alpha),
)


@op(POINTWISE, literal={"alpha": {1}})
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


@op(POINTWISE)
def neg(input):
    """-input.

    Source:   torch.neg
    """
    if is_bool(input):
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


@op(COMPOSITE, aliases=("conj_physical",))
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


reciprocal.derivative(input=lambda g, result: -g * result * result)


@op(POINTWISE, node="PowBackward0", promote="number")
def square(input):
    """input ** 2.

    Source:   torch.square
    """
    return input * input


square.derivative(input=lambda g, input: g * (input * 2))


def _rounding(name: str, function, doc: str):
    """floor, ceil, trunc, round: identity on integers, zero derivative."""

    def body(input):
        return function(input)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{doc}\n\n    Source:   torch.{name}\n    "
    made = op(POINTWISE, aliases=("fix",) if name == "trunc" else ())(body)
    made.derivative(input=lambda g: g * 0)
    return made


floor = _rounding("floor", E.floor, "The largest integer not above input.")
ceil = _rounding("ceil", E.ceil, "The smallest integer not below input.")
trunc = _rounding("trunc", E.trunc, "input without its fraction.")


@op(POINTWISE)
def round(input, *, decimals=0):  # noqa: A001
    """input rounded to the nearest integer (ties to even), or to `decimals` decimal places.

    Source:   torch.round
    """
    if isinstance(decimals, int) and decimals == 0:
        return E.rint(input)
    scale = E.power(E.const(10.0, input.dtype), E.cast(abs_number(decimals), input.dtype))
    return E.where(decimals >= 0, E.rint(input * scale) / scale, E.rint(input / scale) * scale)


def abs_number(x):
    return x.__abs__()


round.derivative(input=lambda g: g * 0)


@op(POINTWISE)
def frac(input):
    """input - trunc(input).

    Source:   torch.frac
    """
    return input - E.trunc(input)


frac.derivative(input=lambda g: g)


@op(POINTWISE)
def positive(input):
    """input.

    Source:   torch.positive
    """
    return input


positive.derivative(input=lambda g: g)


@op(POINTWISE, weak=("value",))
def addcmul(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 * tensor2.

    Source:   torch.addcmul
    """
    return input + value * tensor1 * tensor2


addcmul.derivative(
    input=lambda g: g,
    tensor1=lambda g, tensor2, value: g * (tensor2 * value),
    tensor2=lambda g, tensor1, value: g * (tensor1 * value),
)


@op(POINTWISE, weak=("value",))
def addcdiv(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 / tensor2.

    Source:   torch.addcdiv
    """
    return input + value * (tensor1 / tensor2)


addcdiv.derivative(
    input=lambda g: g,
    tensor1=lambda g, tensor2, value: g * (value / tensor2),
    tensor2=lambda g, tensor1, tensor2, value: -g * value * tensor1 / (tensor2 * tensor2),
)


@op(POINTWISE)
def lerp(input, end, weight):
    """input + weight * (end - input), from the nearer end.

    Source:   torch.lerp
    """
    near = abs_number(weight) < 0.5
    return E.where(near, input + weight * (end - input), end - (end - input) * (1 - weight))


lerp.derivative(
    input=lambda g, weight: g * (1 - weight),
    end=lambda g, weight: g * weight,
    weight=lambda g, input, end: g * (end - input),
)


@op(POINTWISE)
def maximum(input, other):
    """The larger of two, NaN if either is.

    Source:   torch.maximum
    """
    return E.maximum(input, other)


@op(POINTWISE)
def minimum(input, other):
    """The smaller of two, NaN if either is.

    Source:   torch.minimum
    """
    return E.minimum(input, other)


def share(g, mine, other, worse):
    """0 where mine is worse, half of g at ties, else g (so beside a NaN, both get all of it)."""
    return where_of(worse, g * 0, where_of(mine == other, g * 0.5, g))


maximum.derivative(
    input=lambda g, input, other: share(g, input, other, input < other),
    other=lambda g, input, other: share(g, other, input, other < input),
)
minimum.derivative(
    input=lambda g, input, other: share(g, input, other, input > other),
    other=lambda g, input, other: share(g, other, input, other > input),
)


@op(POINTWISE)
def fmax(input, other):
    """The larger of two; a NaN loses against a number.

    Source:   torch.fmax
    """
    return E.where(E.isnan(other) | (input >= other), input, other)


@op(POINTWISE)
def fmin(input, other):
    """The smaller of two; a NaN loses against a number.

    Source:   torch.fmin
    """
    return E.where(E.isnan(other) | (input <= other), input, other)


def is_nan(x):
    """isnan on tensors or expressions."""
    return x != x


fmax.derivative(
    input=lambda g, input, other: where_of((input >= other) | is_nan(other), g, g * 0),
    other=lambda g, input, other: where_of((input >= other) | is_nan(other), g * 0, g),
)
fmin.derivative(
    input=lambda g, input, other: where_of((input <= other) | is_nan(other), g, g * 0),
    other=lambda g, input, other: where_of((input <= other) | is_nan(other), g * 0, g),
)


@op(POINTWISE, aliases=("clip",))
def clamp(input, min=None, max=None):  # noqa: A002
    """min(max(input, min), max); either bound may be missing, a number or a tensor.

    Errors:   RuntimeError if both bounds are None
    Source:   torch.clamp
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    x = input if min is None else E.maximum(input, min)
    return x if max is None else E.minimum(x, max)


def clamp_grad(g, input, min, max):  # noqa: A002
    """g inside the bounds (edges included), 0 outside."""
    if min is not None and max is not None:
        return where_of((input >= min) & (input <= max), g, g * 0)
    return where_of(input >= min if min is not None else input <= max, g, g * 0)


clamp.derivative(
    input=clamp_grad,
    min=lambda g, input, min, max: where_of(
        (input < min) if max is None else (input < min) & (min <= max), g, g * 0),
    max=lambda g, input, min, max: where_of(
        (input > max) if min is None else (input > max) | (min > max), g, g * 0),
)  # fmt: skip


@op(COMPOSITE, inplace=True)
def clamp_min(input, min):  # noqa: A002
    """max(input, min).

    Source:   torch.clamp_min
    """
    return clamp(input, min=min)


@op(COMPOSITE, inplace=True)
def clamp_max(input, max):  # noqa: A002
    """min(input, max).

    Source:   torch.clamp_max
    """
    return clamp(input, max=max)


@op(POINTWISE, promote="float", cost=4)
def logaddexp(input, other):
    """log(exp(input) + exp(other)), without overflow.

    Source:   torch.logaddexp
    """
    if isinstance(input, E.Complex):  # the larger real part is taken out, so that neither power overflows
        top = E.maximum(input.re, other.re)
        top = E.where(abs(top) == math.inf, E.const(0, top.dtype), top)
        return ((input - top).exp() + (other - top).exp()).log() + top
    return log_of_sum(input, other, E.exp, E.log1p)


@op(POINTWISE, promote="float", cost=4)
def logaddexp2(input, other):
    """log2(2 ** input + 2 ** other), without overflow.

    Source:   torch.logaddexp2
    """
    return log_of_sum(input, other, E.exp2, lambda x: E.log1p(x) * (1 / math.log(2)))


def log_of_sum(x, y, exp, log1p):
    """The larger plus the logarithm of what the smaller adds; equal infinities stay."""
    top, low = E.maximum(x, y), E.minimum(x, y)
    same = (x == y) & (abs(x) == math.inf)
    return E.where(same, x, top + log1p(exp(low - top)))


def part_of(x, other, base: float):
    """base ** x / (base ** x + base ** other), 0 where x is -inf (PyTorch's is NaN if both are)."""
    from flambeau.ops.unary import exp

    return where_of(x == -math.inf, 0.0, 1 / (1 + exp((other - x) * math.log(base))))


logaddexp.derivative(
    input=lambda g, input, other: g * part_of(input, other, math.e),
    other=lambda g, other, input: g * part_of(other, input, math.e),
)
logaddexp2.derivative(
    input=lambda g, input, other: g * part_of(input, other, 2.0),
    other=lambda g, other, input: g * part_of(other, input, 2.0),
)


@op(POINTWISE, promote="float")
def hypot(input, other):
    """sqrt(input^2 + other^2) without overflow.

    Source:   torch.hypot
    """
    return E.hypot(input, other)


hypot.derivative(
    input=lambda g, input, result: g * (input / result),
    other=lambda g, other, result: g * (other / result),
)


@op(POINTWISE, promote="float", aliases=("arctan2",))
def atan2(input, other):
    """The angle of the point (other, input), in (-pi, pi].

    Source:   torch.atan2
    """
    return E.atan2(input, other)


atan2.derivative(
    input=lambda g, input, other: g * other / (input * input + other * other),
    other=lambda g, input, other: -g * input / (input * input + other * other),
)


@op(POINTWISE, promote="float")
def copysign(input, other):
    """|input| with the sign of other.

    Source:   torch.copysign
    """
    return E.copysign(input, other)


copysign.derivative(
    input=lambda g, input, result: where_of(input == 0, g * 0, g * (result / input)),
    other=lambda g: g * 0,
)


@op(POINTWISE, dtypes="f")
def nextafter(input, other):
    """The next number after input towards other.

    Source:   torch.nextafter
    """
    return E.nextafter(input, other)


nextafter.derivative(input=lambda g: g, other=lambda g: g * 0)


@op(POINTWISE)
def heaviside(input, values):
    """0 for negative input, values for 0, 1 for positive.

    Source:   torch.heaviside
    """
    zero, one = E.const(0, input.dtype), E.const(1, input.dtype)
    return E.where(input == 0, values, E.where(input > 0, one, E.where(input < 0, zero, input)))


@op(COMPOSITE)
def frexp(input):
    """(mantissa, exponent) with input = mantissa * 2 ** exponent, 0.5 <= |mantissa| < 1; zeros and infinities with 0.

    Shapes:   (*) -> (*), (*) int32
    Raises:   RuntimeError for dtypes that are no floats
    Source:   torch.frexp
    """
    from flambeau.return_types import frexp as result

    if not input.dtype.is_floating_point:
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {input.dtype}")
    wide = input.detach().double()  # every float32 is a normal float64, so that its logarithm's floor is near enough
    small = wide.abs() < 2.0**-1000
    wide = (wide * 2.0**600).where(small, wide)
    special = (wide == 0) | ~wide.isfinite()
    exponent = wide.abs().where(~special, 1.0).log2().floor() + 1
    size = wide.abs() / pow(2.0, exponent - 1)  # in [1, 2) unless log2 rounded across a power of two
    exponent = exponent + (size >= 2).double() - (size < 1).double()
    exponent = (exponent - 600.0 * small.double()).where(~special, 0.0)
    half = (exponent * -0.5).floor()  # two steps: 2 ** -exponent may overflow
    scale = [pow(2.0, half).to(input.dtype), pow(2.0, -exponent - half).to(input.dtype)]
    mantissa = (input * scale[0] * scale[1]).where(~special, input)
    return result((mantissa, exponent.int()))


@op(COMPOSITE)
def ldexp(input, other):
    """input * 2 ** other.

    Source:   torch.ldexp
    """
    return input * pow(2.0, other)
