"""Why a factorisation fails, in LAPACK's terms: which leading minor is not positive definite, which pivot is zero.

Looked at only once a factorisation has failed, or where `*_ex` functions report instead of raising.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def bad_minor(a: np.ndarray) -> int:
    """The order of the first leading minor that is not positive definite; 0 if there is none."""
    if factors(a):
        return 0
    low, high = 1, len(a)
    while low < high:  # once one fails, all larger ones do
        middle = (low + high) // 2
        low, high = (middle + 1, high) if factors(a[:middle, :middle]) else (low, middle)
    return low


def factors(a: np.ndarray) -> bool:
    """True if a has a Cholesky factor."""
    try:
        return bool(np.all(np.isfinite(np.diagonal(np.linalg.cholesky(a)))))
    except np.linalg.LinAlgError:
        return False


def zero_pivot(a: np.ndarray) -> int:
    """Which pivot of Gaussian elimination with row exchanges is the first to be 0, from 1; 0 if there is none."""
    if np.linalg.slogdet(a)[0] != 0:  # LAPACK's pivots first: they are quick
        return 0
    a = np.array(a, np.complex128 if a.dtype.kind == "c" else np.float64)
    for i in range(len(a)):
        best = i + int(np.abs(a[i:, i]).argmax())
        a[[i, best]] = a[[best, i]]
        if a[i, i] == 0:
            return i + 1
        a[i + 1 :, i:] -= np.outer(a[i + 1 :, i] / a[i, i], a[i, i:])
    return 0


def each(a: np.ndarray, measure: Callable[[np.ndarray], int]) -> np.ndarray:
    """The measure of every matrix in a batch."""
    flat = a.reshape(-1, *a.shape[-2:])
    return np.array([measure(m) for m in flat], np.int32).reshape(a.shape[:-2])


def element(info: np.ndarray) -> tuple[str, int]:
    """("(Batch element k): " of the first failure in a batch, else "", what failed there)."""
    k = int(np.flatnonzero(info)[0]) if info.any() else 0
    return (f"(Batch element {k}): " if info.ndim else ""), int(info.flat[k])
