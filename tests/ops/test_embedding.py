"""Rows of tables and their gradients against NumPy."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from tests.tolerances import assert_close

F = torch.nn.functional


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "int64"])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 0), ()], ids=str)
def test_values(rng, shape, dtype):
    w = torch.from_numpy(rng.standard_normal((11, 37)) * 9).to(getattr(torch, dtype))
    index = np.asarray(rng.integers(0, 11, shape))
    for table in (w, w.t().contiguous().t(), torch.cat([w, w], 1)[:, ::2][:, :37]):
        got = F.embedding(torch.from_numpy(index), table)
        assert_close(got.double().numpy(), table.double().numpy()[index])


@pytest.mark.parametrize("padding", [None, 2, -1])
@pytest.mark.parametrize("by_freq", [False, True])
@pytest.mark.parametrize("width", [1, 5, 200])
def test_gradient(rng, padding, by_freq, width):
    w = torch.from_numpy(rng.standard_normal((6, width))).requires_grad_()
    index, g = rng.integers(0, 6, (4, 9)), rng.standard_normal((4, 9, width))
    F.embedding(torch.from_numpy(index), w, padding, scale_grad_by_freq=by_freq).backward(torch.from_numpy(g))
    want = np.zeros((6, width))
    for i, row in zip(index.reshape(-1), g.reshape(-1, width), strict=True):
        want[i] += row / (index == i).sum() if by_freq else row
    if padding is not None:
        want[padding] = 0
    assert_close(w.grad.numpy(), want)


def test_second_gradient(rng):
    w = torch.from_numpy(rng.standard_normal((4, 2))).requires_grad_()
    index = torch.tensor([[1, 1], [3, 0]])
    assert gradcheck(lambda w: F.embedding(index, w) ** 2, (w,))
    assert gradgradcheck(lambda w: F.embedding(index, w) ** 2, (w,))


def test_indices_outside_the_table():
    w = torch.zeros(3, 2)
    for bad in (3, -1, 1 << 40, -(1 << 63)):
        with pytest.raises(IndexError, match=f"index {bad}, table of 3 rows"):
            F.embedding(torch.tensor([0, bad]), w)
    with pytest.raises(IndexError, match="table of 0 rows"):
        F.embedding(torch.tensor([0]), torch.zeros(0, 2))
    with pytest.raises(IndexError, match="table of 0 rows"):
        F.embedding(torch.tensor([-(1 << 63)]), torch.zeros(0, 2))
    assert F.embedding(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2)).shape == (0, 2)
    with pytest.raises(RuntimeError, match="Long, Int"):
        F.embedding(torch.tensor([0.0]), w)
