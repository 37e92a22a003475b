"""The zip archive of torch.save: where its pickle is, and its storages, read or mapped, each once.

Archives are not trusted either: entries are stored as they are (torch.save never compresses), lie inside the file, and
together are no larger than it, so that a small file cannot make much memory be used.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import zipfile

import numpy as np

from flambeau.runtime import memory
from flambeau.serialization.options import get_default_mmap_options

CHUNK = 1 << 24


class Archive:
    """An open archive; called with a reference's parts, it gives the storage.

    Args:     place: says on which device a storage belongs; mapped: storages are the file itself
    """

    def __init__(self, file, place, mapped: bool):
        self.file, self.place = file, place
        self.zip = zipfile.ZipFile(file)
        self.made: dict[str, object] = {}
        self.entries = {info.filename: info for info in self.zip.infolist()}
        self.check_sizes()
        names = [n for n in self.entries if n.endswith("/data.pkl")]
        if len(names) != 1:
            raise RuntimeError("load: the archive holds no data.pkl: it was not written by torch.save")
        self.prefix = names[0].removesuffix("data.pkl")
        order = self.prefix + "byteorder"
        if order in self.entries and self.zip.read(order) != b"little":
            raise NotImplementedError("load: the file was written on a big-endian machine")
        self.pickle = self.zip.read(names[0])
        self.map = map_file(file) if mapped else None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.zip.close()

    def check_sizes(self) -> None:
        """Refuse compressed entries, and more bytes than the file has."""
        self.file.seek(0, os.SEEK_END)
        total = self.file.tell()
        if len(self.entries) != len(self.zip.infolist()):
            raise RuntimeError("load: the archive has two entries of one name; it is damaged")
        for info in self.entries.values():
            if info.compress_type != zipfile.ZIP_STORED:
                raise RuntimeError(f"load: entry {info.filename[:100]!r} is compressed, which torch.save never does; unpack the archive and zip it anew with -0")
        if sum(info.file_size for info in self.entries.values()) > total:
            raise RuntimeError("load: the archive's entries are larger than the file: it is damaged or truncated")

    def __call__(self, kind, key: str, location: str, numel: int, view=None):
        """The storage `key` as a storage class."""
        if key not in self.made:
            info = self.entries.get(f"{self.prefix}data/{key}")
            nbytes = numel * kind._dtype.itemsize
            if info is None:
                raise RuntimeError(f"load: the file has no storage {key[:40]!r}: it is damaged or truncated")
            if info.file_size < nbytes:
                raise RuntimeError(f"load: storage {key[:40]!r} has {info.file_size} bytes, expected {nbytes}")
            block = self.mapped(info) if self.map is not None and info.file_size else self.copied(info)
            self.made[key] = self.place(kind(block), location)._all._storage
        return kind(self.made[key])

    def copied(self, info: zipfile.ZipInfo):
        """An entry's bytes in memory of their own; zipfile compares their checksum."""
        block = memory.allocate(info.file_size)
        target = memoryview((ctypes.c_char * info.file_size).from_address(block.ptr)).cast("B") if info.file_size else b""
        done = 0
        try:
            with self.zip.open(info) as entry:
                while part := entry.read(CHUNK):
                    target[done : done + len(part)] = part  # type: ignore[index]
                    done += len(part)
        except (zipfile.BadZipFile, EOFError, ValueError) as e:
            raise RuntimeError(f"load: storage {info.filename[-40:]!r}: {e}; the file is damaged or truncated") from e
        if done != info.file_size:
            raise RuntimeError(f"load: entry {info.filename[-40:]!r} is truncated")
        return block

    def mapped(self, info: zipfile.ZipInfo):
        """An entry's bytes where the file is mapped."""
        assert self.map is not None
        head = bytes(self.map[info.header_offset : info.header_offset + 30])
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            raise RuntimeError(f"load: entry {info.filename!r} has no header: the file is damaged")
        name, extra = struct.unpack("<HH", head[26:])
        start = info.header_offset + 30 + name + extra
        if start + info.file_size > len(self.map):
            raise RuntimeError(f"load: entry {info.filename!r} reaches beyond the file: it is damaged or truncated")
        part = self.map[start : start + info.file_size]
        return memory.from_external(part.ctypes.data, info.file_size, part)


def map_file(file) -> np.ndarray:
    """The bytes of a file, mapped into memory as the options say."""
    flags = get_default_mmap_options()
    if flags == mmap.MAP_SHARED:
        with open(file.name, "r+b") as writable:
            return np.frombuffer(mmap.mmap(writable.fileno(), 0, mmap.MAP_SHARED), np.uint8)
    access = mmap.PROT_READ | mmap.PROT_WRITE
    return np.frombuffer(mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, access), np.uint8)

