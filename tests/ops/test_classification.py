"""Cross entropy of class indices against float64 NumPy, small losses included; its gradients by finite differences."""

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from tests.tolerances import assert_close

F = torch.nn.functional
SHAPES = [(6, 5), (40, 300), (3, 4, 7), (2, 6, 3, 50), (5,)]


def reference(x, target, weight=None, ignore=-100, reduction="mean"):
    dim = 0 if x.ndim == 1 else 1
    z = x - x.max(dim, keepdims=True)
    logp = z - np.log(np.exp(z).sum(dim, keepdims=True))
    keep = target != ignore
    safe = np.where(keep, target, 0)
    w = (np.ones(x.shape[dim]) if weight is None else weight)[safe] * keep
    each = -np.take_along_axis(logp, np.expand_dims(safe, dim), dim).squeeze(dim) * w
    return each if reduction == "none" else each.sum() / (w.sum() if reduction == "mean" else 1)


def case(rng, shape, ignored=True, scale=1.0):
    classes = shape[0] if len(shape) == 1 else shape[1]
    target = np.asarray(rng.integers(0, classes, () if len(shape) == 1 else (shape[0], *shape[2:])))
    if ignored and target.size > 2:
        target.reshape(-1)[::3] = -100
    return rng.standard_normal(shape) * scale, target, rng.random(classes) + 0.1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values(rng, shape, reduction, dtype):
    x, target, weight = case(rng, shape, scale=3)
    x, w = (torch.from_numpy(a).to(getattr(torch, dtype)) for a in (x, weight))
    for given in (None, w):
        y = F.cross_entropy(x, torch.from_numpy(target), given, reduction=reduction)
        want = reference(x.double().numpy(), target, None if given is None else w.double().numpy(), reduction=reduction)
        assert y.dtype is x.dtype
        assert_close(y.double().numpy(), want, dtype, slack=2)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4), (3,)], ids=str)
def test_gradients(rng, shape):
    x, target, weight = case(rng, shape)
    x, target = torch.from_numpy(x).requires_grad_(), torch.from_numpy(target)
    for w, reduction in itertools.product((None, torch.from_numpy(weight)), ("mean", "sum", "none")):

        def fn(x, w=w, reduction=reduction):
            return F.cross_entropy(x, target, w, reduction=reduction)

        assert gradcheck(fn, (x,))
        assert gradgradcheck(fn, (x,))


@pytest.mark.parametrize("shape", [(64, 10), (1, 10, 64)], ids=str)
def test_sure_rows_keep_their_digits(shape):
    """Losses of 1e-3 to 1e-5 err by roundings of the sum (near 1) only, and their gradients likewise."""
    eps = 10 * np.finfo(np.float32).eps / 2
    x = np.zeros((64, 10), np.float32)
    x[:, 3] = np.linspace(8, 13, 64, dtype=np.float32)
    x += 300
    given = torch.from_numpy(x if len(shape) == 2 else np.ascontiguousarray(x.T)[None]).requires_grad_()
    target = torch.full((64,) if len(shape) == 2 else (1, 64), 3)
    y = F.cross_entropy(given, target, reduction="none")
    want = reference(x.astype(np.float64), np.full(64, 3), reduction="none")
    assert np.abs(y.detach().double().numpy().reshape(-1) - want).max() < eps
    y.sum().backward()
    g = given.grad.double().numpy()
    g = g if len(shape) == 2 else g[0].T
    assert np.abs(g[:, 3] - np.expm1(-want)).max() < eps


def test_strided_input(rng):
    x, target, _ = case(rng, (10, 6))
    t = torch.from_numpy(np.ascontiguousarray(x.T)).t().requires_grad_()
    y = F.cross_entropy(t, torch.from_numpy(np.repeat(target, 2))[::2])
    assert_close(y.detach().numpy(), reference(x, target))


def test_nothing_counts():
    """No row, or none that counts: 0 / 0 for the mean, zero gradients."""
    assert torch.isnan(F.cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)))
    x = torch.randn(3, 4, requires_grad=True)
    y = F.cross_entropy(x, torch.tensor([1, 1, 1]), ignore_index=1, reduction="sum")
    y.backward()
    assert y == 0 and (x.grad == 0).all()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4)], ids=str)
def test_targets_out_of_bounds(shape):
    for bad in (3, -1, -(1 << 63)):
        target = torch.full((shape[0], *shape[2:]), bad)
        for loss in (F.cross_entropy, F.nll_loss):
            with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
                loss(torch.zeros(shape), target)
    with pytest.raises(IndexError):
        F.cross_entropy(torch.zeros(2, 0), torch.zeros(2, dtype=torch.int64))


def test_smoothing_and_probabilities(rng):
    x, target, weight = case(rng, (5, 4), ignored=False)
    x, target, w = torch.from_numpy(x), torch.from_numpy(target), torch.from_numpy(weight)
    smooth = torch.nn.functional.one_hot(target, 4).double() * 0.8 + 0.2 / 4
    by_index = F.cross_entropy(x, target, label_smoothing=0.2)
    assert_close(by_index.numpy(), F.cross_entropy(x, smooth).numpy())
    assert_close(by_index.numpy(), -(smooth * x.log_softmax(1)).sum(1).mean().numpy())
    each = F.cross_entropy(x, target, w, label_smoothing=0.2, reduction="none")
    assert_close(each.numpy(), -(smooth * w * x.log_softmax(1)).sum(1).numpy())
