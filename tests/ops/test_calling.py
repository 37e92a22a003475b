"""Pointwise calls by remembered geometry: other geometries, dtypes and numbers are other calls."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.ops import calling
from flambeau.ops.record import TABLE

SHAPES = [((4, 5), (5,)), ((4, 5), (4, 1)), ((4, 1), (1, 5)), ((), (3,)), ((0, 3), (3,)), ((2, 3, 4), (3, 1)), ((), ())]


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_broadcast_twice_and_backwards(a, b, rng):
    for _ in range(2):  # the second call is the remembered one
        x, y = rng.standard_normal(a).astype("f"), rng.standard_normal(b).astype("f")
        tx, ty = torch.tensor(x, requires_grad=True), torch.tensor(y, requires_grad=True)
        z = tx * ty
        np.testing.assert_allclose(z.detach().numpy(), x * y, rtol=1e-6)
        z.sum().backward()
        assert tx.grad.shape == tx.shape and ty.grad.shape == ty.shape


def test_strides_and_dtypes_are_part_of_a_geometry():
    x = torch.arange(12.0).view(3, 4)
    for other in (x, x.t().contiguous().t(), x.double(), x.int(), x[:, ::1], x.flip(0)):
        assert torch.equal((x + other).float(), torch.tensor(x.numpy() + other.numpy()).float())
    assert (x + x.double()).dtype is torch.float64 and (x.t() + x.t()).stride() == (1, 4)


def test_results_of_integers_follow_the_default_dtype():
    x = torch.arange(4)
    assert (x / x.view(4, 1)).dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert (x / x.view(4, 1)).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert (x / x.view(4, 1)).dtype is torch.float32


def test_kinds_of_numbers_are_told_apart():
    x = torch.arange(3)
    assert [(x + n).dtype for n in (1, True, 1.0, 1j)] == [torch.int64, torch.int64, torch.float32, torch.complex64]
    assert (x + (1 << 63)).tolist() == [-(1 << 63), -(1 << 63) + 1, -(1 << 63) + 2]
    with pytest.raises(RuntimeError, match="overflow"):
        x + (1 << 64)


def test_in_place_forms(rng):
    x = rng.standard_normal(7).astype("f")
    t = torch.tensor(x)
    view = t[1:]
    before = t._version
    t.add_(t).mul_(2.0).sub_(torch.ones(7))
    np.testing.assert_allclose(t.numpy(), 4 * x - 1, rtol=1e-6)
    assert t._version == before + 3 == view._version
    with pytest.raises(RuntimeError, match="single memory location"):
        t[1:].add_(t[:-1])
    with pytest.raises(RuntimeError, match="can't be cast"):
        torch.arange(3).add_(1.5)
    with pytest.raises(RuntimeError, match="leaf"):
        torch.ones(3, requires_grad=True).add_(1.0)
    assert torch.ones(3).add_(torch.ones(3, requires_grad=True)).requires_grad


def test_tables_are_bounded(monkeypatch):
    monkeypatch.setattr(calling, "MAX_CALLS", 8)
    for n in range(1, 40):
        assert (torch.ones(n, 2) + torch.ones(2)).sum().item() == 4 * n
        torch.ones(n, 3).clamp(0, 1)
    assert len(TABLE["clamp"].elementwise.calls) <= 8
