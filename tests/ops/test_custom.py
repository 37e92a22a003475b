"""@flambeau.pointwise: values, broadcasting, gradients of several orders, errors."""

import math

import numpy as np
import pytest
import scipy.special

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ir import derive
from flambeau.ir import expr as E


@torch.pointwise
def swish(x, beta=1.0):
    return x * torch.sigmoid(beta * x)


@torch.pointwise
def bump(x, y, *, width):
    """A bell around y."""
    d = (x - y) / width
    return torch.where(abs(d) < 3.0, torch.exp(-d * d), 0.0)


def test_values_and_broadcasting():
    x, y = np.linspace(-2, 2, 12).reshape(3, 4), np.array([0.5, -1.0, 0.0, 2.0])
    got = bump(torch.from_numpy(x), torch.from_numpy(y), width=0.7)
    np.testing.assert_allclose(got.numpy(), np.exp(-(((x - y) / 0.7) ** 2)) * (abs(x - y) / 0.7 < 3), rtol=1e-14)
    np.testing.assert_allclose(swish(torch.from_numpy(x), 2.0).numpy(), x * scipy.special.expit(2 * x), rtol=1e-14)
    assert swish(torch.tensor([1, 2])).dtype is torch.float32
    assert bump.__doc__ == "A bell around y."


def test_strided_empty_and_out():
    x = torch.arange(12.0).reshape(3, 4).t()
    assert torch.allclose(swish(x), x * torch.sigmoid(x))
    assert swish(torch.zeros(0, 3)).shape == (0, 3)
    out = torch.zeros(4, 3)
    assert swish(x, out=out) is out
    assert torch.allclose(out, x * torch.sigmoid(x))


@pytest.mark.parametrize("fn", [
    swish, lambda x: swish(x, 0.5), lambda x: bump(x, x * 0.3, width=1.3),
], ids=["default", "number", "two"])  # fmt: skip
def test_gradients_of_two_orders(fn):
    x = torch.tensor([-1.3, -0.2, 0.4, 1.1], dtype=torch.float64, requires_grad=True)
    assert gradcheck(fn, (x,))
    assert gradgradcheck(fn, (x,))


def test_gradient_of_a_tensor_parameter():
    x = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    beta = torch.tensor([[1.5], [0.2]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(swish, (x, beta))


UNARY = {
    "exp": 0.3, "log": 0.7, "sin": 0.4, "cos": 0.4, "tan": 0.4, "tanh": 0.4, "sigmoid": 0.2, "sqrt": 0.9, "asin": 0.3,
    "acos": 0.3, "atan": 0.3, "sinh": 0.3, "cosh": 0.3, "asinh": 0.3, "acosh": 1.7, "atanh": 0.3, "erf": 0.3, "erfc": 0.3,
    "erfinv": 0.3, "lgamma": 2.3, "digamma": 2.3, "log1p": 0.3, "expm1": 0.3, "exp2": 0.3, "log2": 0.7, "log10": 0.7,
    "rsqrt": 0.8, "abs": -0.4,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_rules_of_the_chain(name):
    """Every rule of ir.derive against a central difference."""
    fn = torch.pointwise(lambda x: getattr(torch, name)(x) * x)
    x = torch.tensor([UNARY[name]], dtype=torch.float64, requires_grad=True)
    assert gradcheck(fn, (x,))


def test_a_function_without_a_rule_says_so():
    x = E.leaf("x", torch.float64)
    with pytest.raises(NotImplementedError, match="igamma"):
        derive.derivative(E.igamma(x, x), x)
    with pytest.raises(TypeError, match="truth value"):
        torch.pointwise(lambda x: x if x > 0 else -x)(torch.ones(2))
    with pytest.raises(TypeError, match="name its parameters"):
        torch.pointwise(lambda *xs: xs[0])


def test_constants_have_no_slope():
    x = torch.tensor([0.3, math.pi], requires_grad=True)
    torch.pointwise(lambda x: torch.floor(x) * x)(x).sum().backward()
    assert x.grad.tolist() == [0.0, 3.0]
