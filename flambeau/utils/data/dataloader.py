"""DataLoader: batches from a data set, made here or by worker processes, always in the sampler's order."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

from flambeau.core import dtypes as dt
from flambeau.ops.create import empty
from flambeau.utils.data import worker as W
from flambeau.utils.data.collate import default_collate, default_convert
from flambeau.utils.data.dataset import IterableDataset
from flambeau.utils.data.pool import Workers
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler
from flambeau.utils.data.worker import get_worker_info

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]


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
        self._workers: Workers | None = None

    def _indices(self) -> Iterator:
        return iter(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def __iter__(self) -> Iterator[Any]:
        if self.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
                stacklevel=2,
            )
        if self.num_workers == 0:
            return _Here(self)
        if not self.persistent_workers:
            return Workers(self, base_seed(self))
        if self._workers is None or not self._workers.workers:  # none yet, or they failed
            self._workers = Workers(self, base_seed(self))
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
        batched = loader.batch_sampler is not None
        return W.fetch(loader.dataset, self.iterator, indices, loader.collate_fn, batched, loader.drop_last)
