"""What tensors tell of themselves, and the constants beside it."""

import math

import pytest

import flambeau as torch


def test_constants():
    assert (torch.pi, torch.e, torch.inf, torch.newaxis) == (math.pi, math.e, math.inf, None)
    assert math.isnan(torch.nan)
    assert torch.ones(2)[torch.newaxis].shape == (1, 2)


def test_answers_that_are_always_the_same():
    x = torch.ones(2, 3)
    assert x.is_cpu and not (x.is_cuda or x.is_meta or x.is_sparse or x.is_quantized or x.is_nested)
    assert (x.get_device(), x.dense_dim(), x.names, x.name) == (-1, 2, (None, None), None)
    assert not (x.is_pinned() or x.is_shared())
    with pytest.raises(RuntimeError, match="expected sparse coordinate tensor layout but got Strided"):
        x.is_coalesced()
    assert x.to_dense() is x and x.to_dense(torch.float64).dtype is torch.float64
    assert torch.equal(x.pin_memory(), x)


def test_transposed_views():
    x = torch.arange(6.0).reshape(2, 3)
    assert x.T.tolist() == x.mT.tolist() == x.H.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert torch.ones(2, 3, 4).T.shape == (4, 3, 2) and torch.ones(2, 3, 4).mT.shape == (2, 4, 3)
