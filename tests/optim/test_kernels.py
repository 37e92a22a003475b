"""One launch for all parameters: the same numbers as one by one, whatever the parameters are."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.optim import kernels as K


def sgd_by_hand(p, g, lr):
    return p - lr * g


@pytest.mark.parametrize("sizes", [(1,), (7, 4096, 4097, 3, 20000), tuple(range(1, 200))])
def test_batch_updates_every_element(sizes, seed):
    params = [torch.randn(n) for n in sizes]
    grads = [torch.randn(n) for n in sizes]
    wanted = [sgd_by_hand(p.double(), g.double(), 0.5) for p, g in zip(params, grads, strict=True)]
    versions = [p._version for p in params]
    with K.Batch():
        for p, g in zip(params, grads, strict=True):
            K.sgd((p, g), 0.5, 0.0, 1.0)
    for p, w, v in zip(params, wanted, versions, strict=True):
        np.testing.assert_allclose(p.numpy(), w.numpy(), rtol=1e-6, atol=1e-6)
        assert p._version == v + 1


def test_numbers_and_dtypes_of_each_parameter_are_its_own(seed):
    params = [torch.ones(5, dtype=d) for d in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64)]
    with K.Batch():
        for i, p in enumerate(params):
            K.sgd((p, torch.ones_like(p)), float(i), 0.0, 1.0)
    for i, p in enumerate(params):
        assert (p.real if p.is_complex() else p).tolist() == [1.0 - i] * 5


def test_a_parameter_twice_is_updated_one_after_the_other():
    p = torch.zeros(6)
    with K.Batch():
        K.sgd((p, torch.ones(6)), 1.0, 0.0, 1.0)
        K.sgd((p, torch.ones(6)), 1.0, 0.0, 1.0)
    assert p.tolist() == [-2.0] * 6


def test_strided_and_scalar_parameters():
    matrix, scalar = torch.zeros(4, 6), torch.zeros(())
    part = matrix.t()[::2]
    with K.Batch():
        K.sgd((part, torch.ones(3, 4)), 1.0, 0.0, 1.0)
        K.sgd((scalar, torch.ones(())), 1.0, 0.0, 1.0)
    assert scalar.item() == -1
    assert matrix.sum().item() == -12 and (matrix[:, 1::2] == 0).all()


def test_misaligned_memory_is_updated():
    raw = np.zeros(4 * 8 + 1, np.uint8)
    p = torch.from_numpy(raw[1:].view(np.float32))
    K.sgd((p, torch.ones(8)), 1.0, 0.0, 1.0)
    assert raw[1:].view(np.float32).tolist() == [-1.0] * 8


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(RuntimeError, match="gradient of shape"):
        K.sgd((torch.zeros(3), torch.zeros(4)), 1.0, 0.0, 1.0)


def test_updates_before_an_error_are_done():
    a, b = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))
    a.grad, b.grad = torch.ones(2), torch.ones(3)
    b._grad = torch.ones(4)
    with pytest.raises(RuntimeError):
        torch.optim.SGD([a, b], lr=1.0).step()
    assert a.tolist() == [-1.0, -1.0]
