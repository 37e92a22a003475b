"""Sorting and what rests on it: sort, argsort, topk, kthvalue, msort, unique, searchsorted, bincount, histc."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import sort_kernels as K
from flambeau.ops.elementwise import SCALAR_NAMES
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op, state
from flambeau.ops.tiles import per_thread
from flambeau.runtime import memory
from flambeau.runtime.threads import get_num_threads, within

SHORT = 48  # rows up to here are sorted by insertion


def return_type(name: str, *values):
    """torch.return_types.<name>."""
    from flambeau import return_types

    return getattr(return_types, name)(values)


def scratch(grain: int, n: int, *dtypes) -> tuple:
    """(the grain for so many threads, elements from one's memory to the next one's, memory for n of each dtype per thread ...)."""
    room, threads = per_thread(n, dtypes[0]), get_num_threads()  # the narrowest
    return within(grain, threads), room, *(memory.allocate(room * d.itemsize * threads) for d in dtypes)


def sort_rows(x, n: int, descending: bool):
    """(values, indices) of contiguous rows of n."""
    values, indices = hooks.empty(x._shape, x._dtype), hooks.empty(x._shape, dt.int64)
    rows = x._numel // n if n else 0
    key = K.key_dtype(x._dtype)
    if n <= SHORT:
        grain, room, keys = scratch(max(1, 4096 // max(1, n)), n, key)
        k = K.insertion_rows((x._dtype, dt.int64, x._dtype, key), descending=descending)
        k(rows, grain, values._ptr, indices._ptr, x._ptr, keys.ptr, room, n)
        return values, indices
    grain, room, keys, at = scratch(max(1, 2048 // n), 2 * n, key, dt.int64)
    k = K.radix_rows((x._dtype, dt.int64, x._dtype, key, dt.int64), descending=descending)
    k(rows, grain, values._ptr, indices._ptr, x._ptr, keys.ptr, at.ptr, room, n)
    return values, indices


def select_of_rows(x, n: int, rank: int, descending: bool, one: bool):
    """(values, indices) of the first `rank` elements of each sorted row, or of the last of them alone."""
    shape = x._shape[:-1] if one else (*x._shape[:-1], rank)
    values, indices = hooks.empty(shape, x._dtype), hooks.empty(shape, dt.int64)
    key = K.key_dtype(x._dtype)
    grain, room, keys, at = scratch(max(1, 2048 // n), 2 * n + 2, key, dt.int64)
    k = K.select_rows((x._dtype, dt.int64, x._dtype, key, dt.int64), descending=descending, one=one)
    k(x._numel // n, grain, values._ptr, indices._ptr, x._ptr, keys.ptr, at.ptr, room, n, rank)
    return values, indices


def with_dim_last(x, dim: int, fn):
    """Run fn(contiguous x with dim last) -> tensors, and move dim back."""
    if dim == len(x._shape) - 1 or not x._shape:
        return fn(x if x._dense else x.contiguous())
    moved = x.movedim(dim, -1).contiguous()
    return tuple(t.movedim(-1, dim).contiguous() for t in fn(moved))


def check_sortable(name: str, x) -> None:
    if x._dtype.is_complex:
        raise RuntimeError(f"{name}(): complex numbers have no order (got {x._dtype})")


@op(KERNEL, function=False, method=False, node="SortBackward0")
def sort_along(input, dim, descending):
    """(values, indices) sorted along dim; see `sort`."""
    check_sortable("sort", input)
    dim = S.wrap_dim(dim, len(input._shape))
    if not input._shape:
        return input.clone(), input.new_zeros((), dtype=dt.int64)
    if input._numel == 0:
        return input.clone(), hooks.empty(input._shape, dt.int64)
    return with_dim_last(input, dim, lambda x: sort_rows(x, x._shape[-1], descending))


def scatter_back(g, shape, dim: int, indices):
    """The gradient of values picked by indices along dim."""
    if not shape:
        return g
    return g.new_zeros(shape).scatter_add(dim, indices, g)


sort_along.derivative(
    input=lambda g, input_shape, dim, result1: scatter_back(g, input_shape, dim, result1)
)


@op(COMPOSITE)
def sort(input, dim=-1, descending=False, stable=False):
    """(values, indices) of input sorted along dim.

    Numerics: always stable; NaN counts as the largest value
    Source:   torch.sort
    """
    return return_type("sort", *sort_along(input, dim, bool(descending)))


@op(COMPOSITE)
def argsort(input, dim=-1, descending=False, stable=False):
    """The indices that sort input along dim.

    Source:   torch.argsort
    """
    return sort_along(input, dim, bool(descending))[1]


@op(COMPOSITE)
def msort(input):
    """input sorted along its first dimension.

    Source:   torch.msort
    """
    return sort_along(input, 0, False)[0]


def top_of_rows(x, n: int, count: int, largest: bool):
    """(values, indices) of the best `count` of contiguous rows of n, in order."""
    shape = (*x._shape[:-1], count)
    values, indices = hooks.empty(shape, x._dtype), hooks.empty(shape, dt.int64)
    key = K.key_dtype(x._dtype)
    grain, room, keys = scratch(max(1, 4096 // n), count, key)
    k = K.top_rows((x._dtype, dt.int64, x._dtype, key), largest=largest, long=n >= 4 * K.GROUPS and count <= K.GROUPS // 2)
    k(x._numel // n, grain, values._ptr, indices._ptr, x._ptr, keys.ptr, room, n, count)
    return values, indices


@op(KERNEL, function=False, method=False, node="TopkBackward0")
def topk_along(input, k, dim, largest):
    """(values, indices) of the k best along dim; see `topk`."""
    check_sortable("topk", input)
    dim = S.wrap_dim(dim, len(input._shape))
    n = input._shape[dim] if input._shape else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"selected index k out of range (topk: k = {k}, dimension {dim} has size {n})")
    if not input._shape:
        if k == 0:
            return hooks.empty((0,), input._dtype), hooks.empty((0,), dt.int64)
        return input.clone(), input.new_zeros((), dtype=dt.int64)
    if k == 0 or input._numel == 0:
        shape = list(input._shape)
        shape[dim] = k
        return hooks.empty(shape, input._dtype), hooks.empty(shape, dt.int64)
    if k <= 64:
        return with_dim_last(input, dim, lambda x: top_of_rows(x, n, k, largest))
    return with_dim_last(input, dim, lambda x: select_of_rows(x, n, k, largest, False))


topk_along.derivative(
    input=lambda g, input_shape, dim, result1: scatter_back(g, input_shape, dim, result1)
)


@op(COMPOSITE)
def topk(input, k, dim=-1, largest=True, sorted=True):  # noqa: A002
    """(values, indices) of the k largest (or smallest) elements along dim, in order.

    Errors:   RuntimeError if k is not in [0, size]
    Source:   torch.topk
    """
    return return_type("topk", *topk_along(input, int(k), dim, bool(largest)))


@op(COMPOSITE)
def kthvalue(input, k, dim=-1, keepdim=False):
    """(values, indices) of the k-th smallest element along dim (k counts from 1).

    Source:   torch.kthvalue
    """
    dim = S.wrap_dim(dim, len(input._shape))
    n = input._shape[dim] if input._shape else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim} (k = {k}, size {n})")
    if not input._shape:
        return return_type("kthvalue", *sort_along(input, dim, False))
    values, indices = kth_along(input, k, dim)
    if keepdim:
        values, indices = values.unsqueeze(dim), indices.unsqueeze(dim)
    return return_type("kthvalue", values, indices)


@op(KERNEL, function=False, method=False, node="KthvalueBackward0")
def kth_along(input, k, dim):
    """(values, indices) of the k-th smallest along dim, which goes; see `kthvalue`."""
    check_sortable("kthvalue", input)
    n = input._shape[dim]
    x = input.movedim(dim, -1) if dim != len(input._shape) - 1 else input
    if x._numel == 0:
        return hooks.empty(x._shape[:-1], x._dtype), hooks.empty(x._shape[:-1], dt.int64)
    return select_of_rows(x.contiguous(), n, k, False, True)


kth_along.derivative(
    input=lambda g, input_shape, dim, result1: scatter_back(g.unsqueeze(dim), input_shape, dim, result1.unsqueeze(dim))
)


# unique -------------------------------------------------------------------------------------------
def run_lengths(x, order, invert: bool):
    """(first positions, inverse if invert, counts) of runs of equal neighbours in a vector."""
    n = x._numel
    starts, inverse = hooks.empty((n,), dt.int64), hooks.empty((n if invert else 0,), dt.int64)
    total = hooks.empty((1,), dt.int64)
    k = K.runs((dt.int64, dt.int64, dt.int64, x._dtype, dt.int64), use_order=order is not None, invert=invert)
    k(1, 1, starts._ptr, inverse._ptr, total._ptr, x._ptr, (order if order is not None else starts)._ptr, n)
    starts = starts[: total.item()]
    ends = starts.new_full((1,), n)
    from flambeau.ops.join import cat

    return starts, inverse, cat((starts[1:], ends)) - starts


def unrecorded(fn):
    """Run without recording (results are not differentiable)."""
    before, state.grad = state.grad, False
    try:
        return fn()
    finally:
        state.grad = before


def answers(values, inverse, counts, return_inverse: bool, return_counts: bool):
    out = (values, *((inverse,) if return_inverse else ()), *((counts,) if return_counts else ()))
    return out if len(out) > 1 else values


def count_of(x, low: int, size: int):
    """How often each of the integers low, low + 1, ... occurs in a dense vector of them; by threads if that is worth their sum."""
    n = x._numel
    parts = max(1, min(get_num_threads(), n // max(16384, 4 * size)))
    counts = hooks.empty((parts * size,), dt.int64).zero_()
    K.count_into((dt.int64, x._dtype))(parts, 1, counts._ptr, x._ptr, n, low, -(-n // parts), size)
    return counts.reshape(parts, size).sum(0) if parts > 1 else counts


def counted(flat, invert: bool):
    """(values, inverse if invert, counts) of a vector of integers from a range not much longer than it; else None."""
    if flat._dtype.kind != "i" and flat._dtype is not dt.uint8:
        return None
    low, high = (int(v.item()) for v in flat.aminmax())
    size = high - low + 1
    if size > 2 * flat._numel + 1024:
        return None
    x = flat.contiguous()
    every = count_of(x, low, size)
    found = every.nonzero().squeeze(1)
    rank = ((every != 0).cumsum(0) - 1).index_select(0, x.to(dt.int64) - low) if invert else None
    return (found + low).to(x._dtype), rank, every.index_select(0, found)


@op(COMPOSITE)
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):  # noqa: A002
    """The different values of input (or its different slices along dim), in ascending order.

    Returns:  values [, inverse indices of input's shape] [, counts]
    Source:   torch.unique
    """
    if dim is not None:
        return unrecorded(lambda: unique_slices(input, dim, return_inverse, return_counts, True))

    def run():
        flat = input.detach().reshape(-1)
        if not flat._numel:
            empty = hooks.empty((0,), dt.int64)
            return answers(flat.clone(), empty.reshape(input._shape), empty, return_inverse, return_counts)
        found = counted(flat, return_inverse)
        if found is None:
            values, order = sort_along(flat, 0, False)
            starts, inverse, counts = run_lengths(values, order, return_inverse)
            found = values[starts], inverse, counts
        values, inverse, counts = found
        return answers(values, inverse.reshape(input._shape) if return_inverse else None, counts, return_inverse, return_counts)

    return unrecorded(run)


@op(COMPOSITE)
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The first of every run of equal neighbours.

    Source:   torch.unique_consecutive
    """
    if dim is not None:
        return unrecorded(lambda: unique_slices(input, dim, return_inverse, return_counts, False))

    def run():
        flat = input.detach().reshape(-1).contiguous()
        if not flat._numel:
            empty = hooks.empty((0,), dt.int64)
            return answers(flat.clone(), empty.reshape(input._shape), empty, return_inverse, return_counts)
        starts, inverse, counts = run_lengths(flat, None, return_inverse)
        inverse = inverse.reshape(input._shape) if return_inverse else None
        return answers(flat[starts], inverse, counts, return_inverse, return_counts)

    return unrecorded(run)


def unique_slices(input, dim: int, return_inverse: bool, return_counts: bool, ordered: bool):
    """unique along dim: slices are compared from their first element on."""
    from flambeau.ops.create import arange
    from flambeau.ops.join import cat

    dim = S.wrap_dim(dim, len(input._shape))
    moved = input.detach().movedim(dim, 0)
    n = moved._shape[0]
    rows = moved.reshape(n, -1) if n else moved.reshape(0, math.prod(moved._shape[1:]))
    order = arange(n)
    if ordered:
        for c in range(rows._shape[1] - 1, -1, -1):
            order = order[sort_along(rows[:, c][order].contiguous(), 0, False)[1]]
    ranked = rows[order] if n else rows
    new = (ranked[1:] != ranked[:-1]).any(1) if n > 1 else hooks.empty((0,), dt.bool)
    first = cat((new.new_ones((min(n, 1),)), new))
    group = first.cumsum(0) - 1
    starts = first.nonzero(as_tuple=True)[0]
    inverse = group.new_zeros((n,)).index_copy(0, order, group) if n else group
    ends = cat((starts[1:], starts.new_full((min(n, 1),), n)))
    values = moved[order[starts]].movedim(0, dim) if n else moved.movedim(0, dim)
    return answers(values.contiguous(), inverse, ends - starts, return_inverse, return_counts)


# searching and counting ---------------------------------------------------------------------------
@op(COMPOSITE, method=False)
def searchsorted(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None):
    """Where each value of input would go into (each row of) an ascending sequence.

    Returns:  int64 (or int32) positions: before equal values, after them with right=True
    Source:   torch.searchsorted
    """
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
        if right and side == "left":
            raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True")
        right = side == "right"
    number = not isinstance(input, hooks.Tensor)
    if number:

        input = hooks.tensor(input)
    seq = sorted_sequence
    if not seq._shape:
        raise RuntimeError("torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries tensor dim(0)")
    if len(seq._shape) > 1 and tuple(seq._shape[:-1]) != tuple(input._shape[:-1]):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            f"tensor and input value tensor must match, but we got boundaries tensor {list(seq._shape)} and input "
            f"value tensor {list(input._shape)}"
        )
    d = dt.promote_types(seq._dtype, input._dtype)
    n = seq._shape[-1]

    def run():
        edges, x = seq.detach().to(d).contiguous(), input.detach().to(d).contiguous()
        order = sorter.contiguous() if sorter is not None else None
        if order is not None:
            if tuple(order._shape) != tuple(seq._shape):
                raise RuntimeError("torch.searchsorted(): boundary and sorter must have the same size")
            if order._numel and (order.min().item() < 0 or order.max().item() >= n):
                raise RuntimeError("torch.searchsorted(): sorter index out of range")
        out = hooks.empty(input._shape, dt.int32 if out_int32 else dt.int64)
        per_row = input._shape[-1] if len(seq._shape) > 1 else max(1, out._numel)
        one = len(seq._shape) == 1
        k = K.search_rows((out._dtype, d, d, dt.int64), right=right, use_sorter=order is not None, one=one)
        k(out._numel, 1024, out._ptr, edges._ptr, x._ptr, order._ptr if order is not None else 0, n, n.bit_length(),
          max(1, per_row), 0 if one else n)  # fmt: skip
        return out

    return unrecorded(run)


@op(COMPOSITE, method=False)
def bucketize(input, boundaries, *, out_int32=False, right=False):
    """The bucket of each value among ascending boundaries.

    Source:   torch.bucketize
    """
    if len(boundaries._shape) != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({len(boundaries._shape)})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@op(COMPOSITE)
def bincount(input, weights=None, minlength=0):
    """How often (or with what total weight) each non-negative integer occurs.

    Source:   torch.bincount
    """
    if len(input._shape) != 1 or input._dtype.kind not in "iu":
        if input._dtype.kind not in "iub":
            raise NotImplementedError(f'"bincount_cpu" not implemented for {SCALAR_NAMES[input._dtype.name]!r}: integers are counted')
        if len(input._shape) != 1:
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")

    def run():
        low, high = (int(v.item()) for v in input.aminmax()) if input._numel else (0, -1)
        if low < 0:
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
        size, x = max(minlength, high + 1), input.contiguous()
        if weights is None:
            return count_of(x, 0, size)
        if tuple(weights._shape) != tuple(input._shape):
            raise RuntimeError("weights should be 1-d and have the same length as input")
        d = weights._dtype if weights._dtype is dt.float32 else dt.float64
        w = weights.detach().to(d).contiguous()
        out = hooks.empty((size,), d).zero_()
        if x._numel:
            K.weigh_into((d, x._dtype, d))(1, 1, out._ptr, x._ptr, w._ptr, x._numel)
        return out

    return unrecorded(run)


@op(COMPOSITE)
def histc(input, bins=100, min=0, max=0):  # noqa: A002
    """How many elements fall into each of `bins` equal intervals of [min, max] (both 0: the data's range).

    Source:   torch.histc
    """
    if bins <= 0:
        raise RuntimeError("bins must be > 0")

    def run():
        x = input.detach().reshape(-1)
        low, high = min, max
        if low == high and x._numel:
            low, high = x.min().item(), x.max().item()
        if low == high:
            low, high = low - 1, high + 1
        if not (math.isfinite(low) and math.isfinite(high)):
            raise RuntimeError(f"range of [{low}, {high}] is not finite")
        if low > high:
            raise RuntimeError("max must be larger than min")
        x = x.contiguous()
        out = hooks.empty((bins + 1,), dt.int64).zero_()
        if x._numel:
            d = dt.float32 if x._dtype.is_floating_point and x._dtype.itemsize < 8 else dt.float64
            K.count_between((dt.int64, x._dtype), d=d)(1, 1, out._ptr, x._ptr, x._numel, bins, float(low), float(high))
        return out[:bins].to(input._dtype)

    return unrecorded(run)
