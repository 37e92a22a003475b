"""The caching allocator: addresses of blocks, by size class.

Blocks come in size classes ("bins"). A freed block goes to its bin's list and the next request
of that class takes it back, so memory that was touched once is not faulted in again. Blocks up
to 1 MiB are cut from arenas; larger ones are mapped one by one.

Giving back is one `list.append`, which is atomic: a finaliser may run at any moment, in any
thread, inside the allocator too. All else that changes state happens under the lock, and a
finaliser or signal handler that allocates while its own thread is in there gets a block of its
own, apart from that state. Not here: Storage, and how one is made quickly (memory).
"""

import ctypes
import mmap
import threading
from bisect import bisect_left, bisect_right, insort

from flambeau.runtime.locks import ForkSafeLock
from flambeau.support import config
from flambeau.support.errors import OutOfMemoryError

__all__ = ["ALIGNMENT", "LARGEST", "SMALL", "Allocator", "class_size", "no_release"]

ALIGNMENT = 64
SMALL = 64 << 10  # up to here blocks are cut several at a time
CARVED = 1 << 20  # up to here blocks are cut from arenas
LARGEST = 1 << 62
_PAGE = mmap.PAGESIZE
_HUGE = 2 << 20
_ARENA_FIRST, _ARENA_LARGEST = 1 << 20, 32 << 20
_CACHE_LEAST = 256 << 20  # free bytes that are always kept, unless config.memory_cache says less


def class_size(nbytes: int) -> int:
    """The block size for a request: classes are at most 1/8 apart, 1/16 above 64 KiB."""
    nbytes = max(nbytes, ALIGNMENT)
    small = nbytes <= SMALL
    step = max(
        1 << max(0, (nbytes - 1).bit_length() - (4 if small else 5)), ALIGNMENT if small else _PAGE
    )
    return (nbytes + step - 1) // step * step


def no_release(ptr):
    """What the end of memory that is not the allocator's does: nothing."""


class Mapping:
    """Private zero memory from the system, aligned to 2 MiB where it is that large.

    Errors: OSError, OverflowError or ValueError if it cannot be had.
    """

    __slots__ = ("_memory", "ptr", "size")

    def __init__(self, size):
        extra = _HUGE if size >= _HUGE else 0
        if hasattr(mmap, "MAP_PRIVATE"):
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            self._memory = mmap.mmap(-1, size + extra, flags=flags)
        else:
            self._memory = mmap.mmap(-1, size + extra)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.ptr = -(-start // _HUGE) * _HUGE if extra else start
        self.size = size
        if extra and config.huge_pages and hasattr(mmap, "MADV_HUGEPAGE"):
            try:
                whole = size // _HUGE * _HUGE
                self._memory.madvise(mmap.MADV_HUGEPAGE, self.ptr - start, whole)
            except OSError:
                pass  # a kernel without huge pages

    def pin(self):
        """Outlive the interpreter's end: arrays and running kernels may outlive its modules."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._memory))

    def unmap(self):
        """Give a pinned mapping back to the system."""
        self._memory.close()
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(self._memory))


class Bin:
    """Blocks of one size: how many exist, and the addresses of those that are free."""

    __slots__ = ("free", "pop", "push", "release", "size", "total")

    def __init__(self, size):
        self.size = size
        self.total = 0
        self.free = []
        self.pop = self.free.pop
        self.push = self.release = self.free.append

    @property
    def used(self):
        return self.total - len(self.free)


class Arena:
    """A mapping that blocks of several bins are cut from, front to back."""

    __slots__ = ("cut", "mapping")

    def __init__(self, mapping):
        self.mapping = mapping
        self.cut = 0

    @property
    def room(self):
        return self.mapping.size - self.cut

    def carve(self, size, count):
        """Addresses of up to `count` blocks."""
        count = min(count, self.room // size)
        start = self.mapping.ptr + self.cut
        self.cut += size * count
        return [start + size * index for index in range(count)]


LARGE_USED, SMALL_SAMPLE, PEAK = range(3)


def counted(i: int) -> property:
    """One of an allocator's counts as an attribute."""
    return property(lambda self: self.counts[i], lambda self, n: self.counts.__setitem__(i, n))


class Allocator:
    """Bins, arenas and mappings of one process.

    `small` and `large` return (address, release, owner, fresh): call release(address) at the end,
    keep `owner` until then; `fresh` memory is zero.
    """

    def __init__(self, limit=0):
        self.lock = ForkSafeLock()
        self.inside = 0  # the thread that is changing state
        self.limit = limit
        self.bins: dict[int, Bin] = {}
        self.mapped_sizes: list[int] = []  # classes above CARVED, sorted
        self.mappings: dict[int, Mapping] = {}  # blocks above CARVED, by address
        self.arenas: list[Arena] = []
        self.recent: dict[int, Bin] = {}  # large requests, by their exact size
        self.reserved = self.peak_reserved = 0
        self.counts = (ctypes.c_int64 * 3)()  # where machine code counts too

    large_used, small_sample, peak = map(counted, (LARGE_USED, SMALL_SAMPLE, PEAK))

    def __enter__(self):
        self.lock.__enter__()
        self.inside = threading.get_ident()

    def __exit__(self, *_):
        self.inside = 0
        self.lock.__exit__()

    # Requests

    def bin(self, size):
        """The bin of one class, made when first asked for."""
        found = self.bins.get(size)
        if found is None:
            made = Bin(size)
            if size > SMALL:
                made.release = self.large_release(made)
            found = self.bins.setdefault(size, made)
            if found is made and size > CARVED:
                insort(self.mapped_sizes, size)
        return found

    def large_release(self, box):
        """Above 64 KiB use is counted as it changes; no other thread runs between reading and writing the count."""
        push, size, counts = box.push, box.size, self.counts

        def release(ptr):
            push(ptr)
            counts[LARGE_USED] -= size

        return release

    def small(self, nbytes):
        """A block of up to 64 KiB where the bin has none: more than one is cut."""
        if self.inside == threading.get_ident():
            return self.private(nbytes)
        box = self.bin(class_size(nbytes))
        with self:
            ptr = self.carve(box, max(1, min(64, (32 << 10) // box.size)), nbytes)
            self.sample()
        return ptr, box.release, None, False

    def large(self, nbytes):
        """A block above 64 KiB."""
        box = self.recent.get(nbytes) or self.recall(nbytes)
        try:
            ptr, fresh = box.pop(), False
        except IndexError:
            if self.inside == threading.get_ident():
                return self.private(nbytes)
            with self:
                box, ptr, fresh = self.find(box, nbytes)
        self.large_used = used = self.large_used + box.size
        used += self.small_sample
        if used > self.peak:
            self.peak = used
        return ptr, box.release, None, fresh

    def recall(self, nbytes):
        """The bin of a large request, remembered under its exact size."""
        if nbytes < 0:
            raise ValueError(f"allocate(nbytes): expected a size of 0 or more, got {nbytes}")
        if nbytes > LARGEST:
            raise self.out_of_memory(nbytes)
        box = self.bin(class_size(nbytes))
        if len(self.recent) >= 4096:
            self.recent.clear()
        self.recent[nbytes] = box
        return box

    def private(self, nbytes):
        """A mapping of its own, for who allocates while the state is being changed below them."""
        try:
            mapping = Mapping(-(-max(nbytes, 1) // _PAGE) * _PAGE)
        except (OSError, OverflowError, ValueError, MemoryError):
            raise self.out_of_memory(nbytes) from None
        return mapping.ptr, no_release, mapping, True

    # Under the lock

    def find(self, box, nbytes):
        """(bin, address, fresh): a free block up to a quarter larger, else a new one."""
        if box.size <= CARVED:
            return box, self.carve(box, 1, nbytes), False
        sizes = self.mapped_sizes
        last = bisect_right(sizes, box.size + box.size // 4)
        for size in sizes[bisect_left(sizes, box.size) : last]:
            other = self.bins[size]
            try:
                return other, other.pop(), False
            except IndexError:
                continue
        self.trim()
        mapping = self.map(box.size, nbytes)
        self.mappings[mapping.ptr] = mapping
        box.total += 1
        return box, mapping.ptr, True

    def carve(self, box, count, nbytes):
        """Cut up to `count` blocks for a bin from an arena: one is returned, the rest is free."""
        if not self.arenas or self.arenas[-1].room < box.size:
            self.arenas.append(Arena(self.map_arena(box.size, nbytes)))
        first, *rest = self.arenas[-1].carve(box.size, count)
        box.total += 1 + len(rest)
        box.free.extend(reversed(rest))
        return first

    def map_arena(self, size, nbytes):
        """Arenas grow with what is held, and shrink next to the limit."""
        wish = self.reserved // 4 // _HUGE * _HUGE
        wish = min(_ARENA_LARGEST, max(_ARENA_FIRST, wish))
        if self.limit:
            wish = min(wish, (self.limit - self.reserved) // _PAGE * _PAGE)
        return self.map(max(wish, -(-size // _PAGE) * _PAGE), nbytes)

    def map(self, size, nbytes):
        """New memory; where it cannot be had, once more after giving back what is cached."""
        for last in (False, True):
            if not self.limit or self.reserved + size <= self.limit:
                try:
                    mapping = Mapping(size)
                except (OSError, OverflowError, ValueError, MemoryError):
                    pass
                else:
                    mapping.pin()
                    self.reserved += size
                    self.peak_reserved = max(self.peak_reserved, self.reserved)
                    return mapping
            if not last:
                self.release_free()
        raise self.out_of_memory(nbytes)

    def out_of_memory(self, nbytes):
        limit = f"limit {self.limit} bytes" if self.limit else "no limit set"
        return OutOfMemoryError(
            f"out of memory on cpu: tried to allocate {nbytes} bytes with {self.used()} bytes "
            f"allocated and {self.reserved} bytes reserved ({limit})"
        )

    def trim(self):
        """Before mapping more, give back large free blocks beyond the bound on them."""
        boxes = [self.bins[size] for size in reversed(self.mapped_sizes)]
        cached = sum(box.size * len(box.free) for box in boxes)
        bound = config.memory_cache or max(_CACHE_LEAST, self.large_used // 2)
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

    def release_free(self):
        """Give back all mapped blocks that are free, and the arenas that are wholly free."""
        for size in self.mapped_sizes:
            while self.unmap_one(self.bins[size]):
                pass
        self.release_arenas()

    def release_arenas(self):
        """Blocks are taken from their lists and go back there unless their arena is unmapped.

        Other threads find the lists empty meanwhile, and wait for the lock.
        """
        self.arenas.sort(key=lambda arena: arena.mapping.ptr)
        starts = [arena.mapping.ptr for arena in self.arenas]
        held: list[list] = [[] for _ in starts]
        for box in [box for box in self.bins.values() if box.size <= CARVED]:
            while box.free:
                try:
                    ptr = box.pop()
                except IndexError:
                    break
                held[bisect_right(starts, ptr) - 1].append((box, ptr))
        kept = []
        for arena, blocks in zip(self.arenas, held, strict=True):
            if sum(box.size for box, _ in blocks) == arena.cut:
                for box, _ in blocks:
                    box.total -= 1
                self.reserved -= arena.mapping.size
                arena.mapping.unmap()
            else:
                for box, ptr in blocks:
                    box.push(ptr)
                kept.append(arena)
        self.arenas[:] = sorted(kept, key=lambda arena: arena.room)

    # Figures

    def release_cached(self):
        if self.inside == threading.get_ident():
            return 0
        with self:
            before = self.reserved
            self.release_free()
            return before - self.reserved

    def small_used(self):
        return sum(box.size * box.used for box in list(self.bins.values()) if box.size <= SMALL)

    def used(self):
        return self.large_used + self.small_used()

    def sample(self):
        self.small_sample = self.small_used()
        self.peak = max(self.peak, self.large_used + self.small_sample)

    def reset_peak(self):
        self.peak = 0
        self.sample()
        self.peak_reserved = self.reserved

    def stats(self):
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
