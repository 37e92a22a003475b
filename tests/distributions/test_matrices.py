"""Wishart, LKJCholesky and GeneralizedPareto: densities against SciPy, moments by sampling, draws against PyTorch's recorded ones."""

import numpy as np
import pytest
import scipy.stats as st

import flambeau as torch

D = torch.distributions
V = np.array([[2.0, 0.5], [0.5, 1.0]])
BOTH = np.stack([V, np.eye(2) * 3])
DF = np.array([2.5, 7.0])
DRAWS = (  # after manual_seed(3), one after another
    [2.311656, 1.16654545, 1.16654545, 1.59044462],
    [1.0, 0.0, 0.0, -0.724689901, 0.689075112, 0.0, 0.78363204, 0.210539848, 0.584460258],
    [2.36872816, 8.31731987],
)


def wishart(**given):
    return D.Wishart(torch.from_numpy(DF), **{k: torch.from_numpy(v) for k, v in given.items()})


@pytest.mark.parametrize("given", [
    {"covariance_matrix": BOTH}, {"precision_matrix": np.linalg.inv(BOTH)}, {"scale_tril": np.linalg.cholesky(BOTH)},
], ids=lambda g: next(iter(g)))  # fmt: skip
def test_wishart(given):
    ours, theirs = wishart(**given), [st.wishart(df, s) for df, s in zip(DF, BOTH, strict=True)]
    x = np.array([[1.0, 0.3], [0.3, 4.0]])
    np.testing.assert_allclose(ours.log_prob(torch.from_numpy(x)).numpy(), [t.logpdf(x) for t in theirs])
    np.testing.assert_allclose(ours.entropy().numpy(), [t.entropy() for t in theirs])
    np.testing.assert_allclose(ours.mean.numpy(), [t.mean() for t in theirs])
    np.testing.assert_allclose(ours.variance.numpy(), [t.var() for t in theirs])
    np.testing.assert_allclose(ours.mode[1].numpy(), theirs[1].mode())
    assert ours.mode[0].isnan().all()  # df - p - 1 is negative
    for name, want in (("covariance_matrix", BOTH), ("precision_matrix", np.linalg.inv(BOTH)), ("scale_tril", np.linalg.cholesky(BOTH))):
        np.testing.assert_allclose(getattr(ours, name).numpy(), want, atol=1e-12)
    assert ours.expand((3, 2)).sample((4,)).shape == (4, 3, 2, 2, 2)


def test_wishart_samples_and_divergence():
    torch.manual_seed(1)
    p = wishart(covariance_matrix=BOTH)
    q = D.Wishart(torch.tensor([3.5, 4.0], dtype=torch.double), torch.from_numpy(BOTH + 0.1))
    x = p.sample((20000,))
    assert torch.allclose(x.mean(0), p.mean, rtol=0.05, atol=0.1)
    assert torch.allclose((p.log_prob(x) - q.log_prob(x)).mean(0), D.kl_divergence(p, q), rtol=0.05)
    assert D.kl_divergence(p, p).abs().max() < 1e-12
    factor = torch.from_numpy(np.linalg.cholesky(V)).requires_grad_()
    D.Wishart(5.0, scale_tril=factor).rsample((5,)).sum().backward()
    assert factor.grad.isfinite().all() and factor.grad.abs().sum() > 0


def test_wishart_refuses():
    with pytest.raises(ValueError, match="greater than ndim - 1 = 1"):
        D.Wishart(torch.tensor([0.5]), torch.eye(2))
    with pytest.raises(ValueError, match="Exactly one"):
        D.Wishart(torch.tensor([2.0]))
    with pytest.raises(ValueError, match="two-dimensional"):
        D.Wishart(torch.tensor([2.0]), torch.ones(2))
    with pytest.warns(UserWarning, match="Low df values"):
        D.Wishart(torch.tensor([1.5]), torch.eye(2))


@pytest.mark.parametrize("dim", (2, 3, 5))
def test_lkj(dim):
    torch.manual_seed(dim)
    d = D.LKJCholesky(dim, torch.tensor([0.7, 2.0], dtype=torch.double))
    x = d.sample((3,))
    m = x @ x.mT
    assert x.shape == (3, 2, dim, dim) and torch.allclose(m.diagonal(dim1=-2, dim2=-1), torch.ones(3, 2, dim, dtype=torch.double))
    assert (x.triu(1) == 0).all() and d.log_prob(x).shape == (3, 2)
    # of factors: det(M)^(concentration - 1) times prod_i L_ii^(dim - i), up to a constant
    logs = m.logdet() * (d.concentration - 1) + (torch.arange(dim - 1, -1, -1) * x.diagonal(dim1=-2, dim2=-1).log()).sum(-1)
    rest = d.log_prob(x) - logs
    assert torch.allclose(rest, rest[:1].expand_as(rest))
    if dim == 2:  # there it is a density of one number in (-1, 1)
        r = torch.linspace(-0.9999, 0.9999, 20001, dtype=torch.double)
        factors = torch.stack([torch.stack([torch.ones_like(r), 0 * r], -1), torch.stack([r, (1 - r * r).sqrt()], -1)], -2)
        total = torch.trapezoid(D.LKJCholesky(2, torch.tensor(2.0, dtype=torch.double)).log_prob(factors).exp(), r)
        assert total.item() == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="dim=1"):
        D.LKJCholesky(1)


@pytest.mark.parametrize("c", (0.4, 0.0, -0.7, -1.0, 0.6, 1.5))
def test_generalized_pareto(c):
    ours = D.GeneralizedPareto(*(torch.tensor(v, dtype=torch.double) for v in (0.1, 2.0, c)))
    theirs = st.genpareto(c, 0.1, 2.0)
    x = theirs.ppf(np.linspace(0.05, 0.95, 7))
    tx = torch.from_numpy(x)
    np.testing.assert_allclose(ours.log_prob(tx).numpy(), theirs.logpdf(x), rtol=1e-9)
    np.testing.assert_allclose(ours.cdf(tx).numpy(), theirs.cdf(x), rtol=1e-9)
    np.testing.assert_allclose(ours.log_cdf(tx).numpy(), theirs.logcdf(x), rtol=1e-9)
    np.testing.assert_allclose(ours.icdf(ours.cdf(tx)).numpy(), x, rtol=1e-9)
    np.testing.assert_allclose(ours.entropy().numpy(), theirs.entropy(), rtol=1e-9)
    assert ours.mean.item() == pytest.approx(theirs.mean()) if c < 1 else ours.mean.isnan()
    assert ours.variance.item() == pytest.approx(theirs.var()) if c < 0.5 else ours.variance.isnan()
    assert ours.support.check(ours.sample((9,))).all() and ours.expand((2,)).sample().shape == (2,)
    with pytest.raises(ValueError, match="support"):
        ours.log_prob(torch.tensor(-1.0))


def test_draws_are_pytorchs():
    torch.manual_seed(3)
    got = [D.Wishart(4.5, torch.from_numpy(V)).sample(), D.LKJCholesky(3, 0.7).sample(), D.GeneralizedPareto(0.1, 2.0, 0.4).sample((2,))]
    for g, want in zip(got, DRAWS, strict=True):
        np.testing.assert_allclose(g.double().numpy().ravel(), want, rtol=1e-5, atol=1e-7)
