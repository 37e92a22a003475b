"""Reading PyTorch's zip format as data: a pickle may name only what is on a list, whatever the caller trusts.

Names that stand for classes of nn are resolved to ours. Sizes and strides are checked against the storage's bytes before
a tensor is made of them.
"""

from __future__ import annotations

import collections
import ctypes
import io
import os
import pickle
import zipfile
from contextlib import contextmanager

from flambeau.core import shapes as S
from flambeau.core.device import device as Device
from flambeau.core.size import Size
from flambeau.nn.parameter import Parameter
from flambeau.runtime import memory
from flambeau.serialization.names import STORAGES, from_pytorch
from flambeau.tensor.tensor import make

_allowed: dict[str, object] = {}


class StoredAs:
    """A storage type named in a file."""

    def __init__(self, dtype):
        self.dtype = dtype


class Stored:
    """A loaded storage and the dtype it was saved with."""

    def __init__(self, storage, dtype):
        self.storage, self.dtype = storage, dtype


def rebuild_tensor(stored, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
    """torch._utils._rebuild_tensor_v2, with every number checked."""
    if not isinstance(stored, Stored):
        raise pickle.UnpicklingError("a tensor in the file has no storage")
    shape, strides = tuple(size), tuple(stride)
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or any(not isinstance(n, int) or n < 0 for n in numbers):
        raise pickle.UnpicklingError(f"a tensor in the file has impossible sizes: {shape}, strides {strides}, offset {offset}")
    if 0 not in shape:
        last = offset + S.extent(shape, strides)[1]
        if (last + 1) * stored.dtype.itemsize > stored.storage.nbytes:
            raise pickle.UnpicklingError(
                f"a tensor in the file reaches beyond its storage: shape {shape}, strides {strides}, offset {offset}, "
                f"{stored.storage.nbytes} bytes of {stored.dtype}"
            )
    t = make(stored.storage, offset, Size(shape), strides, stored.dtype)
    return t.requires_grad_() if requires_grad else t


def rebuild_parameter(data, requires_grad, hooks=None):
    """torch._utils._rebuild_parameter."""
    return Parameter(data, requires_grad)


def rebuild_parameter_with_state(data, requires_grad, hooks, state):
    """torch._utils._rebuild_parameter_with_state."""
    p = Parameter(data, requires_grad)
    if isinstance(state, dict):
        p.__dict__.update(state)
    return p


def encode(text, encoding="latin1"):
    """_codecs.encode, of strings to bytes."""
    if not isinstance(text, str):
        raise pickle.UnpicklingError("_codecs.encode: expected a string")
    return text.encode(encoding)


GLOBALS: dict[str, object] = {
    "torch._utils._rebuild_tensor_v2": rebuild_tensor, "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild_parameter_with_state,
    "torch._utils._rebuild_tensor": rebuild_tensor, "torch.Size": Size, "torch.device": Device,
    "torch.nn.parameter.Parameter": Parameter, "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": collections.defaultdict, "collections.Counter": collections.Counter,
    "_codecs.encode": encode, "builtins.set": set, "builtins.frozenset": frozenset, "builtins.complex": complex,
    "builtins.bytearray": bytearray, "builtins.slice": slice, "builtins.range": range, "builtins.dict": dict,
    "builtins.list": list, "builtins.tuple": tuple, "builtins.int": int, "builtins.float": float,
    "__builtin__.set": set, "__builtin__.complex": complex,
}  # fmt: skip
GLOBALS |= {f"torch.{n}": StoredAs(d) for n, d in STORAGES.items()}
GLOBALS |= {f"torch.storage.{n}": StoredAs(d) for n, d in STORAGES.items()}
GLOBALS |= {f"torch.{d.name}": d for d in STORAGES.values()}


def add_safe_globals(safe: list) -> None:
    """Let files name these classes or functions too (or pairs (thing, "module.name"))."""
    for item in safe:
        thing, name = item if isinstance(item, tuple) else (item, f"{item.__module__}.{item.__qualname__}")
        _allowed[name] = thing


def clear_safe_globals() -> None:
    """Only the built-in list again."""
    _allowed.clear()


def get_safe_globals() -> list:
    """What add_safe_globals added."""
    return list(_allowed.values())


@contextmanager
def safe_globals(safe: list):
    """add_safe_globals, inside."""
    before = dict(_allowed)
    add_safe_globals(safe)
    try:
        yield
    finally:
        _allowed.clear()
        _allowed.update(before)


def module_class(module: str, name: str):
    """A class of ours (or of the running program) that is a Module, for whole models in files one trusts."""
    import sys

    from flambeau.nn.modules.module import Module

    home = from_pytorch(module)
    if home.startswith("flambeau.nn."):
        import importlib

        try:
            importlib.import_module(home)
        except ImportError:
            return None
    found = getattr(sys.modules.get(home), name, None)
    return found if isinstance(found, type) and issubclass(found, Module) else None


class Reader(pickle.Unpickler):
    """An unpickler that resolves names on the list only."""

    def __init__(self, file, storages, weights_only: bool):
        super().__init__(file, encoding="utf-8")
        self.storages, self.weights_only = storages, weights_only

    def find_class(self, module: str, name: str):
        full = f"{module}.{name}"
        found = _allowed.get(full, GLOBALS.get(full))
        if found is None and not self.weights_only:
            found = module_class(module, name)
        if found is None:
            raise pickle.UnpicklingError(
                f"load: the file names {full}, which is not allowed: files are read as data, and nothing they name is run. "
                f"If you trust it, and it is a class of your program, call torch.serialization.add_safe_globals([{name}]) "
                "first" + ("; whole modules also need weights_only=False" if self.weights_only else "")
            )
        return found

    def persistent_load(self, saved):
        if not isinstance(saved, tuple) or len(saved) < 5 or saved[0] != "storage":
            raise pickle.UnpicklingError(f"load: unknown reference in the file: {saved!r:.100}")
        _, kind, key, location, numel = saved[:5]
        if not isinstance(kind, StoredAs) or not isinstance(numel, int) or numel < 0:
            raise pickle.UnpicklingError("load: a storage in the file has no known type")
        return self.storages(kind.dtype, str(key), str(location), numel)


class Storages:
    """The storages of an archive, each read once."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str, map_location):
        self.archive, self.prefix, self.map_location = archive, prefix, map_location
        self.made: dict[str, Stored] = {}

    def __call__(self, dtype, key: str, location: str, numel: int) -> Stored:
        if key not in self.made:
            check_location(location, self.map_location)
            try:
                data = self.archive.read(f"{self.prefix}data/{key}")
            except KeyError:
                raise RuntimeError(f"load: the file has no storage {key!r}: it is damaged or truncated") from None
            if len(data) < numel * dtype.itemsize:
                raise RuntimeError(f"load: storage {key!r} has {len(data)} bytes, expected {numel * dtype.itemsize}")
            storage = memory.allocate(len(data))
            ctypes.memmove(storage.ptr, data, len(data))
            self.made[key] = Stored(storage, dtype)
        stored = self.made[key]
        return stored if stored.dtype is dtype else Stored(stored.storage, dtype)


def check_location(location: str, map_location) -> None:
    """Only the CPU is there; storages of other devices need map_location."""
    target = map_location
    if callable(target):
        return
    if isinstance(target, dict):
        target = target.get(location, location)
    target = location if target is None else str(target)
    if target.partition(":")[0] not in ("cpu", "meta"):
        raise RuntimeError(
            f"Attempting to deserialize object on a {target} device but torch.cuda.is_available() is False. If you are "
            "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
            "storages to the CPU."
        )


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, **pickle_load_args):
    """Read what save (here or in PyTorch) wrote, from a path or file object.

    Nothing in the file is run: it may name only what is on a list (see add_safe_globals); weights_only=False adds
    Module classes.
    Errors:   pickle.UnpicklingError naming what is refused; RuntimeError for damaged files
    Source:   torch.load
    """
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return read(file, map_location, weights_only is not False)
    if not hasattr(f, "read") or not hasattr(f, "seek"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with 'read' and 'seek' attributes")
    return read(f, map_location, weights_only is not False)


def read(file, map_location, weights_only: bool):
    start = file.tell()
    head = file.read(4)
    file.seek(start)
    if head != b"PK\x03\x04":
        if not head:
            raise EOFError("Ran out of input: the file is empty")
        raise RuntimeError(
            "load: this is no zip archive as torch.save writes; files from before PyTorch 1.6 must be saved anew with a "
            "current version, other files are damaged"
        )
    if start:
        file = io.BytesIO(file.read())
    try:
        with zipfile.ZipFile(file) as archive:
            names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
            if len(names) != 1:
                raise RuntimeError("load: the archive holds no data.pkl: it was not written by torch.save")
            prefix = names[0][: -len("data.pkl")]
            order = prefix + "byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise NotImplementedError("load: the file was written on a big-endian machine")
            storages = Storages(archive, prefix, map_location)
            try:
                return Reader(io.BytesIO(archive.read(names[0])), storages, weights_only).load()
            except (pickle.UnpicklingError, RuntimeError, NotImplementedError, MemoryError):
                raise
            except Exception as e:
                raise pickle.UnpicklingError(f"load: the pickle is damaged: {type(e).__name__}: {e}") from e
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as e:
        raise RuntimeError(f"load: failed reading the zip archive: {e}; the file is damaged or truncated") from e


