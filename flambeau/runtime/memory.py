"""CPU memory: a caching allocator, and `Storage`, the block a tensor's elements live in.

Blocks come in size classes ("bins"). A freed block goes to its bin's list and the next request
of that class takes it back, so memory that was touched once is not faulted in again. Blocks up
to 1 MiB are cut from arenas; larger ones are mapped one by one.

What runs in `__del__` is one `list.append`, which is atomic: a finaliser may run at any moment,
in any thread, inside the allocator too. Everything else that changes state holds the lock.
"""

import ctypes
import mmap
import os
import threading
from bisect import bisect_left, bisect_right, insort

from flambeau.support import config
from flambeau.support.errors import OutOfMemoryError

__all__ = [
    "ALIGNMENT", "OutOfMemoryError", "Storage", "allocate", "from_external", "get_limit",
    "release_cached", "reset_peak", "set_limit", "stats", "zeroed",
]

ALIGNMENT = 64
_SMALL = 64 << 10  # up to here a table gives the bin
_CARVED = 1 << 20  # up to here blocks are cut from arenas
_LARGEST = 1 << 62
_PAGE = mmap.PAGESIZE
_HUGE = 2 << 20


class Storage:
    """A block of memory: its address, its size, and the version counter of in-place writes.

    The block returns to the allocator, or its owner is let go, when the Storage dies.
    """

    __slots__ = ("__weakref__", "_release", "nbytes", "ptr", "version")
    device = "cpu"
    owner = None

    def __del__(self):
        self._release(self.ptr)

    def __repr__(self):
        return f"Storage(ptr={self.ptr:#x}, nbytes={self.nbytes}, device={self.device})"


class ExternalStorage(Storage):
    """Memory somebody else allocated, kept alive through `owner`."""

    __slots__ = ("owner",)


def allocate(nbytes: int) -> Storage:
    """A Storage of `nbytes` bytes, not initialised, aligned to 64 bytes.

    Errors: OutOfMemoryError, naming the sizes; ValueError if `nbytes` is negative.
    """
    if 0 <= nbytes <= 65536:
        pop, push = _table[(nbytes + 63) >> 6]
        try:
            ptr = pop()
        except IndexError:
            ptr = _allocator.refill(nbytes)
        storage = Storage()
        storage.ptr = ptr
        storage.nbytes = nbytes
        storage._release = push
        storage.version = 0
        return storage
    return _allocator.large(nbytes)[0]


def zeroed(nbytes: int) -> Storage:
    """As `allocate`, filled with zeros; memory fresh from the system is zero already."""
    if nbytes <= _SMALL:
        storage, fresh = allocate(nbytes), False
    else:
        storage, fresh = _allocator.large(nbytes)
    if not fresh:
        ctypes.memset(storage.ptr, 0, nbytes)
    return storage


def from_external(ptr: int, nbytes: int, owner: object) -> Storage:
    """A Storage over memory that `owner` keeps valid."""
    if ptr < 0 or not 0 <= nbytes <= _LARGEST:
        raise ValueError(f"from_external: cannot use address {ptr} with {nbytes} bytes")
    storage = ExternalStorage()
    storage.ptr = ptr
    storage.nbytes = nbytes
    storage.owner = owner
    storage._release = _ignore
    storage.version = 0
    return storage


def stats() -> dict[str, int]:
    """Bytes and counts.

    allocated: in blocks that are in use.  reserved: taken from the system.  cached: kept free.
    peak_allocated, peak_reserved: the most since `reset_peak`; blocks up to 64 KiB enter
    peak_allocated by sampling.  blocks, cached_blocks, mappings, limit (0: none).
    """
    return _allocator.stats()


def reset_peak() -> None:
    """Let the peaks start again from what is in use now."""
    _allocator.reset_peak()


def set_limit(nbytes: int | None) -> None:
    """Hold at most `nbytes` of memory (None or 0: no limit); what is in use already stays."""
    if nbytes is not None and nbytes < 0:
        raise ValueError(f"set_limit: expected a size that is not negative, got {nbytes}")
    _allocator.limit = nbytes or 0


def get_limit() -> int:
    """The limit in bytes; 0 if there is none."""
    return _allocator.limit


def release_cached() -> int:
    """Give all memory that is free back to the system; returns the bytes given back."""
    return _allocator.release_cached()


def _ignore(ptr):
    """What an external Storage's end does: nothing."""


class _Bin:
    """Blocks of one size: how many exist, and the addresses of those that are free."""

    __slots__ = ("free", "pop", "push", "size", "total")

    def __init__(self, size):
        self.size = size
        self.total = 0
        self.free = []
        self.pop = self.free.pop
        self.push = self.free.append

    @property
    def used(self):
        return self.total - len(self.free)


class _LargeBin(_Bin):
    """A bin whose use is counted as it changes. `x += n` on ints is not interrupted by the GIL."""

    __slots__ = ()

    def release(self, ptr):
        self.push(ptr)
        _allocator.large_used -= self.size


def _class_size(nbytes):
    """The block size for a request: classes are at most 1/8 apart, 1/16 from 64 KiB on."""
    nbytes = max(nbytes, ALIGNMENT)
    small = nbytes <= _SMALL
    step = 1 << ((nbytes - 1).bit_length() - (4 if small else 5))
    step = max(step, ALIGNMENT if small else _PAGE)
    return (nbytes + step - 1) // step * step


class _Mapping:
    """Memory from the system: private, zero, aligned to 2 MiB where it is that large."""

    __slots__ = ("memory", "ptr", "size")

    def __init__(self, size):
        extra = _HUGE if size >= _HUGE else 0
        if hasattr(mmap, "MAP_PRIVATE"):
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            self.memory = mmap.mmap(-1, size + extra, flags=flags)
        else:
            self.memory = mmap.mmap(-1, size + extra)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.ptr = -(-start // _HUGE) * _HUGE if extra else start
        self.size = size
        if extra and config.huge_pages and hasattr(mmap, "MADV_HUGEPAGE"):
            try:
                whole = size // _HUGE * _HUGE
                self.memory.madvise(mmap.MADV_HUGEPAGE, self.ptr - start, whole)
            except OSError:
                pass  # a kernel without huge pages
        # Never unmapped by the interpreter's end: arrays and kernels may outlive this module.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.memory))

    def unmap(self):
        self.memory.close()
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(self.memory))


class _Arena:
    """A mapping that blocks of several bins are cut from, front to back."""

    __slots__ = ("cut", "mapping")

    def __init__(self, mapping):
        self.mapping = mapping
        self.cut = 0

    @property
    def room(self):
        return self.mapping.size - self.cut

    def carve(self, size):
        ptr = self.mapping.ptr + self.cut
        self.cut += size
        return ptr


class _Allocator:
    """The state behind the module's functions."""

    def __init__(self):
        self.lock = threading.RLock()
        self.busy = False  # inside the lock: seen by a finaliser that allocates
        self.limit = config.memory_limit
        self.bins: dict[int, _Bin] = {}
        self.mapped_sizes: list[int] = []  # classes above _CARVED, sorted
        self.mappings: dict[int, _Mapping] = {}  # blocks above _CARVED, by address
        self.arenas: list[_Arena] = []
        self.reserved = self.peak_reserved = 0
        self.large_used = self.small_sample = self.peak = 0

    def bin(self, size):
        found = self.bins.get(size)
        if found is None:
            made = _Bin(size) if size <= _SMALL else _LargeBin(size)
            found = self.bins.setdefault(size, made)
            if found is made and size > _CARVED:
                insort(self.mapped_sizes, size)
        return found

    def refill(self, nbytes):
        """An address for a small request whose bin is empty; more are put in the bin."""
        box = self.bin(_class_size(nbytes))
        with self.lock:
            ptr = self.carve(box, max(1, min(64, (32 << 10) // box.size)), nbytes)
            self.sample()
        return ptr

    def large(self, nbytes):
        """(Storage, is it zero) for a request above 64 KiB."""
        if nbytes < 0:
            raise ValueError(f"allocate: expected a size that is not negative, got {nbytes}")
        if nbytes > _LARGEST:
            raise self.out_of_memory(nbytes)
        size = _class_size(nbytes)
        box = self.bins.get(size) or self.bin(size)
        fresh = False
        try:
            ptr = box.pop()
        except IndexError:
            with self.lock:
                box, ptr, fresh = self.take_large(box, nbytes)
        self.large_used += box.size
        used = self.large_used + self.small_sample
        if used > self.peak:
            self.peak = used
        storage = Storage()
        storage.ptr = ptr
        storage.nbytes = nbytes
        storage._release = box.release
        storage.version = 0
        return storage, fresh

    def take_large(self, box, nbytes):
        """(bin, address, is it zero): a free block up to a quarter larger, else a new one."""
        if box.size <= _CARVED:
            return box, self.carve(box, 1, nbytes), False
        sizes = self.mapped_sizes
        last = bisect_right(sizes, box.size + box.size // 4)
        for size in sizes[bisect_left(sizes, box.size) : last]:
            other = self.bins[size]
            try:
                return other, other.pop(), False
            except IndexError:
                continue
        self.trim(box.size)
        mapping = self.map(box.size, nbytes)
        self.mappings[mapping.ptr] = mapping
        box.total += 1
        return box, mapping.ptr, True

    def carve(self, box, count, nbytes):
        """Cut up to `count` blocks for a bin from an arena: one is returned, the rest is free."""
        if not self.arenas or self.arenas[-1].room < box.size:
            self.arenas.append(_Arena(self.map_arena(box.size, nbytes)))
        arena = self.arenas[-1]
        blocks = [arena.carve(box.size) for _ in range(min(count, arena.room // box.size))]
        box.total += len(blocks)
        first, *rest = blocks
        box.free.extend(reversed(rest))
        return first

    def map_arena(self, size, nbytes):
        """Arenas grow with what is held: 1 MiB first, 32 MiB at most, less next to the limit."""
        wish = min(32 << 20, max(1 << 20, self.reserved // 4 // _HUGE * _HUGE))
        if self.limit:
            wish = min(wish, (self.limit - self.reserved) // _PAGE * _PAGE)
        return self.map(max(wish, -(-size // _PAGE) * _PAGE), nbytes)

    def map(self, size, nbytes):
        """New memory; where it cannot be had, after giving back what is cached."""
        for last in (False, True):
            if not self.limit or self.reserved + size <= self.limit:
                try:
                    mapping = _Mapping(size)
                except (OSError, OverflowError, ValueError, MemoryError):
                    pass
                else:
                    self.reserved += size
                    self.peak_reserved = max(self.peak_reserved, self.reserved)
                    return mapping
            if not last:
                self.release_cached()
        raise self.out_of_memory(nbytes)

    def out_of_memory(self, nbytes):
        limit = f"{self.limit} bytes" if self.limit else "none"
        return OutOfMemoryError(
            f"out of memory on cpu: tried to allocate {nbytes} bytes; {self.used()} bytes are "
            f"allocated, {self.reserved} reserved, limit {limit}"
        )

    def trim(self, size):
        """Before mapping more, give back large free blocks beyond the bound on them."""
        boxes = [self.bins[size] for size in reversed(self.mapped_sizes)]
        cached = sum(box.size * len(box.free) for box in boxes)
        bound = config.memory_cache or max(256 << 20, self.large_used // 2)
        for box in boxes:
            while cached > bound and self.unmap_one(box):
                cached -= box.size

    def unmap_one(self, box):
        try:
            ptr = box.pop()
        except IndexError:
            return False
        box.total -= 1
        self.reserved -= box.size
        self.mappings.pop(ptr).unmap()
        return True

    def release_cached(self):
        with self.lock:
            before = self.reserved
            for size in self.mapped_sizes:
                while self.unmap_one(self.bins[size]):
                    pass
            self.release_arenas()
            return before - self.reserved

    def release_arenas(self):
        """Unmap arenas all of whose blocks are free; blocks of the others go back to their bins.

        While the lists are taken apart, other threads find them empty and wait for the lock.
        """
        self.arenas.sort(key=lambda arena: arena.mapping.ptr)
        starts = [arena.mapping.ptr for arena in self.arenas]
        held = [[] for _ in starts]
        free = [0] * len(starts)
        for box in [box for box in self.bins.values() if box.size <= _CARVED]:
            for _ in range(len(box.free)):
                try:
                    ptr = box.pop()
                except IndexError:
                    break
                index = bisect_right(starts, ptr) - 1
                held[index].append((box, ptr))
                free[index] += box.size
        kept = []
        for arena, blocks, size in zip(self.arenas, held, free, strict=True):
            if size == arena.cut:
                for box, _ in blocks:
                    box.total -= 1
                self.reserved -= arena.mapping.size
                arena.mapping.unmap()
            else:
                for box, ptr in blocks:
                    box.push(ptr)
                kept.append(arena)
        self.arenas[:] = sorted(kept, key=lambda arena: arena.room)

    def small_used(self):
        return sum(box.size * box.used for size, box in list(self.bins.items()) if size <= _SMALL)

    def used(self):
        return self.large_used + self.small_used()

    def sample(self):
        self.small_sample = self.small_used()
        self.peak = max(self.peak, self.large_used + self.small_sample)

    def reset_peak(self):
        with self.lock:
            self.peak = 0
            self.sample()
            self.peak_reserved = self.reserved

    def stats(self):
        with self.lock:
            self.sample()
            boxes = list(self.bins.values())
            return {
                "allocated": self.used(),
                "reserved": self.reserved,
                "cached": sum(box.size * len(box.free) for box in boxes),
                "peak_allocated": self.peak,
                "peak_reserved": self.peak_reserved,
                "blocks": sum(box.used for box in boxes),
                "cached_blocks": sum(len(box.free) for box in boxes),
                "mappings": len(self.mappings) + len(self.arenas),
                "limit": self.limit,
            }


_allocator = _Allocator()


def _build_table():
    """For each count of 64-byte lines up to 64 KiB: the bin's (pop, push)."""
    table = []
    for lines in range(_SMALL // ALIGNMENT + 1):
        box = _allocator.bin(_class_size(lines * ALIGNMENT))
        table.append((box.pop, box.push))
    return table


_table = _build_table()


def _unlock_in_child():
    _allocator.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _allocator.lock.acquire(),
        after_in_parent=lambda: _allocator.lock.release(),
        after_in_child=_unlock_in_child,
    )
