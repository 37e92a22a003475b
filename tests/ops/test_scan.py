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


@pytest.mark.parametrize(("shape", "dim"), [((1, 50), 1), ((7, 90), 1), ((200,), 0), ((5, 60, 30), 1), ((5, 60, 3), 1)])
@pytest.mark.parametrize("largest", [False, True])
def test_running_extremes_and_where(rng, shape, dim, largest):
    a = rng.integers(-20, 20, shape).astype(np.float32)
    name, pick = ("cummax", np.maximum) if largest else ("cummin", np.minimum)
    values, at = getattr(torch.from_numpy(a), name)(dim)
    want = pick.accumulate(a, dim)
    np.testing.assert_array_equal(values.numpy(), want)
    count = np.expand_dims(np.arange(shape[dim]), [d for d in range(len(shape)) if d != dim])
    latest = np.maximum.accumulate(np.where(a == want, count, -1), dim)  # of equal ones the last
    np.testing.assert_array_equal(at.numpy(), latest)
    a.reshape(-1)[a.size // 2] = np.nan
    values, _ = getattr(torch.from_numpy(a), name)(dim)
    np.testing.assert_array_equal(values.numpy(), pick.accumulate(a, dim))
