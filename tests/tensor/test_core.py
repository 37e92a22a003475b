"""The core slice: pointwise arithmetic, broadcasting, strides, gradients, in-place checks."""

import numpy as np
import pytest

import flambeau as torch


def test_add_matches_numpy_with_broadcasting():
    a = np.random.default_rng(0).standard_normal((5, 100)).astype("f4")
    b = np.random.default_rng(1).standard_normal(100).astype("f4")
    assert np.array_equal((torch.tensor(a) + torch.tensor(b)).numpy(), a + b)


def test_gradient_of_product_plus_input():
    a = np.random.default_rng(0).standard_normal((3, 4)).astype("f4")
    x, y = torch.tensor(a, requires_grad=True), torch.tensor(a + 1)
    r = (x * y + x) * 2.0
    r.backward(torch.tensor(np.ones((3, 4), "f4")))
    assert np.allclose(x.grad.numpy(), 2 * (a + 1) + 2)


def test_leaf_in_place_is_refused():
    x = torch.tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        x.add_(1.0)


def test_saved_value_changed_in_place_is_noticed():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2.0
    z = y * y
    y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward(torch.tensor([1.0, 1.0]))


def test_integer_division_by_zero_raises():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        torch.tensor([1, 2]).remainder(torch.tensor([0, 1]))


def test_methods_that_are_functions_too():
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    assert not torch.detach(x * 1).requires_grad
    y = torch.tensor([-1.0, 2.0])
    assert torch.clamp_(y, min=0.5) is y and y.tolist() == [0.5, 2.0]
    assert torch.sigmoid_(y) is y and torch.index_put(y, (torch.tensor([0]),), torch.tensor(3.0))[0] == 3
