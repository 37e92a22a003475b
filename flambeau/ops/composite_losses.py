"""Losses that are a few pointwise operations and a reduction: no kernel of their own."""

import math
import warnings

from flambeau import ops
from flambeau.core import dtypes as dt

__all__ = [
    "cosine_embedding_loss", "gaussian_nll_loss", "hinge_embedding_loss", "legacy_reduction",
    "linear_cross_entropy", "margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "poisson_nll_loss", "soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip


def legacy_reduction(size_average, reduce, emit_warning=True):
    """The ``reduction`` that the older arguments ``size_average`` and ``reduce`` mean."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    meant = "none" if not reduce else "mean" if size_average else "sum"
    if emit_warning:
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{meant}' instead.",
            stacklevel=4,
        )
    return meant


def _chosen(size_average, reduce, reduction):
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if reduction == "elementwise_mean":
        warnings.warn(
            "reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.",
            stacklevel=3,
        )
        return "mean"
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _reduced(loss, reduction):
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def margin_ranking_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """l = max(0, -y (x1 - x2) + margin)."""
    reduction = _chosen(size_average, reduce, reduction)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return _reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def hinge_embedding_loss(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """l = x where y = 1, max(0, margin - x) where y = -1."""
    reduction = _chosen(size_average, reduce, reduction)
    zero = ops.zeros((), dtype=input.dtype, device=input.device)
    near = ops.where(target != -1, input, zero)
    far = ops.where(target != 1, (margin - input).clamp_min(0), zero)
    return _reduced(near + far, reduction)


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """l = log(1 + exp(-y x))."""
    reduction = _chosen(size_average, reduce, reduction)
    return _reduced((-target * input).exp().log1p(), reduction)


def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """l = -mean over classes of w (y log s(x) + (1 - y) log s(-x)), s the sigmoid."""
    reduction = _chosen(size_average, reduce, reduction)
    loss = -(target * ops.logsigmoid(input) + (1 - target) * ops.logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduced(loss.sum(-1) / input.size(-1), reduction)


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """l = sum over targets j and others i of max(0, 1 - (x[j] - x[i])) / classes.

    Shapes: x (n, c) or (c), y the same: class indices, ended by a -1.
    """
    reduction = _chosen(size_average, reduce, reduction)
    if input.dim() not in (1, 2) or tuple(target.shape) != tuple(input.shape):
        raise RuntimeError(
            "multilabel_margin_loss: Expected non-empty vector or matrix with optional 0-dim "
            f"batch size and a target of the same shape, but got: {input.size()} and "
            f"{target.size()}"
        )
    batched = input.dim() == 2
    x = input if batched else input.unsqueeze(0)
    y = target if batched else target.unsqueeze(0)
    listed = (y >= 0).to(dt.int64).cumprod(1).to(x.dtype)
    index = y.clamp(min=0)
    is_target = ops.zeros_like(x).scatter_add(1, index, listed).clamp(max=1)
    scores = x.gather(1, index).unsqueeze(2)
    excess = (1 - scores + x.unsqueeze(1)).clamp_min(0)
    loss = (excess * listed.unsqueeze(2) * (1 - is_target).unsqueeze(1)).sum((1, 2)) / x.size(1)
    return _reduced(loss if batched else loss.squeeze(0), reduction)


def multi_margin_loss(
    input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """l = sum over i != y of w[y] max(0, margin - x[y] + x[i])^p / classes."""
    reduction = _chosen(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    batched = input.dim() == 2
    x = input if batched else input.unsqueeze(0)
    y = target.reshape(-1, 1)
    excess = (margin - x.gather(1, y) + x).clamp_min(0)
    excess = excess if p == 1 else excess * excess
    if weight is not None:
        excess = excess * weight[y]
    others = 1 - ops.zeros_like(x).scatter(1, y, 1.0)
    loss = (excess * others).sum(1) / x.size(1)
    return _reduced(loss if batched or target.dim() else loss.squeeze(0), reduction)


def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction="mean",
):  # fmt: skip
    """l = exp(x) - y x (or x - y log(x + eps)), plus Stirling's y log y - y + log(2 pi y) / 2 if ``full``."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not a valid value for reduction")
    if log_input:
        loss = input.exp() - target * input
    else:
        loss = input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return _reduced(loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """l = 0.5 (log(max(var, eps)) + (x - y)^2 / max(var, eps)), plus log(2 pi) / 2 if ``full``.

    Numerics: the maximum is not differentiated: the gradient reaches ``var`` as if it were not there.
    """
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * ops.ones_like(input)
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if tuple(var.size()) != tuple(input.size()):
        if tuple(input.size()[:-1]) == tuple(var.size()):
            var = var.unsqueeze(-1)
        elif tuple(input.size()[:-1]) != tuple(var.size()[:-1]) or var.size(-1) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    var = var + (var.detach().clamp(min=eps) - var.detach())
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduced(loss, reduction)


def cosine_embedding_loss(
    input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"
):
    """l = 1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1."""
    reduction = _chosen(size_average, reduce, reduction)
    if target.dim() not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    wanted = target.dim() + 1
    if input1.dim() != wanted or input2.dim() != wanted:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {wanted}D input tensors, but found inputs with "
            f"sizes {list(input1.size())} and {list(input2.size())}."
        )
    tiny = 1e-12
    dot = (input1 * input2).sum(-1)
    size1 = (input1 * input1).sum(-1) + tiny
    size2 = (input2 * input2).sum(-1) + tiny
    cos = dot / (size1 * size2).sqrt()
    zero = ops.zeros_like(cos)
    near = ops.where(target == 1, 1 - cos, zero)
    far = ops.where(target == -1, (cos - margin).clamp_min(0), zero)
    return _reduced(near + far, reduction)


def triplet_margin_loss(
    anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None,
    reduce=None, reduction="mean",
):  # fmt: skip
    """l = max(0, d(a, p) - d(a, n) + margin), d the p-norm distance; ``swap``: d(p, n) if that is nearer."""
    reduction = _chosen(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_same_rank(
        "The anchor, positive, and negative tensors are expected to have the same number of "
        "dimensions, but got:", anchor, positive, negative,
    )  # fmt: skip

    def distance(a, b):
        return (a - b + eps).norm(p, dim=-1)

    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False,
    reduction="mean",
):  # fmt: skip
    """l = max(0, d(a, p) - d(a, n) + margin), d any function of two tensors."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_same_rank(
        "The anchor, positive, and negative tensors are expected to have the same number of "
        "dimensions, but got:", anchor, positive, negative,
    )  # fmt: skip

    def euclidean(a, b):
        return (a - b + 1e-6).norm(2, dim=-1)

    distance = euclidean if distance_function is None else distance_function
    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)


def _check_same_rank(what, anchor, positive, negative):
    a, p, n = anchor.dim(), positive.dim(), negative.dim()
    if not a == p == n:
        raise RuntimeError(f"{what} anchor {a}D, positive {p}D, and negative {n}D inputs")


def _triplet(distance, anchor, positive, negative, margin, swap, reduction):
    to_positive = distance(anchor, positive)
    to_negative = distance(anchor, negative)
    if swap:
        to_negative = ops.minimum(to_negative, distance(positive, negative))
    return _reduced((margin + to_positive - to_negative).clamp_min(0), reduction)


def linear_cross_entropy(
    input, linear_weight, target, *, linear_bias=None, weight=None, reduction="mean",
    ignore_index=None, label_smoothing=0.0, options=None,
):  # fmt: skip
    """l = cross_entropy(x A^T + b, y).

    Shapes: x (n, f) or (f), A (c, f) or (c, d1, ..., f), y (n, d1, ...) or (n, c, d1, ...).
    ``options`` asks PyTorch to work in chunks; the result is the same, and it is not needed here.
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}"
        )
    if input.shape[-1] != linear_weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{input.shape[-1]} and {linear_weight.shape[-1]}, respectively"
        )
    classes, out_features = tuple(linear_weight.shape[:-1]), tuple(linear_weight.shape[1:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != classes:
        raise RuntimeError(
            f"expected linear_bias shape {classes}, got {tuple(linear_bias.shape)}"
        )
    if out_features and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} "
            f"requires batched input, (N, {input.shape[-1]}), got unbatched input with shape "
            f"{tuple(input.shape)}"
        )
    probabilities = target.is_floating_point()
    if probabilities and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    flat_weight = linear_weight.reshape(-1, linear_weight.shape[-1])
    flat_bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = ops.linear(input, flat_weight, flat_bias)
    if out_features:
        logits = logits.reshape(input.shape[0], *classes)
    return ops.cross_entropy(
        logits, target, weight=weight, reduction=reduction, label_smoothing=label_smoothing,
        ignore_index=-100 if ignore_index is None else ignore_index,
    )  # fmt: skip
