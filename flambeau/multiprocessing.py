"""torch.multiprocessing: Python's, and spawn."""

import multiprocessing as _mp
from multiprocessing import *  # noqa: F403

get_context, set_start_method, get_start_method = _mp.get_context, _mp.set_start_method, _mp.get_start_method
Process, Queue, Pool, Value, Event, Lock = _mp.Process, _mp.Queue, _mp.Pool, _mp.Value, _mp.Event, _mp.Lock


def _call(fn, rank, args):
    fn(rank, *args)


def spawn(fn, args=(), nprocs: int = 1, join: bool = True, daemon: bool = False, start_method: str = "spawn"):
    """Run fn(rank, *args) in nprocs processes; an error in one is raised here.

    Source:   torch.multiprocessing.spawn
    """
    context = _mp.get_context(start_method)
    processes = [context.Process(target=_call, args=(fn, i, args), daemon=daemon) for i in range(nprocs)]
    for p in processes:
        p.start()
    if not join:
        return processes
    for i, p in enumerate(processes):
        p.join()
        if p.exitcode:
            raise RuntimeError(f"process {i} terminated with exit code {p.exitcode}")
    return None


def set_sharing_strategy(new_strategy: str) -> None:
    """Tensors travel by value here: nothing to choose."""


def get_sharing_strategy() -> str:
    """How tensors travel between processes."""
    return "file_system"
