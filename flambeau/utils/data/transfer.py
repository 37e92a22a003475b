"""Batches from worker processes through shared memory: what is large is written once and read where it lies.

A worker keeps blocks of shared memory, files in /dev/shm whose names vanish as soon as the main process has mapped them.
A message says which blocks a batch is in. When the main process has let go of a block's tensors, it gives the block
back, and the worker writes a later batch there: no fresh pages are touched once as many blocks exist as are in flight.
"""

from __future__ import annotations

import ctypes
import glob
import io
import itertools
import math
import mmap
import os
import pickle
import tempfile

import numpy as np

from flambeau.core import shapes as S
from flambeau.core.size import Size
from flambeau.runtime import memory
from flambeau.tensor.tensor import Tensor, make

SMALL = 4096  # bytes that travel in the message itself
SPARE = 8  # free blocks of one size that are kept
LARGE_MESSAGE = 16384  # a pickle above this goes into a block too: pipes take that much without waiting


def folders() -> list[str]:
    """Where blocks may be: memory if there is such a file system, else the disk's cache."""
    return [f for f in ("/dev/shm", tempfile.gettempdir()) if os.path.isdir(f)]


def remove(prefix: str) -> None:
    """Remove the names of blocks that were never mapped by the main process, or could not be removed then."""
    for folder in folders():
        for path in glob.glob(os.path.join(glob.escape(folder), prefix + "*")):
            try:
                os.unlink(path)
            except OSError:
                pass


class Mapping:
    """A block of shared memory in this process."""

    def __init__(self, path: str, size: int, create: bool):
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        handle = os.open(path, flags, 0o600)
        try:
            if create:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(handle, 0, size)  # a full /dev/shm is an error now, not a crash later
                else:
                    os.ftruncate(handle, size)
            self.map = mmap.mmap(handle, size)
        except BaseException:
            if create:
                os.unlink(path)
            raise
        finally:
            os.close(handle)
        self.path, self.size = path, size
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))


class Held:
    """A block in use in the worker: it is free again when the worker's tensors and the main process's are gone."""

    def __init__(self, box: Outbox, block: Mapping):
        self.box, self.block, self.sent = box, block, False

    def __del__(self):
        self.box.let_go(self.block, self.sent)


class Outbox:
    """The worker's blocks."""

    def __init__(self, prefix: str):
        self.prefix = prefix
        self.count = itertools.count()
        self.free: dict[int, list[Mapping]] = {}
        self.away: dict[str, tuple[Mapping, int]] = {}  # blocks sent, and for how many holders they are not free
        self.dropped: list[str] = []

    def acquire(self, nbytes: int) -> Held:
        """A block of at least this size."""
        unit = max(1 << 16, 1 << max(0, nbytes.bit_length() - 3))
        size = -(-nbytes // unit) * unit
        waiting = self.free.get(size)
        if waiting:
            return Held(self, waiting.pop())
        places = folders()
        for folder in places:
            try:
                return Held(self, Mapping(os.path.join(folder, self.prefix + str(next(self.count))), size, True))
            except OSError:
                if folder == places[-1]:
                    raise
        raise AssertionError("there is always a directory for temporary files")

    def empty(self, shape, dtype) -> Tensor:
        """A tensor in a block, for a batch that is about to be made."""
        nbytes = math.prod(shape) * dtype.itemsize
        held = self.acquire(nbytes)
        storage = memory.from_external(held.block.address, nbytes, held)
        return make(storage, 0, Size(shape), S.contiguous_strides(shape), dtype)

    def let_go(self, block: Mapping, sent: bool) -> None:
        """One holder fewer; blocks that were never sent are free at once."""
        left = self.away.get(block.path, (block, 1))[1] - 1 if sent else 0
        if left:
            self.away[block.path] = (block, left)
            return
        self.away.pop(block.path, None)
        waiting = self.free.setdefault(block.size, [])
        if len(waiting) < SPARE or not sent:
            waiting.append(block)
        else:  # many batches were kept for a while; the main process forgets it too
            self.dropped.append(block.path)

    def returned(self, paths: list[str]) -> None:
        """The main process has let go of these blocks."""
        for path in paths:
            self.let_go(self.away[path][0], True)

    def put(self, held: Held) -> tuple[str, int]:
        """A block's name and size for the main process, which holds it from now on."""
        if not held.sent:
            held.sent = True
            self.away[held.block.path] = (held.block, 2)
        return held.block.path, held.block.size

    def pack(self, data) -> bytes:
        """The message that stands for data."""
        blocks: list[tuple[str, int, int]] = []
        copies: list[Held] = []
        lent: dict[int, Held] = {}  # by address; packer and callback have it in common, and no cycle keeps it alive

        def out_of_band(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if raw.nbytes <= SMALL or raw.readonly:
                return True  # within the pickle
            address = np.frombuffer(raw, np.uint8).ctypes.data
            held = lent.get(address)
            if held is None:
                held = self.acquire(raw.nbytes)
                ctypes.memmove(held.block.address, address, raw.nbytes)
                copies.append(held)
            blocks.append((*self.put(held), raw.nbytes))
            return False

        file = io.BytesIO()
        Packer(file, out_of_band, lent).dump(data)
        text = file.getvalue()
        dropped, self.dropped = self.dropped, []
        if len(text) <= LARGE_MESSAGE:
            return pickle.dumps((blocks, text, dropped))
        held = self.acquire(len(text))
        held.block.map[: len(text)] = text
        return pickle.dumps((blocks, (*self.put(held), len(text)), dropped))


class Packer(pickle.Pickler):
    """Pickles tensors as views of their storages' buffers; storages that tensors share stay shared."""

    def __init__(self, file, callback, lent: dict[int, Held]):
        super().__init__(file, 5, buffer_callback=callback)
        self.lent = lent  # the blocks that storages lie in already

    def reducer_override(self, obj):
        if isinstance(obj, memory.Storage):
            raw = (ctypes.c_char * obj.nbytes).from_address(obj.ptr) if obj.nbytes else bytearray()
            if isinstance(obj.owner, Held):
                self.lent[obj.ptr] = obj.owner
            return storage_over, (pickle.PickleBuffer(raw),)
        if isinstance(obj, Tensor) and not obj.is_sparse:
            if obj._grad_fn is not None and obj._requires_grad:
                raise RuntimeError(
                    "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support "
                    "crossing process boundaries.  If you just want to transfer the data, call detach() on the tensor "
                    "before serializing (e.g., putting it on the queue)."
                )
            t = obj
            if t._storage.nbytes > 2 * t._numel * t._dtype.itemsize + SMALL:  # a small view of much: only what it shows
                t = t.detach().clone()
            extra = {k: v for k, v in obj.__dict__.items() if k != "_shared"}
            return tensor_over, (type(obj), t._storage, t._offset, tuple(t._shape), tuple(t._strides), t._dtype, obj._requires_grad, extra)
        return NotImplemented


def storage_over(buffer) -> memory.Storage:
    """A storage over what arrived: in place for a block, a copy of what was in the message."""
    array = np.frombuffer(buffer, np.uint8)
    if isinstance(buffer, bytearray):
        storage = memory.allocate(len(buffer))
        ctypes.memmove(storage.ptr, array.ctypes.data, len(buffer))
        return storage
    return memory.from_external(array.ctypes.data, array.nbytes, array)


def tensor_over(cls, storage, offset, shape, strides, dtype, requires_grad, extra) -> Tensor:
    """A tensor as it was in the worker."""
    t = make(storage, offset, Size(shape), strides, dtype)
    t = t if cls is Tensor else t.as_subclass(cls)
    t._requires_grad = requires_grad
    t.__dict__.update(extra)
    return t


class Lease:
    """A block in use in the main process; its end is noted for the worker."""

    def __init__(self, inbox: Inbox, path: str, block: Mapping):
        self.inbox, self.path, self.block = inbox, path, block

    def __del__(self):
        self.inbox.done.append(self.path)


class Inbox:
    """One worker's blocks in the main process."""

    def __init__(self):
        self.blocks: dict[str, Mapping] = {}
        self.done: list[str] = []

    def finished(self) -> list[str]:
        """The blocks let go of since the last time."""
        done, self.done = self.done, []
        return done

    def buffer(self, path: str, size: int, nbytes: int):
        """A block's memory as a buffer; the block is in use while any view of it lives."""
        if path not in self.blocks:
            self.blocks[path] = Mapping(path, size, False)
            try:
                os.unlink(path)
            except OSError:  # where open files keep their names; the worker removes them at its end
                pass
        raw = (ctypes.c_char * nbytes).from_address(self.blocks[path].address)
        raw.lease = Lease(self, path, self.blocks[path])  # type: ignore[attr-defined] # lives as long as any view of raw
        return raw

    def unpack(self, message: bytes):
        """What the worker packed."""
        blocks, text, dropped = pickle.loads(message)
        for path in dropped:
            self.blocks.pop(path, None)
        buffers = [self.buffer(*b) for b in blocks]
        if isinstance(text, tuple):
            text = self.buffer(*text)
        return pickle.loads(text, buffers=buffers)
