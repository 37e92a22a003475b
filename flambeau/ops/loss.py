"""Losses element by element, with a fused derivative each. By class: classification.py; others: composite_losses.py."""

from __future__ import annotations

import math
import warnings

from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ops.arithmetic import where_of
from flambeau.ops.record import COMPOSITE, KERNEL, POINTWISE, hooks, op
from flambeau.ops.unary import exp, log

F = {"function": False, "method": False, "functional": True}
HIDDEN = {"function": False, "method": False}


def reduction_of(reduction: str, size_average=None, reduce=None) -> str:
    """The reduction's name, honouring the two deprecated arguments."""
    if size_average is not None or reduce is not None:
        size_average = True if size_average is None else size_average
        reduce = True if reduce is None else reduce
        reduction = "none" if not reduce else "mean" if size_average else "sum"
        warnings.warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", stacklevel=4)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def refuse_gradient(name: str, **weights) -> None:
    """Weights of losses are constants to PyTorch; one that requires grad is an error, not silently one."""
    for what, t in weights.items():
        if t is not None and t._requires_grad and hooks.recording():
            raise RuntimeError(
                f"The function '{name}' is not differentiable with respect to argument '{what}'. "
                "This input cannot have requires_grad True."
            )


def reduced(x, reduction: str):
    """x, its mean or its sum."""
    return x.mean() if reduction == "mean" else x.sum() if reduction == "sum" else x


def spread_grad(g, shape, reduction: str):
    """The gradient per element: of a mean, g / count."""
    n = math.prod(shape)
    return g / n if reduction == "mean" and n else g


# elementwise losses -------------------------------------------------------------------------------
def same_size(name: str, input, target):
    """Broadcast with PyTorch's warning when shapes differ."""
    if tuple(input._shape) != tuple(target._shape):
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=4,
        )
        shape = S.broadcast_shapes(name, tuple(input._shape), tuple(target._shape))
        return input.expand(shape), target.expand(shape)
    return input, target


def sign_of(x):
    """-1, 0, 1, on tensors or expressions."""
    return where_of(x > 0, 1.0 + x * 0, where_of(x < 0, x * 0 - 1.0, x * 0))


def clipped(x, limit):
    """x limited to [-limit, limit]."""
    return where_of(x > limit, x * 0 + limit, where_of(x < -limit, x * 0 - limit, x))


@op(POINTWISE, **HIDDEN)
def mse_each(input, target):
    """(input - target)^2."""
    return (input - target) * (input - target)


@op(POINTWISE, **HIDDEN, weak=("scale",))
def mse_slope(grad, input, target, scale):
    """scale * grad * 2 * (input - target)."""
    return grad * (2 * scale) * (input - target)


mse_slope.derivative(
    grad=lambda g, input, target, scale: mse_slope(g, input, target, scale),
    input=lambda g, grad, scale: g * grad * (2 * scale),
    target=lambda g, grad, scale: -(g * grad * (2 * scale)),
)


@op(POINTWISE, **HIDDEN)
def l1_each(input, target):
    """|input - target|."""
    return abs(input - target)


@op(POINTWISE, **HIDDEN, weak=("scale",))
def l1_slope(grad, input, target, scale):
    """scale * grad * sign(input - target)."""
    return grad * scale * sign_of(input - target)


l1_slope.derivative(grad=lambda g, input, target, scale: l1_slope(g, input, target, scale))


@op(POINTWISE, **HIDDEN, weak=("delta",))
def huber_each(input, target, delta):
    """d^2 / 2 within delta, else delta * (|d| - delta / 2), d = input - target."""
    d = input - target
    a = abs(d)
    return E.where(a <= delta, 0.5 * d * d, delta * (a - 0.5 * delta))


@op(POINTWISE, **HIDDEN, weak=("delta", "scale"))
def huber_slope(grad, input, target, delta, scale):
    """scale * grad * d, limited to delta."""
    return grad * scale * clipped(input - target, delta)


def inside(g, input, target, delta):
    """g where |input - target| <= delta, else 0."""
    d = input - target
    return where_of((d <= delta) & (d >= -delta), g, g * 0)


huber_slope.derivative(
    grad=lambda g, input, target, delta, scale: huber_slope(g, input, target, delta, scale),
    input=lambda g, grad, input, target, delta, scale: inside(g * grad * scale, input, target, delta),
    target=lambda g, grad, input, target, delta, scale: -inside(g * grad * scale, input, target, delta),
)


def mean_scale(shape, reduction: str) -> float:
    """1 / count for means, else 1."""
    n = math.prod(shape)
    return 1.0 / n if reduction == "mean" and n else 1.0


@op(KERNEL, **HIDDEN, node="MseLossBackward0")
def mse_loss_of(input, target, reduction):
    """The reduced squared error; see `mse_loss`."""
    return reduced(mse_each(input, target), reduction)


mse_loss_of.derivative(
    input=lambda g, input, target, reduction: mse_slope(g, input, target, mean_scale(input._shape, reduction)),
    target=lambda g, input, target, reduction: -mse_slope(g, input, target, mean_scale(input._shape, reduction)),
)


@op(KERNEL, **HIDDEN, node="L1LossBackward0")
def l1_loss_of(input, target, reduction):
    """The reduced absolute error; see `l1_loss`."""
    return reduced(l1_each(input, target), reduction)


l1_loss_of.derivative(
    input=lambda g, input, target, reduction: l1_slope(g, input, target, mean_scale(input._shape, reduction)),
    target=lambda g, input, target, reduction: -l1_slope(g, input, target, mean_scale(input._shape, reduction)),
)


@op(KERNEL, **HIDDEN, node="HuberLossBackward0")
def huber_loss_of(input, target, reduction, delta):
    """The reduced Huber loss; see `huber_loss`."""
    return reduced(huber_each(input, target, delta), reduction)


@op(KERNEL, **HIDDEN, node="SmoothL1LossBackward0")
def smooth_l1_loss_of(input, target, reduction, beta):
    """The reduced Huber loss divided by beta; see `smooth_l1_loss`."""
    return reduced(huber_each(input, target, beta), reduction) / beta


huber_loss_of.derivative(
    input=lambda g, input, target, reduction, delta: huber_slope(
        g, input, target, delta, mean_scale(input._shape, reduction)),
    target=lambda g, input, target, reduction, delta: -huber_slope(
        g, input, target, delta, mean_scale(input._shape, reduction)),
)  # fmt: skip
smooth_l1_loss_of.derivative(
    input=lambda g, input, target, reduction, beta: huber_slope(
        g, input, target, beta, mean_scale(input._shape, reduction) / beta),
    target=lambda g, input, target, reduction, beta: -huber_slope(
        g, input, target, beta, mean_scale(input._shape, reduction) / beta),
)  # fmt: skip


def weighted(each, weight, reduction: str):
    """Losses times weights; the mean is over the weights' sum."""
    total = each * weight
    return total.sum() / weight.expand(each._shape).sum() if reduction == "mean" else reduced(total, reduction)


@op(COMPOSITE, **F)
def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """The mean (or sum, or each) of (input - target)^2.

    Source:   torch.nn.functional.mse_loss
    """
    reduction = reduction_of(reduction, size_average, reduce)
    x, t = same_size("mse_loss", input, target)
    return mse_loss_of(x, t, reduction) if weight is None else weighted(mse_loss_of(x, t, "none"), weight, reduction)


@op(COMPOSITE, **F)
def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """The mean (or sum, or each) of |input - target|.

    Source:   torch.nn.functional.l1_loss
    """
    reduction = reduction_of(reduction, size_average, reduce)
    x, t = same_size("l1_loss", input, target)
    return l1_loss_of(x, t, reduction) if weight is None else weighted(l1_loss_of(x, t, "none"), weight, reduction)


@op(COMPOSITE, **F)
def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d = input - target.

    Errors:   RuntimeError for delta <= 0
    Source:   torch.nn.functional.huber_loss
    """
    reduction = reduction_of(reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    x, t = same_size("huber_loss", input, target)
    if weight is None:
        return huber_loss_of(x, t, reduction, float(delta))
    return weighted(huber_loss_of(x, t, "none", float(delta)), weight, reduction)


@op(COMPOSITE, **F)
def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """huber_loss / beta: quadratic near 0, of slope 1 beyond beta.

    Source:   torch.nn.functional.smooth_l1_loss
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    x, t = same_size("smooth_l1_loss", input, target)
    return l1_loss_of(x, t, reduction) if beta == 0 else smooth_l1_loss_of(x, t, reduction, float(beta))


# binary cross entropy -----------------------------------------------------------------------------
@op(POINTWISE, **HIDDEN, node="BinaryCrossEntropyBackward0")
def bce_each(input, target):
    """-(t log x + (1 - t) log(1 - x)), logarithms not below -100."""
    low = E.const(-100, input.dtype)
    return (target - 1) * E.maximum(E.log1p(-input), low) - target * E.maximum(E.log(input), low)


bce_each.derivative(
    input=lambda g, input, target: g * (input - target) / floor_at((1 - input) * input),
    target=lambda g, input: g * (log(1 - input) - log(input)),
)


def floor_at(x):
    """max(x, 1e-12)."""
    return where_of(x > 1e-12, x, x * 0 + 1e-12)


@op(COMPOSITE, **F)
def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x.

    Errors:   ValueError for different shapes; RuntimeError for x outside [0, 1]
    Source:   torch.nn.functional.binary_cross_entropy
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if tuple(target._shape) != tuple(input._shape):
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is deprecated. "
            "Please ensure they have the same size."
        )
    if input._numel:
        x = input.detach()
        if not bool(((x >= 0) & (x <= 1)).all().item()):
            raise RuntimeError("all elements of input should be between 0 and 1")
    refuse_gradient("binary_cross_entropy", weight=weight)
    each = bce_of(input, target, reduction if weight is None else "none")
    return each if weight is None else reduced(each * weight, reduction)


@op(KERNEL, **HIDDEN, node="BinaryCrossEntropyBackward0")
def bce_of(input, target, reduction):
    """The reduced binary cross entropy; see `binary_cross_entropy`."""
    return reduced(bce_each(input, target), reduction)


bce_of.derivative(
    input=lambda g, input, target, reduction: (
        spread_grad(g, input._shape, reduction) * (input - target) / ((1 - input) * input).clamp(min=1e-12)),
    target=lambda g, input, reduction: (
        spread_grad(g, input._shape, reduction) * ((1 - input).log() - input.log())),
)  # fmt: skip


@op(POINTWISE, **HIDDEN, cost=8)
def bce_logits_each(input, target, pos_weight=None):
    """(1 - t) x + w (log(1 + exp(-|x|)) + max(-x, 0)), w = 1 + (pos_weight - 1) t."""
    soft = E.log1p(E.exp(-abs(input))) + E.maximum(-input, E.const(0, input.dtype))
    if pos_weight is None:
        return (1 - target) * input + soft
    return (1 - target) * input + ((pos_weight - 1) * target + 1) * soft


def logits_slope(input, target, pos_weight):
    """d/dx of the loss above."""
    s = 1 / (exp(-input) + 1)
    if pos_weight is None:
        return s - target
    w = (pos_weight - 1) * target + 1
    return (1 - target) - w * (1 - s)


bce_logits_each.derivative(
    input=lambda g, input, target, pos_weight: g * logits_slope(input, target, pos_weight),
    target=lambda g, input, pos_weight: g * logits_target_slope(input, pos_weight),
    pos_weight=lambda g, input, target: g * target * softplus_of(-input),
)


def softplus_of(x):
    """log(1 + exp(x)), stably, on tensors or expressions."""
    return where_of(x > 0, x, x * 0) + log(1 + exp(-where_of(x > 0, x, -x)))


def logits_target_slope(input, pos_weight):
    """d/dt of the loss above."""
    return -input if pos_weight is None else (pos_weight - 1) * softplus_of(-input) - input


@op(KERNEL, **HIDDEN, node="BinaryCrossEntropyWithLogitsBackward0")
def bce_logits_of(input, target, weight, pos_weight, reduction):
    """The reduced loss; see `binary_cross_entropy_with_logits`."""
    each = bce_logits_each(input, target, pos_weight)
    return reduced(each if weight is None else each * weight, reduction)


def with_weight(g, shape, weight, reduction: str):
    g = spread_grad(g, shape, reduction)
    return g if weight is None else g * weight


bce_logits_of.derivative(
    input=lambda g, input, target, weight, pos_weight, reduction: with_weight(
        g, input._shape, weight, reduction) * bce_logits_slope(input, target, pos_weight),
    target=lambda g, input, weight, pos_weight, reduction: with_weight(
        g, input._shape, weight, reduction) * logits_target_slope(input, pos_weight),
)  # fmt: skip


@op(POINTWISE, **HIDDEN, cost=4)
def bce_logits_slope(input, target, pos_weight=None):
    """d/dx of bce_logits_each as one kernel."""
    return logits_slope(input, target, pos_weight)


def sigmoid_slope(g, input, target, pos_weight):
    e = exp(-input)
    s = 1 / (e + 1)
    d = s * (1 - s)
    return g * d if pos_weight is None else g * d * ((pos_weight - 1) * target + 1)


bce_logits_slope.derivative(input=sigmoid_slope, target=lambda g, input, pos_weight: (
    -g if pos_weight is None else g * ((pos_weight - 1) * (1 / (exp(-input) + 1)) - pos_weight)))  # fmt: skip


@op(COMPOSITE, functional=True, method=False)
def binary_cross_entropy_with_logits(input, target, weight=None, size_average=None, reduce=None, reduction="mean",
                                     pos_weight=None):  # fmt: skip
    """Binary cross entropy of sigmoid(input), computed stably.

    Errors:   ValueError for different shapes
    Source:   torch.nn.functional.binary_cross_entropy_with_logits
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if tuple(target._shape) != tuple(input._shape):
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    refuse_gradient("binary_cross_entropy_with_logits", weight=weight, pos_weight=pos_weight)
    return bce_logits_of(input, target, weight, pos_weight, reduction)


# divergences --------------------------------------------------------------------------------------
@op(COMPOSITE, functional=True, method=False)
def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """target * (log target - input), input given as log-probabilities.

    Source:   torch.nn.functional.kl_div
    """
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the "
            "same as 'batchmean' in the next major release.",
            stacklevel=3,
        )
    batch = reduction == "batchmean"
    reduction = "sum" if batch else reduction_of(reduction, size_average, reduce)
    each = target.exp() * (target - input) if log_target else xlogy(target, target) - target * input
    out = reduced(each, reduction)
    return out / input._shape[0] if batch and input._shape else out


@op(POINTWISE, aliases=("special_xlogy",), promote="float")
def xlogy(input, other):
    """input * log(other), 0 where input is 0 (unless other is NaN).

    Source:   torch.xlogy
    """
    zero = E.const(0, input.dtype)
    return E.where(other != other, other, E.where(input == 0, zero, input * E.log(other)))


xlogy.derivative(
    input=lambda g, input, other: where_of((input == 0) & (other <= 0), g * 0, g * log(other)),
    other=lambda g, input, other: g * input / other,
)
