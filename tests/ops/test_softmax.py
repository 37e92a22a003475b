"""Softmax and its logarithm along any dimension against float64 NumPy."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from tests.tolerances import assert_close

SHAPES = [((5, 7), 1), ((5, 7), 0), ((3, 40, 70), 1), ((2, 1000), -1), ((4, 1), 1), ((6,), 0), ((), 0)]


def softmax(x, dim, log):
    z = x - x.max(dim, keepdims=True) if x.ndim else x - x
    total = np.exp(z).sum(dim, keepdims=True) if x.ndim else np.exp(z)
    return z - np.log(total) if log else np.exp(z) / total


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
def test_values(rng, shape, dim, log, dtype):
    x = torch.from_numpy(np.asarray(rng.standard_normal(shape) * 4)).to(getattr(torch, dtype))
    y = x.log_softmax(dim) if log else x.softmax(dim)
    assert_close(y.double().numpy(), softmax(x.double().numpy(), dim, log), dtype, slack=2)


@pytest.mark.parametrize(("shape", "dim"), SHAPES, ids=str)
@pytest.mark.parametrize("log", [False, True])
def test_gradients(rng, shape, dim, log):
    if np.prod(shape) > 100:
        shape = tuple(min(n, 3) for n in shape)
    x = torch.from_numpy(np.asarray(rng.standard_normal(shape))).requires_grad_()
    fn = (lambda x: x.log_softmax(dim)) if log else (lambda x: x.softmax(dim))
    assert gradcheck(fn, (x,))
    assert gradgradcheck(fn, (x,))


@pytest.mark.parametrize("dim", [0, 1])
def test_strided_and_empty(rng, dim):
    a = rng.standard_normal((8, 12))
    x = torch.from_numpy(a)
    assert_close(x.t()[::2, 1::3].softmax(dim).numpy(), softmax(a.T[::2, 1::3], dim, False))
    assert torch.zeros(0, 3).softmax(dim).shape == (0, 3)
    assert torch.zeros(3, 0).log_softmax(dim).shape == (3, 0)


@pytest.mark.parametrize("dim", [0, 1])
def test_sure_rows_keep_their_digits(dim):
    """The log of a probability near 1 is as exact as the sum it comes from: one rounding of 1, not of the logit."""
    x = np.zeros((64, 10), np.float32)
    x[:, 3] = np.linspace(8, 13, 64, dtype=np.float32)
    x[:, 4] = 700  # an offset that x - (max + log(sum)) would round to
    x[:, 3] += 700
    x[:, 4] -= x[:, 4]
    given = torch.from_numpy(x if dim else np.ascontiguousarray(x.T))
    y = given.log_softmax(dim).double().numpy()
    y = y if dim else y.T
    want = softmax(x.astype(np.float64), 1, True)
    assert np.abs(y - want)[:, 3].max() < 2 * np.finfo(np.float32).eps
    assert_close(y, want, "float32")


def test_infinities():
    inf = float("inf")
    x = torch.tensor([[0.0, -inf, 1.0], [-inf, -inf, -inf], [inf, 0.0, 1.0]])
    y = x.softmax(1)
    assert_close(y[0].numpy(), softmax(np.array([0.0, -inf, 1.0]), 0, False), "float32")
    assert torch.isnan(y[1]).all() and torch.isnan(y[2][0])
