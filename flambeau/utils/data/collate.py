"""Samples to batches."""

from __future__ import annotations

import collections.abc
import re
from typing import Any

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.ops.join import stack
from flambeau.tensor.interop import as_tensor, tensor
from flambeau.tensor.tensor import Tensor

_TEXT = re.compile(r"[SaUO]")
LARGE = 4096  # bytes
allocate: Any = None
"""In a worker process: makes the tensor a batch is stacked into, in shared memory."""


def default_convert(data):
    """NumPy arrays in nested containers as tensors.

    Source:   torch.utils.data.default_convert
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if _TEXT.search(data.dtype.str) else as_tensor(np.asarray(data))
    return rebuilt(data, default_convert)


def rebuilt(data, fn):
    """fn over the elements of containers, in containers of the same kind."""
    if isinstance(data, collections.abc.Mapping):
        return type(data)({k: fn(v) for k, v in data.items()})  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(fn(v) for v in data))
    if isinstance(data, tuple):
        return [fn(v) for v in data]
    if isinstance(data, collections.abc.Sequence) and not isinstance(data, (str, bytes)):
        return [fn(v) for v in data]
    return data


def stacked(batch: list) -> Tensor:
    """The tensors as one, in shared memory where that saves a copy."""
    first = batch[0]
    if first.is_sparse:
        raise RuntimeError(
            "Batches of sparse tensors are not currently supported by the default collate_fn; please provide a custom "
            "collate_fn to handle them appropriately."
        )
    nbytes = first.numel() * first.dtype.itemsize * len(batch)
    plain = allocate is not None and nbytes > LARGE and all(
        type(t) is Tensor and t.dtype is first.dtype and t.shape == first.shape and not t.requires_grad for t in batch
    )  # fmt: skip
    return stack(batch, 0, out=allocate((len(batch), *first.shape), first.dtype)) if plain else stack(batch, 0)


def default_collate(batch):
    """A list of samples as one batch: tensors, arrays and numbers stacked, containers element by element.

    Source:   torch.utils.data.default_collate
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stacked(batch)
    if isinstance(first, np.ndarray):
        if _TEXT.search(first.dtype.str):
            raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {first.dtype}")
        return as_tensor(np.stack(batch))
    if isinstance(first, np.generic):
        return as_tensor(np.array(batch))
    if isinstance(first, float):
        return tensor(batch, dtype=dt.float64)
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, collections.abc.Mapping):
        made = {k: default_collate([sample[k] for sample in batch]) for k in first}
        try:
            return type(first)(made)  # type: ignore[call-arg]
        except TypeError:
            return made
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(list(s)) for s in zip(*batch, strict=True)))
    if isinstance(first, collections.abc.Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        parts = [default_collate(list(s)) for s in zip(*batch, strict=True)]
        if isinstance(first, tuple):
            return parts
        try:
            return type(first)(parts)  # type: ignore[call-arg]
        except TypeError:
            return parts
    raise TypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}")
