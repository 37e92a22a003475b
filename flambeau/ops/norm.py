"""Normalisation: batch_norm, layer_norm, group_norm, instance_norm, rms_norm, local_response_norm."""

from __future__ import annotations

import math

from flambeau.codegen.target import l2_bytes
from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import norm_kernels as K
from flambeau.ops.by_geometry import Lying, by_geometry, given, unpacked
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.runtime import calls
from flambeau.runtime.threads import get_num_threads

F = {"function": False, "method": False, "functional": True}
WORK = 16384


def stat_dtype(d):
    """Statistics are float32 for half precisions, else of the input's dtype."""
    return dt.float64 if d is dt.float64 else dt.float32


# rows: layer norm, group norm, RMS norm -----------------------------------------------------------
def rows_backward(g, x, mean, rstd, w, n: int, period: int, span: int, centred: bool, has_bias: bool, affine: bool):
    """(gx, gw, gb); the last two as sums over fixed chunks of rows, so they do not depend on threads."""
    if not (g._dense and x._dense and (w is None or w._dense)):
        g, x, w = g.contiguous(), x.contiguous(), w if w is None else w.contiguous()
    gx, gw, gb = row_gradients(g, x, mean, rstd, w, n, period, span, centred, has_bias, affine)
    out_w = gw.sum(0).to(w._dtype) if affine and w is not None else None
    return gx, out_w, gb.sum(0).to(g._dtype) if affine and has_bias else None


@by_geometry
def row_gradients(g, x, mean, rstd, w, n: int, period: int, span: int, centred: bool, has_bias: bool, affine: bool):
    """(gx, and of each chunk of rows the sums that gw and gb are made of), of contiguous tensors."""
    d = mean._dtype
    rows = x._numel // n if n else 0
    chunk = max(1, -(-rows // 32))
    tasks = -(-rows // chunk)
    part = hooks.dense((tasks, n // span * period), d)
    k = K.norm_rows_backward((x._dtype, d, d, g._dtype, x._dtype, d, d, d if w is None else w._dtype), centred=centred,
                             weight=w is not None, bias=has_bias, affine=affine, plain=span == 1 and period == 1)  # fmt: skip
    operands = [*map(calls.operand, range(4)), calls.operand(1 if w is None else 4)]
    launch = (k, tasks, max(1, WORK // max(1, n * chunk)), (*map(calls.out, range(3)), *operands, n, rows, chunk, period, span))
    return calls.bind((hooks.dense(tuple(x._shape), x._dtype), part, part), 4 if w is None else 5, 0, [launch])


def normal_rows(x, n: int, eps: float, centred: bool):
    """The normalised rows by ordinary operations (for higher derivatives)."""
    flat = x.reshape(-1, n)
    if centred:
        flat = flat - flat.mean(1, keepdim=True)
    return flat * ((flat * flat).mean(1, keepdim=True) + eps).rsqrt()


def affine(xh, shape, w, b, period: int, span: int):
    """xh * w + b with the row kernels' parameter layout, by ordinary operations."""
    n = xh._shape[1]
    if w is None and b is None:
        return xh.reshape(shape)
    y = xh.reshape(-1, period, n // span, span)
    if w is not None:
        y = y * w.reshape(period, n // span, 1)
    if b is not None:
        y = y + b.reshape(period, n // span, 1)
    return y.reshape(shape)


@op(KERNEL, function=False, method=False, node="NativeLayerNormBackward0")
@by_geometry
def norm_over_rows(input, weight, bias, n, eps, period, span, centred):
    """(y, mean, rstd): rows of n normalised, scaled and shifted; the basis of layer, group and RMS norm."""
    d, tensors = stat_dtype(input._dtype), [t for t in (input, weight, bias) if t is not None]
    rows = input._numel // n if n else 0
    launches = []
    if input._numel:
        wd, bd = (d if t is None else t._dtype for t in (weight, bias))
        x, y, mean, rstd = calls.operand(0), *map(calls.out, range(3))
        w, b = x if weight is None else calls.operand(1), x if bias is None else calls.operand(len(tensors) - 1)
        k = K.norm_rows((input._dtype, d, d, input._dtype, wd, bd), centred=centred, weight=weight is not None, bias=bias is not None)
        launches = [(k, rows, max(1, WORK // max(1, n)), (y, mean, rstd, x, w, b, n, float(eps), period, span))]
    outs = (hooks.dense(tuple(input._shape), input._dtype), *[hooks.dense((rows,), d)] * 2)
    call = calls.bind(outs, len(tensors), 0, launches)
    if all(t._dense for t in tensors):
        return call
    return lambda *tensors: call(*[t.contiguous() for t in tensors])


@norm_over_rows.vjp("input", "weight", "bias")
def _(gs, input, weight, bias, n, eps, period, span, centred, result1, result2, needs):
    g = gs[0]
    if g is None:
        return None, None, None
    if g.requires_grad or input.requires_grad and hooks.recording():
        return norm_rows_graph(g, input, weight, bias, n, eps, period, span, centred, needs)
    wants = needs["weight"] or needs["bias"]
    return rows_backward(g, input, result1, result2, weight, n, period, span, centred, bias is not None, wants)


def norm_rows_graph(g, input, weight, bias, n, eps, period, span, centred, needs):
    """The same gradients in ordinary operations, so that they can be differentiated again."""
    xh = normal_rows(input, n, eps, centred)
    flat = input.reshape(-1, n)
    centre = flat - flat.mean(1, keepdim=True) if centred else flat
    rstd = ((centre * centre).mean(1, keepdim=True) + eps).rsqrt()
    gy = g.reshape(-1, n)
    scaled = affine(gy, (-1, n), weight, None, period, span)
    gx = scaled - xh * (scaled * xh).mean(1, keepdim=True)
    if centred:
        gx = gx - scaled.mean(1, keepdim=True)
    gx = (gx * rstd).reshape(input._shape)
    parts = (-1, period, n // span, span)
    gw = (gy * xh).reshape(parts).sum((0, 3)).reshape(weight._shape) if needs["weight"] else None
    gb = gy.reshape(parts).sum((0, 3)).reshape(bias._shape) if needs["bias"] else None
    return gx, gw, gb


@op(COMPOSITE, **F)
def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.

    Shapes:   (*, *normalized_shape) -> the same
    Numerics: two-pass variance in float32 (float64 for float64)
    Source:   Ba et al., 2016; torch.nn.functional.layer_norm
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    check_trailing("layer_norm", input, shape, weight, bias)
    n = math.prod(shape)
    if len(shape) > 1:
        weight, bias = (None if t is None else t.reshape(-1) for t in (weight, bias))
    return norm_over_rows(input, weight, bias, n, eps, 1, 1, True)[0]


def check_trailing(name: str, input, shape, weight, bias=None) -> None:
    """The input ends with `shape`, which the parameters have."""
    if not shape:
        raise RuntimeError(f"Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = {list(shape)}")
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t._shape) != shape:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape {list(t._shape)} and "
                f"normalized_shape = {list(shape)}"
            )
    if len(input._shape) < len(shape) or tuple(input._shape[len(input._shape) - len(shape) :]) != shape:
        wanted = ", ".join(["*", *map(str, shape)])
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [{wanted}], but got input of size"
            f"{list(input._shape)}"
        )
    if not input._dtype.is_floating_point:
        raise NotImplementedError(f"{name}: dtype {input._dtype} is not supported; use a floating dtype")


@op(COMPOSITE, functional=True, method=False)
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / sqrt(mean(x^2) + eps) * weight over the last dimensions; eps defaults to the dtype's epsilon.

    Source:   Zhang and Sennrich, 2019; torch.nn.functional.rms_norm
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    check_trailing("rms_norm", input, shape, weight)
    if eps is None:
        eps = {2: 0.0009765625, 4: 1.1920928955078125e-07, 8: 2.220446049250313e-16}[input._dtype.itemsize]
        eps = 0.0078125 if input._dtype is dt.bfloat16 else eps
    w = None if weight is None else weight.reshape(-1)
    return norm_over_rows(input, w, None, math.prod(shape), eps, 1, 1, False)[0]


@op(COMPOSITE, functional=True, method=False)
def group_norm(input, num_groups, weight=None, bias=None, eps=1e-05):
    """layer_norm over groups of channels, with an affine map per channel.

    Shapes:   (n, c, *) -> the same; c divisible by num_groups
    Source:   Wu and He, 2018; torch.nn.functional.group_norm
    """
    if len(input._shape) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(input._shape)}")
    n, c = input._shape[:2]
    if c % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input._shape)} and num_groups={num_groups}"
        )
    plane = math.prod(input._shape[2:])
    row = c // num_groups * plane
    if plane == 1 and num_groups == 1:
        return norm_over_rows(input, weight, bias, row, eps, 1, 1, True)[0]
    return norm_over_rows(input, weight, bias, row, eps, num_groups, plane, True)[0]


# channels: batch norm -----------------------------------------------------------------------------
def planes(x):
    """(images, channels, length, strides) of an (n, c, *) tensor whose positions are evenly spaced, else None."""
    n, c = x._shape[:2]
    length = math.prod(x._shape[2:])
    sizes, (st,) = S.coalesce(tuple(x._shape[2:]), (tuple(x._strides[2:]),)) if len(x._shape) > 2 else ((1,), ((1,),))
    if len(sizes) > 1:
        return None
    return n, c, length, (x._strides[0], x._strides[1], st[0] if length > 1 else 1)


def by_columns(x) -> bool:
    """Channels are adjacent in memory (2-d input, channels_last): statistics go along columns."""
    n, c, length, (sn, sc, sl) = planes(x)
    return sc == 1 and c > 1 and (length == 1 or sl == c and sn == c * length) and c >= 4


def statistics(x):
    """(mean, biased variance) per channel."""
    d = stat_dtype(x._dtype)
    n, c, length, (sn, sc, sl) = planes(x)
    mean, var = hooks.empty((c,), d), hooks.empty((c,), d)
    if by_columns(x):
        k = K.column_stats((d, d, x._dtype))
        k(c, max(1, WORK // (n * length)), mean._ptr, var._ptr, x._ptr, n * length, sn if length == 1 else c)
    else:
        k = K.channel_stats((d, d, x._dtype), unit=sl == 1)
        k(c, max(1, WORK // max(1, n * length)), mean._ptr, var._ptr, x._ptr, n, length, sn, sc, sl)
    return mean, var


def scale_shift(x, scale, shift):
    """x * scale[c] + shift[c] in x's layout."""
    y = hooks.empty_strided(x._shape, x._strides if S.is_dense(tuple(x._shape), x._strides) else
                            S.contiguous_strides(x._shape), x._dtype)  # fmt: skip
    n, c, length, xs = planes(x)
    _, _, _, ys = planes(y)
    k = K.channel_apply((y._dtype, x._dtype, scale._dtype, scale._dtype), unit=xs[2] == ys[2] == 1)
    k(n * c, max(1, WORK // length), y._ptr, x._ptr, scale._ptr, shift._ptr, c, length, *xs, *ys)
    return y


@op(KERNEL, function=False, method=False, node="NativeBatchNormBackward0")
@by_geometry
def batch_norm_stats(input, weight, bias, mean, var, training, eps):
    """(y, rstd): normalised by the batch's statistics (training) or the given ones."""
    d, affine = stat_dtype(input._dtype), [t for t in (weight, bias) if t is not None]
    if planes(input) is None or not input._numel or any(t._dtype is not d or not t._dense for t in (*affine, mean, var)):
        there = given((input, weight, bias, mean, var))
        return lambda *tensors: batch_norm_steps(*unpacked(tensors, there), eps)
    n, c, length, xs = planes(input)
    strides = input._strides if S.is_dense(tuple(input._shape), input._strides) else S.contiguous_strides(input._shape)
    y = hooks.geometry(input._shape, strides, input._dtype)
    ys = planes(Lying(input._shape, strides))[3]
    out, rstd, scale, shift = calls.out(0), calls.out(1), calls.room(0), calls.room(1)
    k = len(affine) + 1
    m, v = calls.operand(k), calls.operand(k + 1)
    w = m if weight is None else calls.operand(1)
    b = m if bias is None else calls.operand(k - 1)
    scales = K.channel_scale((d,) * 7, weight=weight is not None, bias=bias is not None)
    apply = K.channel_apply((input._dtype, input._dtype, d, d), unit=xs[2] == ys[2] == 1)
    launches = [
        (scales, c, WORK, (scale, shift, rstd, m, v, w, b, float(eps))),
        (apply, n * c, max(1, WORK // length), (out, calls.operand(0), scale, shift, c, length, *xs, *ys)),
    ]
    return calls.bind((y, hooks.dense((c,), d)), k + 2, 0, launches, (c * d.itemsize,) * 2)


def batch_norm_steps(input, weight, bias, mean, var, eps):
    """batch_norm_stats step by step, for any layout and dtypes."""
    x = input if planes(input) is not None else input.contiguous()
    d = stat_dtype(x._dtype)
    rstd = (var.to(d) + eps).rsqrt()
    scale = rstd if weight is None else rstd * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    return scale_shift(x, scale.to(d), shift.to(d)) if x._numel else x.clone(), rstd


@batch_norm_stats.vjp("input", "weight", "bias")
def _(gs, input, weight, bias, mean, training, eps, result1, needs):
    g = gs[0]
    if g.requires_grad or hooks.recording():
        return batch_norm_graph(g, input, weight, bias, mean, result1, training, eps, needs)
    return batch_norm_backward(g, input, weight, mean, result1, training, needs)


def batch_norm_backward(g, input, weight, mean, rstd, training: bool, needs):
    """gx = w rstd (g - sum(g) / N - xhat sum(g xhat) / N), as one affine map of g and x per channel."""
    x = input if planes(input) is not None else input.contiguous()
    g = g if planes(g) is not None else g.contiguous()
    d = mean._dtype
    n, c, length, xs = planes(x)
    _, _, _, gst = planes(g)
    gsum, hsum = hooks.empty((c,), d), hooks.empty((c,), d)
    columns, unit = by_columns(x) and by_columns(g), xs[2] == gst[2] == 1
    near = n * length * (x._dtype.itemsize + g._dtype.itemsize) <= l2_bytes() // 2
    if training and needs["input"] and near and not columns and c >= 2 * get_num_threads() and (weight is None or weight._dtype is d):
        gx = hooks.empty_strided(x._shape, x._strides, x._dtype)
        k = K.channel_grad((gx._dtype, d, d, g._dtype, x._dtype, d, d, d), unit=unit, weight=weight is not None)
        w = mean if weight is None else weight.contiguous()
        k(c, max(1, WORK // max(1, n * length)), gx._ptr, gsum._ptr, hsum._ptr, g._ptr, x._ptr, mean._ptr, rstd._ptr, w._ptr, n, length,
          *xs, *gst)  # fmt: skip
        return gx, hsum if needs["weight"] else None, gsum if needs["bias"] else None
    if columns:
        k = K.column_grad_sums((d, d, g._dtype, x._dtype, d, d))
        k(c, max(1, WORK // (n * length)), gsum._ptr, hsum._ptr, g._ptr, x._ptr, mean._ptr, rstd._ptr, n * length,
          xs[0] if length == 1 else c, gst[0] if length == 1 else c)  # fmt: skip
    else:
        k = K.channel_grad_sums((d, d, g._dtype, x._dtype, d, d), unit=unit)
        k(c, max(1, WORK // max(1, n * length)), gsum._ptr, hsum._ptr, g._ptr, x._ptr, mean._ptr, rstd._ptr, n, length,
          *xs, *gst)  # fmt: skip
    gx = None
    if needs["input"]:
        a = rstd if weight is None else rstd * weight
        a = a.to(d)
        if training:
            count = n * length
            b = -a * rstd * hsum / count
            c0 = -a * gsum / count - b * mean
        else:
            b, c0 = a * 0, a * 0
        gx = hooks.empty_strided(x._shape, x._strides, x._dtype)
        k = K.channel_grad_apply((gx._dtype, g._dtype, x._dtype, d, d, d), unit=unit)
        k(n * c, max(1, WORK // length), gx._ptr, g._ptr, x._ptr, a._ptr, b._ptr, c0._ptr, c, length, *xs, *gst)
    return gx, hsum if needs["weight"] else None, gsum if needs["bias"] else None


def batch_norm_graph(g, input, weight, bias, mean, rstd, training: bool, eps, needs):
    """The same gradients in ordinary operations, so that they can be differentiated again."""
    dims = [0, *range(2, len(input._shape))]
    shape = [1, -1] + [1] * (len(input._shape) - 2)
    if training:
        m = input.mean(dims, keepdim=True)
        centre = input - m
        s = ((centre * centre).mean(dims, keepdim=True) + eps).rsqrt()
    else:
        centre, s = input - mean.reshape(shape), rstd.reshape(shape)
    xh = centre * s
    scaled = g if weight is None else g * weight.reshape(shape)
    gx = scaled
    if training:
        gx = gx - scaled.mean(dims, keepdim=True) - xh * (scaled * xh).mean(dims, keepdim=True)
    return gx * s, (g * xh).sum(dims) if needs["weight"] else None, g.sum(dims) if needs["bias"] else None


@op(COMPOSITE, **F)
def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-05):
    """(x - mean) / sqrt(var + eps) * weight + bias per channel, over batch and positions.

    Training uses (and folds into the running ones) the batch's statistics; otherwise the running ones serve.
    Shapes:   (n, c, *) -> the same
    Errors:   ValueError for one value per channel in training
    Source:   Ioffe and Szegedy, 2015; torch.nn.functional.batch_norm
    """
    if training:
        count = input._numel // max(1, input._shape[1]) if len(input._shape) > 1 else input._numel
        if count == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
    check_channels("batch_norm", input, running_mean, running_var, weight, bias)
    if not training:
        return batch_norm_stats(input, weight, bias, running_mean, running_var, False, eps)[0]
    x = input.detach()
    x = x if planes(x) is not None else x.contiguous()
    mean, var = statistics(x) if x._numel else (x.new_zeros(x._shape[1]), x.new_zeros(x._shape[1]))
    if running_mean is not None:
        n = x._numel / max(1, x._shape[1])
        fold(running_mean, mean, momentum, 1.0)
        fold(running_var, var, momentum, n / (n - 1) if n > 1 else 1.0)
    return batch_norm_stats(input, weight, bias, mean, var, True, eps)[0]


def fold(running, now, momentum: float, factor: float) -> None:
    """running = (1 - momentum) * running + momentum * factor * now, unrecorded."""
    kept = running.detach()
    kept.mul_(1 - momentum).add_(now.to(kept._dtype), alpha=momentum * factor)


def check_channels(name: str, input, *params) -> None:
    """At least 2 dims, and parameters of one element per channel."""
    if len(input._shape) < 2:
        raise RuntimeError(f"{name}: expected input with at least 2 dims (n, c, ...), got {list(input._shape)}")
    c = input._shape[1]
    for i, t in enumerate(params):
        if t is not None and t._numel != c:
            what = ("running_mean", "running_var", "weight", "bias")[i]
            raise RuntimeError(f"{what} should contain {c} elements not {t._numel}")
    if not input._dtype.is_floating_point:
        raise NotImplementedError(f"{name}: dtype {input._dtype} is not supported; use a floating dtype")


@op(COMPOSITE, **F)
def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True,
                  momentum=0.1, eps=1e-05):  # fmt: skip
    """batch_norm of every image by itself.

    Source:   Ulyanov et al., 2016; torch.nn.functional.instance_norm
    """
    n, c = input._shape[:2]
    if use_input_stats:
        plane = math.prod(input._shape[2:])
        if plane == 1:
            raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
        y = norm_over_rows(input, weight, bias, plane, eps, c, plane, True)
        if running_mean is not None:
            x = input.detach().reshape(n, c, -1)
            fold(running_mean, x.mean(2).mean(0), momentum, 1.0)
            fold(running_var, x.var(2).mean(0), momentum, 1.0)
        return y[0]
    return batch_norm_stats(input, weight, bias, running_mean, running_var, False, eps)[0]


@op(COMPOSITE, **F)
def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels) ** beta.

    Source:   Krizhevsky et al., 2012; torch.nn.functional.local_response_norm
    """
    dim = len(input._shape)
    if dim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {dim} dimensions)")
    if input._numel == 0:
        return input
    from flambeau.ops.join import constant_pad_nd

    square = (input * input).movedim(1, -1)
    padded = constant_pad_nd(square, [size // 2, (size - 1) // 2], 0)
    mean = padded.unfold(-1, size, 1).mean(-1).movedim(-1, 1)
    return input / (mean * alpha + k) ** beta
