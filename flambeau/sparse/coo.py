"""SparseTensor: the coordinates of the elements that are kept, and their values; `primitives`: what autograd knows of it.

A tensor of layout torch.sparse_coo has a shape, a dtype and autograd's fields, but no strides, storage or address: asking
for those raises SparseOperand, by which ops find their sparse form (forms.py). Nothing in the dense path looks for it.

    indices (sparse_dim, nnz) int64, values (nnz, *dense shape); the element at a coordinate is the sum of its values.
"""

from __future__ import annotations

import copy
import math

from flambeau.core import dtypes as dt
from flambeau.core.device import sparse_coo
from flambeau.core.shapes import contiguous_strides
from flambeau.core.size import Size
from flambeau.ops.elementwise import SCALAR_NAMES
from flambeau.ops.record import KERNEL, SparseOperand, hooks, op, state
from flambeau.ops.sort import searchsorted
from flambeau.tensor.tensor import Tensor, Version, new_tensor

NO_STORAGE = "Cannot access storage of a sparse tensor: use to_dense(), _indices() or _values()"


def unavailable(self):
    raise SparseOperand("this operation is not implemented for tensors of layout torch.sparse_coo: use to_dense() first")


class SparseTensor(Tensor):
    """A tensor of layout torch.sparse_coo; made by `sparse_coo_tensor`, `to_sparse`, or as the gradient of an embedding."""

    __slots__ = ("_coalesced", "_held", "_places")
    _storage = _ptr = _offset = _strides = property(unavailable)  # type: ignore[assignment]

    def __new__(cls, *args, **kwargs):
        raise TypeError("a sparse tensor is made by torch.sparse_coo_tensor(indices, values, size)")

    # what it is -----------------------------------------------------------------------------------
    layout = property(lambda self: sparse_coo, doc="torch.sparse_coo.")
    is_sparse = property(lambda self: True, doc="True.")
    device = property(lambda self: self._held.device, doc="Where the values live.")

    @property
    def nbytes(self):
        """Not defined: add those of the indices and the values."""
        raise RuntimeError(
            "nbytes is not defined for sparse tensors.  If you want the size of the constituent tensors, add the nbytes of the "
            "indices and values.  If you want the size of the  equivalent dense tensor, multiply numel() by element_size()"
        )

    def sparse_dim(self) -> int:
        """The number of leading dimensions that the indices name."""
        return self._places._shape[0]

    def dense_dim(self) -> int:
        """The number of trailing dimensions that each value has."""
        return len(self._held._shape) - 1

    def _nnz(self) -> int:
        """The number of values kept."""
        return self._held._shape[0]

    def is_coalesced(self) -> bool:
        """True if the indices are in order and none comes twice."""
        return self._coalesced

    def _indices(self):
        """The indices, (sparse_dim, nnz), as they are kept."""
        return self._places._alias()

    def _values(self):
        """The values, (nnz, *dense shape), as they are kept, without history."""
        return self._held._alias()

    def indices(self):
        """The indices of a coalesced tensor."""
        if not self._coalesced:
            raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() first")
        return self._indices()

    def values(self):
        """The values of a coalesced tensor, with their history."""
        if not self._coalesced:
            raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() first")
        return values_of(self)

    def coalesce(self):
        """The same tensor with indices in order, each once; values of one index are added, in their order."""
        return self if self._coalesced else coalesced(self)

    def stride(self, dim=None):
        """0 for each dimension: there are none."""
        return (0,) * len(self._shape) if dim is None else 0

    def storage_offset(self) -> int:
        """0."""
        return 0

    def is_contiguous(self, memory_format=None) -> bool:
        """False."""
        return False

    def data_ptr(self) -> int:
        """There is no address: an error."""
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    def untyped_storage(self):
        """There is no storage: an error."""
        raise NotImplementedError(NO_STORAGE)

    storage = share_memory_ = is_shared = untyped_storage

    def numpy(self, *, force: bool = False):
        """An error: to_dense() comes first."""
        raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")

    def tolist(self):
        """An error: to_dense() comes first."""
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage: use to_dense() first")

    def type(self, dtype=None, non_blocking=False):
        """The type's name ("torch.sparse.FloatTensor"), or the tensor in another."""
        if dtype is None:
            return f"torch.sparse.{SCALAR_NAMES[self._dtype.name]}Tensor"
        if isinstance(dtype, str):
            dtype = dtype.replace("torch.sparse.", "torch.")
        return Tensor.type(self, dtype)

    # aliases and copies ---------------------------------------------------------------------------
    def _alias(self):
        t = build(self._places, self._held, self._shape, self._coalesced)
        t._vc = self._vc
        return t

    def as_subclass(self, cls):
        """Only as what it is."""
        if cls in (SparseTensor, Tensor):
            return self._alias()
        raise NotImplementedError(f"{cls.__name__} of a sparse tensor is not implemented: keep the values in one")

    def _take(self, other) -> None:
        if not isinstance(other, SparseTensor):
            raise RuntimeError("a sparse tensor's data can only be another sparse tensor")
        self._places, self._held, self._coalesced = other._places, other._held, other._coalesced
        self._shape, self._dtype, self._numel = other._shape, other._dtype, other._numel

    def _become(self, other):
        """Have the elements and the history of another sparse tensor from now on."""
        if other._requires_grad and self._requires_grad and self._grad_fn is None:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        self._take(other)
        self._vc.version += 1
        if other._requires_grad:
            self._grad_fn, self._output_nr, self._requires_grad = other._grad_fn, other._output_nr, True
        return self

    def copy_(self, src, non_blocking=False):
        """The elements of another sparse tensor."""
        if not isinstance(src, SparseTensor):
            raise RuntimeError(
                "copy_() between dense and sparse Tensors is not implemented! Found self type = "
                f"{self.type()} and src type = {src.type()}"
            )
        if src._shape != self._shape:
            self._take(build(src._places, self._held, src._shape, False))
        return self._become(src.to(self._dtype, copy=True))

    def zero_(self):
        """Keep no values."""
        return self._become(nothing(self._shape, self._dtype, self.sparse_dim()))

    def new(self, *args):
        """A sparse tensor of this dtype: of indices, values and a size, or of a size and empty."""
        from flambeau.sparse.create import old_form

        return old_form(self._dtype, args)

    def new_zeros(self, *size, dtype=None, device=None, requires_grad=False):
        """A sparse tensor that keeps no values."""
        shape = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
        return nothing(tuple(shape), dtype or self._dtype, len(shape)).requires_grad_(requires_grad)

    new_empty = new_zeros

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        if self._grad_fn is not None:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.")
        made = memo[id(self)] = build(self._places.clone(), self._held.clone(), self._shape, self._coalesced)
        made._requires_grad = self._requires_grad
        made._grad = copy.deepcopy(self._grad, memo)
        return made

    def __copy__(self):
        return rebuild(*self.__reduce_ex__(2)[1])

    def __reduce_ex__(self, protocol):
        if self._grad_fn is not None and self._requires_grad:
            raise RuntimeError("Only leaf tensors can be pickled: detach() this one first")
        return rebuild, (self._indices(), self._values(), tuple(self._shape), self._coalesced, self._requires_grad)

    def __getitem__(self, index):
        from flambeau.sparse.forms import at

        return at(self, index)

    def __setitem__(self, index, value):
        raise NotImplementedError("assignment to parts of a sparse tensor is not implemented: use to_dense() first")


def build(places, held, shape, is_coalesced: bool):
    """A sparse tensor of indices and values that fit; fewer than two values are in order."""
    t = new_tensor(SparseTensor)
    t._places, t._held, t._coalesced = places, held, is_coalesced or held._shape[0] < 2
    t._shape = shape if type(shape) is Size else Size(shape)
    t._dtype, t._numel, t._dense, t._vc = held._dtype, math.prod(t._shape), False, Version()
    t._requires_grad = False
    t._grad_fn = t._grad = t._base = t._hooks = t._accumulate = t._post_hooks = None
    t._output_nr = t._view_version = 0
    return t


def rebuild(places, held, shape, is_coalesced, requires_grad):
    """The sparse tensor that a pickle describes."""
    from flambeau.sparse.create import sparse_coo_tensor

    return sparse_coo_tensor(places, held, shape, is_coalesced=is_coalesced, check_invariants=True, requires_grad=requires_grad)


def nothing(shape, dtype, sparse_dim: int):
    """A sparse tensor that keeps no values."""
    places, held = hooks.empty((sparse_dim, 0), dt.int64), hooks.empty((0, *shape[sparse_dim:]), dtype)
    return build(places, held, shape, True)


def keys_of(places, shape):
    """The positions of coordinates among all that the leading dimensions have, row by row."""
    if places._shape[0] == 1:
        return places[0]
    strides = contiguous_strides(tuple(shape[: places._shape[0]]))
    total = None
    for row, step in zip(places.unbind(0), strides, strict=True):
        part = row if step == 1 else row * step
        total = part if total is None else total + part
    return total if total is not None else hooks.empty((places._shape[1],), dt.int64).zero_()


def places_of(keys, shape):
    """The coordinates (rows) of positions among the given sizes."""
    from flambeau.ops.join import stack

    rows = [keys // step % n for n, step in zip(shape, contiguous_strides(tuple(shape)), strict=True)]
    return stack(rows) if rows else hooks.empty((0, keys._numel), dt.int64)


# primitives: ops that autograd knows --------------------------------------------------------------
HIDDEN = {"function": False, "method": False}


@op(KERNEL, **HIDDEN, node="SparseCooTensorWithDimsAndTensorsBackward0")
def sparse_of(places, values, size, is_coalesced):
    """The sparse tensor of indices and values; see `sparse_coo_tensor`."""
    return build(places, values._alias(), size, is_coalesced)


@op(KERNEL, **HIDDEN, node="ValuesBackward0")
def values_of(input):
    """The values as they are kept; where gradients are wanted no index may come twice."""
    return input._held._alias()


@op(KERNEL, **HIDDEN, node="CoalesceBackward0")
def coalesced(input):
    """Indices in order, each once; see SparseTensor.coalesce."""
    places, held, shape = input._places, input._held, input._shape
    keys, inverse = keys_of(places, shape).unique(return_inverse=True)
    if places._shape[0] == 1:
        found = keys.unsqueeze(0)
    else:
        found = places_of(keys, shape[: places._shape[0]])
    summed = held.new_zeros((keys._numel, *held._shape[1:]))
    return build(found, summed.index_put_((inverse,), held, accumulate=True), shape, True)


def taken(g, places):
    """The elements of a dense or sparse tensor at the given coordinates, as values."""
    n = places._shape[0]
    if not isinstance(g, SparseTensor):
        flat = g if n == 1 else g.reshape((math.prod(g._shape[:n]), *g._shape[n:]))
        return flat.index_select(0, keys_of(places, g._shape))
    if g._places is places and g._coalesced:
        return values_of(g)
    g = g.coalesce()
    values = values_of(g)
    wanted, have = keys_of(places, g._shape), keys_of(g._places, g._shape)
    if not have._numel:
        return values.new_zeros((wanted._numel, *values._shape[1:]))
    at = searchsorted(have, wanted).clamp(max=have._numel - 1)
    known = (have.index_select(0, at) == wanted).reshape((-1,) + (1,) * (len(values._shape) - 1))
    return values.index_select(0, at) * known.to(values._dtype)


sparse_of.derivative(values=lambda g, places: taken(g, places))
values_of.derivative(input=lambda g, input: sparse_of(input._places, g, input._shape, input._coalesced))
coalesced.derivative(input=lambda g: g)


def parts(x) -> tuple:
    """(indices, values with their history, whether coalesced): where gradients are wanted, of the coalesced tensor."""
    if state.grad and x._requires_grad:
        x = x.coalesce()
    return x._places, values_of(x), x._coalesced


def like(x, values, places=None):
    """A sparse tensor of x's shape with other values (and places)."""
    return sparse_of(x._places if places is None else places, values, x._shape, x._coalesced)


hooks.SparseTensor = SparseTensor
