"""Pooling: max, average, adaptive, lp, fractional, and their inverses. Kernels: pool_kernels.py."""

from __future__ import annotations

import functools
import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir.kernel import compute_dtype
from flambeau.ops import pool_kernels as K
from flambeau.ops.by_geometry import by_geometry
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.tiles import per_thread
from flambeau.runtime import calls, memory
from flambeau.runtime.threads import get_num_threads, within

F = {"function": False, "method": False, "functional": True}
HIDDEN = {"function": False, "method": False}
WORK = 8192


def sizes(name: str, what: str, v, dims: int) -> tuple:
    """A per-dimension argument as `dims` ints."""
    found = S.per_dim(v, dims)
    if found is None:
        raise RuntimeError(f"{name}: {what} must either be a single int, or a tuple of {dims} ints, got {tuple(v)}")
    return found


def three(v, fill: int) -> tuple:
    return (fill,) * (3 - len(v)) + tuple(v)


def check_input(name: str, shape: tuple, dims: int) -> None:
    """(c, *) or (n, c, *) with non-empty positions."""
    n = len(shape)
    if n not in (dims + 1, dims + 2) or 0 in shape[n - dims - (1 if n == dims + 2 else 0) :]:
        raise RuntimeError(
            f"{name}: Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with optional 0 dim batch size for input, "
            f"but got: {list(shape)}"
        )


def out_size(n: int, k: int, stride: int, pad: int, dilation: int, ceil: bool) -> int:
    """Windows along one dimension; with ceil, the last must start inside the input or its left padding."""
    top = n + 2 * pad - dilation * (k - 1) - 1
    out = (top + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (out - 1) * stride >= n + pad:
        out -= 1
    return out


def window(name: str, input, dims: int, *arguments):
    """(kernel, stride, padding, dilation, output sizes), all checked."""
    if list in map(type, arguments):
        arguments = tuple([tuple(a) if a.__class__ is list else a for a in arguments])
    return window_of(name, tuple(input._shape), dims, *arguments)


@functools.lru_cache(maxsize=1024, typed=True)
def window_of(name: str, shape: tuple, dims: int, kernel_size, stride, padding, dilation, ceil_mode: bool):
    check_input(name, shape, dims)
    k = sizes(name, "kernel_size", kernel_size, dims)
    s = k if stride is None or stride == () else sizes(name, "stride", stride, dims)
    p, d = sizes(name, "padding", padding, dims), sizes(name, "dilation", dilation, dims)
    if any(a <= 0 for a in k):
        raise RuntimeError(f"kernel size should be greater than zero, but got kernel_size={list(k)} ({name})")
    if any(a <= 0 for a in s):
        raise RuntimeError(f"stride should not be zero, got stride={list(s)} ({name})")
    if any(a <= 0 for a in d):
        raise RuntimeError(f"dilation should be greater than zero, but got dilation={list(d)} ({name})")
    if any(a < 0 for a in p):
        raise RuntimeError(f"pad must be non-negative, but got pad: {min(p)} ({name})")
    for a, b, c in zip(p, k, d, strict=True):
        if a > ((b - 1) * c + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={a}, kernel_size={b} and dilation={c}"
            )
    out = tuple(
        out_size(n, *rest, ceil_mode) for n, *rest in zip(shape[-dims:], k, s, p, d, strict=True)
    )
    if any(n < 1 for n in out):
        raise RuntimeError(
            f"Given input size: ({'x'.join(map(str, shape[-dims - 1 :]))}). Calculated output size: "
            f"({'x'.join(map(str, (shape[-dims - 1], *out)))}). Output size is too small"
        )
    return k, s, p, d, out


# max ----------------------------------------------------------------------------------------------
@by_geometry
def max_forward(input, dims: int, k, s, p, d, out, indices: bool):
    """Maxima of windows, and with `indices` their positions."""
    shape, e = (*input._shape[:-dims], *out), input._dtype
    outs = (hooks.dense(shape, e), hooks.dense(shape, dt.int64)) if indices else (hooks.dense(shape, e),)
    launches = []
    if 0 not in shape:
        clear, extent, grain, walk = max_walk(tuple(input._shape), dims, k, s, p, d, out)
        kernel = K.max_pool((e, dt.int64, e), indices=indices, clear=clear)
        launches = [(kernel, extent, grain, (calls.out(), calls.out(int(indices)), calls.operand(0), *walk))]
    call = calls.bind(outs, 1, 0, launches)
    return call if input._dense else lambda x: call(x.contiguous())


def max_walk(shape: tuple, dims: int, k, s, p, d, out) -> tuple:
    """(no window leaves the input, launch extent, grain, the kernel's sizes)."""
    sizes = shape[-dims:]
    reach = [(o - 1) * b + (a - 1) * c + 1 - q for o, a, b, c, q in zip(out, k, s, d, p, strict=True)]
    clear = all(q == 0 for q in p) and all(r <= n for r, n in zip(reach, sizes, strict=True))
    o3 = three(out, 1)
    walk = (*three(sizes, 1), *o3, *three(k, 1), *three(s, 1), *three(p, 0), *three(d, 1))
    return clear, math.prod(shape[:-dims]) * o3[0] * o3[1], max(1, WORK // (o3[2] * math.prod(k))), walk


@op(KERNEL, **HIDDEN, node="MaxPool2DWithIndicesBackward0")
def max_pool_of(input, dims, kernel_size, stride, padding, dilation, out):
    """(maxima, positions) of windows; see `max_pool2d`."""
    return max_forward(input, dims, kernel_size, stride, padding, dilation, out, True)


@op(KERNEL, **HIDDEN)
@by_geometry
def max_pool_backward(grad, where, input_shape, dims):
    """grad put (added) at the positions the maxima came from."""
    d, gx = grad._dtype, hooks.dense(tuple(input_shape), grad._dtype)
    launches = [(memory.fill(), gx[-1], memory.FILL_GRAIN, (calls.out(),))]
    if grad._numel:
        size, count = math.prod(input_shape[-dims:]), math.prod(grad._shape[-dims:])
        args = (calls.out(), calls.operand(0), calls.operand(1), size, count)
        launches.append((K.unpool_add((d, d, dt.int64)), grad._numel // count, max(1, WORK // count), args))
    call = calls.bind((gx,), 2, 0, launches)
    return call if grad._dense and where._dense else lambda g, w: call(g.contiguous(), w.contiguous())


max_pool_of.derivative(
    input=lambda gs, result1, input_shape, dims: max_pool_backward(gs[0], result1, tuple(input_shape), dims)
)
max_pool_backward.derivative(grad=lambda g, where, dims: pick(g, where, dims))


def pick(g, where, dims: int):
    """g at flat plane positions."""
    flat = g.reshape((*g._shape[:-dims], -1))
    at = where.reshape((*where._shape[:-dims], -1))
    return flat.gather(-1, at).reshape(where._shape)


def max_pool(name: str, dims: int, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    """max_poolNd and max_poolNd_with_indices."""
    k, s, p, d, out = window(name, input, dims, kernel_size, stride, padding, dilation, ceil_mode)
    if not return_indices and not (hooks.recording() and input._requires_grad):
        return max_forward(input, dims, k, s, p, d, out, False)
    y, where = max_pool_of(input, dims, k, s, p, d, out)
    return (y, where) if return_indices else y


@op(COMPOSITE, functional=True, method=False)
def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest value in each window.

    Source:   torch.nn.functional.max_pool1d
    """
    return max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@op(COMPOSITE, functional=True, method=False)
def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest value in each window (and, with return_indices, its position in the plane).

    Shapes:   (n, c, h, w) or (c, h, w) -> (..., oh, ow), oh = (h + 2 padding - dilation (k - 1) - 1) / stride + 1
    Source:   torch.nn.functional.max_pool2d
    """
    return max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@op(COMPOSITE, functional=True, method=False)
def max_pool3d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest value in each window of a volume.

    Source:   torch.nn.functional.max_pool3d
    """
    return max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def with_indices(dims: int):
    """max_poolNd_with_indices."""
    name = f"max_pool{dims}d_with_indices"

    def fn(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=True):
        return max_pool(name, dims, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"max_pool{dims}d together with the positions of the maxima.\n\n    Source:   torch.nn.functional.{name}\n    "
    return op(COMPOSITE, **F)(fn)


max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = map(with_indices, (1, 2, 3))


def unpool(dims: int):
    """max_unpoolNd."""
    name = f"max_unpool{dims}d"

    def fn(input, indices, kernel_size, stride=None, padding=0, output_size=None):
        k = sizes(name, "kernel_size", kernel_size, dims)
        s = k if stride is None else sizes(name, "stride", stride, dims)
        p = sizes(name, "padding", padding, dims)
        if tuple(indices._shape) != tuple(input._shape):
            raise RuntimeError(
                f"Expected shape of indices to be same as that of the input tensor ({list(input._shape)}) but got indices "
                f"tensor with shape: {list(indices._shape)}"
            )
        default = [(n - 1) * b - 2 * q + a for n, a, b, q in zip(input._shape[-dims:], k, s, p, strict=True)]
        out = default if output_size is None else list(output_size)[-dims:]
        for want, have, step in zip(out, default, s, strict=True):
            if not have - step < want < have + step:
                raise ValueError(
                    f'invalid output_size "{tuple(out)}" (each dim must be between the default size minus and plus the '
                    f"stride, {default})"
                )
        size = math.prod(out)
        flat, at = input.reshape((*input._shape[:-dims], -1)), indices.reshape((*input._shape[:-dims], -1))
        if at._numel and (at.min().item() < 0 or at.max().item() >= size):
            raise RuntimeError(f"Found an invalid max index: {at.max().item()} (output volumes are of size {'x'.join(map(str, out))}")
        zeros = flat.new_zeros((*flat._shape[:-1], size))
        return zeros.scatter(-1, at, flat).reshape((*input._shape[:-dims], *out))

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"The inverse of max_pool{dims}d: values at their positions, 0 elsewhere.\n\n    Source:   torch.nn.functional.{name}\n    "
    return op(COMPOSITE, **F)(fn)


max_unpool1d, max_unpool2d, max_unpool3d = map(unpool, (1, 2, 3))


# average ------------------------------------------------------------------------------------------
@op(KERNEL, **HIDDEN, node="AvgPool2DBackward0")
def avg_pool_of(input, dims, kernel_size, stride, padding, out, include, divisor):
    """Means of windows; see `avg_pool2d`."""
    x = input.contiguous()
    y = hooks.empty((*x._shape[:-dims], *out), x._dtype)
    if y._numel:
        o3 = three(out, 1)
        k = K.avg_pool((y._dtype, x._dtype), include=include)
        work = o3[2] * math.prod(kernel_size)
        k(math.prod(x._shape[:-dims]) * o3[0] * o3[1], max(1, WORK // work), y._ptr, x._ptr,
          *three(x._shape[-dims:], 1), *o3, *three(kernel_size, 1), *three(stride, 1), *three(padding, 0), divisor)  # fmt: skip
    return y


@op(KERNEL, **HIDDEN)
def avg_pool_backward(grad, input_shape, dims, kernel_size, stride, padding, include, divisor):
    """grad / count spread over the windows."""
    gx = grad.new_zeros(tuple(input_shape))
    if grad._numel:
        g = grad.contiguous()
        k = K.avg_pool_backward((gx._dtype, g._dtype), include=include)
        work = math.prod(g._shape[-dims:]) * math.prod(kernel_size)
        k(math.prod(input_shape[:-dims]), max(1, WORK // work), gx._ptr, g._ptr, *three(input_shape[-dims:], 1),
          *three(g._shape[-dims:], 1), *three(kernel_size, 1), *three(stride, 1), *three(padding, 0), divisor)  # fmt: skip
    return gx


avg_pool_of.derivative(
    input=lambda g, input_shape, dims, kernel_size, stride, padding, include, divisor: avg_pool_backward(
        g, tuple(input_shape), dims, kernel_size, stride, padding, include, divisor)
)  # fmt: skip
avg_pool_backward.derivative(
    grad=lambda g, grad_shape, dims, kernel_size, stride, padding, include, divisor: avg_pool_of(
        g, dims, kernel_size, stride, padding, tuple(grad_shape)[-dims:], include, divisor)
)  # fmt: skip


def average(name: str, dims: int, input, kernel_size, stride, padding, ceil_mode, include, divisor):
    """avg_poolNd."""
    k, s, p, _, out = window(name, input, dims, kernel_size, stride, padding, 1, ceil_mode)
    if divisor is not None and divisor == 0:
        raise RuntimeError("divisor must be not zero")
    return avg_pool_of(input, dims, k, s, p, out, bool(include), divisor or 0)


@op(COMPOSITE, functional=True, method=False)
def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window.

    Source:   torch.nn.functional.avg_pool1d
    """
    return average("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@op(COMPOSITE, **F)
def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):  # fmt: skip
    """The mean of each window; the padding's zeros count unless count_include_pad is False.

    Source:   torch.nn.functional.avg_pool2d
    """
    return average("avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@op(COMPOSITE, **F)
def avg_pool3d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):  # fmt: skip
    """The mean of each window of a volume.

    Source:   torch.nn.functional.avg_pool3d
    """
    return average("avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


# adaptive -----------------------------------------------------------------------------------------
def adaptive_size(name: str, input, dims: int, output_size) -> tuple:
    """Output sizes, None standing for the input's."""
    check_input(name, tuple(input._shape), dims)
    v = (output_size,) * dims if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(v) != dims:
        raise RuntimeError(f"{name}: output_size must be {dims}, got {v}")
    out = tuple(n if a is None else int(a) for a, n in zip(v, input._shape[-dims:], strict=True))
    if any(a < 0 for a in out):
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {list(out)}")
    return out


def rows_of_sums(width: int, acc, grain: int) -> tuple:
    """(scratch memory for a row of each thread, how many elements one takes there, the grain for so many threads)."""
    room, threads = per_thread(width, acc), get_num_threads()
    return memory.allocate(room * threads * acc.itemsize), room, within(grain, threads)


@op(KERNEL, **HIDDEN, node="AdaptiveAvgPool2DBackward0")
def adaptive_avg_of(input, dims, out):
    """Means of adaptive windows; see `adaptive_avg_pool2d`."""
    x = input.contiguous()
    y = hooks.empty((*x._shape[:-dims], *out), x._dtype)
    if y._numel:
        o3 = three(out, 1)
        acc = compute_dtype(x._dtype)
        work = max(1, x._numel // max(1, math.prod(x._shape[:-dims]) * o3[0] * o3[1]))
        columns, room, grain = rows_of_sums(x._shape[-1], acc, max(1, WORK // work))
        k = K.adaptive_avg((y._dtype, x._dtype, acc))
        k(math.prod(x._shape[:-dims]) * o3[0] * o3[1], grain, y._ptr, x._ptr,
          columns.ptr, room, *three(x._shape[-dims:], 1), *o3)  # fmt: skip
    return y


@op(KERNEL, **HIDDEN)
def adaptive_avg_backward(grad, input_shape, dims):
    """grad / count spread over the adaptive windows."""
    if not grad._numel:
        return grad.new_zeros(input_shape)
    g, gx = grad.contiguous(), hooks.empty(input_shape, grad._dtype)
    acc, work = compute_dtype(g._dtype), max(1, math.prod(input_shape[-dims:]))
    columns, room, grain = rows_of_sums(input_shape[-1], acc, max(1, WORK // work))
    k = K.adaptive_avg_backward((gx._dtype, g._dtype, acc))
    k(math.prod(input_shape[:-dims]), grain, gx._ptr, g._ptr,
      columns.ptr, room, *three(input_shape[-dims:], 1), *three(g._shape[-dims:], 1))  # fmt: skip
    return gx


adaptive_avg_of.derivative(
    input=lambda g, input_shape, dims: adaptive_avg_backward(g, tuple(input_shape), dims)
)
adaptive_avg_backward.derivative(
    grad=lambda g, grad_shape, dims: adaptive_avg_of(g, dims, tuple(grad_shape)[-dims:])
)


@op(KERNEL, **HIDDEN, node="AdaptiveMaxPool2DBackward0")
def adaptive_max_of(input, dims, out):
    """(maxima, positions) of adaptive windows."""
    x = input.contiguous()
    y = hooks.empty((*x._shape[:-dims], *out), x._dtype)
    where = hooks.empty(y._shape, dt.int64)
    if y._numel:
        o3 = three(out, 1)
        k = K.adaptive_max((y._dtype, dt.int64, x._dtype))
        k(math.prod(x._shape[:-dims]) * o3[0] * o3[1], 64, y._ptr, where._ptr, x._ptr, *three(x._shape[-dims:], 1), *o3)
    return y, where


adaptive_max_of.derivative(
    input=lambda gs, result1, input_shape, dims: max_pool_backward(gs[0], result1, tuple(input_shape), dims)
)


def adaptive(dims: int):
    """adaptive_avg_poolNd, adaptive_max_poolNd, adaptive_max_poolNd_with_indices."""

    def avg(input, output_size):
        out = adaptive_size(f"adaptive_avg_pool{dims}d", input, dims, output_size)
        if all(n == 1 for n in out) and input._numel:  # the mean over all positions, with PyTorch's node
            return input.mean(tuple(range(-dims, 0)), keepdim=True)
        return adaptive_avg_of(input, dims, out)

    def maximum(input, output_size, return_indices=False):
        y, where = adaptive_max_of(input, dims, adaptive_size(f"adaptive_max_pool{dims}d", input, dims, output_size))
        return (y, where) if return_indices else y

    def both(input, output_size, return_indices=True):
        return adaptive_max_of(input, dims, adaptive_size(f"adaptive_max_pool{dims}d", input, dims, output_size))

    made = []
    for fn, name, doc in (
        (avg, f"adaptive_avg_pool{dims}d", "The mean over each of output_size windows that tile the input."),
        (maximum, f"adaptive_max_pool{dims}d", "The largest value in each of output_size windows that tile the input."),
        (both, f"adaptive_max_pool{dims}d_with_indices", "adaptive max pooling together with the positions."),
    ):
        fn.__name__ = fn.__qualname__ = name
        fn.__doc__ = f"{doc}\n\n    Source:   torch.nn.functional.{name}\n    "
        made.append(op(COMPOSITE, **F)(fn))
    return made


(adaptive_avg_pool1d, adaptive_max_pool1d, adaptive_max_pool1d_with_indices) = adaptive(1)
(adaptive_avg_pool2d, adaptive_max_pool2d, adaptive_max_pool2d_with_indices) = adaptive(2)
(adaptive_avg_pool3d, adaptive_max_pool3d, adaptive_max_pool3d_with_indices) = adaptive(3)


# lp and fractional --------------------------------------------------------------------------------
def power_pool(dims: int):
    """lp_poolNd."""
    name = f"lp_pool{dims}d"
    pool = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}[dims]

    def fn(input, norm_type, kernel_size, stride=None, ceil_mode=False):
        k = math.prod(sizes(name, "kernel_size", kernel_size, dims))
        means = pool(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        return (means.sign() * means.abs().relu() * k).pow(1.0 / norm_type)

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"(sum of x^p over each window)^(1/p), p = norm_type.\n\n    Source:   torch.nn.functional.{name}\n    "
    return op(COMPOSITE, **F)(fn)


lp_pool1d, lp_pool2d, lp_pool3d = map(power_pool, (1, 2, 3))


def fractional_starts(sample: float, n: int, out: int, k: int) -> list[int]:
    """Window starts of fractional pooling along one dimension (Graham, 2014, as PyTorch numbers them)."""
    if out == 1:
        return [n - k]
    alpha = (n - k) / (out - 1)
    return [int((i + sample) * alpha) - int(sample * alpha) for i in range(out - 1)] + [n - k]


def fractional(dims: int):
    """fractional_max_poolNd and its form with indices."""
    name = f"fractional_max_pool{dims}d"

    def run(input, kernel_size, output_size, output_ratio, return_indices, samples):
        k = sizes(name, "kernel_size", kernel_size, dims)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
        if output_size is None:
            ratio = (output_ratio,) * dims if isinstance(output_ratio, float) else tuple(output_ratio)
            output_size = [int(n * r) for n, r in zip(input._shape[-dims:], ratio, strict=True)]
        out = sizes(name, "output_size", output_size, dims)
        single = len(input._shape) == dims + 1
        x = input.unsqueeze(0) if single else input
        n, c = x._shape[:2]
        if samples is None:
            from flambeau import ops

            samples = ops.rand(n, c, dims, dtype=x._dtype, device=x.device)
        for size, a, o in zip(x._shape[-dims:], k, out, strict=True):
            if o + a - 1 > size:
                raise RuntimeError(f"{name}(): out size {o} too large relative to input size {size} (kernel {a})")
        y, where = fractional_windows(x, k, out, samples.tolist(), dims)
        y, where = (y.squeeze(0), where.squeeze(0)) if single else (y, where)
        return (y, where) if return_indices else y

    def fn(input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None):
        return run(input, kernel_size, output_size, output_ratio, return_indices, _random_samples)

    def both(input, kernel_size, output_size=None, output_ratio=None, return_indices=True, _random_samples=None):
        return run(input, kernel_size, output_size, output_ratio, True, _random_samples)

    made = []
    for f, suffix in ((fn, ""), (both, "_with_indices")):
        f.__name__ = f.__qualname__ = name + suffix
        f.__doc__ = f"Max pooling over pseudo-random windows.\n\n    Source:   Graham, 2014; torch.nn.functional.{name}\n    "
        made.append(op(COMPOSITE, **F)(f))
    return made


def fractional_windows(x, k, out, samples, dims: int):
    """Gather every window by index and take the maximum over it."""
    import itertools

    import numpy as np

    n, c = x._shape[:2]
    size = x._shape[-dims:]
    at = np.empty((n, c, *out, math.prod(k)), np.int64)
    taps = list(itertools.product(*map(range, k)))
    for i, j in itertools.product(range(n), range(c)):
        # In two dimensions PyTorch takes the samples for the last dimension first, in three the other way round.
        order = range(dims) if dims == 3 else range(dims - 1, -1, -1)
        starts = [
            np.array(fractional_starts(samples[i][j][o], size[d], out[d], k[d])) for d, o in enumerate(order)
        ]
        for t, tap in enumerate(taps):
            flat = np.zeros((1,) * dims, np.int64)
            for d in range(dims):
                shape = [1] * dims
                shape[d] = -1
                flat = flat * size[d] + (starts[d] + tap[d]).reshape(shape)
            at[i, j, ..., t] = flat
    index = hooks.from_array(at.reshape(n, c, -1))
    windows = x.reshape(n, c, -1).gather(2, index).reshape((n, c, *out, math.prod(k)))
    best = windows.max(-1)
    where = index.reshape((n, c, *out, math.prod(k))).gather(-1, best[1].unsqueeze(-1)).squeeze(-1)
    return best[0], where


fractional_max_pool2d, fractional_max_pool2d_with_indices = fractional(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = fractional(3)
