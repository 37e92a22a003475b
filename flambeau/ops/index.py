"""Indexing by tensors: gather, scatter, index_*, take, put, masked_*, nonzero.

`tensor.indexing` turns Python's square brackets into these. Offsets (`off`) count elements from a tensor's
first one.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import index_kernels as N
from flambeau.ops.copying import copy_elements
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op, state
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


# gather -------------------------------------------------------------------------------------------
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


# scatter ------------------------------------------------------------------------------------------
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
    k = N.scatter_nest((y._dtype, index._dtype), dims=len(ishape), reduce=reduce, scalar=scalar, columns=columns)
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


def scattered(name: str, input, dim, index, src, reduce: str):
    """A changed copy of input."""
    dim, src = scatter_checks(name, input, dim, index, src)
    out = hooks.empty(input._shape, input._dtype)
    copy_elements(out, input)
    if index._numel:
        scatter_into(out, dim, index, src, reduce)
    return out


@op(KERNEL, function=False, method=False, node="ScatterBackward0")
def scatter_set(input, dim, index, src):
    """scatter without reduction; see `scatter`."""
    return scattered("scatter", input, dim, index, src, "set")


scatter_set.derivative(
    input=lambda g, dim, index: g.scatter(dim, index, 0),
    src=lambda g, dim, index: g.gather(dim, index),
)


@op(KERNEL, inplace=True)
def scatter_add(input, dim, index, src):
    """input with src added at index along dim; equal indices accumulate in order.

    Source:   torch.scatter_add
    """
    return scattered("scatter_add", input, dim, index, src, "sum")


scatter_add.derivative(input=lambda g: g, src=lambda g, dim, index: g.gather(dim, index))


@op(COMPOSITE, inplace=True)
def scatter(input, dim, index, src=None, *, reduce=None, value=None):
    """input with src (a tensor or number) written at index along dim; reduce: "add" or "multiply".

    Source:   torch.scatter
    """
    src = value if src is None else src
    if reduce is None:
        return scatter_set(input, dim, index, src)
    kinds = {"add": "sum", "multiply": "prod"}
    if reduce not in kinds:
        raise RuntimeError(f"reduce argument must be either add or multiply, got {reduce!r}")
    if not isinstance(src, hooks.Tensor):
        src = input.new_full(index._shape, src)
    return scatter_reduce(input, dim, index, src, kinds[reduce])


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


# rows by offset: the basis of advanced indexing ---------------------------------------------------
def take_offsets(x, off, inner_shape, inner_strides):
    """out[j..., inner...] = the inner block of x at off[j...]."""
    shape = (*off._shape, *inner_shape)
    out = hooks.empty(shape, x._dtype)
    if out._numel == 0:
        return out
    move_offsets(out, x, off, inner_shape, inner_strides, "take")
    return out


def put_offsets(x, off, inner_shape, inner_strides, values, how: str) -> None:
    """The inner block of x at off[j...] (how)= values[j..., inner...]."""
    if values._numel == 0:
        return
    values = values if values._dense else values.contiguous()
    move_offsets(values, x, off, inner_shape, inner_strides, how)


def move_offsets(y, x, off, inner_shape, inner_strides, how: str) -> None:
    """Between the rows of y, dense, and x's inner blocks at offsets: "take" them, or put them ("set", "sum", ...)."""
    off = off if off._dense else off.contiguous()
    rows = off._numel
    block = math.prod(inner_shape)
    if block == 1:
        if how == "take":
            N.take_elements((x._dtype, x._dtype, dt.int64))(rows, WORK // 4, y._ptr, x._ptr, off._ptr)
        else:
            N.put_elements((x._dtype, x._dtype, dt.int64), put=how)(1, 1, x._ptr, y._ptr, off._ptr, rows)
        return
    sizes, (ys, xs) = S.coalesce(
        tuple(inner_shape), (S.contiguous_strides(tuple(inner_shape)), tuple(inner_strides))
    )
    unit = ys[-1] == xs[-1] == 1
    n, outer = sizes[-1], math.prod(sizes[:-1])
    common = (y._ptr, x._ptr, off._ptr, n, block, *sizes[:-1], *ys, *xs, outer)
    if how == "take":
        k = N.take_rows((x._dtype,), dims=len(sizes), unit=unit)
        k(rows * outer, max(1, WORK // n), *common)
        return
    width = max(64, -(-n // get_num_threads()))  # how columns are shared does not change a result
    pieces = -(-n // width)
    k = N.put_rows((x._dtype,), dims=len(sizes), put=how, unit=unit)
    k(outer * pieces, max(1, WORK // (min(n, width) * rows)), *common, rows, width, pieces)


def offsets_of(indices, sizes, strides, name: str, *, wrap: bool = True, dims=None, error=None):
    """The sum of index * stride over broadcast index tensors, each index checked (and wrapped, if so asked).

    error(index, dim, size): what is raised for one out of range.
    """
    shape = S.broadcast_shapes(name, *[tuple(i._shape) for i in indices]) if len(indices) > 1 else indices[0]._shape
    off = hooks.empty(shape, dt.int64)
    n, more = off._numel, False
    for at, (i, size, stride) in enumerate(zip(indices, sizes, strides, strict=True)):
        if n:
            i = (i if i._shape == shape else i.expand(shape)).contiguous()
            flag = N.Flag()
            k = N.add_offsets((dt.int64, i._dtype, dt.int64), wrap=wrap, more=more)
            k(-(-n // N.BLOCK), 4, off._ptr, i._ptr, flag.ptr, n, size, stride)
            if flag.cell.value != N.Flag.NONE:
                low, high = int(i.min().item()), int(i.max().item())
                bad = low if low < (-size if wrap else 0) else high
                dim = at if dims is None else dims[at]
                raise (error or out_of_bounds(name))(bad, dim, size)
            more = True
    return off


def out_of_bounds(name: str):
    """IndexError in square brackets' words."""
    return lambda bad, dim, size: IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size} ({name})")


def checked_offsets(name: str, index, size: int, stride: int, dim: int, wrap: bool = False):
    """index * stride as int64, each index checked; the error names the op first."""
    return offsets_of([index], [size], [stride], name, wrap=wrap, dims=[dim], error=lambda bad, dim, size: IndexError(
        f"{name}(): index {bad} is out of bounds for dimension {dim} with size {size}"))  # fmt: skip


@op(KERNEL)
def index_select(input, dim, index):
    """The slices of input along dim that index (1-d) names.

    Errors:   IndexError for an index outside dim
    Source:   torch.index_select
    """
    check_index("index_select", index)
    if len(index._shape) > 1:
        raise IndexError(f"index_select(): Index is supposed to be a vector, got {len(index._shape)} dims")
    if not input._shape:
        return input.clone()
    dim = S.wrap_dim(dim, len(input._shape))
    shape = list(input._shape)
    n = shape[dim]
    shape[dim] = index._numel
    out = hooks.empty(tuple(shape), input._dtype)
    if out._numel == 0 and (index._numel == 0 or 0 in input._shape[:dim] + input._shape[dim + 1 :]):
        return out
    outer = math.prod(input._shape[:dim])
    x = input if outer == 1 or input._dense else input.contiguous()
    off = checked_offsets("index_select", index.reshape(-1), n, x._strides[dim], dim)
    if outer == 1:
        move_offsets(out, x, off, tuple(x._shape[dim + 1 :]), tuple(x._strides[dim + 1 :]), "take")
        return out
    count, inner = off._numel, math.prod(x._shape[dim + 1 :])
    if inner == 1:
        k = N.take_picked((x._dtype, x._dtype, dt.int64))
        k(outer, max(1, WORK // (4 * count)), out._ptr, x._ptr, off._ptr, count, n)
    else:
        k = N.take_columns((x._dtype, x._dtype, dt.int64))
        k(outer * count, max(1, WORK // inner), out._ptr, x._ptr, off._ptr, count, inner, n * inner)
    return out


index_select.derivative(
    input=lambda g, input_shape, dim, index: g.new_zeros(input_shape).index_add(dim, index, g)
)


def outer_offsets(sizes, strides):
    """Offsets of every position of the given dims, as an int64 tensor of their shape."""
    from flambeau.ops.create import arange

    total = None
    for d, (n, s) in enumerate(zip(sizes, strides, strict=True)):
        part = (arange(n) * s).reshape([n] + [1] * (len(sizes) - 1 - d))
        total = part if total is None else total + part
    return total


def check_bounds(name: str, index, n: int, dim: int, wrap: bool) -> None:
    """Every index lies in [0, n) (or [-n, n) with wrap)."""
    if index._numel == 0:
        return
    low, high = int(index.min().item()), int(index.max().item())
    if low < (-n if wrap else 0) or high >= n:
        bad = high if high >= n else low
        raise IndexError(f"{name}(): index {bad} is out of bounds for dimension {dim} with size {n}")


def index_changed(name: str, input, dim, index, source, how: str):
    """A copy of input whose slices along dim, named by index, are (how)= source's."""
    check_index(name, index)
    if len(index._shape) > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, got {len(index._shape)} dims")
    dim = S.wrap_dim(dim, len(input._shape))
    if source._dtype is not input._dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) {input._dtype} and "
            f"(source) {source._dtype}"
        )
    out = hooks.empty(input._shape, input._dtype)
    copy_elements(out, input)
    shape, strides = at_least_1d(out)
    n = shape[dim]
    off = checked_offsets(name, index.reshape(-1), n, strides[dim], dim)
    want = list(shape)
    want[dim] = index._numel
    if list(source._shape or (1,)) != want:
        raise IndexError(
            f"{name}(): Number of indices should be equal to source.size(dim) and the other sizes to self's: "
            f"source {list(source._shape)}, self {list(input._shape)}, index {list(index._shape)}"
        )
    if index._numel == 0 or source._numel == 0:
        return out
    source = (source.reshape(1) if not source._shape else source).movedim(dim, 0).contiguous()
    inner = [d for d in range(len(shape)) if d != dim]
    put_offsets(out, off, tuple(shape[d] for d in inner), tuple(strides[d] for d in inner), source, how)
    return out


@op(KERNEL, function=False, method=False, node="IndexAddBackward0")
def index_add_plain(input, dim, index, source):
    """index_add with alpha 1; see `index_add`."""
    return index_changed("index_add", input, dim, index, source, "sum")


index_add_plain.derivative(
    input=lambda g: g, source=lambda g, dim, index: g.index_select(dim, index)
)


@op(COMPOSITE, inplace=True)
def index_add(input, dim, index, source, *, alpha=1):
    """input with alpha * source added to its slices along dim named by index.

    Source:   torch.index_add
    """
    return index_add_plain(input, dim, index, source if alpha == 1 else source * alpha)


@op(KERNEL, inplace=True)
def index_copy(input, dim, index, source):
    """input with its slices along dim, named by index, replaced by source's.

    Source:   torch.index_copy
    """
    return index_changed("index_copy", input, dim, index, source, "set")


index_copy.derivative(
    input=lambda g, dim, index: g.index_fill(dim, index, 0),
    source=lambda g, dim, index: g.index_select(dim, index),
)


@op(COMPOSITE, inplace=True)
def index_fill(input, dim, index, value):
    """input with its slices along dim, named by index, set to value.

    Source:   torch.index_fill
    """
    dim = S.wrap_dim(dim, len(input._shape))
    if isinstance(value, hooks.Tensor):
        if value._shape:
            raise RuntimeError(f"index_fill_ only supports a 0-dimensional value tensor, got {len(value._shape)} dims")
        source = value.to(input._dtype)
    else:
        source = input.new_full((), value)
    index = index.reshape(-1)
    check_index("index_fill", index)
    n = input._shape[dim] if input._shape else 1
    check_bounds("index_fill", index, n, dim, wrap=True)
    index = index.remainder(n) if index._numel else index
    shape = list(input._shape)
    if shape:
        shape[dim] = index._numel
    return index_copy(input, dim, index, source.expand(shape))


@op(COMPOSITE, inplace=True)
def index_reduce(input, dim, index, source, reduce, *, include_self=True):
    """input with source's slices reduced into those named by index: prod, mean, amax, amin.

    Source:   torch.index_reduce
    """
    dim = S.wrap_dim(dim, len(input._shape))
    shape = [1] * len(input._shape)
    shape[dim] = -1
    where_ = index.reshape(shape).expand(source._shape)
    return scatter_reduce(input, dim, where_, source, reduce, include_self=include_self)


# flat positions -----------------------------------------------------------------------------------
@op(COMPOSITE)
def take(input, index):
    """input's elements at flat positions.

    Source:   torch.take
    """
    check_index("take", index, (dt.int64,))
    return taken(input.reshape(-1), index)


@op(KERNEL, function=False, method=False, node="TakeBackward0")
def taken(input, index):
    """The elements of a vector at positions; see `take`."""
    off = checked_offsets("take", index, input._numel, input._strides[0], 0, wrap=True)
    return take_offsets(input, off, (), ())


taken.derivative(input=lambda g, input_shape, index: g.new_zeros(input_shape).put(index, g, True))


@op(COMPOSITE, inplace=True)
def put(input, index, source, accumulate=False):
    """input with its elements at flat positions set to (or increased by) source's.

    Source:   torch.Tensor.put_
    """
    check_index("put", index, (dt.int64,))
    n = input._numel
    check_bounds("put", index, n, 0, wrap=True)
    at = index.reshape(-1).remainder(n) if index._numel else index.reshape(-1)
    flat, values = input.reshape(-1), source.reshape(-1)
    done = index_add(flat, 0, at, values) if accumulate else index_copy(flat, 0, at, values)
    return done.reshape(input._shape)


# masks --------------------------------------------------------------------------------------------
@op(COMPOSITE, inplace=True)
def masked_fill(input, mask, value):
    """value where mask, else input.

    Shapes:   broadcast
    Source:   torch.Tensor.masked_fill
    """
    from flambeau.ops.compare import select_by

    if mask._dtype is not dt.bool:
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask._dtype}")
    if isinstance(value, hooks.Tensor):
        if value._shape:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{len(value._shape)} dimension(s)."
            )
        value = value.to(input._dtype)
    elif isinstance(value, complex) and not input._dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {input._dtype} without overflow")
    elif isinstance(value, float) and input._dtype.kind in "iub":
        value = int(value)
    return select_by(value, input, mask) if isinstance(value, hooks.Tensor) else fill_by(input, value, mask)


def fill_by(input, value, mask):
    """masked_fill with a number."""
    return masked_fill_number(input, mask, value)


from flambeau.ir import expr as E  # noqa: E402
from flambeau.ops.record import POINTWISE  # noqa: E402


@op(POINTWISE, function=False, method=False, node="MaskedFillBackward0", weak=("mask", "value"))
def masked_fill_number(input, mask, value):
    """value where mask, else input, for a number."""
    return E.where(mask, E.cast(value, input.dtype) if not isinstance(value, E.Complex) else value, input)


def keep_unmasked(g, mask):
    """g where the mask is false, else 0."""
    if isinstance(g, (E.Expr, E.Complex)):
        return E.where(mask, g * 0, g)
    return masked_fill_number(g, mask, 0)


masked_fill_number.derivative(input=keep_unmasked)


def nonzero_flat(x):
    """Flat positions of the non-zero elements of a contiguous tensor."""
    n = x._numel
    block = max(4096, -(-n // 4096))
    blocks = -(-n // block)
    counts = hooks.empty((blocks,), dt.int64)
    N.count_true((dt.int64, x._dtype))(blocks, max(1, WORK // block), counts._ptr, x._ptr, n, block)
    ends = counts.cumsum(0)
    total = int(ends[-1].item()) if blocks else 0
    out = hooks.empty((total,), dt.int64)
    if total:
        starts = ends - counts
        N.fill_true((dt.int64, dt.int64, x._dtype))(
            blocks, max(1, WORK // block), out._ptr, starts._ptr, x._ptr, n, block
        )
    return out


def coordinates(flat, shape, rows: bool):
    """The coordinates in a shape of two or more dims of flat positions: a row each, or a row per dim."""
    n, dims = flat._numel, len(shape)
    out = hooks.empty((n, dims) if rows else (dims, n), dt.int64)
    if n:
        N.unravel((), dims=dims)(n, WORK, out._ptr, flat._ptr, dims if rows else 1, 1 if rows else n, *shape)
    return out


@op(COMPOSITE)
def nonzero(input, *, as_tuple=False):
    """The positions of non-zero elements, one row each (or one tensor per dimension).

    Shapes:   (*) -> (count, ndim) int64
    Source:   torch.nonzero
    """
    with_grad, state.grad = state.grad, False
    try:
        x = input.detach()
        shape = tuple(x._shape)
        if as_tuple and not shape:
            x, shape = x.reshape(1), (1,)
        x = x if x._dense else x.contiguous()
        flat = nonzero_flat(x) if x._numel else hooks.empty((0,), dt.int64)
        if as_tuple:
            return coordinates(flat, shape, False).unbind(0) if len(shape) > 1 else (flat,)
        return coordinates(flat, shape, True) if len(shape) > 1 else flat.unsqueeze(1) if shape else flat.new_empty((flat._numel, 0))
    finally:
        state.grad = with_grad


@op(COMPOSITE)
def nonzero_static(input, *, size, fill_value=-1):
    """The first `size` positions of non-zero elements, rows of fill_value where there are fewer.

    Shapes:   (*) -> (size, ndim) int64
    Source:   torch.nonzero_static
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = nonzero(input)
    out = found.new_full((size, found.shape[1]), fill_value)
    count = min(size, found.shape[0])
    out[:count] = found[:count]
    return out


@op(COMPOSITE)
def argwhere(input):
    """The positions of non-zero elements, one row each.

    Source:   torch.argwhere
    """
    return nonzero(input)


@op(COMPOSITE)
def masked_select(input, mask):
    """The elements of input where mask is true, as a vector.

    Source:   torch.masked_select
    """
    if mask._dtype is not dt.bool:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask._dtype}")
    shape = S.broadcast_shapes("masked_select", tuple(input._shape), tuple(mask._shape))
    mask = mask.expand(shape).contiguous()
    at = nonzero_flat(mask) if mask._numel else hooks.empty((0,), dt.int64)
    return input.expand(shape).reshape(-1).index_select(0, at)


@op(COMPOSITE, inplace=True)
def masked_scatter(input, mask, source):
    """input with the elements where mask is true replaced by source's, in order.

    Source:   torch.Tensor.masked_scatter
    """
    if mask._dtype is not dt.bool:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask._dtype}")
    if source._dtype is not input._dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input._dtype} and {source._dtype}"
        )
    mask = mask.expand(input._shape).contiguous()
    at = nonzero_flat(mask) if mask._numel else hooks.empty((0,), dt.int64)
    if at._numel > source._numel:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same number of elements: the mask has {at._numel} "
            f"true elements, source {source._numel}"
        )
    flat = index_copy(input.reshape(-1), 0, at, source.reshape(-1)[: at._numel])
    return flat.reshape(input._shape)
