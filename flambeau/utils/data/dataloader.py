"""DataLoader: batches from a data set, made here or by worker processes, always in the sampler's order."""

from __future__ import annotations

import itertools
import multiprocessing
import queue
import time
from collections.abc import Iterator
from typing import Any

from flambeau.core import dtypes as dt
from flambeau.ops.create import empty
from flambeau.utils.data import worker as W
from flambeau.utils.data.collate import default_collate, default_convert
from flambeau.utils.data.dataset import IterableDataset
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


class _Endless:
    """The sampler of iterable data sets: no indices, forever."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader:
    """Batches of a data set.

    Args:     as PyTorch's; pin_memory and its device are accepted and have nothing to do without a GPU
    Source:   torch.utils.data.DataLoader
    """

    def __init__(self, dataset, batch_size: int | None = 1, shuffle: bool | None = None, sampler=None, batch_sampler=None,
                 num_workers: int = 0, collate_fn=None, pin_memory=False, drop_last=False, timeout: float = 0,
                 worker_init_fn=None, multiprocessing_context=None, generator=None, *, prefetch_factor: int | None = None,
                 persistent_workers=False, pin_memory_device="", in_order=True):  # fmt: skip
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to enable "
                "multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        self.dataset, self.num_workers, self.pin_memory, self.timeout = dataset, num_workers, pin_memory, timeout
        self.prefetch_factor = (2 if prefetch_factor is None else prefetch_factor) if num_workers else None
        self.worker_init_fn, self.generator, self.persistent_workers = worker_init_fn, generator, persistent_workers
        self.multiprocessing_context, self.pin_memory_device, self.in_order = multiprocessing_context, pin_memory_device, in_order
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            for name, given in (("shuffle", shuffle), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if given is not None and given is not False:
                    raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={given}")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._iterable:
                sampler = _Endless()
            else:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size, self.drop_last, self.sampler, self.batch_sampler = batch_size, drop_last, sampler, batch_sampler
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self._workers: _Workers | None = None

    def _indices(self) -> Iterator:
        return iter(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        if self.num_workers == 0:
            return _Here(self)
        if not self.persistent_workers:
            return _Workers(self)
        if self._workers is None:
            self._workers = _Workers(self)
        else:
            self._workers.restart()
        return self._workers

    def __len__(self) -> int:
        if self._iterable:
            n = len(self.dataset)
            if self.batch_size is not None:
                n = n // self.batch_size if self.drop_last else -(-n // self.batch_size)
            return n
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)


def base_seed(loader: DataLoader) -> int:
    """The number PyTorch draws whenever an iteration starts."""
    return int(empty((), dtype=dt.int64).random_(generator=loader.generator).item())


class _Here:
    """Batches made in this process."""

    def __init__(self, loader: DataLoader):
        self.loader, self.indices = loader, loader._indices()
        base_seed(loader)
        self.iterator = iter(loader.dataset) if loader._iterable else None

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def __next__(self):
        loader = self.loader
        indices = next(self.indices)
        return W.fetch(loader.dataset, self.iterator, indices, loader.collate_fn, loader.batch_sampler is not None,
                       loader.drop_last, loader.batch_size)  # fmt: skip


class _Workers:
    """Batches made by worker processes; task k goes to worker k mod n, and answers are given out in order."""

    def __init__(self, loader: DataLoader):
        self.loader = loader
        context = loader.multiprocessing_context
        if context is None or isinstance(context, str):
            context = multiprocessing.get_context(context)
        seed = base_seed(loader)
        self.results = context.Queue()
        self.tasks, self.processes = [], []
        for i in range(loader.num_workers):
            tasks = context.Queue()
            process = context.Process(
                target=W.run, daemon=True,
                args=(loader.dataset, loader._iterable, tasks, self.results, loader.collate_fn,
                      loader.batch_sampler is not None, loader.drop_last, seed, i, loader.num_workers,
                      loader.worker_init_fn),
            )  # fmt: skip
            process.start()
            self.tasks.append(tasks)
            self.processes.append(process)
        self.start()

    def start(self) -> None:
        """Begin an epoch: fill the workers' queues."""
        self.indices = self.loader._indices()
        self.sent = self.given = 0
        self.waiting: dict[int, Any] = {}
        self.owner: dict[int, int] = {}
        self.active = [True] * len(self.processes)
        for _ in range(self.loader.prefetch_factor * len(self.processes)):
            self.send()

    def restart(self) -> None:
        """Another epoch of the same processes."""
        while self.owner:  # answers of an epoch that was left early
            number, _ = self.receive()
            self.owner.pop(number, None)
        for tasks in self.tasks:
            tasks.put("again")
        self.start()

    def send(self) -> None:
        """One more task, to the next worker that still has samples."""
        if not any(self.active):
            return
        try:
            indices = next(self.indices)
        except StopIteration:
            return
        n = len(self.processes)
        which = next(w % n for w in range(self.sent, self.sent + n) if self.active[w % n])
        self.tasks[which].put((self.sent, indices))
        self.owner[self.sent] = which
        self.sent += 1

    def receive(self):
        """The next answer; an error if a worker died, or none came in time."""
        limit = self.loader.timeout
        start = time.monotonic()
        while True:
            try:
                return self.results.get(timeout=min(limit, W.CHECK) if limit else W.CHECK)
            except queue.Empty:
                pass
            dead = [p for i, p in enumerate(self.processes) if not p.is_alive() and self.active[i]]
            if dead:
                pids = ", ".join(str(p.pid) for p in dead)
                codes = ", ".join(str(p.exitcode) for p in dead)
                self.close()
                raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly (exit code {codes})")
            if limit and time.monotonic() - start >= limit:
                raise RuntimeError(f"DataLoader timed out after {limit} seconds")

    def __iter__(self):
        return self

    def __len__(self) -> int:
        return len(self.loader)

    def __next__(self):
        while True:
            if self.given >= self.sent:
                if not self.loader.persistent_workers:
                    self.close()
                raise StopIteration
            if self.given in self.waiting:
                data = self.waiting.pop(self.given)
                self.given += 1
                if isinstance(data, W.Ended):
                    continue
                self.send()
                if isinstance(data, W.Failure):
                    data.reraise()
                return data
            number, data = self.receive()
            self.owner.pop(number, None)
            if isinstance(data, W.Ended):
                if self.active[data.worker]:
                    self.active[data.worker] = False
                self.send()
            self.waiting[number] = data

    def close(self) -> None:
        """End the worker processes."""
        processes, self.processes = self.processes, []
        for tasks in self.tasks:
            tasks.put(None)
            tasks.cancel_join_thread()
        self.results.cancel_join_thread()
        for p in processes:
            p.join(timeout=W.CHECK)
            if p.is_alive():
                p.terminate()

    def __del__(self):
        try:
            if self.processes:
                for p in self.processes:
                    p.terminate()
                self.close()
        except Exception:  # the interpreter may be shutting down
            pass
