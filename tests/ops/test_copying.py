"""Copies between orders of dimensions: whole squares, what is left beside them, batches, every element size."""

import numpy as np
import pytest

import flambeau as torch


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int64, np.bool_, np.complex64])
@pytest.mark.parametrize("shape", [(64, 64), (100, 77), (16, 300), (33, 1000), (5, 48, 50), (3, 17, 100), (2, 3, 40, 41)])
def test_transposed_copies(rng, shape, dtype):
    a = (rng.standard_normal(shape) * 50).astype(dtype)
    t = torch.from_numpy(a)
    np.testing.assert_array_equal(t.transpose(-1, -2).contiguous().numpy(), np.swapaxes(a, -1, -2))
    np.testing.assert_array_equal(t.movedim(0, -1).contiguous().numpy(), np.moveaxis(a, 0, -1))
    part = t[..., 3:, 1:-1]
    np.testing.assert_array_equal(part.transpose(-1, -2).contiguous().numpy(), np.swapaxes(a[..., 3:, 1:-1], -1, -2))


@pytest.mark.parametrize("dims", [(0,), (1,), (0, 1), (2,), (0, 2)])
def test_reversed_copies(rng, dims):
    for shape in ((5, 7, 64), (3, 4, 33), (1, 1, 1)):
        a = rng.standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(torch.from_numpy(a).flip(dims).numpy(), np.flip(a, dims))
