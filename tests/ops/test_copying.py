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


@pytest.mark.parametrize("shape", [(7,), (5, 6), (3, 4, 5), (40, 300), (0, 4), (3, 70000)])
def test_roll_in_one_pass(shape):
    a = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    t, turned = torch.from_numpy(a), torch.from_numpy(a.T.copy()).permute(*range(a.ndim)[::-1])
    for shift in (-7, -1, 0, 3, 100):
        for x in (t, turned):
            np.testing.assert_array_equal(x.roll(shift).numpy(), np.roll(a, shift))
            for d in range(a.ndim):
                np.testing.assert_array_equal(x.roll(shift, d).numpy(), np.roll(a, shift, d))
            dims = (0, a.ndim - 1)  # the same twice where there is one only
            np.testing.assert_array_equal(x.roll((shift, 2), dims).numpy(), np.roll(a, (shift, 2), dims))


def test_zeros_keep_their_sign_and_nan_wins():
    x = torch.tensor([-0.0] * 40 + [float("nan")])
    assert torch.signbit(x.relu()[:40]).all() and torch.signbit(x.clamp(-0.0, 1)[:40]).all()
    for y in (x.relu(), x.clamp(-1, 1), x.maximum(x.new_ones(41)), x.new_ones(41).minimum(x)):
        assert y[40].isnan() and not y[:40].isnan().any()
    assert x.clamp(float("nan"), 1).isnan().all() and x.clamp(0, float("nan")).isnan().all()
    for where in range(41):
        y = torch.zeros(41)
        y[where] = float("nan")
        assert y.amax().isnan() and y.amin().isnan() and y.expand(3, 41).amax(1).isnan().all()
