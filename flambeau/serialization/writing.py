"""Writing PyTorch's zip format: one pickle that names storages, and the storages' bytes beside it.

The pickle refers to PyTorch's own functions by name, so PyTorch reads it (with weights_only=True too). A path is written
to a temporary file first, which takes the old file's place once it is complete and on disk.
"""

from __future__ import annotations

import collections
import ctypes
import io
import os
import pickle
import sys
import zipfile
from pathlib import Path
from types import FunctionType
from typing import Any

from flambeau.core import device as places
from flambeau.core import dtypes as dt
from flambeau.core.device import device as Device
from flambeau.core.size import Size
from flambeau.nn import functional
from flambeau.nn.parameter import Parameter, UninitializedTensorMixin
from flambeau.ops.random import Generator
from flambeau.serialization.atomic import replaced
from flambeau.serialization.names import NAMED_DTYPES, STORAGE_OF, to_pytorch
from flambeau.tensor.storages import TypedStorage, UntypedStorage
from flambeau.tensor.tensor import Tensor

ALIGNMENT = 64


class Name:
    """A global of PyTorch, by name; it is only ever pickled."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self, *args):
        raise TypeError(f"{self.module}.{self.name} stands for a name in a file")


class Ref:
    """A storage in the pickle, and the dtype it is read as (None: by bytes)."""

    def __init__(self, storage, dtype):
        self.storage, self.dtype = storage, dtype


class Writer(pickle._Pickler):  # type: ignore[name-defined] # the C pickler cannot write names of absent modules
    """Pickles tensors as PyTorch does, and collects their storages."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file, protocol: int):
        super().__init__(file, protocol)
        self.storages: dict[int, tuple[str, Any, Any]] = {}

    def save_name(self, obj: Name) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch[Name] = save_name

    def save_type(self, obj: type) -> None:
        if to_pytorch(obj.__module__) != obj.__module__:
            self.save_name(Name(to_pytorch(obj.__module__), obj.__qualname__))
        else:
            pickle._Pickler.save_type(self, obj)  # type: ignore[attr-defined]

    dispatch[type] = save_type

    def persistent_id(self, obj):
        if not isinstance(obj, Ref):
            return None
        key, _, dtype = self.storages.setdefault(id(obj.storage), (str(len(self.storages)), obj.storage, obj.dtype))
        if dtype is not obj.dtype:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types "
                f"({dtype} and {obj.dtype}); clone() one of them first"
            )
        kind = Name("torch.storage", "UntypedStorage") if dtype is None else Name("torch", STORAGE_OF[dtype])
        return ("storage", kind, key, "cpu", obj.storage.nbytes // (1 if dtype is None else dtype.itemsize))

    def reducer_override(self, obj):
        if isinstance(obj, Tensor):
            return reduce_tensor(obj)
        if isinstance(obj, Size):
            return Name("torch", "Size"), (tuple(obj),)
        if isinstance(obj, Device):
            return Name("torch", "device"), (obj.type,) if obj.index is None else (obj.type, obj.index)
        if isinstance(obj, places.layout):
            return Name("torch.serialization", "_get_layout"), (str(obj),)
        if isinstance(obj, Generator):
            return Name("torch._C", "Generator"), (Device("cpu"),), (obj.initial_seed(), None, obj.get_state())
        return NotImplemented

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, dt.dtype):  # a name, not a call
            obj = DTYPES[obj.name]
        elif isinstance(obj, UntypedStorage):
            obj = Ref(obj._all._storage, obj.dtype if isinstance(obj, TypedStorage) else None)
        elif isinstance(obj, FunctionType) and hasattr(obj, "record"):
            obj = Name("torch.nn.functional" if obj.__name__ in functional.__all__ else "torch", obj.__name__)
        return super().save(obj, save_persistent_id)


DTYPES = {d.name: Name("torch", d.name) for d in NAMED_DTYPES}


def reduce_tensor(t: Tensor):
    """PyTorch's recipe for a tensor or parameter, with the attributes a program gave it."""
    hooks = collections.OrderedDict()
    if isinstance(t, UninitializedTensorMixin):
        return Name("torch.nn.parameter", type(t).__name__), (t._requires_grad, Device("cpu"), t._dtype)
    if t.is_sparse:
        parts = (t._indices(), t._values(), t.shape, t.is_coalesced())
        return Name("torch._utils", "_rebuild_sparse_tensor"), (t.layout, parts)
    attributes = {k: v for k, v in t.__dict__.items() if not k.startswith("_retains") and k != "_shared"}
    if isinstance(t, Parameter):
        args = (t.detach(), t._requires_grad, hooks)
        if attributes:
            return Name("torch._utils", "_rebuild_parameter_with_state"), (*args, attributes)
        return Name("torch._utils", "_rebuild_parameter"), args
    if t._grad_fn is not None and t._requires_grad:
        t = t.detach().requires_grad_()  # as PyTorch: the values, wanting a gradient of their own
    geometry = (t._offset, tuple(t._shape), tuple(t._strides), t._requires_grad, hooks)
    if t.device.type == "meta":
        rebuild, args = "_rebuild_meta_tensor_no_storage", (t._dtype, tuple(t._shape), tuple(t._strides), t._requires_grad)
    elif t._dtype in STORAGE_OF:
        rebuild, args = "_rebuild_tensor_v2", (Ref(t._storage, t._dtype), *geometry)
    else:
        rebuild, args = "_rebuild_tensor_v3", (Ref(t._storage, None), *geometry, t._dtype)
    if not attributes:
        return Name("torch._utils", rebuild), args
    return Name("torch._tensor", "_rebuild_from_type_v2"), (Name("torch._utils", rebuild), Name("torch", "Tensor"), args, attributes)


def add(archive: zipfile.ZipFile, name: str, data) -> None:
    """One entry, uncompressed, its bytes aligned in the file (so that they can be mapped)."""
    size = memoryview(data).nbytes
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.file_size = size
    large = size * 1.05 > zipfile.ZIP64_LIMIT  # zipfile adds 20 bytes to the header then
    start = archive.fp.tell() + 30 + len(name.encode()) + 4 + 20 * large  # type: ignore[union-attr]
    padding = -start % ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    with archive.open(info, "w") as entry:
        entry.write(data)


def write_archive(obj, file, name: str, protocol: int) -> None:
    """The zip archive of an object."""
    buffer = io.BytesIO()
    writer = Writer(buffer, protocol)
    writer.dump(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        add(archive, f"{name}/data.pkl", buffer.getvalue())
        add(archive, f"{name}/byteorder", sys.byteorder.encode())
        for key, storage, _ in writer.storages.values():
            raw = (ctypes.c_char * storage.nbytes).from_address(storage.ptr) if storage.nbytes else b""
            add(archive, f"{name}/data/{key}", memoryview(raw).cast("B"))
        add(archive, f"{name}/version", b"3\n")


def save(obj, f, pickle_module=None, pickle_protocol: int = 2, _use_new_zipfile_serialization: bool = True,
         _disable_byteorder_record: bool = False) -> None:  # fmt: skip
    """Write obj (tensors and containers of them) to a path or file object.

    A path is written atomically: whatever happens, it holds the old or the new file, whole.
    Source:   torch.save
    """
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("save: the format from before PyTorch 1.6 is not written; leave out _use_new_zipfile_serialization")
    if not 2 <= pickle_protocol <= pickle.HIGHEST_PROTOCOL:
        raise ValueError(f"save: pickle_protocol must be from 2 to {pickle.HIGHEST_PROTOCOL}, got {pickle_protocol}")
    if isinstance(f, (str, os.PathLike)):
        with replaced(f) as file:
            write_archive(obj, file, Path(f).stem or "archive", pickle_protocol)
    elif hasattr(f, "write"):
        buffer = io.BytesIO()
        write_archive(obj, buffer, "archive", pickle_protocol)
        f.write(buffer.getbuffer())
    else:
        raise AttributeError(f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, got {type(f).__name__}")
