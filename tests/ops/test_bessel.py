"""Bessel's and Airy's functions against mpmath on every branch; ends; orthogonal polynomials' odd degrees."""

import math

import mpmath
import numpy as np
import pytest

import flambeau as torch

R = np.random.default_rng(7)
FUNCTIONS = {
    "bessel_j0": lambda v: mpmath.besselj(0, v), "bessel_j1": lambda v: mpmath.besselj(1, v),
    "bessel_y0": lambda v: mpmath.bessely(0, v), "bessel_y1": lambda v: mpmath.bessely(1, v),
    "modified_bessel_k0": lambda v: mpmath.besselk(0, v), "modified_bessel_k1": lambda v: mpmath.besselk(1, v),
    "scaled_modified_bessel_k0": lambda v: mpmath.exp(v) * mpmath.besselk(0, v),
    "scaled_modified_bessel_k1": lambda v: mpmath.exp(v) * mpmath.besselk(1, v),
    "airy_ai": mpmath.airyai, "spherical_bessel_j0": lambda v: mpmath.sin(v) / v,
}  # fmt: skip
BRANCHES = ((1e-8, 1e-3), (1e-3, 2), (2, 8), (8, 25), (25, 40), (40, 600))
OSCILLATING = {"bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "airy_ai", "spherical_bessel_j0"}


def wanted(name: str, x):
    with mpmath.workdps(40):
        return np.array([float(FUNCTIONS[name](mpmath.mpf(float(v)))) for v in x])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_mpmath(name):
    f = getattr(torch.special, name)
    close = 5e-14 if name == "airy_ai" else 6e-15  # exp(-2/3 x^(3/2)) has its argument's rounding error
    for low, high in BRANCHES:
        x = R.uniform(low, high, 10)
        want = wanted(name, x)
        scale = np.abs(want).max() if name in OSCILLATING else np.abs(want)
        assert np.all(np.abs(f(torch.from_numpy(x)).numpy() - want) <= close * scale + 1e-290), (low, high)
        single = x.astype(np.float32)
        want = wanted(name, single).astype(np.float32)
        np.testing.assert_allclose(f(torch.from_numpy(single)).numpy(), want, rtol=2e-7, atol=1e-7 * np.abs(scale).max())


def test_airy_oscillates_below_zero():
    for low, high in ((-1, 0), (-9, -1), (-9.6, -8.4), (-40, -9)):
        x = R.uniform(low, high, 20)
        np.testing.assert_allclose(torch.special.airy_ai(torch.from_numpy(x)).numpy(), wanted("airy_ai", x), atol=1e-14)


def test_odd_and_even():
    x = torch.linspace(0.1, 60, 40, dtype=torch.double)
    assert torch.equal(torch.special.bessel_j0(-x), torch.special.bessel_j0(x))
    assert torch.equal(torch.special.bessel_j1(-x), -torch.special.bessel_j1(x))


@pytest.mark.parametrize("name,at", [
    ("bessel_j0", {0.0: 1, math.inf: 0, -math.inf: 0}), ("bessel_j1", {0.0: 0, math.inf: 0}),
    ("bessel_y0", {0.0: -math.inf, -1.0: math.nan, math.inf: math.nan}), ("bessel_y1", {0.0: -math.inf, -1.0: math.nan}),
    ("modified_bessel_k0", {0.0: math.inf, -1.0: math.nan, math.inf: 0, 1e4: 0}), ("modified_bessel_k1", {0.0: math.inf, math.inf: 0}),
    ("scaled_modified_bessel_k0", {0.0: math.inf, -1.0: math.nan, math.inf: 0}), ("scaled_modified_bessel_k1", {math.inf: 0}),
    ("airy_ai", {math.inf: math.nan, -math.inf: math.nan, 120.0: 0}), ("spherical_bessel_j0", {0.0: 1, math.inf: 0}),
])  # fmt: skip
def test_ends(name, at):
    f = getattr(torch.special, name)
    for x, want in {**at, math.nan: math.nan}.items():
        got = f(torch.tensor(x, dtype=torch.double)).item()
        assert got == want or math.isnan(got) and math.isnan(want), (x, got)
    assert f(torch.tensor([1, 2])).dtype is torch.float32
    with pytest.raises(NotImplementedError, match=name):
        f(torch.ones(2, dtype=torch.complex64))


def test_degrees_of_polynomials():
    x = torch.tensor([[0.3], [2.0]], dtype=torch.double)
    n = torch.tensor([-1.0, 0.0, 1.0, 2.7])
    assert torch.allclose(torch.special.legendre_polynomial_p(x, n), torch.tensor([[0, 1, 0.3, -0.365], [0, 1, 2, 5.5]], dtype=torch.double))
    assert torch.special.hermite_polynomial_h(2.0, torch.tensor([3])).item() == 40
    assert torch.special.laguerre_polynomial_l(torch.tensor([1, 3]), 2).tolist() == [-0.5, -0.5]
    with pytest.raises(TypeError, match="Tensor"):
        torch.special.chebyshev_polynomial_t(1.0, 2)
    with pytest.raises(NotImplementedError, match="Half"):
        torch.special.chebyshev_polynomial_t(torch.ones(2, dtype=torch.float16), 2)
