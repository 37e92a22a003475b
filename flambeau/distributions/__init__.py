"""torch.distributions: distributions with log-probabilities, samples, reparameterised gradients, and divergences.

PyTorch's module of each class (torch.distributions.normal, ...) is importable too; classes live here by family.
"""

import sys as _sys

from flambeau.distributions import (
    composed,
    constraint_registry,
    constraints,
    discrete,
    distribution,
    gamma_family,
    kl,
    location_scale,
    matrices,
    multivariate,
    transforms,
    utils,
)
from flambeau.distributions.composed import (
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Independent,
    InverseGamma,
    Kumaraswamy,
    LogisticNormal,
    LogNormal,
    MixtureSameFamily,
    Pareto,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
    TransformedDistribution,
    Weibull,
)
from flambeau.distributions.constraint_registry import biject_to, transform_to
from flambeau.distributions.discrete import (
    Bernoulli,
    Binomial,
    Categorical,
    ContinuousBernoulli,
    Geometric,
    Multinomial,
    NegativeBinomial,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    Poisson,
)
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.gamma_family import Beta, Chi2, Dirichlet, Exponential, FisherSnedecor, Gamma, StudentT
from flambeau.distributions.kl import kl_divergence, register_kl
from flambeau.distributions.location_scale import Cauchy, GeneralizedPareto, Laplace, Normal, Uniform, VonMises
from flambeau.distributions.matrices import LKJCholesky, Wishart
from flambeau.distributions.multivariate import LowRankMultivariateNormal, MultivariateNormal
from flambeau.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)

# PyTorch has a module for nearly every class; a family's module stands for each of them.
_MODULES = {
    composed: "gumbel half_cauchy half_normal independent inverse_gamma kumaraswamy log_normal logistic_normal "
    "mixture_same_family pareto relaxed_bernoulli relaxed_categorical transformed_distribution weibull",
    discrete: "bernoulli binomial categorical continuous_bernoulli geometric multinomial negative_binomial "
    "one_hot_categorical poisson",
    distribution: "exp_family",
    gamma_family: "beta chi2 dirichlet exponential fishersnedecor gamma studentT",
    location_scale: "cauchy generalized_pareto laplace normal uniform von_mises",
    matrices: "lkj_cholesky wishart",
    multivariate: "lowrank_multivariate_normal multivariate_normal",
}
for _module, _names in _MODULES.items():
    for _name in _names.split():
        _sys.modules[f"{__name__}.{_name}"] = globals()[_name] = _module

__all__ = [
    "AbsTransform", "AffineTransform", "Bernoulli", "Beta", "Binomial", "CatTransform", "Categorical", "Cauchy", "Chi2",
    "ComposeTransform", "ContinuousBernoulli", "CorrCholeskyTransform", "CumulativeDistributionTransform", "Dirichlet",
    "Distribution", "ExpTransform", "Exponential", "ExponentialFamily", "FisherSnedecor", "Gamma", "GeneralizedPareto", "Geometric", "Gumbel",
    "HalfCauchy", "HalfNormal", "Independent", "IndependentTransform", "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace", "LogNormal",
    "LogisticNormal", "LowRankMultivariateNormal", "LowerCholeskyTransform", "MixtureSameFamily", "Multinomial",
    "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical", "OneHotCategoricalStraightThrough", "Pareto",
    "Poisson", "PositiveDefiniteTransform", "PowerTransform", "RelaxedBernoulli", "RelaxedOneHotCategorical",
    "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform", "StackTransform",
    "StickBreakingTransform", "StudentT", "TanhTransform", "Transform", "TransformedDistribution", "Uniform", "VonMises",
    "Weibull", "Wishart", "biject_to", "constraint_registry", "constraints", "identity_transform", "kl", "kl_divergence", "register_kl",
    "transform_to", "transforms", "utils",
]  # fmt: skip
