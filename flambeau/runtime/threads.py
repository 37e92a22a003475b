"""The worker pool: threads that live in JIT-compiled code and run parts of one kernel at a time.

`flambeau_parallel_for(body, args, extent, grain)` is native and is registered for kernels to call.
How the pool works, and why it cannot deadlock, is told in threads_worker.py.
"""

import ctypes
import os
import time

from flambeau.runtime import jit, threads_ir, threads_worker
from flambeau.support import config

__all__ = ["get_num_threads", "prepare", "set_num_threads", "within", "workers_alive"]

_pool = None  # the native pool, once loaded
_wanted = min(config.num_threads, threads_worker.MAX_THREADS)
at_change: list = []  # functions that forget what was planned for another number of threads


class _Pool:
    """Handles of the native pool: its entry points, and the words of its state."""

    def __init__(self):
        found = jit.load(threads_ir.module(), threads_ir.EXPORTS)
        for name in ("flambeau_parallel_for", "flambeau_pool"):
            jit.register_symbol(name, found[name])
        state = found["flambeau_pool"]
        self.busy = ctypes.c_int32.from_address(state + threads_worker.BUSY)
        self.threads = ctypes.c_int32.from_address(state + threads_worker.THREADS)
        self.started = ctypes.c_int32.from_address(state + threads_worker.STARTED)
        self.spins = ctypes.c_int32.from_address(state + threads_worker.SPINS)
        self.stop = ctypes.CFUNCTYPE(None)(found["flambeau_pool_stop"])
        self.spin = ctypes.CFUNCTYPE(None, ctypes.c_int64)(found["flambeau_spin"])
        ctypes.CFUNCTYPE(None)(found["flambeau_pool_init"])()
        self.threads.value = _wanted
        self.spins.value = self.measure_spins()

    def measure_spins(self):
        """Pauses that take config.spin_us: the instruction's length differs widely by CPU."""
        trial = 500
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            self.spin(trial)
            seconds.append(time.perf_counter() - start)
        return max(1, min(1 << 20, int(config.spin_us * 1e-6 * trial / max(min(seconds), 1e-9))))


def prepare() -> None:
    """Load the native pool and register its symbols; threads start at the first parallel job."""
    global _pool
    if _pool is None:
        get_num_threads()
        _pool = _Pool()


def get_num_threads() -> int:
    """Threads a parallel kernel may use, the caller included."""
    global _wanted
    if not _wanted:
        _wanted = min(_default_threads(), threads_worker.MAX_THREADS)
    return _wanted


def set_num_threads(count: int) -> None:
    """Use at most `count` threads from the next kernel on; any thread may call it while others compute.

    Errors: TypeError if `count` is no int; RuntimeError if it is not positive.
    """
    global _wanted
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if count <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _wanted = min(count, threads_worker.MAX_THREADS)
    for forget in at_change:
        forget()
    if _pool is not None:
        _pool.threads.value = _wanted


def within(grain: int, count: int) -> int:
    """The grain of a launch that is cut into at most `count` parts, even if there are more threads by then.

    For kernels that use `k.worker`: `count` is the number of workers that their scratch memory was made for.
    """
    return count << threads_worker.MOST_AT | grain


def workers_alive() -> int:
    """Worker threads started so far in this process (0 before the first parallel job)."""
    return 0 if _pool is None else _pool.started.value


def _default_threads():
    """OMP_NUM_THREADS, else the physical cores this process may run on, within its CPU quota."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if first.isdigit() and int(first) > 0:
        return int(first)
    return max(1, min(_physical_cores(), _quota()))


def _physical_cores():
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as file:
                cores.add(file.read())
        except OSError:
            cores.add(cpu)
    return len(cores)


def _quota():
    """CPUs the control group grants, rounded up; no bound where none is set."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):
        return 1 << 30


def _before_fork():
    """End the workers: a fork copies none of them, and nobody may be inside the pool."""
    if _pool is not None:
        _pool.stop()


def _after_fork():
    if _pool is not None:
        _pool.busy.value = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
