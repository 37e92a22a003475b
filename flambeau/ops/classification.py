"""Losses by class: nll_loss and cross_entropy.

Cross entropy of class indices is one kernel over the rows of its input that keeps two numbers per row, and one for the
gradient: neither log-probabilities nor a one-hot matrix reach memory. Smoothed labels and class probabilities go by
log_softmax.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, compute_dtype, kernel
from flambeau.ops.by_geometry import by_geometry
from flambeau.ops.create import zeroed
from flambeau.ops.index_kernels import Flag, told
from flambeau.ops.loss import HIDDEN, reduced, reduction_of, refuse_gradient
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.softmax import finite, log_softmax_of
from flambeau.runtime import calls

WORK = 8192


# negative log likelihood ---------------------------------------------------------------------------
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
            bad[0] = told(t)
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
            raise RuntimeError(
                f"0D or 1D target tensor expected, multi-target not supported ({name}: target {list(target._shape)})"
            )
        return 1, shape[0], 1
    want = (shape[0], *shape[2:])
    if tuple(target._shape) != want:
        if len(shape) == 2 and len(target._shape) > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target._shape and target._shape[0] != shape[0]:
            raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({target._shape[0]}).")
        raise RuntimeError(f"Expected target size {list(want)}, got {list(target._shape)}")
    return shape[0], shape[1], math.prod(shape[2:])


def check_classes(name: str, input, target, weight) -> None:
    """Targets are integers, weights one per class."""
    if target._dtype not in (dt.int64, dt.uint8, dt.int32):
        raise RuntimeError(f"expected scalar type Long but found {target._dtype} ({name}: targets are class indices)")
    classes = class_geometry(name, input, target)[1]
    if weight is not None and weight._numel != classes:
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: "
            f"{list(weight._shape)}"
        )


def nll_each(input, target, weight, ignore_index: int):
    """(losses, weights) per target, unreduced and contiguous."""
    check_classes("nll_loss", input, target, weight)
    n, classes, inner = class_geometry("nll_loss", input, target)
    x, t = input.contiguous(), target.contiguous()
    out, weights = hooks.empty(t._shape, x._dtype), hooks.empty(t._shape, x._dtype)
    flag = Flag()
    w = None if weight is None else weight.to(x._dtype).contiguous()
    k = nll_rows((x._dtype, x._dtype, dt.int64, x._dtype, t._dtype, x._dtype), weighted=w is not None)
    k(t._numel, WORK, out._ptr, weights._ptr, flag.ptr, x._ptr, t._ptr, (x if w is None else w)._ptr, classes,
      ignore_index, inner)  # fmt: skip
    if flag.index is not None:
        raise IndexError(f"Target {flag.index} is out of bounds.")
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


# cross entropy ------------------------------------------------------------------------------------
def used_weight(t, w, classes, ignore, d, weighted: bool):
    """(target or 0 where it does not count, its weight or 0)."""
    used = (t >= 0) & (t < classes) & (t != ignore)
    safe = E.where(used, t, E.const(0, dt.int64))
    return safe, E.where(used, w[safe] if weighted else E.const(1, d), E.const(0, d))


@kernel
def entropy_rows(k, out: Ptr, weights: Ptr, tops: Ptr, logs: Ptr, bad: Ptr, x: Ptr, target: Ptr, w: Ptr, classes: Int,
                 ignore: Int, *, weighted: bool):  # fmt: skip
    """Per contiguous row: the largest value, log(sum(exp(x - it))), the weight, and the weighted loss."""
    d = tops.dtype
    with k.parallel() as r:
        row, t = x.at(r * classes), E.cast(target[r], dt.int64)
        with k.if_(((t < 0) | (t >= classes)) & (t != ignore)):
            bad[0] = told(t)
        high, total = k.acc("max", d), k.acc("add", d)
        with k.vector(classes, unroll=4) as i:
            high.update(row[i])
        top = finite(high.value)
        with k.vector(classes, unroll=2) as i:
            total.update(E.exp(row[i] - top))
        log = E.log(total.value)
        safe, weight = used_weight(t, w, classes, ignore, d, weighted)
        tops[r], logs[r], weights[r] = top, log, weight
        out[r] = E.where(weight == 0, E.const(0, d), -((row[safe] - top) - log) * weight)


@kernel
def entropy_columns(k, out: Ptr, weights: Ptr, tops: Ptr, logs: Ptr, bad: Ptr, x: Ptr, target: Ptr, w: Ptr, classes: Int,
                    ignore: Int, inner: Int, blocks: Int, width: Int, *, weighted: bool):  # fmt: skip
    """The same over the middle of (batch, classes, inner): lanes over inner, in blocks of `width`."""
    d = tops.dtype
    with k.parallel() as task:
        n = task // blocks
        lo = (task - n * blocks) * width
        hi = E.minimum(lo + width, inner)
        src, base = x.at(n * classes * inner), n * inner
        with k.seq(lo, hi) as j:
            t = E.cast(target[base + j], dt.int64)
            with k.if_(((t < 0) | (t >= classes)) & (t != ignore)):
                bad[0] = told(t)
        with k.vector(lo, hi) as j:
            high, total = k.var(E.const(-math.inf, d), d), k.var(E.const(0, d), d)
            with k.seq(classes) as i:
                high.set(E.maximum(high.get(), src[i * inner + j]))
            top = finite(high.get())
            with k.seq(classes) as i:
                total.set(total.get() + E.exp(src[i * inner + j] - top))
            log = E.log(total.get())
            safe, weight = used_weight(E.cast(target[base + j], dt.int64), w, classes, ignore, d, weighted)
            tops[base + j], logs[base + j], weights[base + j] = top, log, weight
            out[base + j] = E.where(weight == 0, E.const(0, d), -((src[safe * inner + j] - top) - log) * weight)


@kernel
def entropy_sum(k, loss: Ptr, total: Ptr, each: Ptr, weights: Ptr, n: Int, *, mean: bool):
    """loss = the sum of the losses, over that of the weights for a mean; summed in float64."""
    with k.parallel():
        losses, counts = k.acc("add", dt.float64), k.acc("add", dt.float64)
        with k.vector(n, unroll=2) as i:
            losses.update(E.cast(each[i], dt.float64))
            counts.update(E.cast(weights[i], dt.float64))
        sums, count = losses.value, counts.value
        loss[0] = E.cast(sums / count if mean else sums, loss.compute)
        total[0] = E.cast(count, total.compute)


def slope(g, weight, total, mean: bool):
    """What multiplies softmax - onehot: 0 for what does not count."""
    g = g * weight / total if mean else g * weight
    return E.where(weight == 0, E.const(0, g.dtype), g)


@kernel
def entropy_rows_backward(k, gx: Ptr, g: Ptr, x: Ptr, tops: Ptr, logs: Ptr, weights: Ptr, total: Ptr, target: Ptr,
                          classes: Int, g_step: Int, *, mean: bool):  # fmt: skip
    """gx = (softmax(x) - onehot(target)) * slope."""
    d = tops.dtype
    with k.parallel() as r:
        row, out = x.at(r * classes), gx.at(r * classes)
        top, log, weight = tops[r], logs[r], weights[r]
        scale = slope(g[r * g_step], weight, total[0], mean)
        with k.vector(classes, unroll=2) as i:
            out[i] = E.exp((row[i] - top) - log) * scale
        with k.if_(weight != 0):
            t = E.cast(target[r], dt.int64)
            out[t] = (E.exp((row[t] - top) - log) - E.const(1, d)) * scale


@kernel
def entropy_columns_backward(k, gx: Ptr, g: Ptr, x: Ptr, tops: Ptr, logs: Ptr, weights: Ptr, total: Ptr, target: Ptr,
                             classes: Int, g_step: Int, inner: Int, blocks: Int, width: Int, *, mean: bool):  # fmt: skip
    """The same over the middle of (batch, classes, inner)."""
    d = tops.dtype
    with k.parallel() as task:
        n = task // blocks
        lo = (task - n * blocks) * width
        hi = E.minimum(lo + width, inner)
        first, base = n * classes * inner, n * inner
        with k.vector(lo, hi) as j:
            scale = slope(g[(base + j) * g_step], weights[base + j], total[0], mean)
            top, log, t = tops[base + j], logs[base + j], E.cast(target[base + j], dt.int64)
            with k.seq(classes) as i:
                at = first + i * inner + j
                p = E.exp((x[at] - top) - log)
                gx[at] = E.where(t == i, p - E.const(1, d), p) * scale


def entropy_launch(rows, columns, dtypes, pointers, shape, extra, static) -> tuple:
    """(kernel, extent, grain, arguments): the form by rows or by columns over (batch, classes, inner)."""
    n, classes, inner = shape
    if inner == 1:
        return rows(dtypes, **static), n, max(1, WORK // classes), (*pointers, classes, *extra)
    width = max(64, min(512, inner))
    blocks = -(-inner // width)
    return (columns(dtypes, **static), n * blocks, max(1, WORK // (classes * width)),
            (*pointers, classes, *extra, inner, blocks, width))  # fmt: skip


@op(KERNEL, **HIDDEN, node="NllLossBackward0")
@by_geometry
def cross_entropy_of(input, target, weight, ignore_index, reduction):
    """(loss, total weight, and per row: weight, maximum, log of the sum); see `cross_entropy`."""
    check_classes("cross_entropy", input, target, weight)
    n, classes, inner = class_geometry("cross_entropy", input, target)
    d, shape = input._dtype, tuple(target._shape)
    acc = compute_dtype(d)
    if not classes:
        return lambda *tensors: no_classes(tensors[1], ignore_index, reduction, d, acc)
    each, weights, tops, logs = hooks.dense(shape, d), *(hooks.dense(shape, acc) for _ in range(3))
    loss, total = hooks.dense((), d), hooks.dense((), acc)
    whole = reduction != "none"
    outs = (loss, total, weights, tops, logs) if whole else (each, weights, tops, logs)
    at = [calls.out(i) for i in range(len(outs))]
    places = (calls.room(), *at[2:]) if whole else at
    w = places[2] if weight is None else calls.operand(2)
    pointers = (*places, calls.number(0), calls.operand(0), calls.operand(1), w)
    dtypes = (d, acc, acc, acc, dt.int64, d, target._dtype, acc)
    launches = [entropy_launch(entropy_rows, entropy_columns, dtypes, pointers, (n, classes, inner), (ignore_index,),
                               {"weighted": weight is not None})]  # fmt: skip
    if whole:
        k = entropy_sum((d, acc, d, acc), mean=reduction == "mean")
        launches.append((k, 1, 1, (at[0], at[1], places[0], places[1], target._numel)))
    bound = calls.bind(outs, 2 if weight is None else 3, 1, launches, (each[-1],) if whole else ())

    def call(x, t, w=None):
        flag = Flag()
        more = () if w is None else (w.to(acc).contiguous(),)
        found = bound(x.contiguous(), t.contiguous(), *more, flag.ptr)
        if flag.index is not None:
            raise IndexError(f"Target {flag.index} is out of bounds.")
        return found if whole else (found[0], *found[1:2], *found[1:])

    return call


def no_classes(t, ignore_index: int, reduction: str, d, acc) -> tuple:
    """cross_entropy_of for inputs without classes: every target must be ignored."""
    if bool((t != ignore_index).any()):
        raise IndexError(f"Target {t.reshape(-1)[0].item()} is out of bounds.")
    each, (weights, tops, logs) = zeroed(t._shape, d), (zeroed(t._shape, acc) for _ in range(3))
    if reduction == "none":
        return each, weights, weights, tops, logs
    loss, total = hooks.empty((), d), hooks.empty((), acc)
    k = entropy_sum((d, acc, d, acc), mean=reduction == "mean")
    k(1, 1, loss._ptr, total._ptr, each._ptr, weights._ptr, t._numel)
    return loss, total, weights, tops, logs


@op(KERNEL, **HIDDEN, node="NllLoss2DBackward0")
def cross_entropy2d_of(input, target, weight, ignore_index, reduction):
    """cross_entropy_of for inputs with positions; PyTorch names its node differently."""
    return cross_entropy_of.record.fn(input, target, weight, ignore_index, reduction)


def cross_entropy_grad(gs, input, target, weight, ignore_index, reduction, result1, result2, result3, result4):
    """The gradient of the input; in a graph of its own, by way of log_softmax."""
    g = gs[0]
    if hooks.recording():
        y = nll_loss(log_softmax_of(input, 0 if len(input._shape) == 1 else 1), target, weight, None, ignore_index, None, reduction)
        return hooks.grad([y], [input], [g], create_graph=True)
    tensors = (g, input, result3, result4, result2, result1, target)
    if not all(t._dense for t in tensors):
        tensors = [t.contiguous() for t in tensors]
    return (entropy_backward(*tensors, reduction),)


@by_geometry
def entropy_backward(g, x, tops, logs, weights, total, target, reduction):
    """The gradient of cross entropy's input, of contiguous tensors."""
    d, acc = x._dtype, weights._dtype
    launches = []
    if x._numel:
        pointers = (calls.out(), *map(calls.operand, range(7)))
        launches = [entropy_launch(
            entropy_rows_backward, entropy_columns_backward, (d, g._dtype, d, acc, acc, acc, acc, target._dtype), pointers,
            class_geometry("cross_entropy", x, target), (1 if reduction == "none" else 0,), {"mean": reduction == "mean"},
        )]  # fmt: skip
    return calls.bind((hooks.dense(tuple(x._shape), d),), 7, 0, launches)


for _of in (cross_entropy_of, cross_entropy2d_of):
    _of.vjp("input")(cross_entropy_grad)


@op(COMPOSITE, functional=True, method=False, function=False)
def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
                  label_smoothing=0.0):  # fmt: skip
    """-log softmax(input)[target]; targets are class indices, or probabilities of input's shape.

    Shapes:   (n, classes, *) or (classes), (n, *) or () -> () or (n, *)
    Errors:   IndexError for a target out of bounds
    Numerics: (input - max) - log(sum(exp(input - max))): small losses keep their digits
    Source:   torch.nn.functional.cross_entropy
    """
    reduction = reduction_of(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    dim = 0 if len(input._shape) == 1 else 1
    refuse_gradient("nll_loss_forward", weight=weight)
    if target._dtype.is_floating_point or tuple(target._shape) == tuple(input._shape) and len(input._shape) > 1:
        return probability_loss(log_softmax_of(input, dim), target, weight, reduction, label_smoothing, dim)
    if not label_smoothing:
        of = cross_entropy2d_of if len(input._shape) > 2 else cross_entropy_of
        return of(input, target, weight, ignore_index, reduction)[0]
    logp = log_softmax_of(input, dim)
    loss = nll_loss(logp, target, weight, ignore_index=ignore_index, reduction=reduction)
    smooth = smoothed(logp, target, weight, ignore_index, reduction, dim)
    return loss * (1 - label_smoothing) + smooth * (label_smoothing / input._shape[dim])


def smoothed(logp, target, weight, ignore_index: int, reduction: str, dim: int):
    """The loss of all classes alike."""
    keep = target != ignore_index
    if weight is None:
        smooth = -logp.sum(dim)
        count = keep.to(logp._dtype)
    else:
        shape = [1] * len(logp._shape)
        shape[dim] = logp._shape[dim]
        smooth = -(logp * weight.reshape(shape)).sum(dim)
        safe = target.masked_fill(~keep, 0)
        count = weight.index_select(0, safe.reshape(-1)).reshape(target._shape) * keep.to(weight._dtype)
    smooth = smooth.masked_fill(~keep, 0.0)
    return smooth.sum() / count.sum() if reduction == "mean" else reduced(smooth, reduction)


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
