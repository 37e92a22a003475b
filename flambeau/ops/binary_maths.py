"""Functions of two and three operands: addcmul, lerp, logaddexp, hypot, atan2, copysign, frexp and their like."""

from __future__ import annotations

import math

from flambeau.ir import expr as E
from flambeau.ops.arithmetic import abs, pow, where_of
from flambeau.ops.record import COMPOSITE, POINTWISE, op


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
    near = abs(weight) < 0.5
    return E.where(near, input + weight * (end - input), end - (end - input) * (1 - weight))


lerp.derivative(
    input=lambda g, weight: g * (1 - weight),
    end=lambda g, weight: g * weight,
    weight=lambda g, input, end: g * (end - input),
)


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


@op(POINTWISE, promote="float", function=False, method=False, cost=16)
def special_zeta(input, other):
    """Hurwitz's zeta function, the sum of (other + k)^-input over k = 0, 1, ...; not differentiable.

    Source:   torch.special.zeta
    """
    return E.zeta(input, other)


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


@op(COMPOSITE, inplace=True)
def ldexp(input, other):
    """input * 2 ** other.

    Source:   torch.ldexp
    """
    return input * pow(2.0, other)
