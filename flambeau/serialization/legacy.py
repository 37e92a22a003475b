"""The format from before PyTorch 1.6, as old checkpoints on the web have it: five pickles, then the storages' bytes."""

from __future__ import annotations

from pickle import UnpicklingError

from flambeau.runtime import memory
from flambeau.serialization.machine import Machine
from flambeau.serialization.recipes import copy_bytes, need
from flambeau.tensor.storages import UntypedStorage

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
STRANGE = (
    "load: this is neither a zip archive as torch.save writes nor a file of PyTorch before 1.6 (those start with a magic "
    "number): it is damaged, or no checkpoint"
)


class Storages:
    """The storages that the pickle refers to; their bytes come after it.

    Args:     limit: the bytes of the file, which all storages together cannot have more than
    """

    def __init__(self, place, limit: int):
        self.place, self.left = place, limit
        self.made: dict[str, UntypedStorage] = {}
        self.filled: dict[str, UntypedStorage] = {}
        self.views: dict[str, UntypedStorage] = {}

    def __call__(self, kind, key: str, location: str, numel: int, view=None):
        """The storage `key`, or a part of it, as a storage class."""
        size = kind._dtype.itemsize
        if key not in self.made:
            self.left -= numel * size
            if self.left < 0:
                raise RuntimeError("load: the storages are larger than the file: it is damaged or truncated")
            block = kind(memory.allocate(numel * size))
            self.filled[key] = block  # map_location may make another of it, after the bytes are there
            self.made[key] = self.place(block, location)
        storage = self.made[key]._all._storage
        if view is None:
            return kind(storage)
        need(isinstance(view, tuple) and len(view) == 3 and all(type(n) is int and n >= 0 for n in view[1:]), "a strange view of a storage")
        name, offset, count = str(view[0]), view[1] * size, view[2] * size
        if offset + count > storage.nbytes:
            raise RuntimeError("load: a view reaches beyond its storage: the file is damaged")
        if name not in self.views:
            self.views[name] = kind(memory.from_external(storage.ptr + offset, count, storage))
        return self.views[name]


def read(file, make_reader, place, mapped: bool, encoding: str):
    """The object of a file in the old format.

    Errors:   RuntimeError if it is no such file, or damaged
    """
    if mapped:
        raise RuntimeError(
            "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True), "
            "please torch.save your checkpoint with this option in order to use mmap."
        )
    data = file.read()
    if not data:
        raise EOFError("Ran out of input: the file is empty")
    storages = Storages(place, len(data))
    machine = Machine(data, make_reader(storages), encoding)
    try:
        magic = machine.load()
    except UnpicklingError as e:
        raise RuntimeError(STRANGE) from e
    if magic != MAGIC:
        raise RuntimeError(STRANGE)
    if machine.load() != PROTOCOL:
        raise RuntimeError("load: the file has an unknown version of PyTorch's format from before 1.6")
    system = machine.load()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise NotImplementedError("load: the file was written on a big-endian machine")
    result, keys = machine.load(), machine.load()
    if not isinstance(keys, list) or len(keys) != len(storages.filled):
        raise RuntimeError("load: the storages of the file are not those of its pickle: it is damaged")
    for key in keys:
        fill(machine, storages, str(key) if isinstance(key, (str, int)) else "")
    return result


def fill(machine: Machine, storages: Storages, key: str) -> None:
    """The next storage's bytes."""
    numel = machine.number("<q")
    stored = storages.filled.get(key)
    if stored is None or numel != stored.size():
        raise RuntimeError("load: the storages of the file are not those of its pickle: it is damaged")
    copy_bytes(stored._all._storage, machine.take(stored.nbytes()))
