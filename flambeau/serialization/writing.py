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
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from flambeau.core import dtypes as dt
from flambeau.core.device import device as Device
from flambeau.core.size import Size
from flambeau.nn.parameter import Parameter
from flambeau.serialization.names import STORAGE_OF, to_pytorch
from flambeau.tensor.tensor import Tensor

ALIGNMENT = 64


class Name:
    """A global of PyTorch, by name; it is only ever pickled."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name

    def __call__(self, *args):
        raise TypeError(f"{self.module}.{self.name} stands for a name in a file")


class Ref:
    """A storage in the pickle."""

    def __init__(self, storage, dtype):
        self.storage, self.dtype = storage, dtype


class Writer(pickle._Pickler):  # type: ignore[name-defined] # the C pickler cannot write names of absent modules
    """Pickles tensors as PyTorch does, and collects their storages."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def __init__(self, file):
        super().__init__(file, 2)
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
        return ("storage", Name("torch", STORAGE_OF[dtype]), key, "cpu", obj.storage.nbytes // dtype.itemsize)

    def reducer_override(self, obj):
        if isinstance(obj, Tensor):
            return reduce_tensor(obj)
        if isinstance(obj, Size):
            return Name("torch", "Size"), (tuple(obj),)
        if isinstance(obj, Device):
            return Name("torch", "device"), (obj.type,) if obj.index is None else (obj.type, obj.index)
        return NotImplemented

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, dt.dtype):  # a name, not a call
            obj = DTYPES[obj.name]
        return super().save(obj, save_persistent_id)


DTYPES = {name: Name("torch", name) for name in (d.name for d in STORAGE_OF)}


def reduce_tensor(t: Tensor):
    """PyTorch's recipe for a tensor or parameter."""
    if t._dtype not in STORAGE_OF:
        raise RuntimeError(f"save: tensors of {t._dtype} cannot be written in PyTorch's format")
    hooks = collections.OrderedDict()
    if isinstance(t, Parameter):
        return Name("torch._utils", "_rebuild_parameter"), (t.detach(), t._requires_grad, hooks)
    args = (Ref(t._storage, t._dtype), t._offset, tuple(t._shape), tuple(t._strides), t._requires_grad, hooks)
    return Name("torch._utils", "_rebuild_tensor_v2"), args


def add(archive: zipfile.ZipFile, name: str, data) -> None:
    """One entry, uncompressed, its bytes aligned in the file (so that they can be mapped)."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    start = archive.fp.tell() + 30 + len(name.encode()) + 4  # type: ignore[union-attr]
    padding = -start % ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(info, data)


def write_archive(obj, file, name: str) -> None:
    buffer = io.BytesIO()
    writer = Writer(buffer)
    writer.dump(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        add(archive, f"{name}/data.pkl", buffer.getvalue())
        add(archive, f"{name}/byteorder", sys.byteorder.encode())
        for key, storage, _ in writer.storages.values():
            raw = (ctypes.c_char * storage.nbytes).from_address(storage.ptr) if storage.nbytes else b""
            add(archive, f"{name}/data/{key}", bytes(raw))
        add(archive, f"{name}/version", b"3\n")


def save(obj, f, pickle_module=None, pickle_protocol: int = 2, _use_new_zipfile_serialization: bool = True,
         _disable_byteorder_record: bool = False) -> None:  # fmt: skip
    """Write obj (tensors and containers of them) to a path or file object.

    A path is written atomically: whatever happens, it holds the old or the new file, whole.
    Source:   torch.save
    """
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("save: the format from before PyTorch 1.6 is not written; leave out _use_new_zipfile_serialization")
    if not isinstance(f, (str, os.PathLike)):
        if not hasattr(f, "write"):
            raise AttributeError(f"expected 'f' to be string, path, or a file-like object with a 'write' attribute, got {type(f).__name__}")
        buffer = io.BytesIO()
        write_archive(obj, buffer, "archive")
        f.write(buffer.getvalue())
        return
    path = Path(f)
    if not path.parent.is_dir():
        raise RuntimeError(f"Parent directory {path.parent} does not exist.")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write_archive(obj, file, path.stem or "archive")
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
