"""Activation functions of nn.functional, each one scalar expression."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ops.arithmetic import where_of
from flambeau.ops.record import COMPOSITE, POINTWISE, hooks, op
from flambeau.ops.unary import erf, exp, sigmoid, tanh

FUNCTIONAL = {"function": False, "method": False, "functional": True, "inplace": False}


def zero_where(cond, g):
    """0 where cond, else g."""
    return where_of(cond, g * 0, g)


@op(POINTWISE, functional=True)
def relu(input):
    """max(input, 0).

    Source:   torch.relu
    """
    return E.maximum(input, E.const(0, input.dtype))


relu.derivative(input=lambda g, result: zero_where(result <= 0, g))


@op(POINTWISE, **FUNCTIONAL, node="HardtanhBackward0")
def relu6(input):
    """min(max(input, 0), 6).

    Source:   torch.nn.functional.relu6
    """
    return E.minimum(E.maximum(input, E.const(0, input.dtype)), E.const(6, input.dtype))


relu6.derivative(input=lambda g, input: zero_where((input <= 0) | (input >= 6), g))


@op(POINTWISE, **FUNCTIONAL, weak=("min_val", "max_val"))
def hardtanh(input, min_val=-1.0, max_val=1.0):
    """input limited to [min_val, max_val].

    Source:   torch.nn.functional.hardtanh
    """
    return E.minimum(E.maximum(input, min_val), max_val)


hardtanh.derivative(
    input=lambda g, input, min_val, max_val: zero_where((input <= min_val) | (input >= max_val), g)
)


@op(POINTWISE, **FUNCTIONAL, weak=("negative_slope",))
def leaky_relu(input, negative_slope=0.01):
    """input if positive, else negative_slope * input.

    Source:   torch.nn.functional.leaky_relu
    """
    return E.where(input > 0, input, input * negative_slope)


leaky_relu.derivative(
    input=lambda g, input, negative_slope: where_of(input > 0, g, g * negative_slope)
)


@op(POINTWISE, **FUNCTIONAL, cost=4, weak=("alpha", "scale", "input_scale"))
def elu(input, alpha=1.0, scale=1.0, input_scale=1.0):
    """scale * (x if x > 0 else alpha * (exp(input_scale * x) - 1)).

    Source:   torch.nn.functional.elu
    """
    return scale * E.where(input > 0, input, alpha * E.expm1(input * input_scale))


elu.derivative(
    input=lambda g, input, alpha, scale, input_scale: g * scale * where_of(
        input > 0, 1.0 + input * 0, alpha * input_scale * exp(input * input_scale))
)  # fmt: skip

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@op(POINTWISE, functional=True, cost=4, node="EluBackward0")
def selu(input):
    """Scaled ELU with fixed constants that keep mean 0 and variance 1.

    Source:   Klambauer et al., Self-Normalizing Neural Networks, 2017; torch.selu
    """
    return SELU_SCALE * E.where(input > 0, input, SELU_ALPHA * E.expm1(input))


selu.derivative(
    input=lambda g, input: g * where_of(
        input > 0, SELU_SCALE + input * 0, (SELU_SCALE * SELU_ALPHA) * exp(input))
)  # fmt: skip


@op(POINTWISE, functional=True, cost=4, weak=("alpha",))
def celu(input, alpha=1.0):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)).

    Source:   torch.celu
    """
    return E.where(input > 0, input, alpha * E.expm1(input / alpha))


celu.derivative(input=lambda g, input, alpha: g * where_of(input > 0, 1.0 + input * 0, exp(input / alpha)))

RSQRT2, RSQRT_2PI = 1 / math.sqrt(2), 1 / math.sqrt(2 * math.pi)
SQRT_2_PI, GELU_CUBIC = math.sqrt(2 / math.pi), 0.044715


def phi_tanh(x):
    """The argument of tanh in the approximate GELU."""
    return SQRT_2_PI * (x + GELU_CUBIC * (x * x * x))


@op(POINTWISE, **FUNCTIONAL, cost=6)
def gelu(input, *, approximate="none"):
    """input * Phi(input), Phi the normal distribution function (erf), or its tanh approximation.

    Errors:   RuntimeError if approximate is neither "none" nor "tanh"
    Source:   Hendrycks and Gimpel, 2016; torch.nn.functional.gelu
    """
    if approximate == "none":
        return 0.5 * input * (1 + E.erf(input * RSQRT2))
    if approximate == "tanh":
        return 0.5 * input * (1 + E.tanh(phi_tanh(input)))
    raise RuntimeError("approximate argument must be either none or tanh.")


def gelu_grad(g, input, approximate):
    """g * (Phi(x) + x * phi(x)), or the tanh form's derivative."""
    if approximate == "none":
        cdf = 0.5 * (1 + erf(input * RSQRT2))
        return g * (cdf + input * (RSQRT_2PI * exp(input * input * -0.5)))
    t = tanh(phi_tanh(input))
    slope = SQRT_2_PI * (1 + 3 * GELU_CUBIC * (input * input))
    return g * (0.5 * (1 + t) + 0.5 * input * ((1 - t * t) * slope))


gelu.derivative(input=gelu_grad)


@op(POINTWISE, **FUNCTIONAL, cost=4)
def silu(input):
    """input * sigmoid(input), as input / (1 + e^-input).

    Source:   torch.nn.functional.silu
    """
    return input / (1 + E.exp(-input))


def silu_grad(g, input):
    """g * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    s = sigmoid(input)
    return g * (s * (1 + input * (1 - s)))


silu.derivative(input=silu_grad)


@op(POINTWISE, **FUNCTIONAL, cost=6)
def mish(input):
    """input * tanh(softplus(input)).

    Source:   Misra, 2019; torch.nn.functional.mish
    """
    return input * E.tanh(softplus_body(input, 1.0, 20.0))


def mish_grad(g, input):
    """g * (t + x * s * (1 - t^2)), t = tanh(softplus(x)), s = sigmoid(x)."""
    t = tanh(softplus(input))
    return g * (t + input * sigmoid(input) * (1 - t * t))


mish.derivative(input=mish_grad)


def softplus_body(x, beta, threshold):
    """log(1 + exp(beta x)) / beta, x itself beyond the threshold."""
    z = x * beta
    return E.where(z > threshold, x, E.log1p(E.exp(E.minimum(z, threshold))) / beta)


@op(POINTWISE, **FUNCTIONAL, cost=6, weak=("beta", "threshold"))
def softplus(input, beta=1.0, threshold=20.0):
    """log(1 + exp(beta * input)) / beta; linear where beta * input > threshold.

    Source:   torch.nn.functional.softplus
    """
    return softplus_body(input, beta, threshold)


softplus.derivative(
    input=lambda g, input, beta, threshold: where_of(
        input * beta > threshold, g, g * sigmoid(input * beta))
)  # fmt: skip


@op(POINTWISE, **FUNCTIONAL, cost=6, node="LogSigmoidBackward0")
def logsigmoid(input):
    """log(1 / (1 + exp(-input))).

    Source:   torch.nn.functional.logsigmoid
    """
    return E.minimum(input, E.const(0, input.dtype)) - E.log1p(E.exp(-abs(input)))


logsigmoid.derivative(input=lambda g, input: g * sigmoid(-input))


@op(POINTWISE, **FUNCTIONAL)
def hardsigmoid(input):
    """min(max(input + 3, 0), 6) / 6.

    Source:   torch.nn.functional.hardsigmoid
    """
    return E.minimum(E.maximum(input + 3, E.const(0, input.dtype)), E.const(6, input.dtype)) / 6


hardsigmoid.derivative(input=lambda g, input: where_of((input > -3) & (input < 3), g / 6, g * 0))


@op(POINTWISE, **FUNCTIONAL)
def hardswish(input):
    """input * hardsigmoid(input).

    Source:   torch.nn.functional.hardswish
    """
    return input * (E.minimum(E.maximum(input + 3, E.const(0, input.dtype)), E.const(6, input.dtype)) / 6)


hardswish.derivative(
    input=lambda g, input: where_of(
        input <= -3, g * 0, where_of(input < 3, g * (input / 3 + 0.5), g))
)  # fmt: skip


@op(POINTWISE, functional=True, weak=("lambd",), inplace=False)
def hardshrink(input, lambd=0.5):
    """input outside [-lambd, lambd], 0 inside.

    Source:   torch.nn.functional.hardshrink
    """
    return E.where((input >= -lambd) & (input <= lambd), E.const(0, input.dtype), input)


hardshrink.derivative(input=lambda g, input, lambd: zero_where((input >= -lambd) & (input <= lambd), g))


@op(POINTWISE, **FUNCTIONAL, weak=("lambd",))
def softshrink(input, lambd=0.5):
    """input moved towards 0 by lambd, 0 within.

    Source:   torch.nn.functional.softshrink
    """
    zero = E.const(0, input.dtype)
    return E.where(input > lambd, input - lambd, E.where(input < -lambd, input + lambd, zero * input))


softshrink.derivative(input=lambda g, input, lambd: zero_where((input >= -lambd) & (input <= lambd), g))


@op(POINTWISE, **FUNCTIONAL, cost=4)
def tanhshrink(input):
    """input - tanh(input).

    Source:   torch.nn.functional.tanhshrink
    """
    return input - E.tanh(input)


def square_tanh(x):
    t = tanh(x)
    return t * t


tanhshrink.derivative(input=lambda g, input: g * square_tanh(input))


@op(POINTWISE, **FUNCTIONAL)
def softsign(input):
    """input / (1 + |input|).

    Source:   torch.nn.functional.softsign
    """
    return input / (1 + abs(input))


def softsign_grad(g, input):
    d = 1 + abs(input)
    return g / (d * d)


softsign.derivative(input=softsign_grad)


@op(POINTWISE, **FUNCTIONAL, weak=("threshold", "value"))
def threshold(input, threshold, value):
    """input where input > threshold, else value.

    Source:   torch.nn.functional.threshold
    """
    return E.where(input > threshold, input, E.cast(value, input.dtype))


threshold.derivative(input=lambda g, input, threshold: zero_where(input <= threshold, g))


@op(POINTWISE, function=False, method=False, node="PreluKernelBackward0")
def prelu_kernel(input, weight):
    """input if positive, else weight * input, broadcasting; see `prelu`."""
    return E.where(input > 0, input, weight * input)


prelu_kernel.derivative(
    input=lambda g, input, weight: where_of(input > 0, g, g * weight),
    weight=lambda g, input: where_of(input > 0, g * 0, g * input),
)


@op(COMPOSITE, functional=True)
def prelu(input, weight):
    """input if positive, else weight * input; weight has one element, or one per channel (dim 1).

    Source:   torch.nn.functional.prelu
    """
    if weight._numel != 1:
        if not input._shape:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input._shape[1] if len(input._shape) > 1 else 1
        if weight._numel != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight._numel} "
                f"and channel size = {channels}."
            )
        weight = weight.reshape([1, -1] + [1] * (len(input._shape) - 2))
    else:
        weight = weight.reshape([1] * len(input._shape))
    return prelu_kernel(input, weight)


@op(COMPOSITE, **FUNCTIONAL)
def glu(input, dim=-1):
    """a * sigmoid(b), a and b the halves of input along dim.

    Source:   torch.nn.functional.glu
    """
    if not input._shape:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    n = input._shape[dim]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {n}")
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


@op(COMPOSITE, **FUNCTIONAL)
def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """leaky_relu with slopes drawn from [lower, upper) while training, their mean otherwise.

    Source:   Xu et al., 2015; torch.nn.functional.rrelu
    """
    if lower > upper:
        raise RuntimeError(f"rrelu: lower bound {lower} must not be greater than upper bound {upper}")
    if training:
        slopes = drawn_slopes(input, lower, upper)
        out = input * slopes
    else:
        out = leaky_relu(input, (lower + upper) / 2)
    return input.copy_(out) if inplace else out


def drawn_slopes(input, lower: float, upper: float):
    """1 where input is positive; elsewhere a number drawn for it, in order (none is drawn for the others)."""
    from flambeau.ops.copying import copy_elements

    x = input.detach()
    slopes = x.new_ones(x._shape)
    at = (x <= 0).reshape(-1).nonzero().reshape(-1)
    lower, upper = hooks.tensor([lower, upper], dtype=dt.float64).to(x._dtype).tolist()  # rounded, as PyTorch has them
    draws = hooks.empty((at._numel,), dt.float64).uniform_(lower, upper).to(x._dtype)  # two draws each
    copy_elements(slopes.reshape(-1), slopes.reshape(-1).index_copy(0, at, draws))
    return slopes
