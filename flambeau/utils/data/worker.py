"""What a loader's worker process does, and how its errors travel."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import sys
import traceback
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flambeau.ops.random import manual_seed
from flambeau.runtime.threads import set_num_threads
from flambeau.utils.data import collate
from flambeau.utils.data.transfer import Outbox, remove

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
        self.text = "".join(traceback.format_exception(kind, value, trace))
        self.where = where
        try:  # a class of a function's own cannot travel
            self.kind = kind if pickle.loads(pickle.dumps(kind)) is kind else RuntimeError
        except Exception:
            self.kind = RuntimeError
        self.name = kind.__name__ if kind else "an error"

    def reraise(self):
        """Raise it again, with the worker's traceback in its text."""
        message = f"Caught {self.name} {self.where}.\nOriginal {self.text}"
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


class Given:
    """In the place of an answer that was given out before its turn."""


class Ended:
    """An iterable data set's worker has no more samples."""

    def __init__(self, worker: int):
        self.worker = worker


def fetch(dataset, iterator, indices, collate, batched: bool, drop_last: bool):
    """One batch (or sample).

    Errors:   StopIteration at the end of an iterable data set
    """
    if iterator is not None:
        if not batched:
            return collate(next(iterator))
        batch = list(itertools.islice(iterator, len(indices)))
        if not batch or drop_last and len(batch) < len(indices):
            raise StopIteration
        return collate(batch)
    try:
        if not batched:
            return collate(dataset[indices])
        many = getattr(dataset, "__getitems__", None)
        return collate(many(indices) if callable(many) else [dataset[i] for i in indices])
    except StopIteration as e:  # of the data set's own: no end of anything
        raise RuntimeError(f"the data set raised StopIteration for {indices!r:.100}") from e


@dataclass
class Job:
    """What a worker needs to know."""

    dataset: Any
    iterable: bool
    collate: Any
    batched: bool
    drop_last: bool
    base_seed: int
    worker: int
    workers: int
    init_fn: Any
    prefix: str  # of its shared blocks' names
    parent: int = field(default_factory=os.getpid)


def run(job: Job, tasks, results, others) -> None:
    """Take indices from `tasks`, put batches into `results`, until told to stop or the parent is gone.

    Args:     tasks, results: pipes' ends; others: the main process's ends, which a forked process has too
    """
    for end in others:
        end.close()
    outbox = Outbox(job.prefix)
    collate.allocate = outbox.empty
    try:
        work(job, tasks, results, outbox)
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        pass  # the main process is told to stop as well, or gone
    finally:
        if os.getppid() != job.parent:
            remove(job.prefix)


def prepare(job: Job) -> None:
    """Threads, seeds and what get_worker_info says."""
    global _info
    set_num_threads(1)
    seed = job.base_seed + job.worker
    random.seed(seed)
    manual_seed(seed)
    np.random.seed(seed % (1 << 32))  # noqa: NPY002 - user code may use the global generator
    _info = WorkerInfo(job.worker, job.workers, seed, job.dataset)


def work(job: Job, tasks, results, outbox: Outbox) -> None:
    """The worker's loop."""
    failed, iterator = None, None
    where = f"in DataLoader worker process {job.worker}"
    try:
        prepare(job)
        if job.init_fn is not None:
            job.init_fn(job.worker)
        iterator = iter(job.dataset) if job.iterable else None
    except Exception:
        failed = Failure(where)
    while True:
        while not tasks.poll(CHECK):
            if os.getppid() != job.parent:
                return
        task = tasks.recv()
        if task is None:
            return
        number, indices, returned = task
        outbox.returned(returned)
        if number is None:  # a new epoch of persistent workers
            iterator = iter(job.dataset) if job.iterable else None
            continue
        try:
            data = failed or fetch(job.dataset, iterator, indices, job.collate, job.batched, job.drop_last)
            message = outbox.pack((number, data))
        except StopIteration:
            message = outbox.pack((number, Ended(job.worker)))
        except Exception:
            message = outbox.pack((number, Failure(where)))
        failed = data = task = None
        results.send_bytes(message)
