"""Indexing along one dim, an index for each element: gather, take_along_dim, scatter and its reductions."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import index_kernels as N
from flambeau.ops.copying import copy_elements
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.runtime.threads import get_num_threads

INDEX_DTYPES = (dt.int64, dt.int32)
WORK = 16384


def check_index(name: str, index, dtypes=INDEX_DTYPES) -> None:
    """Index tensors hold integers."""
    if not isinstance(index, hooks.Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index._dtype not in dtypes:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {index._dtype}")


def at_least_1d(t):
    """Shape and strides with a leading 1 for 0-d tensors."""
    return (tuple(t._shape), t._strides) if t._shape else ((1,), (1,))


def gather_into(out, input, dim: int, index) -> None:
    """out[pos] = input[pos with index[pos] at dim]."""
    xshape, xstrides = at_least_1d(input)
    ishape, istrides = at_least_1d(index)
    _, ystrides = at_least_1d(out)
    xdim = xstrides[dim]
    xs = tuple(0 if d == dim else s for d, s in enumerate(xstrides))
    dims = len(ishape)
    n = ishape[-1]
    contiguous = istrides[-1] == 1 and ystrides[-1] == 1
    flag = N.Flag()
    k = N.gather_nest((input._dtype, index._dtype), dims=dims, contiguous=contiguous)
    rows = math.prod(ishape[:-1])
    k(rows, max(1, WORK // n), out._ptr, input._ptr, index._ptr, flag.ptr, n, xshape[dim], xdim,
      *ishape[:-1], *ystrides, *xs, *istrides)  # fmt: skip
    flag.check("gather", dim, xshape[dim], RuntimeError)


@op(KERNEL)
def gather(input, dim, index, *, sparse_grad=False):
    """out[i][j][k] = input[index[i][j][k]][j][k] for dim 0, and so on.

    Shapes:   index (any, no larger than input except at dim) -> index's
    Errors:   IndexError for an index outside dim; RuntimeError for a shape that does not fit
    Source:   torch.gather
    """
    check_index("gather", index)
    dim = S.wrap_dim(dim, len(input._shape))
    check_shapes("gather", input, dim, index)
    out = hooks.empty(index._shape, input._dtype)
    if out._numel:
        gather_into(out, input, dim, index)
    return out


gather.derivative(
    input=lambda g, input_shape, input_dtype, dim, index: zeros_of(g, input_shape).scatter_add(dim, index, g)
)


def zeros_of(g, shape):
    """Zeros of g's dtype."""
    return g.new_zeros(shape)


def check_shapes(name: str, x, dim: int, index, other=None) -> None:
    """index has x's number of dims, and no larger sizes except at dim."""
    a, b = x._shape or (1,), index._shape or (1,)
    if len(a) != len(b):
        raise RuntimeError(
            f"{name}(): Index tensor must have the same number of dimensions as input tensor: "
            f"index {list(index._shape)}, input {list(x._shape)}"
        )
    if index._numel == 0:
        return
    if any(m > n for d, (m, n) in enumerate(zip(b, a, strict=True)) if d != dim):
        raise RuntimeError(
            f"Size does not match at dimension {next(d for d in range(len(a)) if d != dim and b[d] > a[d])} "
            f"expected index {list(b)} to be no larger than self {list(a)} apart from dimension {dim} ({name})"
        )
    if other is not None:
        c = other._shape or (1,)
        if len(c) != len(b) or any(m > n for m, n in zip(b, c, strict=True)):
            raise RuntimeError(
                f"Expected index {list(b)} to be no larger than src {list(c)} ({name}(): every index needs a value)"
            )


@op(COMPOSITE)
def take_along_dim(input, indices, dim=None):
    """gather with broadcasting of the other dimensions.

    Source:   torch.take_along_dim
    """
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    dim = S.wrap_dim(dim, len(input._shape))
    a, b = list(input._shape), list(indices._shape)
    a[dim] = b[dim] = 1
    common = list(S.broadcast_shapes("take_along_dim", tuple(a), tuple(b)))
    x, i = list(common), list(common)
    x[dim], i[dim] = input._shape[dim], indices._shape[dim]
    return gather(input.expand(x), dim, indices.expand(i))


def scatter_into(y, dim: int, index, src, reduce: str) -> None:
    """y[pos with index[pos] at dim] (reduce)= src[pos] (src: a tensor of y's dtype, or 1 element for all)."""
    yshape, ystrides = at_least_1d(y)
    ishape, istrides = at_least_1d(index)
    scalar = src._numel == 1 and not src._shape and bool(index._shape)
    xstrides = (0,) * len(ishape) if scalar else at_least_1d(src)[1]

    def others(t):
        return [v for d, v in enumerate(t) if d != dim]

    flag = N.Flag()
    columns = dim != len(ishape) - 1 and istrides[-1] == 1 and ishape[-1] >= 16
    unit = not columns and ystrides[dim] == istrides[dim] == 1 and xstrides[dim] == (0 if scalar else 1)
    k = N.scatter_nest((y._dtype, index._dtype), dims=len(ishape), reduce=reduce, scalar=scalar, columns=columns, unit=unit)
    n = ishape[dim]
    width = max(64, -(-ishape[-1] // get_num_threads())) if columns else 1
    rows = math.prod(others(ishape)) if not columns else math.prod(others(ishape)[:-1]) * -(-ishape[-1] // width)
    k(rows, max(1, WORK // max(1, n * width)), y._ptr, index._ptr, flag.ptr, src._ptr, n, yshape[dim], ystrides[dim],
      istrides[dim], xstrides[dim], *others(ishape), *others(ystrides), *others(istrides), *others(xstrides),
      width)  # fmt: skip
    flag.check("scatter", dim, yshape[dim], RuntimeError)


def scatter_checks(name: str, input, dim: int, index, src):
    """Common checks; src as a tensor of input's dtype."""
    check_index(name, index)
    dim = S.wrap_dim(dim, len(input._shape))
    if isinstance(src, hooks.Tensor):
        if src._dtype is not input._dtype:
            raise RuntimeError(
                f"{name}(): Expected self.dtype to be equal to src.dtype: {input._dtype} and {src._dtype}"
            )
        check_shapes(name, input, dim, index, src)
    else:
        check_shapes(name, input, dim, index)
        src = input.new_tensor(src)
    return dim, src


def scattered(name: str, input, dim, index, src, reduce: str, out=None):
    """A copy of input, or `out` which is input itself, changed."""
    dim, src = scatter_checks(name, input, dim, index, src)
    if out is None:
        out = hooks.empty(input._shape, input._dtype)
        copy_elements(out, input)
    if index._numel:
        scatter_into(out, dim, index, src, reduce)
    return out


def changed_in_place(record, x, dim, index, source, change):
    """x after change(index, source) in its own memory, with the bookkeeping of an in-place op."""
    hooks.check_overlap(x, ())
    if index._storage is x._storage:
        index = index.clone()
    if isinstance(source, hooks.Tensor) and source._storage is x._storage:
        source = source.clone()
    return hooks.inplace(record, (x, dim, index, source), lambda: change(index, source))


@op(KERNEL, function=False, method=False, node="ScatterBackward0")
def scatter_set(input, dim, index, src):
    """scatter without reduction; see `scatter`."""
    return scattered("scatter", input, dim, index, src, "set")


scatter_set.derivative(
    input=lambda g, dim, index: g.scatter(dim, index, 0),
    src=lambda g, dim, index: g.gather(dim, index),
)


@op(KERNEL)
def scatter_add(input, dim, index, src):
    """input with src added at index along dim; equal indices accumulate in order.

    Source:   torch.scatter_add
    """
    return scattered("scatter_add", input, dim, index, src, "sum")


scatter_add.derivative(input=lambda g: g, src=lambda g, dim, index: g.gather(dim, index))


def scatter_add_(self, dim, index, src):
    """Add src at index along dim, in place.

    Source:   torch.Tensor.scatter_add_
    """
    return changed_in_place(scatter_add.record, self, dim, index, src,
                            lambda i, s: scattered("scatter_add", self, dim, i, s, "sum", self))  # fmt: skip


@op(COMPOSITE)
def scatter(input, dim, index, src=None, *, reduce=None, value=None):
    """input with src (a tensor or number) written at index along dim; reduce: "add" or "multiply".

    Source:   torch.scatter
    """
    src = value if src is None else src
    if reduce is None:
        return scatter_set(input, dim, index, src)
    return scatter_reduce(input, dim, index, *reduction(input, index, src, reduce))


def reduction(input, index, src, reduce: str) -> tuple:
    """(src as a tensor, its name in scatter_reduce) of scatter's `reduce`."""
    kinds = {"add": "sum", "multiply": "prod"}
    if reduce not in kinds:
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}")
    return src if isinstance(src, hooks.Tensor) else input.new_full(index._shape, src), kinds[reduce]


def scatter_(self, dim, index, src=None, *, reduce=None, value=None):
    """Write src (a tensor or number) at index along dim, in place; reduce: "add" or "multiply".

    Source:   torch.Tensor.scatter_
    """
    src = value if src is None else src
    if reduce is not None:
        return self.scatter_reduce_(dim, index, *reduction(self, index, src, reduce))
    return changed_in_place(scatter_set.record, self, dim, index, src,
                            lambda i, s: scattered("scatter", self, dim, i, s, "set", self))  # fmt: skip


@op(COMPOSITE, inplace=True)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True):
    """input with src reduced into it at index along dim: sum, prod, mean, amax or amin.

    Args:     include_self: whether input's own values take part
    Source:   torch.Tensor.scatter_reduce
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
    base = input
    if not include_self:
        neutral = {"sum": 0, "mean": 0, "prod": 1}.get(reduce)
        if neutral is None:
            neutral = limit_of(input._dtype, reduce)
        base = input.scatter(dim, index, neutral)
    if reduce == "sum":
        return scatter_add(base, dim, index, src)
    if reduce == "mean":
        ones = src.new_ones(src._shape)
        start = input.new_ones(input._shape)
        count = start if include_self else start.scatter(dim, index, 0)
        count = scatter_add(count, dim, index, ones)
        count = count.masked_fill(count == 0, 1)
        total = scatter_add(base, dim, index, src)
        if input._dtype.kind in "iu":
            return total.div(count, rounding_mode="floor")
        return total / count
    return scatter_extreme(base, dim, index, src, reduce)


def limit_of(d, reduce: str):
    """The value that loses against any other."""
    from flambeau.ir.kernel import identity

    return identity("max" if reduce == "amax" else "min", d)


@op(KERNEL, function=False, method=False, node="ScatterReduceBackward0")
def scatter_extreme(input, dim, index, src, reduce):
    """prod, amax or amin into a copy of input; see `scatter_reduce`."""
    return scattered("scatter_reduce", input, dim, index, src, reduce)


def extreme_grads(g, input, dim, index, src, reduce, result, which: str):
    """amax/amin: shared equally among the ties; prod: result / value (not for zeros)."""
    if reduce == "prod":
        if which == "input":
            return g * (input.new_ones(input._shape).scatter_reduce(dim, index, src, "prod"))
        return (g * result).gather(dim, index) / src
    mine = input == result
    theirs = src == result.gather(dim, index)
    count = mine.to(g.dtype).scatter_add(dim, index, theirs.to(g.dtype))
    each = g / count
    return each * mine if which == "input" else each.gather(dim, index) * theirs


scatter_extreme.derivative(
    input=lambda g, input, dim, index, src, reduce, result: extreme_grads(
        g, input, dim, index, src, reduce, result, "input"),
    src=lambda g, input, dim, index, src, reduce, result: extreme_grads(
        g, input, dim, index, src, reduce, result, "src"),
)  # fmt: skip


METHODS = {"scatter_": scatter_, "scatter_add_": scatter_add_}
