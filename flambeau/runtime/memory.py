"""CPU memory as tensors see it: `Storage`, a block that frees itself.

Sizes, bins and what happens when memory runs out are the allocator's.
"""

import ctypes

from flambeau.runtime.allocator import (
    ALIGNMENT,
    LARGEST,
    SMALL,
    Allocator,
    class_size,
    no_release,
)
from flambeau.support import config
from flambeau.support.errors import OutOfMemoryError

__all__ = [
    "ALIGNMENT",
    "OutOfMemoryError",
    "Storage",
    "allocate",
    "from_external",
    "get_limit",
    "release_cached",
    "reset_peak",
    "set_limit",
    "stats",
    "zeroed",
]

_allocator = Allocator(config.memory_limit)
most = ctypes.c_int64(SMALL)  # bytes up to which the builtins of runtime.calls serve requests themselves; -1: none
_fill = None  # the kernel that writes zeros, once compiled
FILL_GRAIN = 1 << 20


untrack = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("PyObject_GC_UnTrack", ctypes.pythonapi))


class Storage:
    """A block of memory: its address, its size, and the version counter of in-place writes.

    The block returns to the allocator, or its owner is let go, when the Storage dies. The garbage collector does not track
    what holds a block: it would call __del__ while other objects of a cycle, in their own, still use the memory.
    """

    __slots__ = ("__weakref__", "_release", "nbytes", "ptr", "version")
    device = "cpu"
    owner = None

    def __del__(self):
        self._release(self.ptr)

    def __repr__(self):
        return f"Storage(ptr={self.ptr:#x}, nbytes={self.nbytes}, device={self.device})"


class ExternalStorage(Storage):
    """Memory somebody else allocated, valid while `owner` lives."""

    __slots__ = ("owner",)


def allocate(nbytes: int) -> Storage:
    """A Storage of `nbytes` bytes, not initialised, aligned to 64 bytes.

    Errors: OutOfMemoryError, naming the sizes; ValueError if `nbytes` is negative.
    Cost: about 0.25 us up to 64 KiB, freeing included.
    """
    if 0 <= nbytes <= 65536:
        pop, push = _table[(nbytes + 63) >> 6]
        try:
            ptr = pop()
        except IndexError:
            return _make(nbytes, *_allocator.small(nbytes))
        storage = Storage()
        storage.ptr = ptr
        storage.nbytes = nbytes
        storage._release = push
        storage.version = 0
        untrack(storage)
        return storage
    return _make(nbytes, *_allocator.large(nbytes))


def serve(nbytes: int) -> Storage:
    """`allocate`, whatever it is now: for the builtins, which ask where a bin is empty and for what is large."""
    return allocate(nbytes)


def zeroed(nbytes: int) -> Storage:
    """As `allocate`, filled with zeros; memory fresh from the system is zero already."""
    if nbytes <= SMALL:
        storage = allocate(nbytes)
    else:
        parts = _allocator.large(nbytes)
        storage = _make(nbytes, *parts)
        if parts[3]:
            return storage
    fill()(nbytes, FILL_GRAIN, storage.ptr)
    return storage


def fill():
    """The kernel that writes zeros: fill()(bytes, grain, address)."""
    global _fill
    if _fill is None:
        _fill = _fill_kernel()
    return _fill


def from_external(ptr: int, nbytes: int, owner: object) -> Storage:
    """A Storage over memory that `owner` keeps valid.

    Errors: ValueError if address or size is out of range.
    """
    if ptr < 0 or not 0 <= nbytes <= LARGEST:
        raise ValueError(f"from_external: cannot use address {ptr} with {nbytes} bytes")
    return _make(nbytes, ptr, no_release, owner, False)


def stats() -> dict[str, int]:
    """Bytes and counts of this process.

    allocated: in blocks that are in use.  reserved: taken from the system.  cached: kept free.
    peak_allocated, peak_reserved: the most since `reset_peak`; blocks up to 64 KiB enter
    peak_allocated by sampling.  blocks, cached_blocks, mappings: counts.  limit: 0 if none.
    """
    return _allocator.stats()


def reset_peak() -> None:
    """Let the peaks start again from what is in use now."""
    _allocator.reset_peak()


def set_limit(nbytes: int | None) -> None:
    """Reserve at most `nbytes` (None or 0: no limit); what is reserved already stays."""
    if nbytes is not None and nbytes < 0:
        raise ValueError(f"set_limit(nbytes): expected a size of 0 or more, got {nbytes}")
    _allocator.limit = nbytes or 0


def get_limit() -> int:
    """The limit in bytes; 0 if there is none."""
    return _allocator.limit


def release_cached() -> int:
    """Give memory that is free back to the system; returns how many bytes."""
    return _allocator.release_cached()


def _make(nbytes, ptr, release, owner, fresh):
    storage = Storage() if owner is None else ExternalStorage()
    storage.ptr = ptr
    storage.nbytes = nbytes
    storage._release = release
    storage.version = 0
    if owner is None:
        untrack(storage)
    else:
        storage.owner = owner
    return storage


def _fill_kernel():
    from flambeau.runtime import jit, launch  # no LLVM before it is needed

    return launch.bind(jit.compile(_FILL_IR, "fill_zero"))


_FILL_IR = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define void @fill_zero(ptr %args, i64 %begin, i64 %end, i64 %worker) {
  %base = load ptr, ptr %args
  %start = getelementptr i8, ptr %base, i64 %begin
  %size = sub i64 %end, %begin
  call void @llvm.memset.p0.i64(ptr %start, i8 0, i64 %size, i1 false)
  ret void
}
"""


def _build_table():
    """For each number of 64-byte lines up to 64 KiB: its bin's (pop, push)."""
    boxes = (_allocator.bin(class_size(n * ALIGNMENT)) for n in range(SMALL // ALIGNMENT + 1))
    return [(box.pop, box.push) for box in boxes]


_table = _build_table()


def blocks() -> tuple[list[tuple], Allocator]:
    """(pop, push) for each number of 64-byte lines up to 64 KiB, and the allocator."""
    return _table, _allocator
