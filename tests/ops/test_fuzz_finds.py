"""Results the differential fuzzer found wrong, each once."""

import math

import numpy as np
import pytest

import flambeau as torch


@pytest.mark.parametrize("dtype", ["int64", "int32", "int16", "int8", "uint8"])
def test_integer_powers_wrap_as_numpy(dtype):
    r = np.random.default_rng(0)
    x, y = r.integers(0 if dtype == "uint8" else -9, 10, 500).astype(dtype), r.integers(0, 120, 500).astype(dtype)
    np.testing.assert_array_equal(torch.pow(torch.from_numpy(x), torch.from_numpy(y)).numpy(), np.power(x, y))


def test_powers_at_the_ends():
    inf = math.inf
    assert torch.pow(torch.tensor([-1.0, -1.0, 1.0]), torch.tensor([inf, -inf, inf])).tolist() == [1.0, 1.0, 1.0]
    assert torch.pow(torch.tensor([True, False]), 2).dtype is torch.int64
    assert torch.square(torch.tensor([True])).dtype is torch.int64
    z = torch.pow(torch.tensor([0.0]), torch.tensor([-1 + 1j, 1 + 1j, 0j]))
    assert math.isinf(z[0].real) and math.isnan(z[0].imag) and z[1:].tolist() == [0, 1]


def test_resolving_conjugates_changes_nothing():
    x = torch.tensor([1 + 2j])
    assert x.resolve_conj().tolist() == torch.resolve_conj(x).tolist() == [1 + 2j]
    assert x.conj().resolve_conj().tolist() == [1 - 2j] and x.resolve_neg() is x


@pytest.mark.parametrize("a, b", [((2, 3, 0), (0, 4)), ((0, 3), (2, 3, 4)), ((2, 0, 3), (2, 3, 5)), ((2, 4, 0), (2, 0, 5)), ((2, 0, 0), (0, 3))])
def test_products_of_empty_matrices(a, b):
    got = torch.matmul(torch.ones(a), torch.ones(b))
    np.testing.assert_array_equal(got.numpy(), np.matmul(np.ones(a, "f4"), np.ones(b, "f4")))


def test_complex_scans_and_sums_of_exponentials():
    x = np.array([[0.5 + 1j, -1 + 2j], [2 - 1j, 0.1j]])
    t = torch.from_numpy(x)
    np.testing.assert_allclose(np.exp(t.logcumsumexp(0).numpy()), np.exp(x).cumsum(0), rtol=1e-12)
    np.testing.assert_allclose(np.exp(t.logsumexp(1).numpy()), np.exp(x).sum(1), rtol=1e-12)
    np.testing.assert_allclose(np.exp(torch.logaddexp(t, t).numpy()), 2 * np.exp(x), rtol=1e-12)
    np.testing.assert_allclose(torch.exp2(t).numpy(), np.exp2(x), rtol=1e-12)
    np.testing.assert_array_equal(t.t().cumsum(0).numpy(), x.T.cumsum(0))
    assert torch.tensor(1 + 2j).cumsum(0).item() == 1 + 2j


def test_nothing_to_divide_by_zero():
    assert torch.ones(0, dtype=torch.int32).remainder(0).shape == (0,)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        torch.ones(1, dtype=torch.int32).remainder(0)


def test_scalars_and_refusals():
    assert torch.tensor(3).movedim(0, 0).item() == 3
    with pytest.raises(IndexError):
        torch.tensor(3).unbind()
    with pytest.raises(NotImplementedError, match="complex"):
        torch.lgamma(torch.tensor([1j]))
    with pytest.raises(NotImplementedError, match="complex"):
        _ = torch.tensor([1j]) < 2
    with pytest.raises(NotImplementedError, match="logcumsumexp"):
        torch.arange(3).logcumsumexp(0)


def test_gradients_at_the_ends():
    x = torch.tensor([math.inf, -math.inf, 1.0], requires_grad=True)
    torch.logaddexp(x, torch.tensor([1.0, -math.inf, 1.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.5]
    x = torch.tensor([-2.0, 2.0], dtype=torch.float64, requires_grad=True)
    torch.acosh(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [3**-0.5, 3**-0.5], rtol=1e-12)
    x = torch.tensor([math.nan, 1.0], requires_grad=True)
    torch.maximum(x, torch.ones(2)).sum().backward()
    assert x.grad.tolist() == [1.0, 0.5]
    x, y = torch.tensor([-5.0]), torch.tensor([math.inf], requires_grad=True)
    torch.remainder(x, y).backward()
    assert y.grad.item() == 1.0


def test_signs_and_replacements():
    assert torch.sign(torch.tensor([math.nan, -3.0, -0.0])).tolist() == [0.0, -1.0, 0.0]
    assert torch.nan_to_num(torch.tensor([math.inf, -math.inf], dtype=torch.float16)).tolist() == [65504.0, -65504.0]


@pytest.mark.parametrize("name", ["arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh"])
def test_complex_inverses_on_both_sides_of_their_branch_cuts(name):
    values = [0.0, -0.0, 0.5, -0.5, 1.8, -1.8, 30.0, -1e3]
    z = np.array([complex(a, b) for a in values for b in values])
    with np.errstate(all="ignore"):
        want = getattr(np, name)(z)
    np.testing.assert_allclose(getattr(torch, name)(torch.from_numpy(z)).numpy(), want, rtol=1e-12, atol=1e-15)
