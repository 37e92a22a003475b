"""linspace to the last bit, as PyTorch rounds it: fma from the nearer end with a step of the dtype; halves op by op."""

import numpy as np
import pytest

import flambeau as torch

RANGES = ((0, 0.3, 31), (0, 0.9, 31), (-1, 1, 101), (0.1, -7.3, 1000), (2, 3, 2), (5, 9, 3))


@pytest.mark.parametrize("start,end,n", RANGES)
def test_single_precision(start, end, n):
    a, b = np.float32(start), np.float32(end)
    step = np.float64((b - a) / np.float32(n - 1))
    i = np.arange(n)
    want = np.where(i < n // 2, np.float64(a) + step * i, np.float64(b) - step * (n - 1 - i)).astype(np.float32)
    assert np.array_equal(torch.linspace(start, end, n).numpy(), want)


@pytest.mark.parametrize("start,end,n", RANGES)
def test_half_precision(start, end, n):
    half = np.float16
    a, b = half(start), half(end)
    step = (b - a) / half(n - 1)
    i = np.arange(n)
    want = np.where(i < n // 2, i.astype(half) * step + a, b - (n - 1 - i).astype(half) * step)
    assert np.array_equal(torch.linspace(start, end, n, dtype=torch.float16).numpy(), want)


def test_into_given_memory():
    out = torch.zeros(10)[::2]
    assert torch.linspace(0, 4, 5, out=out).tolist() == [0, 1, 2, 3, 4]
    assert torch.linspace(0, 1, 3, requires_grad=True).requires_grad
    assert torch.linspace(1, 2, 1).tolist() == [1] and torch.linspace(1, 2, 0).shape == (0,)
    assert torch.linspace(0, 10, 4, dtype=torch.int64).tolist() == [0, 3, 6, 10]
