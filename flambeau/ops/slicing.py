"""Views of some elements: select, slice, narrow, diagonal, windows, as_strided."""

from __future__ import annotations

import builtins

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.record import COMPOSITE, VIEW, hooks, op
from flambeau.ops.view import geometry_inplace, same


# parts --------------------------------------------------------------------------------------------
@op(VIEW)
def select(input, dim, index):
    """The slice at `index` of one dimension.

    Source:   torch.select
    """
    n = len(input._shape)
    if not n:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = S.wrap_dim(dim, n)
    size = input._shape[dim]
    index = index.item() if isinstance(index, hooks.Tensor) else index
    if not -size <= index < size:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input._shape)} at dimension {dim}")
    index += size if index < 0 else 0
    shape, st = input._shape, input._strides
    return same(input, shape[:dim] + shape[dim + 1 :], st[:dim] + st[dim + 1 :], input._offset + index * st[dim])


select.derivative(input=lambda g, input_shape, dim, index: put_select(g, input_shape, dim, index))


def put_select(g, shape, dim, index):
    """Zeros of the input's shape with g at the selected slice."""
    return scatter_into(g, shape, lambda t: select(t, dim, index))


@op(COMPOSITE, function=False, method=False)
def scatter_into(g, shape, part):
    """Zeros of `shape` with g written to the view part(zeros); differentiable in g."""
    out = g.new_zeros(shape)
    part(out).copy_(g)
    return out


@op(VIEW, function=False, method=False, node="SliceBackward0")
def slice(input, dim, start, end, step):  # noqa: A001
    """input[start:end:step] of one dimension, bounds already within range."""
    shape, st = list(input._shape), list(input._strides)
    shape[dim] = builtins.max(0, -(-(end - start) // step))
    st[dim] *= step
    return same(input, tuple(shape), tuple(st), input._offset + start * input._strides[dim])


slice.derivative(input=lambda g, input_shape, dim, start, end, step: scatter_into(
    g, input_shape, lambda x: slice(x, dim, start, end, step)))  # fmt: skip


@op(COMPOSITE)
def narrow(input, dim, start, length):
    """`length` slices of one dimension from `start` on.

    Source:   torch.narrow
    """
    n = len(input._shape)
    if not n:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim = S.wrap_dim(dim, n)
    size = input._shape[dim]
    start = int(start.item()) if isinstance(start, hooks.Tensor) else start
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -size <= start <= size:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-size}, {size}], but got {start})")
    start += size if start < 0 else 0
    if start + length > size:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return slice(input, dim, start, start + length, 1)


def narrow_copy(input, dim, start, length):
    """narrow as a copy.

    Source:   torch.narrow_copy
    """
    return narrow(input, dim, start, length).clone()


@op(VIEW)
def diagonal(input, offset=0, dim1=0, dim2=1):
    """The diagonal of two dimensions, as the last one.

    Source:   torch.diagonal
    """
    n = len(input._shape)
    a, b = S.wrap_dim(dim1, n), S.wrap_dim(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    rows, cols = input._shape[a], input._shape[b]
    size = builtins.max(0, builtins.min(rows, cols - offset) if offset >= 0 else builtins.min(rows + offset, cols))
    at = input._offset
    if size:
        at += offset * input._strides[b] if offset >= 0 else -offset * input._strides[a]
    keep = [d for d in range(n) if d not in (a, b)]
    shape = (*[input._shape[d] for d in keep], size)
    return same(input, shape, (*[input._strides[d] for d in keep], input._strides[a] + input._strides[b]), at)


diagonal.derivative(input=lambda g, input_shape, offset, dim1, dim2: scatter_into(
    g, input_shape, lambda x: diagonal(x, offset, dim1, dim2)))  # fmt: skip


@op(VIEW, node="UnfoldBackward0", function=False)
def unfold(input, dimension, size, step):
    """Windows of `size`, `step` apart, of one dimension, as a new last dimension.

    Source:   torch.Tensor.unfold
    """
    n = len(input._shape)
    d = S.wrap_dim(dimension, n)
    have = input._shape[d] if n else 1
    if size > have:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {have} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not n:
        return same(input, (size,), (1,))
    shape, st = list(input._shape), list(input._strides)
    inner = st[d]
    shape[d] = (have - size) // step + 1
    st[d] *= step
    return same(input, (*shape, size), (*st, inner))


unfold.derivative(input=lambda g, input_shape, dimension, size, step: fold_windows(g, input_shape, dimension, size, step))


def fold_windows(g, shape, dimension: int, size: int, step: int):
    """Sum overlapping windows back into place."""
    if not shape:
        return g.sum()
    d = S.wrap_dim(dimension, len(shape))
    out = g.new_zeros(shape)
    count = g._shape[d]
    for i in range(size):
        stop = i + (count - 1) * step + 1
        part = g.select(-1, i)
        out = out + scatter_into(part, shape, lambda x, i=i, stop=stop: slice(x, d, i, stop, step))
    return out


@op(VIEW, geometric=False)  # may lie anywhere in the storage, if that is large enough
def as_strided(input, size, stride, storage_offset=None):
    """Any geometry over input's storage.

    Errors:   RuntimeError if it would reach outside the storage, or for negative strides
    Source:   torch.as_strided
    """
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if any(n < 0 for n in size):
        raise RuntimeError(f"as_strided: negative size in {list(size)}")
    offset = input._offset if storage_offset is None else storage_offset
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    _, high = S.extent(size, stride)
    need = (offset + high + 1) * input._dtype.itemsize
    if high >= 0 and need > input._storage.nbytes:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize "
            f"{input._dtype.itemsize} requiring a storage size of {need} are out of bounds for storage of size "
            f"{input._storage.nbytes}"
        )
    return same(input, size, stride, offset)


as_strided.derivative(input=lambda g, input, size, stride, storage_offset: gather_strided(g, input, size, stride, storage_offset))


def gather_strided(g, input, size, stride, storage_offset):
    """Add g where the strided view lies in the input's own elements."""
    offset = input._offset if storage_offset is None else storage_offset
    _, high = S.extent(size, stride)
    low_in, high_in = S.extent(input._shape, input._strides)
    base = builtins.min(offset, input._offset)
    n = builtins.max(offset + high, input._offset + high_in) + 1 - base
    flat = g.new_zeros((n,))
    if g._numel:
        from flambeau.ops.index import outer_offsets

        at = outer_offsets(size, stride)
        at = (at + (offset - base)).reshape(-1) if at is not None else g.new_zeros((1,), dtype=dt.int64) + (offset - base)
        flat = flat.index_add(0, at, g.reshape(-1))
    return as_strided(flat, tuple(input._shape), input._strides, input._offset - base)


METHODS = {"narrow_copy": narrow_copy, "as_strided_": geometry_inplace("as_strided", as_strided)}

__all__ = ["narrow_copy"]
