"""Factorisations that fail: errors name the minor or pivot, the *_ex functions report it and spare the rest of the batch."""

import pytest

import flambeau as torch

L = torch.linalg
GOOD = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
BAD = torch.tensor([[1.0, 2.0], [2.0, 1.0]])  # its second leading minor is negative
SINGULAR = torch.tensor([[1.0, 2.0], [2.0, 4.0]])


def test_cholesky():
    with pytest.raises(L.LinAlgError, match=r"^linalg.cholesky: The factorization .*the leading minor of order 2 is not"):
        L.cholesky(BAD)
    with pytest.raises(L.LinAlgError, match=r"^linalg.cholesky: \(Batch element 1\): The factorization .*of order 1 is"):
        L.cholesky(torch.stack([GOOD, -GOOD]))
    batch = torch.stack([GOOD, BAD, -GOOD]).requires_grad_()
    factor, info = L.cholesky_ex(batch)
    assert info.tolist() == [0, 2, 1] and info.dtype is torch.int32
    assert torch.equal(factor[0], L.cholesky(GOOD)) and factor[1:].isnan().all()
    factor[0].sum().backward()
    assert batch.grad[0].abs().sum() > 0 and (batch.grad[1:] == 0).all()
    with pytest.raises(L.LinAlgError, match="order 2"):
        L.cholesky_ex(BAD, check_errors=True)
    assert L.cholesky_ex(GOOD).info.item() == 0


def test_inverses():
    with pytest.raises(L.LinAlgError, match=r"^linalg.inv: The diagonal element 2 is zero"):
        L.inv(SINGULAR)
    inverse, info = L.inv_ex(torch.stack([GOOD, SINGULAR]))
    assert info.tolist() == [0, 2] and torch.equal(inverse[0], L.inv(GOOD)) and inverse[1].isnan().all()
    x, info = L.solve_ex(torch.stack([SINGULAR, GOOD]), torch.ones(2, 2))
    assert info.tolist() == [2, 0] and x[0].isnan().all() and torch.allclose(GOOD @ x[1], torch.ones(2))
    assert L.solve_ex(torch.zeros(2, 2), torch.ones(2)).info.item() == 1
    with pytest.raises(L.LinAlgError, match="singular"):
        L.solve_ex(SINGULAR, torch.ones(2), check_errors=True)
