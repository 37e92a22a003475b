"""Scans against NumPy: rows alone and in fours, columns in lanes."""

import numpy as np
import pytest

import flambeau as torch


@pytest.mark.parametrize(("shape", "dim"), [((1, 50), 1), ((4, 7), 1), ((11, 333), 1), ((1000,), 0), ((9, 3, 40), 1), ((3, 5, 2), 1)])
def test_running_sums_and_products(rng, shape, dim):
    a = rng.uniform(0.5, 1.5, shape)
    for dtype in (np.float32, np.float64):
        t = torch.from_numpy(a.astype(dtype))
        x = a.astype(dtype).astype(np.float64)
        np.testing.assert_array_equal(t.cumsum(dim).numpy(), x.cumsum(dim).astype(dtype))
        np.testing.assert_array_equal(t.cumprod(dim).numpy(), x.cumprod(dim).astype(dtype))
    whole = rng.integers(-9, 9, shape)
    np.testing.assert_array_equal(torch.from_numpy(whole).cumsum(dim).numpy(), whole.cumsum(dim))
