"""Divergences: kl_divergence(p, q) = E_p [log p - log q], by formulas registered for pairs of classes."""

from __future__ import annotations

import math

import flambeau as torch
from flambeau.distributions.composed import (
    Gumbel,
    HalfNormal,
    Independent,
    Pareto,
    TransformedDistribution,
)
from flambeau.distributions.discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    ContinuousBernoulli,
    Geometric,
    OneHotCategorical,
    Poisson,
)
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.gamma_family import Beta, Dirichlet, Exponential, Gamma
from flambeau.distributions.location_scale import Cauchy, Laplace, Normal, Uniform
from flambeau.distributions.matrices import Wishart, digammas
from flambeau.distributions.multivariate import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    half_log_det,
    squared_length,
)
from flambeau.distributions.utils import _sum_rightmost, euler_constant

_REGISTRY: dict[tuple[type, type], object] = {}
_MEMOIZED: dict[tuple[type, type], object] = {}


def register_kl(type_p: type, type_q: type):
    """Decorator: fn(p, q) is the divergence of these classes (and of subclasses nothing closer is registered for)."""
    for name, cls in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(cls, type) and issubclass(cls, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {cls}")

    def decorator(fn):
        _REGISTRY[type_p, type_q] = fn
        _MEMOIZED.clear()
        return fn

    return decorator


def dispatch(type_p: type, type_q: type):
    """The formula for the closest pair of base classes, or None."""
    key = type_p, type_q
    if key not in _MEMOIZED:
        found = [(type_p.__mro__.index(a) + type_q.__mro__.index(b), type_p.__mro__.index(a), a, b)
                 for a, b in _REGISTRY if issubclass(type_p, a) and issubclass(type_q, b)]  # fmt: skip
        _MEMOIZED[key] = _REGISTRY[min(found, key=lambda f: f[:2])[2:]] if found else None
    return _MEMOIZED[key]


def kl_divergence(p: Distribution, q: Distribution):
    """E_p [log p - log q], over the batch.

    Errors: NotImplementedError if no formula is registered for the classes
    Source: torch.distributions.kl_divergence
    """
    formula = dispatch(type(p), type(q))
    if formula is None:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {p.__class__.__name__} and q type {q.__class__.__name__}")
    return formula(p, q)


# of one class with itself -------------------------------------------------------------------------
@register_kl(Normal, Normal)
def _normal(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Wishart, Wishart)
def _wishart(p, q):  # PyTorch 2.13 gives other values, which sampled means of log p - log q contradict
    n, a, b = p._event_shape[-1], p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    trace = torch.linalg.solve_triangular(b, a, upper=False).pow(2).sum((-2, -1))
    logs = q.df * (half_log_det(b) - half_log_det(a)) + torch.mvlgamma(q.df / 2, n) - torch.mvlgamma(p.df / 2, n)
    return logs + 0.5 * p.df * (trace - n) + 0.5 * (p.df - q.df) * digammas(p.df / 2, n)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p, q):
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p, q):
    ratio, d = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + d / q.scale + ratio * torch.exp(-d / p.scale) - 1


@register_kl(Cauchy, Cauchy)
def _cauchy(p, q):
    top = ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log()
    return top - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p, q):
    ratio, a, b = p.scale / q.scale, q.loc / q.scale, p.loc / q.scale
    return a - ratio.log() - b + ratio * euler_constant + torch.exp(a + (1 + ratio).lgamma() - b) - (1 + euler_constant)


@register_kl(Uniform, Uniform)
def _uniform(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return torch.where((q.low > p.low) | (q.high < p.high), math.inf, result)


@register_kl(Exponential, Exponential)
def _exponential(p, q):
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Gamma, Gamma)
def _gamma(p, q):
    a, b = p.concentration, q.concentration
    return (b * (p.rate / q.rate).log() + torch.lgamma(b) - torch.lgamma(a) + (a - b) * torch.digamma(a)
            + (q.rate - p.rate) * (a / p.rate))  # fmt: skip


@register_kl(Pareto, Pareto)
def _pareto(p, q):
    scale, alpha = p.scale / q.scale, q.alpha / p.alpha
    result = q.alpha * scale.log() - alpha.log() + alpha - 1
    return torch.where(p.scale < q.scale, math.inf, result)


@register_kl(Beta, Beta)
def _beta(p, q):
    a, b, c, d = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    norm = c.lgamma() + d.lgamma() + (a + b).lgamma() - (c + d).lgamma() - a.lgamma() - b.lgamma()
    return norm + (a - c) * a.digamma() + (b - d) * b.digamma() + (c + d - a - b) * (a + b).digamma()


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p, q):
    a, b = p.concentration, q.concentration
    norm = a.sum(-1).lgamma() - b.sum(-1).lgamma() + (b.lgamma() - a.lgamma()).sum(-1)
    return norm + ((a - b) * (a.digamma() - a.sum(-1, True).digamma())).sum(-1)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p, q):
    soft = torch.nn.functional.softplus
    ones = p.probs * (soft(-q.logits) - soft(-p.logits))
    zeros = (1 - p.probs) * (soft(q.logits) - soft(p.logits))
    ones = torch.where(p.probs == 0, 0.0, torch.where(q.probs == 0, math.inf, ones))
    zeros = torch.where(p.probs == 1, 0.0, torch.where(q.probs == 1, math.inf, zeros))
    return ones + zeros


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p, q):
    return p.mean * (p.logits - q.logits) + p._log_norm() + (-p.probs).log1p() - q._log_norm() - (-q.probs).log1p()


@register_kl(Binomial, Binomial)
def _binomial(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    value = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return torch.where(p.total_count > q.total_count, math.inf, value)


@register_kl(Geometric, Geometric)
def _geometric(p, q):
    return -p.entropy() - torch.log1p(-q.probs) / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Categorical, Categorical)
def _categorical(p, q):
    t = p.probs * (p.logits - q.logits)
    t = torch.where(p.probs == 0, 0.0, torch.where(q.probs == 0, math.inf, t))
    return t.sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p, q):
    return _categorical(p._categorical, q._categorical)


def _normal_vectors(p, q, p_factor, q_factor, p_log_det, q_log_det):
    """(log det ratio + trace of q^-1 p + distance of the means) / 2 of normal vectors."""
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two multivariate normals with different event shapes cannot be computed")
    n, batch = p.event_shape[0], torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    q_factor, p_factor = (f.expand(batch + f.shape[-2:]) for f in (q_factor, p_factor))
    trace = torch.linalg.solve_triangular(q_factor, p_factor, upper=False).pow(2).sum((-2, -1))
    return q_log_det - p_log_det + 0.5 * (trace + squared_length(q_factor, q.loc - p.loc) - n)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p, q):
    a, b = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    return _normal_vectors(p, q, a, b, half_log_det(a), half_log_det(b))


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p, q):
    a, b = p.scale_tril, q.scale_tril
    return _normal_vectors(p, q, a, b, half_log_det(a), half_log_det(b))


@register_kl(Independent, Independent)
def _independent(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    more = len(p.event_shape) - len(p.base_dist.event_shape)
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), more)


# of different classes -----------------------------------------------------------------------------
@register_kl(Exponential, Gamma)
def _exponential_gamma(p, q):
    ratio = q.rate / p.rate
    b = q.concentration
    return -b * ratio.log() + ratio + b.lgamma() + b * euler_constant - (1 + euler_constant)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p, q):
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


def _log_moment(p):
    """E log x of a distribution of positive numbers."""
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return (torch.xlogy(p.high, p.high) - torch.xlogy(p.low, p.low)) / (p.high - p.low) - 1  # Uniform


def _outside(p, q, value, low: float | None = 0.0, high: float | None = None):
    """value, or infinity where p reaches below low or above high."""
    first, last = (p.low, p.high) if isinstance(p, Uniform) else (None, None)
    if first is not None and low is not None:
        value = torch.where(first < low, math.inf, value)
    return value if last is None or high is None else torch.where(last > high, math.inf, value)


@register_kl(Uniform, Exponential)
@register_kl(Beta, Exponential)
@register_kl(Pareto, Exponential)
@register_kl(ContinuousBernoulli, Exponential)
def _to_exponential(p, q):
    return _outside(p, q, -p.entropy() - q.rate.log() + q.rate * p.mean)


@register_kl(Uniform, Gamma)
@register_kl(Beta, Gamma)
@register_kl(Pareto, Gamma)
def _to_gamma(p, q):
    a = q.concentration
    cross = a.lgamma() - a * q.rate.log() - (a - 1) * _log_moment(p) + q.rate * p.mean
    return _outside(p, q, -p.entropy() + cross)


@register_kl(Exponential, Normal)
@register_kl(Gamma, Normal)
@register_kl(Laplace, Normal)
@register_kl(Uniform, Normal)
@register_kl(Gumbel, Normal)
@register_kl(Beta, Normal)
@register_kl(Pareto, Normal)
@register_kl(ContinuousBernoulli, Normal)
def _to_normal(p, q):
    """-entropy less the expected log of a normal density, which takes two moments."""
    spread = p.variance + (p.mean - q.loc).pow(2)
    return -p.entropy() + 0.5 * math.log(2 * math.pi) + q.scale.log() + 0.5 * spread / q.scale.pow(2)


def _laplace_transform(p, s):
    """E exp(-s x)."""
    if isinstance(p, Normal):
        return torch.exp(0.5 * (p.scale * s).pow(2) - s * p.loc)
    if isinstance(p, Exponential):
        return p.rate / (p.rate + s)
    if isinstance(p, Gamma):
        return (1 + s / p.rate).pow(-p.concentration)
    return (torch.exp(-s * p.low) - torch.exp(-s * p.high)) / (s * (p.high - p.low))  # Uniform


@register_kl(Normal, Gumbel)
@register_kl(Exponential, Gumbel)
@register_kl(Gamma, Gumbel)
@register_kl(Uniform, Gumbel)
def _to_gumbel(p, q):
    tail = torch.exp(q.loc / q.scale) * _laplace_transform(p, q.scale.reciprocal())
    return -p.entropy() + q.scale.log() + (p.mean - q.loc) / q.scale + tail


@register_kl(Normal, Laplace)
def _normal_laplace(p, q):
    z = (p.loc - q.loc) / p.scale
    mean_distance = p.scale * (math.sqrt(2 / math.pi) * torch.exp(-0.5 * z * z) + z * torch.erf(z * math.sqrt(0.5)))
    return -p.entropy() + (2 * q.scale).log() + mean_distance / q.scale


@register_kl(Uniform, Beta)
def _uniform_beta(p, q):
    a, b = q.concentration1, q.concentration0
    mirrored = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    cross = a.lgamma() + b.lgamma() - (a + b).lgamma() - (a - 1) * _log_moment(p) - (b - 1) * _log_moment(mirrored)
    return _outside(p, q, -p.entropy() + cross, 0.0, 1.0)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p, q):
    value = -p.entropy() - q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * _log_moment(p)
    return torch.where(p.low < q.scale, math.inf, value)


@register_kl(Beta, Uniform)
@register_kl(ContinuousBernoulli, Uniform)
def _unit_uniform(p, q):
    value = -p.entropy() + (q.high - q.low).log()
    return torch.where((q.low > 0) | (q.high < 1), math.inf, value)


@register_kl(Beta, ContinuousBernoulli)
def _beta_continuous_bernoulli(p, q):
    return -p.entropy() - p.mean * q.logits - (-q.probs).log1p() - q._log_norm()


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p, q):
    return _outside(p, q, _beta_continuous_bernoulli(p, q), 0.0, 1.0)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


def _never(p, q):
    """Mass of p where q has none."""
    return torch.full(p.batch_shape, math.inf, dtype=p.mean.dtype)


# p -> all q whose support does not cover p's
_UNCOVERED = {
    Normal: (Exponential, Gamma, Beta, Uniform, Pareto, ContinuousBernoulli), Laplace: (Exponential, Gamma, Beta, Uniform, Pareto, ContinuousBernoulli),
    Gumbel: (Exponential, Gamma, Beta, Uniform, Pareto, ContinuousBernoulli), Exponential: (Beta, Uniform, Pareto, ContinuousBernoulli),
    Gamma: (Beta, Uniform, Pareto, ContinuousBernoulli), Poisson: (Bernoulli, Binomial), Pareto: (Beta, Uniform, ContinuousBernoulli),
    Beta: (Pareto,), ContinuousBernoulli: (Pareto,),
}  # fmt: skip
for _p, _all in _UNCOVERED.items():
    for _q in _all:
        register_kl(_p, _q)(_never)

__all__ = ["kl_divergence", "register_kl"]
