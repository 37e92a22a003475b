"""softmax, log_softmax and their like: one pass over a row held in cache.

Geometry: the input is (outer, n, inner), reduced over n. inner = 1 has lanes along the row; otherwise lanes run
over inner and n is walked in order, so neighbouring rows are read together.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

WORK = 8192
WIDTH = 256  # columns a task works on: a row of them is a few cache lines, their sums stay in the first-level cache
AT_HAND = 8  # rows whose exponentials are taken while they are in that cache


@kernel
def softmax_rows(k, y: Ptr, x: Ptr, n: Int, *, log: bool):
    """y = softmax(x) (or its log) over contiguous rows of n."""
    d = x.compute
    with k.parallel() as r:
        row, out = x.at(r * n), y.at(r * n)
        short = E.where(n <= 4096, E.const(1, dt.int64), 0)  # the result's row fits the first-level cache beside the input's
        top = k.acc("max", d)
        with k.vector(n, unroll=4) as i:
            top.update(row[i])
        m = k.var(top.value)
        with k.if_(abs(m.get()) == math.inf):  # all -inf: avoid inf - inf; +inf must stay NaN-making
            with k.if_(m.get() < 0):
                m.set(0.0)
        m = m.get()
        total = k.acc("add", d)
        if log:
            with k.vector(n, unroll=2) as i:
                total.update(E.exp(row[i] - m))
                row.prefetch(n + i, level=2, lines=2)
                out.prefetch(i * short, write=True, lines=2)
            shift = E.log(total.value)
            with k.vector(n, unroll=2) as i:  # m off first: a sum m + shift would round away the small shift of a sure row
                out[i] = (row[i] - m) - shift
        elif x.dtype is d:
            with k.vector(n, unroll=2) as i:
                row.prefetch(n + i, level=2, lines=2)  # the next row, while there is work to do
                e = E.exp(row[i] - m)
                total.update(e)
                out[i] = e
            sums = k.var(total.value)
            with k.if_(n < 16):  # few enough to add in order, which gives PyTorch's last bit
                sums.set(0.0)
                with k.seq(n) as i:
                    sums.set(sums.get() + out[i])
            scale = 1 / sums.get()
            with k.vector(n, unroll=2) as i:
                out[i] = out[i] * scale
        else:  # half precision: keep the exponentials in float32 by computing them twice
            with k.vector(n) as i:
                total.update(E.exp(row[i] - m))
            scale = 1 / total.value
            with k.vector(n) as i:
                out[i] = E.exp(row[i] - m) * scale


@kernel
def softmax_columns(k, y: Ptr, x: Ptr, n: Int, inner: Int, blocks: Int, *, log: bool):
    """The same over the middle of (outer, n, inner): lanes over inner, in blocks of WIDTH.

    Memory is read twice, row by row: once for the maxima and sums (kept running, a few rows at a time, so that a row is
    still at hand when its exponentials are taken), once for the result.
    Source: M. Milakov, N. Gimelshein, Online normalizer calculation for softmax, 2018.
    """
    d = x.compute
    with k.parallel() as task:
        o = task // blocks
        lo = (task - o * blocks) * WIDTH
        wide = E.minimum(inner - lo, WIDTH)
        base = o * n * inner + lo
        src, out = x.at(base), y.at(base)
        tops, totals = k.local(WIDTH, d), k.local(WIDTH, d)
        with k.vector(wide) as j:
            tops[j] = E.const(-math.inf, d)
            totals[j] = E.const(0, d)
        with k.seq(0, n, AT_HAND) as first, k.vector(wide, unroll=2) as j:
            last = E.minimum(first + AT_HAND, n)
            old = tops[j]
            top, total = k.var(old, d), k.var(E.const(0, d), d)
            with k.seq(first, last) as i:
                top.set(E.maximum(top.get(), src[i * inner + j]))
            shift = finite(top.get())
            with k.seq(first, last) as i:
                total.set(total.get() + E.exp(src[i * inner + j] - shift))
            totals[j] = totals[j] * E.exp(old - shift) + total.get()
            tops[j] = top.get()
        with k.vector(wide) as j:
            tops[j] = finite(tops[j])
            totals[j] = E.log(totals[j]) if log else 1 / totals[j]
        with k.seq(n) as i, k.vector(wide, unroll=2) as j:
            v = src[i * inner + j] - tops[j]
            out[i * inner + j] = v - totals[j] if log else E.exp(v) * totals[j]


def finite(top):
    """A maximum, 0 where all is -inf: inf - inf is not what is wanted then."""
    return E.where(top == -math.inf, E.const(0, top.dtype), top)


@kernel
def softmax_backward_rows(k, gx: Ptr, g: Ptr, y: Ptr, n: Int, *, log: bool):
    """gx = y (g - sum(g y)), or g - exp(y) sum(g), over contiguous rows."""
    d = y.compute
    with k.parallel() as r:
        grow, yrow, out = g.at(r * n), y.at(r * n), gx.at(r * n)
        total = k.acc("add", d)
        with k.vector(n, unroll=2) as i:
            total.update(grow[i] if log else grow[i] * yrow[i])
        s = total.value
        with k.vector(n, unroll=2) as i:
            out[i] = grow[i] - E.exp(yrow[i]) * s if log else yrow[i] * (grow[i] - s)


@kernel
def softmax_backward_columns(k, gx: Ptr, g: Ptr, y: Ptr, n: Int, inner: Int, blocks: Int, *, log: bool):
    """The same over the middle of (outer, n, inner)."""
    d = y.compute
    with k.parallel() as task:
        o = task // blocks
        lo = (task - o * blocks) * WIDTH
        wide = E.minimum(inner - lo, WIDTH)
        base = o * n * inner + lo
        totals = k.local(WIDTH, d)
        with k.vector(wide) as j:
            totals[j] = E.const(0, d)
        with k.seq(n) as i, k.vector(wide, unroll=2) as j:
            at = base + i * inner + j
            totals[j] = totals[j] + (g[at] if log else g[at] * y[at])
        with k.seq(n) as i, k.vector(wide, unroll=2) as j:
            at = base + i * inner + j
            gx[at] = g[at] - E.exp(y[at]) * totals[j] if log else y[at] * (g[at] - totals[j])


def geometry(shape, dim: int) -> tuple[int, int, int]:
    """(outer, n, inner) around dim."""
    if not shape:
        return 1, 1, 1
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def launch(rows, columns, dtypes, tensors, shape, dim: int, log: bool) -> None:
    """Run the row or the column form over contiguous tensors."""
    outer, n, inner = geometry(shape, dim)
    pointers = [t._ptr for t in tensors]
    if inner == 1:
        rows(dtypes, log=log)(outer, max(1, WORK // max(1, n)), *pointers, n)
        return
    blocks = -(-inner // WIDTH)
    columns(dtypes, log=log)(outer * blocks, max(1, WORK // (n * min(inner, WIDTH))), *pointers, n, inner, blocks)


def check_float(name: str, t) -> None:
    """softmax and friends want floats."""
    if not t._dtype.is_floating_point:
        from flambeau.ops.elementwise import SCALAR_NAMES

        raise NotImplementedError(
            f'"{name}_lastdim_kernel_impl" not implemented for \'{SCALAR_NAMES[t._dtype.name]}\': '
            f"{name}() takes a floating dtype; pass dtype=torch.float32"
        )


def forward(name: str, input, dim: int, log: bool):
    check_float(name, input)
    dim = S.wrap_dim(dim, len(input._shape))
    x = input if input._dense else input.contiguous()
    out = hooks.empty(x._shape, x._dtype)
    if out._numel:
        launch(softmax_rows, softmax_columns, (x._dtype, x._dtype), (out, x), x._shape, dim, log)
    return out


@op(KERNEL, function=False, method=False, node="SoftmaxBackward0")
def softmax_of(input, dim):
    """softmax in input's dtype; see `softmax`."""
    return forward("softmax", input, dim, False)


@op(KERNEL, function=False, method=False, node="LogSoftmaxBackward0")
def log_softmax_of(input, dim):
    """log_softmax in input's dtype; see `log_softmax`."""
    return forward("log_softmax", input, dim, True)


def backward(g, result, dim: int, log: bool):
    g = g if g._dense else g.contiguous()
    y = result if result._dense else result.contiguous()
    out = hooks.empty(y._shape, y._dtype)
    if out._numel:
        dim = S.wrap_dim(dim, len(y._shape))
        launch(softmax_backward_rows, softmax_backward_columns, (y._dtype, g._dtype, y._dtype), (out, g, y),
               y._shape, dim, log)  # fmt: skip
    return out


@op(KERNEL, function=False, method=False, node="SoftmaxBackwardDataBackward0")
def softmax_backward(grad, result, dim):
    """result * (grad - sum(grad * result))."""
    return backward(grad, result, dim, False)


@op(KERNEL, function=False, method=False, node="LogSoftmaxBackwardDataBackward0")
def log_softmax_backward(grad, result, dim):
    """grad - exp(result) * sum(grad)."""
    return backward(grad, result, dim, True)


softmax_of.derivative(input=lambda g, result, dim: softmax_backward(g, result, dim))
log_softmax_of.derivative(input=lambda g, result, dim: log_softmax_backward(g, result, dim))


@softmax_backward.vjp("grad", "result")
def _(g, grad, result, dim):
    s = (grad * result).sum(dim, keepdim=True)
    dot = (g * result).sum(dim, keepdim=True)
    return result * (g - dot), g * (grad - s) - grad * dot


@log_softmax_backward.vjp("grad", "result")
def _(g, grad, result, dim):
    p = result.exp()
    s = grad.sum(dim, keepdim=True)
    return g - (g * p).sum(dim, keepdim=True), -(g * p * s)


def softmax_dim(name: str, ndim: int, dim, stacklevel: int = 3) -> int:
    """The implicit dimension of old calls without one (deprecated there, with a warning)."""
    if dim is not None:
        return dim
    import warnings

    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=stacklevel + 1,
    )
    return 0 if ndim in (0, 1, 3) else 1


@op(COMPOSITE, functional=True, aliases=("special_softmax",))
def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """exp(x_i) / sum_j exp(x_j) along dim.

    Shapes:   (*) -> (*)
    Dtypes:   floating, or converted to dtype first
    Numerics: shifted by the maximum, so nothing overflows; rows of -inf give NaN
    Source:   torch.softmax
    """
    if isinstance(_stacklevel, dt.dtype):
        dtype, _stacklevel = _stacklevel, 3
    dim = softmax_dim("softmax", len(input._shape), dim)
    return softmax_of(input if dtype is None else input.to(dtype), dim)


@op(COMPOSITE, functional=True, aliases=("special_log_softmax",))
def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """log(softmax(input)) along dim, computed stably.

    Source:   torch.log_softmax
    """
    if isinstance(_stacklevel, dt.dtype):
        dtype, _stacklevel = _stacklevel, 3
    dim = softmax_dim("log_softmax", len(input._shape), dim)
    return log_softmax_of(input if dtype is None else input.to(dtype), dim)


@op(COMPOSITE, functional=True, function=False, method=False)
def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """softmax(-input).

    Source:   torch.nn.functional.softmin
    """
    return softmax(-input, softmax_dim("softmin", len(input._shape), dim), dtype=dtype)
