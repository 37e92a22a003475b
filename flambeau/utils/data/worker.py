"""What a loader's worker process does, and how its errors travel."""

from __future__ import annotations

import os
import queue
import random
import sys
import traceback
from dataclasses import dataclass
from typing import Any

CHECK = 5.0  # seconds between looks at whether the other side is alive


@dataclass
class WorkerInfo:
    """What get_worker_info says in a worker."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Which worker this is, None in the main process.

    Source:   torch.utils.data.get_worker_info
    """
    return _info


class Failure:
    """An exception on its way to the main process."""

    def __init__(self, where: str):
        kind, value, trace = sys.exc_info()
        self.kind = kind
        self.text = "".join(traceback.format_exception(kind, value, trace))
        self.where = where

    def reraise(self):
        """Raise it again, with the worker's traceback in its text."""
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            message = KeyMessage(message)
        try:
            error = self.kind(message)
        except Exception:
            raise RuntimeError(message) from None
        raise error


class KeyMessage(str):
    """A KeyError's text, shown as it is."""

    def __repr__(self) -> str:
        return str(self)


class Ended:
    """An iterable data set's worker has no more samples."""

    def __init__(self, worker: int):
        self.worker = worker


def fetch(dataset, iterator, indices, collate, batched: bool, drop_last: bool, batch_size):
    """One batch (or sample)."""
    if iterator is not None:
        if not batched:
            return collate(next(iterator))
        batch = []
        for _ in indices:
            try:
                batch.append(next(iterator))
            except StopIteration:
                break
        if not batch or drop_last and len(batch) < len(indices):
            raise StopIteration
        return collate(batch)
    if not batched:
        return collate(dataset[indices])
    many = getattr(dataset, "__getitems__", None)
    return collate(many(indices) if callable(many) else [dataset[i] for i in indices])


def run(dataset, kind_iterable: bool, tasks, results, collate, batched: bool, drop_last: bool, base_seed: int, worker: int,
        workers: int, init_fn) -> None:  # fmt: skip
    """Take indices from `tasks`, put batches into `results`, until told to stop or the parent is gone."""
    global _info
    from flambeau.ops.random import manual_seed
    from flambeau.runtime.threads import set_num_threads

    set_num_threads(1)
    seed = base_seed + worker
    random.seed(seed)
    manual_seed(seed)
    import numpy as np

    np.random.seed(seed % (1 << 32))  # noqa: NPY002 - user code may use the global generator
    _info = WorkerInfo(worker, workers, seed, dataset)
    parent, failed, iterator = os.getppid(), None, None
    try:
        if init_fn is not None:
            init_fn(worker)
        iterator = iter(dataset) if kind_iterable else None
    except Exception:
        failed = Failure(f"in DataLoader worker process {worker}")
    while True:
        try:
            task = tasks.get(timeout=CHECK)
        except queue.Empty:
            if os.getppid() != parent:
                return
            continue
        if task is None:
            return
        if task == "again":  # a new epoch of persistent workers
            iterator = iter(dataset) if kind_iterable else None
            continue
        number, indices = task
        try:
            data = failed or fetch(dataset, iterator, indices, collate, batched, drop_last, None)
            failed = None
        except StopIteration:
            data = Ended(worker)
        except Exception:
            data = Failure(f"in DataLoader worker process {worker}")
        results.put((number, data))
        del data, task
