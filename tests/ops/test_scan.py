"""Scans against NumPy: rows together (a lane a row) or one by one in lanes, long ones by pieces, columns in lanes; rows of extremes alone and in fours."""

import numpy as np
import pytest

import flambeau as torch


@pytest.mark.parametrize(("shape", "dim"), [((1, 50), 1), ((4, 7), 1), ((11, 333), 1), ((1000,), 0), ((9, 3, 40), 1), ((3, 5, 2), 1), ((2, 70001), 1), ((66000,), 0)])
def test_running_sums_and_products(rng, shape, dim):
    a = rng.uniform(0.5, 1.5, shape)
    for dtype in (np.float32, np.float64):
        t = torch.from_numpy(a.astype(dtype))
        x = a.astype(dtype).astype(np.float64)
        units = 1 if dtype is np.float32 else 1000  # float32 is rounded once; NumPy's own sums are as far off
        np.testing.assert_array_max_ulp(t.cumsum(dim).numpy(), x.cumsum(dim).astype(dtype), units)
        factors = (x / 2 + 0.52) if x.size < 2000 else 1 + (x - 1) / 1000
        np.testing.assert_allclose(torch.from_numpy(factors.astype(dtype)).cumprod(dim).double().numpy(),
                                   factors.astype(dtype).astype(np.float64).cumprod(dim), rtol=1e-12 if dtype is np.float64 else 1e-7)  # fmt: skip
        np.testing.assert_allclose(t.logcumsumexp(dim).double().numpy(), np.logaddexp.accumulate(x, dim), rtol=1e-11 if dtype is np.float64 else 1e-6)
    whole = rng.integers(-9, 9, shape)
    np.testing.assert_array_equal(torch.from_numpy(whole).cumsum(dim).numpy(), whole.cumsum(dim))


@pytest.mark.parametrize("shape", [(8, 8), (13, 5), (17, 100)])
def test_rows_walked_together_add_in_order(rng, shape):
    a = rng.standard_normal(shape)
    np.testing.assert_array_equal(torch.from_numpy(a).cumsum(1).numpy(), a.cumsum(1))


def test_running_sums_do_not_depend_on_threads(rng):
    x = torch.from_numpy(rng.standard_normal((2, 70001)))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(x.cumsum(1).tolist())
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_running_sums_of_what_is_not_finite():
    x = torch.zeros(40)
    x[3], x[20], x[30] = float("inf"), -float("inf"), 1
    y = x.cumsum(0)
    assert y[:3].tolist() == [0, 0, 0] and (y[3:20] == float("inf")).all() and y[20:].isnan().all()
    z = torch.full((20,), -float("inf")).logcumsumexp(0)
    assert (z == -float("inf")).all()


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
