"""Sorting, selection and searching against NumPy: rows short and long, ties, NaN and infinities, every kind of key."""

import numpy as np
import pytest

import flambeau as torch

SIZES = [1, 10, 49, 257, 1024, 5000]


def odd_row(rng, n):
    x = rng.standard_normal((3, n)).astype(np.float32)
    x[1, n // 3] = np.nan
    x[2, :: max(1, n // 5)] = np.inf
    x[2, 1 :: max(2, n // 4)] = -np.inf
    return x


def ordered(a, largest):
    """Stable order with NaN as the largest."""
    keys = np.where(np.isnan(a), np.inf, a)
    flags = np.isnan(a)
    if largest:
        return np.lexsort((-keys, ~flags), axis=-1) if a.ndim == 1 else np.stack([ordered(r, True) for r in a])
    return np.lexsort((keys, flags), axis=-1) if a.ndim == 1 else np.stack([ordered(r, False) for r in a])


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("n", SIZES)
def test_the_first_of_the_order(rng, n, largest):
    for a in (rng.standard_normal((5, n)).astype(np.float32), odd_row(rng, n), rng.integers(-9, 9, (4, n)).astype(np.float32)):
        order = ordered(a, largest)
        for k in sorted({1, min(n, 7), min(n, 32), min(n, 65), n // 2, n} - {0}):
            values, at = torch.from_numpy(a).topk(k, largest=largest)
            np.testing.assert_array_equal(at.numpy(), order[:, :k])
            np.testing.assert_array_equal(values.numpy(), np.take_along_axis(a, order[:, :k], 1))
        values, at = torch.from_numpy(a).sort(1, descending=largest)
        np.testing.assert_array_equal(at.numpy(), order)


@pytest.mark.parametrize("n", SIZES)
def test_the_kth_alone(rng, n):
    a = odd_row(rng, n)
    order = ordered(a, False)
    for k in {1, (n + 1) // 2, n}:
        values, at = torch.from_numpy(a).kthvalue(k, 1)
        np.testing.assert_array_equal(at.numpy(), order[:, k - 1])
        values, at = torch.from_numpy(a).t().kthvalue(k, 0, True)
        assert values.shape == (1, 3)
        np.testing.assert_array_equal(at.numpy()[0], order[:, k - 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.float64, np.bool_])
def test_every_kind_of_key(rng, dtype):
    a = (rng.standard_normal((3, 700)) * (1 if dtype is np.bool_ else 50)).astype(dtype)
    if dtype in (np.int64, np.int32):
        a[0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    t = torch.from_numpy(a)
    order = np.argsort(a, 1, kind="stable")
    np.testing.assert_array_equal(t.sort(1)[1].numpy(), order)
    np.testing.assert_array_equal(t.topk(200, largest=False)[1].numpy(), order[:, :200])
    np.testing.assert_array_equal(t.kthvalue(300, 1)[0].numpy(), np.take_along_axis(a, order[:, 299:300], 1)[:, 0])


@pytest.mark.parametrize("n", [1, 2, 9, 100, 1001])
def test_medians(rng, n):
    a = odd_row(rng, n)
    clean = np.sort(np.nan_to_num(a, nan=0.0, posinf=9, neginf=-9), 1)[:, (n - 1) // 2]
    got, at = torch.from_numpy(np.nan_to_num(a, nan=0.0, posinf=9, neginf=-9)).median(1)
    np.testing.assert_array_equal(got.numpy(), clean)
    got, at = torch.from_numpy(a).median(1)
    assert np.isnan(got.numpy()[1]) and at.numpy()[1] == n // 3
    few = torch.from_numpy(a).nanmedian(1)[0].numpy()
    want = [np.sort(r[~np.isnan(r)])[(np.sum(~np.isnan(r)) - 1) // 2] if (~np.isnan(r)).any() else np.nan for r in a]
    np.testing.assert_array_equal(few, np.float32(want))


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 1000])
def test_where_values_would_go(rng, n, right):
    edges = np.sort(rng.integers(-50, 50, (3, n)), 1).astype(np.float32)
    x = rng.integers(-60, 60, (3, 101)).astype(np.float32)
    side = "right" if right else "left"
    want = np.stack([np.searchsorted(e, v, side) for e, v in zip(edges, x, strict=True)])
    np.testing.assert_array_equal(torch.searchsorted(torch.from_numpy(edges), torch.from_numpy(x), right=right).numpy(), want)
    one = torch.searchsorted(torch.from_numpy(edges[0]), torch.from_numpy(x), right=right)
    np.testing.assert_array_equal(one.numpy(), np.searchsorted(edges[0], x, side))
    shuffled = rng.permutation(n)
    sorter = torch.from_numpy(np.argsort(edges[0][shuffled], kind="stable"))
    got = torch.searchsorted(torch.from_numpy(edges[0][shuffled]), torch.from_numpy(x), right=right, sorter=sorter)
    np.testing.assert_array_equal(got.numpy(), np.searchsorted(edges[0], x, side))


def test_histogram_counts_what_is_inside(rng):
    x = rng.standard_normal(3000).astype(np.float32)
    x[5] = np.nan
    want = np.histogram(x[~np.isnan(x)], 17, (-1.5, 2))[0]
    np.testing.assert_array_equal(torch.from_numpy(x).histc(17, -1.5, 2).numpy(), want)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8", "bool", "float32"])
@pytest.mark.parametrize("n", [1, 5, 3000, 70000])
def test_different_values(rng, dtype, n):
    x = rng.integers(0, 2, n).astype(dtype) if dtype == "bool" else rng.integers(-90, 90, n).astype(dtype)
    got = torch.unique(torch.from_numpy(x), return_inverse=True, return_counts=True)
    for a, b in zip(got, np.unique(x, return_inverse=True, return_counts=True), strict=True):
        np.testing.assert_array_equal(a.numpy(), b)
    assert got[0].dtype == torch.from_numpy(x).dtype


@pytest.mark.parametrize("values", [(2**63 - 1, -(2**63), 0, 0), (2**63 - 1, 2**63 - 2, 2**63 - 1), (-(2**63), 1 - 2**63, -(2**63))])
def test_different_values_at_the_ends_of_the_range(values):
    got = torch.unique(torch.tensor(values), return_inverse=True, return_counts=True)
    for a, b in zip(got, np.unique(values, return_inverse=True, return_counts=True), strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize("threads", [1, 3])
def test_counts_of_integers(rng, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for n, most in ((7, 3), (40000, 300), (100000, 30000)):
            x, w = rng.integers(0, most, n), rng.integers(0, 9, n) * 1.0
            np.testing.assert_array_equal(torch.bincount(torch.from_numpy(x)).numpy(), np.bincount(x))
            np.testing.assert_array_equal(torch.bincount(torch.from_numpy(x), torch.from_numpy(w)).numpy(), np.bincount(x, w))
    finally:
        torch.set_num_threads(before)
