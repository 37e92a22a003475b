"""Making sparse tensors: torch.sparse_coo_tensor, to_sparse, sparse_mask, and the old constructors torch.sparse.FloatTensor."""

from __future__ import annotations

import math
import operator

from flambeau.core import dtypes as dt
from flambeau.core.device import sparse_coo
from flambeau.ops.create import check_options
from flambeau.ops.record import hooks
from flambeau.sparse.coo import SparseTensor, keys_of, nothing, sparse_of, taken
from flambeau.tensor.interop import as_tensor
from flambeau.tensor.tensor import Tensor


def sizes(size) -> tuple[int, ...]:
    """A shape, checked."""
    shape = tuple(operator.index(n) for n in size)
    if any(n < 0 for n in shape):
        raise RuntimeError(f"sparse_coo_tensor(size): sizes may not be negative, got {list(shape)}")
    return shape


def sparse_coo_tensor(indices=None, values=None, size=None, *, dtype=None, device=None, pin_memory=False,
                      requires_grad=False, check_invariants=None, is_coalesced=None):  # fmt: skip
    """A sparse tensor of layout torch.sparse_coo: values at coordinates, those of one coordinate added; zero elsewhere.

    Args:     indices (sparse_dim, nnz), values (nnz, *dense sizes), size (found from the indices if left out); with a size
              alone, a tensor that keeps no values. Indices are always checked to lie inside; check_invariants=True also
              checks what is_coalesced says.
    Errors:   RuntimeError where numbers of indices, values and dimensions do not fit or an index is out of range
    Source:   torch.sparse_coo_tensor
    """
    check_options("sparse_coo_tensor", device)
    if values is None and size is None and isinstance(indices, (tuple, list)):
        indices, size = None, indices
    if values is None:
        if indices is not None or size is None:
            raise TypeError("sparse_coo_tensor() takes (indices, values, size=None) or (size)")
        shape = sizes(size)
        return with_grad(nothing(shape, dtype or dt.get_default_dtype(), len(shape)), requires_grad)
    places = as_indices(indices)
    values = as_tensor(values, dtype)
    if not values._shape:
        values = values.reshape(1)
    if len(places._shape) != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(places._shape)}")
    n, nnz = places._shape
    if values._shape[0] != nnz:
        raise RuntimeError(f"indices and values must have same nnz, but got nnz from indices: {nnz}, nnz from values: {values._shape[0]}")
    if size is None:
        size = (*(r.max().item() + 1 for r in places.unbind(0)), *values._shape[1:]) if nnz else (0,) * n + tuple(values._shape[1:])
    shape = sizes(size)
    if len(shape) != n + len(values._shape) - 1:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(shape)}, sparse_dim = {n}, "
            f"dense_dim = {len(values._shape) - 1}"
        )
    if tuple(values._shape[1:]) != shape[n:]:
        raise RuntimeError(
            f"values has incorrect size, expected {[nnz, *shape[n:]]}, got {list(values._shape)}"
        )
    check_inside(places, shape)
    if is_coalesced and check_invariants:
        keys = keys_of(places, shape)
        if nnz > 1 and not bool((keys[1:] > keys[:-1]).all()):
            raise RuntimeError("cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor")
    return with_grad(sparse_of(places, values, shape, bool(is_coalesced)), requires_grad)


def nothing_like(input, dtype=None):
    """A sparse tensor of the same dimensions that keeps no values."""
    return nothing(input._shape, dtype or input._dtype, input.sparse_dim())


def as_indices(indices):
    """Indices as an int64 matrix: an alias, since products keep what they find out with it."""
    t = as_tensor(indices)
    return (t if t._dtype is dt.int64 else t.to(dt.int64))._alias()


def check_inside(places, shape) -> None:
    """Every index lies in its dimension."""
    if not places._numel:
        return
    for d, row in enumerate(places.unbind(0)):
        low, high = row.min().item(), row.max().item()
        if low < 0:
            raise RuntimeError(f"found negative index {low} for dim {d}")
        if high >= shape[d]:
            raise RuntimeError(f"size is inconsistent with indices: for dim {d}, size is {shape[d]} but found index {high}")


def with_grad(t, requires_grad: bool):
    """requires_grad= of a fresh tensor: a leaf of its own."""
    if not requires_grad:
        return t
    t = t.detach()
    if t._dtype.kind not in "fc":
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    return t.requires_grad_()


def embedding_gradient(grad, indices, shape, padding_idx: int):
    """The gradient of a table whose rows were taken: rows of grad at indices, but for those of the padding row."""
    width = grad._shape[-1]
    places, values = indices.reshape((1, -1)).to(dt.int64), grad.reshape((-1, width))
    if padding_idx >= 0:
        kept = (places[0] != padding_idx).nonzero().reshape(-1)
        places, values = places.index_select(1, kept), values.index_select(0, kept)
    return sparse_of(places, values, shape, False)


# from dense ---------------------------------------------------------------------------------------
def to_sparse(input, sparse_dim=None, layout=None):
    """The elements of a dense tensor that are not 0 (or the slices that are not all 0), coalesced."""
    if layout is not None and layout is not sparse_coo:
        raise NotImplementedError(f"to_sparse(layout): {layout} is not implemented; only torch.sparse_coo is")
    if isinstance(input, SparseTensor):
        if sparse_dim is not None and sparse_dim != input.sparse_dim():
            raise RuntimeError(
                "to_sparse: conversion from Sparse to Sparse with sparse_dim argument !=self.sparse_dim() is not supported"
            )
        return input
    ndim = len(input._shape)
    n = ndim if sparse_dim is None else operator.index(sparse_dim)
    if not 0 <= n <= ndim or n == 0 and ndim:
        raise RuntimeError(f"to_sparse: sparse_dim must be from 1 to {ndim}, got {sparse_dim}")
    marked = input.detach() != 0
    if n < ndim:
        marked = marked.reshape((*input._shape[:n], math.prod(input._shape[n:]))).any(-1)
    places = marked.nonzero().t().contiguous() if n else hooks.empty((0, int(bool(marked))), dt.int64)
    return sparse_of(places, taken(input, places), input._shape, True)


def sparse_mask(input, mask):
    """The elements of input at the places that a sparse tensor keeps.

    Errors:   RuntimeError for shapes that differ; NotImplementedError for a dense mask
    Source:   torch.Tensor.sparse_mask
    """
    if not isinstance(mask, SparseTensor):
        raise NotImplementedError("sparse_mask(mask): the mask must be a sparse tensor (torch.sparse_coo)")
    if input._shape != mask._shape:
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(input._shape)} but mask has size {list(mask._shape)}"
        )
    return sparse_of(mask._places, taken(input, mask._places), mask._shape, mask._coalesced)


# old constructors ---------------------------------------------------------------------------------
class OldType(type):
    """torch.sparse.FloatTensor and its like: constructors that isinstance understands."""

    def __instancecheck__(cls, x):
        return isinstance(x, SparseTensor) and x._dtype is cls.dtype

    def __call__(cls, *args):
        return old_form(cls.dtype, args)


def old_form(dtype, args: tuple):
    """Indices, values and perhaps a size; or a size alone."""
    if len(args) >= 2 and isinstance(args[0], Tensor) and isinstance(args[1], Tensor):
        return sparse_coo_tensor(*args)
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = tuple(args[0])
    shape = sizes(args or (0,))
    return nothing(shape, dtype, len(shape))


def old_type(name: str, dtype):
    """The class torch.sparse.<name>."""
    return OldType(name, (), {"dtype": dtype, "__module__": "torch.sparse", "__doc__": f"{name}(indices, values, size): use torch.sparse_coo_tensor."})
