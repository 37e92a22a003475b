"""Rows by offset, the basis of advanced indexing; index_select, index_add and their like, take, put.

`tensor.indexing` turns Python's square brackets into these. Offsets (`off`) count elements from a tensor's
first one.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import index_kernels as N
from flambeau.ops.copying import copy_elements
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.scatter import WORK, at_least_1d, changed_in_place, check_index, scatter_reduce
from flambeau.runtime import memory
from flambeau.runtime.threads import get_num_threads


def take_blocks(out, x, indices, sizes, strides, inner_shape, inner_strides, name: str, **how) -> None:
    """out[j..., inner...] = the inner block of x at the offset that contiguous index tensors of one shape name."""
    n = math.prod(inner_shape)
    if n == 1:
        find_positions(out, x, indices, sizes, strides, name, **how)
        return
    if len(indices) == 1 and out._numel and sizes[0] and S.is_contiguous(inner_shape, inner_strides):
        take_from_table(out, x, *indices, *sizes, *strides, n, name, **how)
        return
    off = hooks.empty(indices[0]._shape, dt.int64)
    find_positions(off, None, indices, sizes, strides, name, **how)
    if out._numel:
        move_offsets(out, x, off, inner_shape, inner_strides, "take")


def take_from_table(out, x, index, size: int, step: int, n: int, name: str, *, wrap: bool = True, dims=(0,), error=None) -> None:
    """out[j] = the n elements of x from index[j] * step on; see `find_positions`."""
    flag = N.Flag()
    k = N.take_table((x._dtype, x._dtype, index._dtype, dt.int64), unit=True, wrap=wrap)
    k(index._numel, max(1, WORK // n), out._ptr, x._ptr, index._ptr, flag.ptr, size, n, step, 1)
    if flag.index is not None:
        raise (error or out_of_bounds(name))(flag.index, dims[0], size)


def put_offsets(x, off, inner_shape, inner_strides, values, how: str) -> None:
    """The inner block of x at off[j...] (how)= values[j..., inner...], dense."""
    if values._numel == 0:
        return
    move_offsets(values, x, off, inner_shape, inner_strides, how)


def put_rows(y, index, x, how: str, start: str = "keep", base=None, *, skip: int = -1, wrap: bool = False, error=None) -> None:
    """Row index[j] of y (how)= row j of x, both dense, in order; every row of y starts as N.put_chained says.

    A list of its sources for each row of y, so that it is read and written once. Indices out of range are left out without `error`.
    """
    size, n = y._shape[0], index._numel
    width = y._numel // size
    flag = N.Flag()
    lists = memory.allocate(8 * (size + n))
    head, after = lists.ptr, lists.ptr + 8 * size
    N.chain((dt.int64, dt.int64, index._dtype, dt.int64), wrap=wrap)(1, 1, head, after, index._ptr, flag.ptr, n, size, skip)
    if flag.index is not None and error is not None:
        raise error(flag.index, 0, size)
    pieces = get_num_threads() if width >= 256 * get_num_threads() else 1  # how columns are shared does not change a result
    grain = max(1, WORK * size * pieces // (x._numel + y._numel))
    k = N.put_chained((y._dtype, y._dtype, x._dtype, dt.int64, dt.int64), put=how, start=start)
    k(size * pieces, grain, y._ptr, (y if base is None else base)._ptr, x._ptr, head, after, size, width, y._strides[0],
      -(-width // pieces))  # fmt: skip


def by_rows(y, x, n: int) -> bool:
    """True if `put_rows` suits n rows x for y: rows that are dense and worth a loop, and not too many others."""
    shape = y._shape
    if len(shape) < 2 or not n or not x._dense or x._numel < 16 * n or shape[0] > 8 * n + 1024:
        return False
    return S.is_contiguous(tuple(shape[1:]), y._strides[1:])


def move_offsets(y, x, off, inner_shape, inner_strides, how: str) -> None:
    """Between the rows of y, dense, and x's inner blocks at offsets: "take" them, or put them ("set", "sum", ...)."""
    off = off if off._dense else off.contiguous()
    rows = off._numel
    block = math.prod(inner_shape)
    if block == 1 and how != "take":
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


def together(name: str, indices) -> list:
    """Index tensors broadcast to one shape, contiguous."""
    shape = indices[0]._shape
    for i in indices:
        if i._shape != shape:
            shape = S.broadcast_shapes(name, *[tuple(i._shape) for i in indices])
            break
    return [i if i._dense and i._shape == shape else i.expand(shape).contiguous() for i in indices]


def find_positions(y, x, indices, sizes, strides, name: str, *, wrap: bool = True, dims=None, error=None) -> None:
    """y = the sum of index * stride, each index checked (and wrapped, if so asked), or x's elements at these offsets.

    error(index, dim, size): what is raised for one out of range.
    """
    n = y._numel
    if not n:
        return
    flag = N.Flag()
    x = None if 0 in sizes else x  # nothing is there, not even for an index that is refused
    k = N.positions((y._dtype, *[i._dtype for i in indices]), wrap=wrap, take=x is not None)
    source = y._ptr if x is None else x._ptr
    k(-(-n // N.BLOCK), 4, y._ptr, source, *[i._ptr for i in indices], flag.ptr, n, *sizes, *strides)
    if flag.index is not None:
        for at, (i, size) in enumerate(zip(indices, sizes, strict=True)):
            low, high = int(i.min().item()), int(i.max().item())
            if low < (-size if wrap else 0) or high >= size:
                bad = low if low < (-size if wrap else 0) else high
                raise (error or out_of_bounds(name))(bad, at if dims is None else dims[at], size)


def offsets_of(indices, sizes, strides, name: str, **how):
    """The sum of index * stride over index tensors that broadcast; see `find_positions`."""
    indices = together(name, indices)
    off = hooks.empty(indices[0]._shape, dt.int64)
    find_positions(off, None, indices, sizes, strides, name, **how)
    return off


def out_of_bounds(name: str):
    """IndexError in square brackets' words."""
    return lambda bad, dim, size: IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size} ({name})")


def named_first(name: str, kind: type = IndexError):
    """An error in the words of functions."""
    return lambda bad, dim, size: kind(f"{name}(): index {bad} is out of bounds for dimension {dim} with size {size}")


def checked_offsets(name: str, index, size: int, stride: int, dim: int, kind: type = IndexError):
    """index * stride as int64, each index checked; the error names the op first."""
    return offsets_of([index], [size], [stride], name, wrap=False, dims=[dim], error=named_first(name, kind))


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
    index = index.reshape(-1).contiguous()
    if outer == 1:
        take_blocks(out, x, [index], [n], [x._strides[dim]], x._shape[dim + 1 :], x._strides[dim + 1 :], "index_select",
                    wrap=False, dims=[dim], error=named_first("index_select"))  # fmt: skip
        return out
    off = checked_offsets("index_select", index, n, x._strides[dim], dim)
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


def index_changed(name: str, input, dim, index, source, how: str, out=None):
    """A copy of input, or `out` which is input itself, whose slices along dim, named by index, are (how)= source's."""
    check_index(name, index)
    if len(index._shape) > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, got {len(index._shape)} dims")
    dim = S.wrap_dim(dim, len(input._shape))
    if source._dtype is not input._dtype:
        raise RuntimeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) {input._dtype} and "
            f"(source) {source._dtype}"
        )
    kind = RuntimeError if name == "index_add" and len(input._shape) > 1 else IndexError  # as in PyTorch
    want = list(input._shape or (1,))
    want[dim] = count = index._numel
    shaped = list(source._shape or (1,)) == want
    index = index.reshape(-1).contiguous()
    if dim == 0 and shaped and (input._dense or out is not None) and by_rows(input if out is None else out, source, count):
        start = "base" if out is None else "keep"
        out = hooks.empty(input._shape, input._dtype) if out is None else out
        put_rows(out, index, source, how, start, input, error=named_first(name, kind))
        return out
    if out is None:
        out = hooks.empty(input._shape, input._dtype)
        copy_elements(out, input)
    shape, strides = at_least_1d(out)
    off = checked_offsets(name, index, shape[dim], strides[dim], dim, kind)
    if not shaped:
        raise IndexError(
            f"{name}(): Number of indices should be equal to source.size(dim) and the other sizes to self's: "
            f"source {list(source._shape)}, self {list(input._shape)}, index {list(index._shape)}"
        )
    if count == 0 or source._numel == 0:
        return out
    source = (source.movedim(dim, 0) if dim else source.reshape(1) if not source._shape else source).contiguous()
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


@op(COMPOSITE)
def index_add(input, dim, index, source, *, alpha=1):
    """input with alpha * source added to its slices along dim named by index.

    Source:   torch.index_add
    """
    return index_add_plain(input, dim, index, source if alpha == 1 else source * alpha)


def index_add_(self, dim, index, source, *, alpha=1):
    """Add alpha * source to the slices along dim named by index, in place.

    Source:   torch.Tensor.index_add_
    """
    source = source if alpha == 1 else source * alpha
    return changed_in_place(index_add_plain.record, self, dim, index, source,
                            lambda i, s: index_changed("index_add", self, dim, i, s, "sum", self))  # fmt: skip


def index_copy_(self, dim, index, source):
    """Replace the slices along dim, named by index, by source's, in place.

    Source:   torch.Tensor.index_copy_
    """
    return changed_in_place(index_copy.record, self, dim, index, source,
                            lambda i, s: index_changed("index_copy", self, dim, i, s, "set", self))  # fmt: skip


@op(KERNEL)
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
    check_bounds("index_reduce", index, (input._shape or (1,))[dim], dim, False)
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
    out = hooks.empty(index._shape, input._dtype)
    find_positions(out, input, [index.contiguous()], [input._numel], [input._strides[0]], "take", error=named_first("take"))
    return out


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


METHODS = {"index_add_": index_add_, "index_copy_": index_copy_}
