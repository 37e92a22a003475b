"""Square brackets: slices, integers, None, ellipsis, integer and boolean tensors, and any mixture.

A basic index (no tensors) is a chain of views. With tensors, the basic parts are applied as views first; the
index tensors then name offsets into what is left (`ops.index.offsets_of`), whose inner blocks are moved.
"""

from __future__ import annotations

import operator

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import index as I
from flambeau.ops.by_geometry import MAX_CALLS
from flambeau.ops.record import KERNEL, TABLE, TENSORS, hooks, op
from flambeau.tensor.tensor import Tensor


def normalise(index) -> tuple:
    """The index as a tuple of int, slice, None, Ellipsis or Tensor."""
    if not isinstance(index, tuple):
        index = tuple(index) if is_tuple_like(index) else (index,)
    return tuple([element(x) for x in index])


def is_tuple_like(index) -> bool:
    """PyTorch treats a short list that holds slices, None, ... as a tuple."""
    return (
        isinstance(index, list)
        and len(index) <= 32
        and any(x is None or x is Ellipsis or isinstance(x, slice) for x in index)
    )


def element(x):
    """One index part in canonical form."""
    if x is None or x is Ellipsis or isinstance(x, (slice, Tensor)):
        return x
    if isinstance(x, bool):
        from flambeau.tensor.interop import tensor

        return tensor(x)
    if isinstance(x, int):
        return x
    if isinstance(x, (list, range, np.ndarray, tuple)):
        from flambeau.tensor.interop import build

        t = build(list(x) if isinstance(x, (range, tuple)) else x)
        return t.to(dt.int64) if t._numel == 0 and t._dtype.kind == "f" else t
    if isinstance(x, np.bool_):
        from flambeau.tensor.interop import tensor

        return tensor(bool(x))
    try:
        return operator.index(x)
    except TypeError:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(x).__name__})"
        ) from None


def consumed(x) -> int:
    """How many dimensions of the tensor one part takes."""
    if x is None or x is Ellipsis:
        return 0
    if isinstance(x, Tensor) and x._dtype in (dt.bool, dt.uint8):
        return len(x._shape)
    return 1


def expand_ellipsis(parts: tuple, ndim: int) -> tuple:
    """Replace ... by full slices, and add those that are left out."""
    used = sum(map(consumed, parts))
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    dots = [i for i, x in enumerate(parts) if x is Ellipsis]
    if not dots:
        return parts
    i = dots[0]
    fill = (slice(None),) * (ndim - used)
    rest = tuple(slice(None) if False else x for x in parts[i + 1 :] if x is not Ellipsis)
    return (*parts[:i], *fill, *rest)


def basic(x, parts: tuple):
    """Apply the non-tensor parts as views; returns (view, [(dim, index tensor), ...])."""
    dim = 0
    tensors = []
    for p in parts:
        if p is None:
            x = x.unsqueeze(dim)
            dim += 1
        elif isinstance(p, int):
            x = select(x, dim, p)
        elif isinstance(p, slice):
            if p != FULL:
                x = slice_dim(x, dim, p)
            dim += 1
        elif p._dtype is dt.bool or p._dtype is dt.uint8:
            if not p._shape:  # a boolean scalar adds a dimension of size 0 or 1
                x = x.unsqueeze(dim)
                at = [p.reshape(1).nonzero(as_tuple=True)[0]]
            else:
                check_mask(p, x, dim)
                at = p.nonzero(as_tuple=True)
            for one in at:
                tensors.append((dim, one))
                dim += 1
        else:
            if p._dtype not in (dt.int64, dt.int32, dt.int16, dt.int8):
                raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
            tensors.append((dim, p))
            dim += 1
    return x, tensors


FULL = slice(None, None, None)


def check_mask(mask, x, dim: int) -> None:
    """A mask has the sizes of the dimensions it indexes."""
    for i, n in enumerate(mask._shape):
        if n != x._shape[dim + i]:
            raise IndexError(
                f"The shape of the mask {list(mask._shape)} at index {i} does not match the shape of the indexed "
                f"tensor {list(x._shape)} at index {dim + i}"
            )


def select(x, dim: int, i: int):
    """x[..., i, ...] at dim, with the indexing error text."""
    n = x._shape[dim]
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for dimension {dim} with size {n}")
    if x.__class__ not in TENSORS:
        return SELECT.call(x, dim, i)
    return part(x, dim, i + n if i < 0 else i, None, SELECT, (dim, i))


def part(x, dim: int, start: int, length: int | None, record, values: tuple):
    """A view from `start` on in one dimension, without that dimension if length is None; its history is that of an op.

    Where parts of one length lie differs by an offset only, so they are known together: loops over rows and batches meet
    none of them twice.
    """
    key = x._dtype, x._shape, x._strides, dim, length
    found = PARTS.get(key)
    if found is None:
        shape, strides, own = tuple(x._shape), x._strides, () if length is None else (length,)
        shape = hooks.Size((*shape[:dim], *own, *shape[dim + 1 :]))
        kept = strides if own else strides[:dim] + strides[dim + 1 :]
        if len(PARTS) >= MAX_CALLS:
            PARTS.clear()
        found = PARTS[key] = (*S.extent_of(shape, kept), shape, kept, strides[dim], strides[dim] * x._dtype.itemsize)
    numel, dense, shape, kept, step, size = found
    y = hooks.alias(x, (numel, shape, kept, dense, start * step, start * size))
    return record.note(y, x, *values) if x._requires_grad else y


PARTS: dict = {}


def slice_dim(x, dim: int, s: slice):
    """A slice with a positive step."""
    start, stop, step = s.start, s.stop, s.step
    if start.__class__ is stop.__class__ is int and step is None and 0 <= start <= stop <= x._shape[dim]:
        if x.__class__ in TENSORS:
            return part(x, dim, start, stop - start, SLICE, (dim, start, stop, 1))
        return SLICE.call(x, dim, start, stop, 1)
    if not (start.__class__ in PLAIN and stop.__class__ in PLAIN and step.__class__ in PLAIN):
        s = slice(*[None if v is None else operator.index(v) for v in (start, stop, step)])
    if step is not None and s.step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, step = s.indices(x._shape[dim])
    return SLICE.quick(x, dim, start, max(start, stop), step)


PLAIN = {int, type(None)}
SELECT, SLICE = TABLE["select"], TABLE["slice"]


def getitem(x, index):
    """x[index]."""
    c = index.__class__
    if c is int:  # the most common case
        if not x._shape:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                "convert a 0-dim tensor to a number"
            )
        return select(x, 0, index)
    if c is slice and x._shape:
        return slice_dim(x, 0, index)
    if c is Tensor and index._dtype is dt.int64 and x._shape:
        return index_tensors(x, (0,), (index,))
    if c is tuple and len(index) == len(x._shape) and all([p.__class__ is Tensor and p._dtype is dt.int64 for p in index]):
        return index_tensors(x, range(len(index)), index) if index else x.alias()
    parts = normalise(index)
    if not x._shape and any(isinstance(p, (int, slice)) for p in parts):
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert "
            "a 0-dim tensor to a number"
        )
    parts = expand_ellipsis(parts, len(x._shape))
    view, tensors = basic(x, parts)
    if not tensors:
        return view if view is not x else x.alias()
    return index_tensors(view, [d for d, _ in tensors], [t for _, t in tensors])


def arrangement(x, dims: list):
    """(inner dims, position of the indexed block in the result)."""
    inner = [d for d in range(len(x._shape)) if d not in dims]
    adjacent = all(b - a == 1 for a, b in zip(dims, dims[1:], strict=False))
    return inner, (dims[0] if adjacent else 0)


def together(tensors) -> list:
    """Index tensors broadcast to one shape, contiguous."""
    try:
        return I.together("index", tensors)
    except RuntimeError:
        raise IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            + ", ".join(str(list(t._shape)) for t in tensors)
        ) from None


@op(KERNEL, function=False, method=False, node="IndexBackward0")
def index_tensors(input, dims, indices):
    """Advanced indexing at `dims` by tensors; see the module."""
    indices = together(indices)
    shape, strides = input._shape, input._strides
    if len(dims) == len(shape):
        out = hooks.empty(indices[0]._shape, input._dtype)
        I.find_positions(out, input, indices, shape, strides, "index")
        return out
    inner, at = arrangement(input, dims)
    block = tuple([shape[d] for d in inner])
    out = hooks.empty((*indices[0]._shape, *block), input._dtype)
    I.take_blocks(out, input, indices, [shape[d] for d in dims], [strides[d] for d in dims], block,
                  tuple([strides[d] for d in inner]), "index", dims=dims)  # fmt: skip
    k = len(indices[0]._shape)
    if at and k:
        order = [*range(k, k + at), *range(k), *range(k + at, len(out._shape))]
        out = out.permute(order)
    return out


index_tensors.derivative(
    input=lambda g, input_shape, dims, indices: put_tensors(g.new_zeros(input_shape), dims, indices, g, True)
)


@op(KERNEL, function=False, method=False, node="IndexPutBackward0")
def put_tensors(input, dims, indices, values, accumulate):
    """A copy of input with values put at the positions named by tensors."""
    out = input.clone(memory_format=None)
    write_tensors(out, dims, indices, values, accumulate)
    return out


put_tensors.derivative(
    input=lambda g, dims, indices, values_shape, accumulate: g if accumulate else put_tensors(
        g, dims, indices, g.new_zeros(()), False),
    values=lambda g, dims, indices: index_tensors(g, dims, indices),
)  # fmt: skip


def write_tensors(x, dims, indices, values, accumulate: bool) -> None:
    """Change x in place at the named positions (nothing is recorded)."""
    indices = together(indices)
    inner, at = arrangement(x, dims)
    inner_shape = tuple(x._shape[d] for d in inner)
    k = len(indices[0]._shape)
    shape = (*inner_shape[:at], *indices[0]._shape, *inner_shape[at:])
    try:
        fits = S.broadcast(tuple(values._shape), shape) == shape
    except ValueError:
        fits = False
    if not fits:
        if values._numel == 1 and values._shape:
            values = values.reshape(())
        else:
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(values._shape)} cannot be broadcast to indexing result "
                f"of shape {list(shape)}"
            )
    values = values.to(x._dtype) if values._dtype is not x._dtype else values
    values = values.detach().expand(shape)
    if at and k:
        order = [*range(at, at + k), *range(at), *range(at + k, len(shape))]
        values = values.permute(order)
    how = "sum" if accumulate else "set"
    values = values.clone() if values._storage is x._storage else values.contiguous()
    if len(dims) == 1 and dims[0] == 0:
        if I.by_rows(x, values, indices[0]._numel):
            return I.put_rows(x, indices[0], values, how, wrap=True, error=I.out_of_bounds("index"))
    sizes, strides = [x._shape[d] for d in dims], [x._strides[d] for d in dims]
    off = I.offsets_of(indices, sizes, strides, "index", dims=dims)
    return I.put_offsets(x, off, inner_shape, tuple(x._strides[d] for d in inner), values, how)


def setitem(x, index, value) -> None:
    """x[index] = value."""
    parts = expand_ellipsis(normalise(index), len(x._shape))
    if not x._shape and any(isinstance(p, (int, slice)) for p in parts):
        raise IndexError("invalid index of a 0-dim tensor. Use `tensor.fill_()` or index with () or ... instead")
    view, tensors = basic(x, parts)
    if not isinstance(value, Tensor):
        from flambeau.tensor.interop import as_tensor, build

        if isinstance(value, (int, float, bool, complex)):
            if isinstance(value, complex) and not x._dtype.is_complex:
                raise RuntimeError(f"value cannot be converted to type {x._dtype} without overflow")
            value = build(value, x._dtype if x._dtype.kind in "fc" or not isinstance(value, float) else None)
        else:
            value = as_tensor(value)
    if not tensors:
        if tuple(value._shape) != tuple(view._shape):
            value = lead_ones(value, view)
        view.copy_(value)
        return
    dims, indices = [d for d, _ in tensors], [t for _, t in tensors]
    index_put_view(view, dims, indices, value, False)


def lead_ones(value, view):
    """Drop leading size-1 dims that the target does not have, as PyTorch's assignment does."""
    shape = list(value._shape)
    while len(shape) > len(view._shape) and shape[0] == 1:
        shape.pop(0)
    return value.reshape(shape) if len(shape) != len(value._shape) else value


def index_put_view(x, dims, indices, value, accumulate: bool):
    """In-place advanced assignment with autograd bookkeeping."""
    values = (x, dims, indices, value, accumulate)
    return hooks.inplace(put_tensors.record, values, lambda: write_tensors(x, dims, indices, value, accumulate))


def index_put_(x, indices, values, accumulate: bool = False):
    """x[indices] = values (or += with accumulate, equal positions adding up).

    Source: torch.Tensor.index_put_
    """
    view, tensors = basic(x, expand_ellipsis(normalise(tuple(indices)), len(x._shape)))
    if not tensors:
        return view.add_(values) if accumulate else view.copy_(values)
    index_put_view(view, [d for d, _ in tensors], [t for _, t in tensors], values, accumulate)
    return x


def index_put(x, indices, values, accumulate: bool = False):
    """A copy of x with x[indices] = values.

    Source: torch.index_put
    """
    return index_put_(x.clone(), indices, values, accumulate)


Tensor.__getitem__ = getitem
Tensor.__setitem__ = setitem
Tensor.index_put_ = index_put_
Tensor.index_put = index_put
