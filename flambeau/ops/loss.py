"""Losses with a kernel or a fused derivative of their own. Others are in composite_losses.py."""

from __future__ import annotations

import math
import warnings

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.arithmetic import where_of
from flambeau.ops.record import COMPOSITE, KERNEL, POINTWISE, hooks, op
from flambeau.ops.unary import exp, log

F = {"function": False, "method": False, "functional": True}
HIDDEN = {"function": False, "method": False}
WORK = 8192


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


# classification -----------------------------------------------------------------------------------
@kernel
def nll_rows(k, out: Ptr, weights: Ptr, bad: Ptr, x: Ptr, target: Ptr, w: Ptr, classes: Int, ignore: Int, inner: Int,
             *, weighted: bool):  # fmt: skip
    """out = -w[t] * x[n, t, i] and its weight, per element of target (n, i); 0 for ignored targets."""
    d = out.compute
    with k.parallel() as r:
        n = r // inner
        t = E.cast(target[r], dt.int64)
        valid = (t >= 0) & (t < classes)
        with k.if_(~valid & (t != ignore)):
            bad[0] = t
        used = valid & (t != ignore)
        safe = E.where(used, t, E.const(0, dt.int64))
        weight = w[safe] if weighted else E.const(1, d)
        weight = E.where(used, weight, E.const(0, d))
        v = x[(n * classes + safe) * inner + (r - n * inner)]
        weights[r] = weight
        out[r] = E.where(used, -(v * weight), E.const(0, d))


@kernel
def nll_rows_backward(k, gx: Ptr, g: Ptr, target: Ptr, w: Ptr, scale: Ptr, classes: Int, ignore: Int, inner: Int,
                      g_step: Int, *, weighted: bool):  # fmt: skip
    """gx[n, t, i] = -w[t] * g * scale; gx is zero elsewhere already."""
    d = gx.compute
    with k.parallel() as r:
        n = r // inner
        t = E.cast(target[r], dt.int64)
        with k.if_((t >= 0) & (t < classes) & (t != ignore)):
            weight = w[t] if weighted else E.const(1, d)
            gx[(n * classes + t) * inner + (r - n * inner)] = -(weight * g[r * g_step] * scale[0])


def class_geometry(name: str, input, target):
    """(batch, classes, inner) after checking the shapes of class-index targets."""
    shape = tuple(input._shape)
    if not shape:
        raise RuntimeError(f"{name}: input tensor should be 1D or more, got a 0-d tensor")
    if len(shape) == 1:
        if target._shape and tuple(target._shape) != (1,):
            raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported ({name}: target {list(target._shape)})")
        return 1, shape[0], 1
    want = (shape[0], *shape[2:])
    if tuple(target._shape) != want:
        if len(shape) == 2 and len(target._shape) > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target._shape and target._shape[0] != shape[0]:
            raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({target._shape[0]}).")
        raise RuntimeError(f"Expected target size {list(want)}, got {list(target._shape)}")
    return shape[0], shape[1], math.prod(shape[2:])


def nll_each(input, target, weight, ignore_index: int):
    """(losses, weights) per target, unreduced and contiguous."""
    if target._dtype not in (dt.int64, dt.uint8, dt.int32):
        raise RuntimeError(f"expected scalar type Long but found {target._dtype} (nll_loss: targets are class indices)")
    n, classes, inner = class_geometry("nll_loss", input, target)
    if weight is not None and weight._numel != classes:
        raise RuntimeError(f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: {list(weight._shape)}")
    x, t = input.contiguous(), target.contiguous()
    out, weights = hooks.empty(t._shape, x._dtype), hooks.empty(t._shape, x._dtype)
    from flambeau.ops.index_kernels import Flag

    flag = Flag()
    w = None if weight is None else weight.to(x._dtype).contiguous()
    k = nll_rows((x._dtype, x._dtype, dt.int64, x._dtype, t._dtype, x._dtype), weighted=w is not None)
    k(t._numel, WORK, out._ptr, weights._ptr, flag.ptr, x._ptr, t._ptr, (x if w is None else w)._ptr, classes,
      ignore_index, inner)  # fmt: skip
    if flag.cell.value != flag.NONE:
        raise IndexError(f"Target {flag.cell.value} is out of bounds.")
    return out, weights


@op(KERNEL, **HIDDEN, node="NllLossBackward0")
def nll_loss_of(input, target, weight, ignore_index, reduction):
    """(loss, total weight); see `nll_loss`."""
    each, weights = nll_each(input, target, weight, ignore_index)
    if reduction == "none":
        return each, weights
    total = weights.sum()
    return (each.sum() / total if reduction == "mean" else each.sum()), total


@op(KERNEL, **HIDDEN, node="NllLoss2DBackward0")
def nll_loss2d_of(input, target, weight, ignore_index, reduction):
    """nll_loss_of for inputs with positions; PyTorch names its node differently."""
    return nll_loss_of.record.fn(input, target, weight, ignore_index, reduction)


@op(KERNEL, **HIDDEN)
def nll_backward(grad, target, weight, total, input_shape, ignore_index, reduction):
    """The gradient of nll_loss: zero but at the targets."""
    classes, inner = input_shape[0], 1
    if len(input_shape) > 1:
        classes, inner = input_shape[1], math.prod(input_shape[2:])
    d = grad._dtype
    gx = grad.new_zeros(input_shape)
    scale = total.reciprocal() if reduction == "mean" else grad.new_ones(())
    w = None if weight is None else weight.to(d).contiguous()
    g, t = grad.contiguous(), target.contiguous()
    k = nll_rows_backward((d, d, t._dtype, d, d), weighted=w is not None)
    k(t._numel, WORK, gx._ptr, g._ptr, t._ptr, (g if w is None else w)._ptr, scale._ptr, classes, ignore_index, inner,
      0 if reduction != "none" else 1)  # fmt: skip
    return gx


def nll_grad_of_grad(g, target, weight, total, ignore_index, reduction):
    """nll_backward is linear in grad: its derivative is nll_loss of g with the same weights."""
    each = nll_loss_of(g, target, weight, ignore_index, "none")[0]
    if reduction == "none":
        return each
    return each.sum() / total if reduction == "mean" else each.sum()


nll_backward.derivative(
    grad=lambda g, target, weight, total, ignore_index, reduction: nll_grad_of_grad(
        g, target, weight, total, ignore_index, reduction)
)  # fmt: skip
for _of in (nll_loss_of, nll_loss2d_of):
    _of.derivative(
        input=lambda gs, input_shape, target, weight, ignore_index, reduction, result1: nll_backward(
            gs[0], target, weight, result1.detach(), tuple(input_shape), ignore_index, reduction)
    )  # fmt: skip


@op(COMPOSITE, functional=True, method=False, function=False)
def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """-weight[target] * input[target], averaged over the weights.

    Shapes:   (n, classes, *), (n, *) -> () or (n, *)
    Errors:   IndexError for a target out of bounds
    Source:   torch.nn.functional.nll_loss
    """
    reduction = reduction_of(reduction, size_average, reduce)
    refuse_gradient("nll_loss_forward", weight=weight)
    of = nll_loss2d_of if len(input._shape) > 2 else nll_loss_of
    return of(input, target, weight, ignore_index, reduction)[0]


@op(COMPOSITE, functional=True, method=False, function=False)
def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
                  label_smoothing=0.0):  # fmt: skip
    """-log softmax(input)[target]; targets are class indices, or probabilities of input's shape.

    Shapes:   (n, classes, *) or (classes), (n, *) or () -> () or (n, *)
    Source:   torch.nn.functional.cross_entropy
    """
    from flambeau.ops.softmax import log_softmax_of

    reduction = reduction_of(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    dim = 0 if len(input._shape) == 1 else 1
    if target._dtype.is_floating_point or tuple(target._shape) == tuple(input._shape) and len(input._shape) > 1:
        return probability_loss(log_softmax_of(input, dim), target, weight, reduction, label_smoothing, dim)
    logp = log_softmax_of(input, dim)
    loss = nll_loss(logp, target, weight, ignore_index=ignore_index, reduction=reduction)
    if not label_smoothing:
        return loss
    classes = input._shape[dim]
    keep = target != ignore_index
    if weight is None:
        smooth = -logp.sum(dim)
        count = keep.to(input._dtype)
    else:
        shape = [1] * len(input._shape)
        shape[dim] = classes
        smooth = -(logp * weight.reshape(shape)).sum(dim)
        safe = target.masked_fill(~keep, 0)
        count = weight.index_select(0, safe.reshape(-1)).reshape(target._shape) * keep.to(weight._dtype)
    smooth = smooth.masked_fill(~keep, 0.0)
    if reduction == "mean":
        smooth = smooth.sum() / count.sum()
    elif reduction == "sum":
        smooth = smooth.sum()
    return loss * (1 - label_smoothing) + smooth * (label_smoothing / classes)


def probability_loss(logp, target, weight, reduction: str, smoothing: float, dim: int):
    """Cross entropy against class probabilities."""
    if tuple(target._shape) != tuple(logp._shape):
        raise RuntimeError(f"Expected target of size {list(logp._shape)} (class probabilities), got {list(target._shape)}")
    classes = logp._shape[dim]
    if smoothing:
        target = target * (1 - smoothing) + smoothing / classes
    each = logp * target
    if weight is not None:
        shape = [1] * len(logp._shape)
        shape[dim] = classes
        each = each * weight.reshape(shape)
    each = -each.sum(dim)
    if reduction == "mean":
        n = logp._numel // classes
        return each.sum() / n
    return reduced(each, reduction)
