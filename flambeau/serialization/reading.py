"""torch.load: PyTorch's zip format (and the one before it) read as data, whatever the caller trusts.

The pickle inside is run by `machine.Machine`, which builds data only; this file says what its names, calls and
references to storages mean, and finds the storages' bytes.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import zipfile
from pickle import UnpicklingError

import numpy as np

from flambeau.core.device import device as Device
from flambeau.nn import functional
from flambeau.nn.modules.module import Module
from flambeau.ops.random import Generator
from flambeau.serialization import archive, legacy, recipes, trust
from flambeau.serialization.machine import Machine, fill_attributes
from flambeau.serialization.names import from_pytorch
from flambeau.serialization.tensors import load_file
from flambeau.tensor.storages import UntypedStorage


class Reader:
    """What names, calls and references in a pickle mean; storages(type, key, location, size) makes the storages."""

    def __init__(self, storages, weights_only: bool):
        self.storages, self.weights_only = storages, weights_only
        self.refused: list[str] | None = None  # a list notes refused names instead of raising

    def find(self, module: str, name: str):
        """What a name stands for."""
        full = f"{module}.{name}"
        found = trust.allowed(full)
        if found is None:
            found = recipes.GLOBALS.get(full)
        if found is None and not self.weights_only:
            found = recipes.TRUSTED.get(full) or inert_function(module, name) or module_class(module, name)
        if found is not None:
            return found
        if self.refused is not None:
            self.refused.append(full)
            return recipes.Recipe(lambda *args: None)
        raise UnpicklingError(
            f"load: the file names {full}, which is not allowed: files are read as data, and nothing they name is run. "
            f"If you trust it, and it is a class of your program, call torch.serialization.add_safe_globals([{name}]) "
            "first" + ("; whole modules also need weights_only=False" if self.weights_only else "")
        )

    def call(self, callee, args: tuple):
        """A recipe, or what the program allowed, called."""
        if isinstance(callee, type) and callee in recipes.CALLED:
            callee = recipes.CALLED[callee]
        if isinstance(callee, recipes.Recipe):
            return callee.make(*args)
        if trust.is_allowed(callee):
            return callee(*args)
        raise UnpicklingError(f"load: the file calls a {type(callee).__name__}, which is not allowed")

    def new(self, cls, args: tuple, keywords: dict):
        """An object of an allowed class, without its __init__."""
        if isinstance(cls, type) and (trust.is_allowed(cls) or issubclass(cls, Module) and not args and not keywords):
            return cls.__new__(cls, *args, **keywords)
        if isinstance(cls, type) and cls in recipes.CALLED:
            return recipes.CALLED[cls].make(*args, **keywords)
        raise UnpicklingError("load: the file makes an object of a class that is not allowed")

    def build(self, obj, state) -> None:
        """The state of an object that the file made."""
        cls = type(obj)
        if trust.is_allowed(cls) or any(trust.is_allowed(base) for base in cls.__mro__[:-1]) or isinstance(obj, Module):
            if hasattr(cls, "__setstate__"):
                obj.__setstate__(state)
            else:
                fill_attributes(obj, state, slots=trust.is_allowed(cls))
        elif cls is np.ndarray:
            recipes.set_array(obj, state)
        elif isinstance(obj, np.dtype):
            recipes.need(isinstance(state, tuple), "a NumPy dtype with a strange state")
        elif cls is Generator:
            recipes.set_generator(obj, state)
        elif isinstance(obj, dict) and cls is not dict:
            fill_attributes(obj, state)
        elif not (self.refused is not None and obj is None):
            raise UnpicklingError(f"load: the file changes a {cls.__name__}, which is not allowed")

    def persistent(self, saved):
        """A storage."""
        if isinstance(saved, tuple) and len(saved) == 4 and saved[0] == "module":  # a class and its source, before 1.6
            return saved[1]
        if not isinstance(saved, tuple) or len(saved) < 5 or saved[0] != "storage":
            raise UnpicklingError("load: the file has a reference that is no storage")
        kind, key, location, numel = saved[1:5]
        if not isinstance(kind, type) or not issubclass(kind, UntypedStorage) or type(numel) is not int or numel < 0:
            raise UnpicklingError("load: a storage in the file has no known type")
        return self.storages(kind, text_of(key), text_of(location), numel, saved[5] if len(saved) > 5 else None)


def text_of(name) -> str:
    """A storage's key or location."""
    recipes.need(isinstance(name, (str, int)), "a storage without a name")
    return str(name)


def module_class(module: str, name: str):
    """A class of ours (or of the running program) that is a Module, for whole models in files one trusts."""
    home = from_pytorch(module)
    if home.startswith("flambeau.nn."):
        try:
            importlib.import_module(home)
        except ImportError:
            return None
    found = getattr(sys.modules.get(home), name, None)
    return found if isinstance(found, type) and issubclass(found, Module) else None


def inert_function(module: str, name: str):
    """A function of nn.functional as a value (a layer's activation): the file cannot call it."""
    return getattr(functional, name) if module == "torch.nn.functional" and name in functional.__all__ else None


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, encoding="utf-8"):
    """Read what save (here or in PyTorch) wrote, from a path or file object.

    Nothing in the file is run: it may name only what is on a list (see add_safe_globals); weights_only=False adds
    Module classes, functions of nn.functional and NumPy's arrays.
    Args:     map_location: a device, a dict of devices' names, or a function of (storage, location); mmap: the
              storages are the file itself, read as they are used, and changes stay in memory; encoding: of Python 2's strings
    Errors:   pickle.UnpicklingError naming what is refused; RuntimeError for damaged files
    Source:   torch.load
    """
    trusted = weights_only is False
    if isinstance(f, (str, os.PathLike)):
        if os.fspath(f).endswith(".safetensors"):
            return load_file(f, "cpu" if map_location is None else map_location)
        with open(f, "rb") as file:
            return read(file, map_location, not trusted, bool(mmap), encoding)
    if mmap:
        raise ValueError("f must be a file path in order to use the mmap argument")
    if not hasattr(f, "read") or not hasattr(f, "seek"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with 'read' and 'seek' attributes")
    return read(f, map_location, not trusted, False, encoding)


def read(file, map_location, weights_only: bool, mmap: bool, encoding: str = "utf-8", refused: list | None = None):
    """The object of a file that is open; refused: gather the names that are not allowed instead."""
    place = placing(map_location)
    start = file.tell()
    head = file.read(4)
    file.seek(start)
    if head != b"PK\x03\x04":
        return legacy.read(file, lambda storages: Reader(storages, weights_only), place, mmap, encoding)
    if start:  # what zipfile takes for the beginning of the archive must be the beginning
        file = io.BytesIO(file.read())
    try:
        with archive.Archive(file, place, mmap) as opened:
            reader = Reader(opened, weights_only)
            reader.refused = refused
            return Machine(opened.pickle, reader, encoding).load()
    except UnpicklingError:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as e:
        raise RuntimeError(f"load: failed reading the zip archive: {e}; the file is damaged or truncated") from e


def placing(map_location):
    """place(storage, location): the storage on the device that map_location says, which must be here."""

    def place(storage: UntypedStorage, location: str) -> UntypedStorage:
        target = map_location
        if callable(target):
            moved = target(storage.untyped() if hasattr(storage, "untyped") else storage, location)
            if moved is not None:
                return type(storage)(moved._all._storage)
            target = None
        elif isinstance(target, dict):
            target = target.get(location, location)
        target = location if target is None else str(target)
        if target.partition(":")[0] not in ("cpu", "meta"):
            raise RuntimeError(
                f"Attempting to deserialize object on a {target} device but torch.cuda.is_available() is False. If you "
                "are running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map "
                "your storages to the CPU."
            )
        return storage

    if map_location is not None and not callable(map_location) and not isinstance(map_location, (str, dict, Device)):
        raise TypeError(f"load: map_location must be a device, a str, a dict or a function, got {type(map_location).__name__}")
    return place


def no_storages(*args):
    """The storages of a pickle that is no checkpoint."""
    raise UnpicklingError("load: a plain pickle has no storages")


def load_plain(data: bytes, encoding: str = "utf-8"):
    """What a plain pickle holds, if it is data: Python's containers, numbers and texts, and NumPy's arrays."""
    return Machine(data, Reader(no_storages, weights_only=False), encoding).load()


def get_unsafe_globals_in_checkpoint(f) -> list[str]:
    """The names in a file that load would refuse (see add_safe_globals).

    Source:   torch.serialization.get_unsafe_globals_in_checkpoint
    """
    refused: list[str] = []
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            read(file, None, True, False, refused=refused)
    else:
        read(f, None, True, False, refused=refused)
    return sorted(set(refused))
