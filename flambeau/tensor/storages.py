"""Storages as programs see them: the memory under a tensor, by bytes (untyped) or elements (typed)."""

from __future__ import annotations

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core.device import device as Device
from flambeau.core.size import Size
from flambeau.tensor.interop import from_array, legacy
from flambeau.tensor.tensor import Tensor, make


class UntypedStorage:
    """The bytes that tensors share; `a.untyped_storage() == b.untyped_storage()` tells views of one memory."""

    __slots__ = ("_all",)
    _dtype = dt.uint8

    def __init__(self, block):
        """Over a runtime block of memory; programs get storages from tensors."""
        n = block.nbytes // self._dtype.itemsize
        self._all = make(block, 0, Size((n,)), (1,), self._dtype)

    @property
    def device(self) -> Device:
        """Where the memory is."""
        return self._all.device

    @property
    def dtype(self):
        """The element type: uint8 for an untyped storage."""
        return self._dtype

    def data_ptr(self) -> int:
        """The address of the first byte; 0 if there is none."""
        return self._all.data_ptr()

    def nbytes(self) -> int:
        """Its size in bytes."""
        return self._all._storage.nbytes

    def size(self) -> int:
        """Its size in elements."""
        return self._all.numel()

    def element_size(self) -> int:
        """Bytes of an element."""
        return self._dtype.itemsize

    def tolist(self) -> list:
        """The elements as numbers."""
        return self._all.tolist()

    def fill_(self, value):
        """Set every element."""
        self._all.fill_(value)
        return self

    def copy_(self, source, non_blocking=False):
        """Take over the elements of a storage of this size."""
        self._all.copy_(source._all)
        return self

    def clone(self):
        """A copy in memory of its own."""
        return type(self)._of(self._all.clone())

    @classmethod
    def _of(cls, tensor):
        return cls(tensor._storage)

    def cpu(self):
        """Itself: it is there already."""
        return self

    def __len__(self) -> int:
        return self._all.numel()

    def __getitem__(self, index):
        part = self._all[index]
        return part.item() if part.dim() == 0 else part.tolist()

    def __setitem__(self, index, value) -> None:
        self._all[index] = value

    def __iter__(self):
        return iter(self._all.tolist())

    def __eq__(self, other) -> bool:
        return isinstance(other, UntypedStorage) and self._all._storage is other._all._storage

    def __hash__(self) -> int:
        return hash(self._all._storage)

    @property
    def _cdata(self) -> int:
        return id(self._all._storage)

    def __repr__(self) -> str:
        name = type(self).__name__
        kind = f"torch.{name}(dtype={self._dtype}, device={self.device})" if self._dtype is not dt.uint8 else f"torch.{name}(device={self.device})"
        return "\n".join([*(f" {v}" for v in self.tolist()), f"[{kind} of size {len(self)}]"])


_typed: dict = {}


def typed(dtype) -> type:
    """The TypedStorage class of a dtype."""
    if dtype not in _typed:
        _typed[dtype] = type("TypedStorage", (TypedStorage,), {
            "__slots__": (), "_dtype": dtype, "__module__": __name__, "__doc__": f"A storage's elements as {dtype} numbers.",
        })  # fmt: skip
    return _typed[dtype]


class TypedStorage(UntypedStorage):
    """The same memory as elements of one dtype: FloatStorage(n), FloatStorage([1.0, 2.0]), or a tensor's.

    Source:   torch.TypedStorage, torch.FloatStorage and its kin
    """

    __slots__ = ()

    def __init__(self, *args):
        is_block = len(args) == 1 and hasattr(args[0], "nbytes") and hasattr(args[0], "ptr")
        super().__init__(args[0] if is_block else legacy(self._dtype, *args)._storage)

    @classmethod
    def from_buffer(cls, buffer, byte_order="native"):
        """A copy of an object's bytes; byte_order: "native", "little" or "big".

        Errors:   ValueError for another order, or bytes that are no whole number of elements
        """
        orders = {"native": "=", "little": "<", "big": ">"}
        if byte_order not in orders:
            raise ValueError(f"from_buffer(byte_order): expected 'native', 'little' or 'big', got {byte_order!r}")
        elements = np.frombuffer(buffer, cls._dtype.np.newbyteorder(orders[byte_order]))
        return cls._of(from_array(elements.astype(cls._dtype.np)))

    def untyped(self) -> UntypedStorage:
        """The same memory by bytes."""
        return UntypedStorage(self._all._storage)

    _untyped_storage = property(untyped)


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory of a tensor, by bytes."""
    return UntypedStorage(self._storage)


def storage(self: Tensor) -> TypedStorage:
    """The memory of a tensor, by elements; all of it, whatever part the tensor shows."""
    return typed(self._dtype)(self._storage)


Tensor.untyped_storage = untyped_storage
Tensor.storage = Tensor._typed_storage = storage


def storage_type(self: Tensor) -> type:
    """The class of storage().

    Source:   torch.Tensor.storage_type
    """
    return typed(self._dtype)


Tensor.storage_type = storage_type
