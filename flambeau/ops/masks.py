"""Indexing by truth: masked_fill, nonzero, masked_select, masked_scatter."""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ops import index_kernels as N
from flambeau.ops.index import index_copy
from flambeau.ops.record import COMPOSITE, POINTWISE, hooks, op, state
from flambeau.ops.scatter import WORK


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
