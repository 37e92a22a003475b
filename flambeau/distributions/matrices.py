"""Distributions of matrices: Wishart, and LKJCholesky of correlations' factors."""

from __future__ import annotations

import math
import warnings

import flambeau as torch
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution, ExponentialFamily
from flambeau.distributions.gamma_family import Beta, Chi2
from flambeau.distributions.multivariate import factor_of_precision, half_log_det
from flambeau.distributions.utils import broadcast_all, lazy_property


def digammas(x, p: int):
    """The derivative of the multivariate log-gamma function: the sum of digamma(x - i / 2) over i < p."""
    return torch.digamma(x.unsqueeze(-1) - 0.5 * torch.arange(p, dtype=x.dtype)).sum(-1)


class Wishart(ExponentialFamily):
    """The sum of df squares v v' of normal vectors v, their covariance (or its inverse, or its Cholesky factor) given.

    Density:  |X|^((df - p - 1) / 2) exp(-tr(V^-1 X) / 2) / (2^(df p / 2) |V|^(df / 2) Gamma_p(df / 2))
    Source:   torch.distributions.Wishart
    """

    support = constraints.positive_definite
    has_rsample = True
    trailing = {"df": 0, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2, "_unbroadcasted_scale_tril": 2}

    @property
    def arg_constraints(self) -> dict:
        return {
            "covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(self._event_shape[-1] - 1),
        }  # fmt: skip

    def __init__(self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
        given = {k: v for k, v in given.items() if v is not None}
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        df = torch.as_tensor(df, dtype=matrix.dtype)
        batch = torch.broadcast_shapes(matrix.shape[:-2], df.shape)
        p = matrix.shape[-1]
        if bool(df.le(p - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {p - 1}.")
        self.__dict__[name] = matrix.expand(batch + matrix.shape[-2:])
        self.df = df.expand(batch)
        if bool(self.df.lt(p).any()):
            warnings.warn("Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.", stacklevel=2)
        super().__init__(batch, matrix.shape[-2:], validate_args=validate_args)
        make = {"scale_tril": lambda m: m, "covariance_matrix": torch.linalg.cholesky, "precision_matrix": factor_of_precision}
        self._unbroadcasted_scale_tril = make[name](matrix)

    @lazy_property
    def scale_tril(self):
        return self._unbroadcasted_scale_tril.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self):
        factor = self._unbroadcasted_scale_tril
        return (factor @ factor.mT).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self):
        eye = torch.eye(self._event_shape[-1], dtype=self._unbroadcasted_scale_tril.dtype)
        return torch.cholesky_solve(eye, self._unbroadcasted_scale_tril).expand(self._batch_shape + self._event_shape)

    @property
    def mean(self):
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self):
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        return factor.masked_fill(factor <= 0, math.nan)[..., None, None] * self.covariance_matrix

    @property
    def variance(self):
        v = self.covariance_matrix
        d = v.diagonal(dim1=-2, dim2=-1)
        return self.df[..., None, None] * (v * v + d.unsqueeze(-1) * d.unsqueeze(-2))

    def rsample(self, sample_shape=(), max_try_correction=None):
        """By Bartlett's decomposition: L A A' L', A lower triangular of normal numbers and chi distributed diagonal.

        Singular matrices are drawn again. PyTorch 2.13 draws everything twice, and so does this, to give the same numbers.
        """
        self._bartlett(torch.Size(sample_shape))
        found = self._bartlett(torch.Size(sample_shape))
        for _ in range(3 if max_try_correction is None else max_try_correction):
            if bool(self.support.check(found).all()):
                break
            warnings.warn("Singular sample detected.", stacklevel=2)
            regular = self.support.check(found)[..., None, None]
            found = torch.where(regular, found, self._bartlett(torch.Size(sample_shape)))
        return found

    def _bartlett(self, sample_shape):
        p = self._event_shape[-1]
        chi = Chi2(self.df.unsqueeze(-1) - torch.arange(p, dtype=self.df.dtype))
        noise = chi.rsample(sample_shape).sqrt().diag_embed()
        i, j = torch.tril_indices(p, p, offset=-1)
        below = torch.randn(*sample_shape, *self._batch_shape, p * (p - 1) // 2, dtype=noise.dtype)
        noise[..., i, j] = below
        factor = self._unbroadcasted_scale_tril @ noise
        return factor @ factor.mT

    def log_prob(self, value):
        value = self._checked(value)
        nu, p, factor = self.df, self._event_shape[-1], self._unbroadcasted_scale_tril
        trace = torch.cholesky_solve(value, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        constant = nu * (p * math.log(2) / 2 + half_log_det(factor)) + torch.mvlgamma(nu / 2, p)
        return (nu - p - 1) / 2 * torch.linalg.slogdet(value)[1] - trace / 2 - constant

    def entropy(self):
        nu, p = self.df, self._event_shape[-1]
        scale = (p + 1) * (p * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril))
        return scale + torch.mvlgamma(nu / 2, p) - (nu - p - 1) / 2 * digammas(nu / 2, p) + nu * p / 2


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices M whose density is proportional to det(M)^(concentration - 1).

    Source:   Lewandowski, Kurowicka and Joe, Generating random correlation matrices based on vines and extended onion method, 2009;
              torch.distributions.LKJCholesky
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    trailing = {"concentration": 0}

    def __init__(self, dim, concentration=1.0, validate_args=None):
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.size(), torch.Size((dim, dim)), validate_args=validate_args)

    @lazy_property
    def _beta(self):
        """Of row i, the squared length of what is below the diagonal."""
        row = torch.arange(self.dim - 1, dtype=self.concentration.dtype)
        row = torch.cat([row.new_zeros(1), row])
        marginal = self.concentration + 0.5 * (self.dim - 2)
        return Beta(row + 0.5, marginal.unsqueeze(-1) - 0.5 * row)

    def expand(self, batch_shape, _instance=None):
        return LKJCholesky(self.dim, self.concentration.expand(batch_shape), validate_args=False)

    def sample(self, sample_shape=()):
        """Row by row (the onion method): a random length, and a direction from normal numbers."""
        with torch.no_grad():
            beta = self._beta.expand(self._batch_shape + (self.dim,)) if self._batch_shape else self._beta
            length = beta.sample(sample_shape).unsqueeze(-1)
            direction = torch.randn(self._extended_shape(sample_shape), dtype=length.dtype).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            direction[..., 0, :] = 0.0
            w = torch.sqrt(length) * direction
            rest = (1 - (w**2).sum(-1)).clamp(min=torch.finfo(w.dtype).tiny).sqrt()
            return w + torch.diag_embed(rest)

    def log_prob(self, value):
        diagonal = self._checked(value).diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = torch.arange(2, self.dim + 1, dtype=diagonal.dtype)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - order
        n = self.dim - 1
        alpha = self.concentration + 0.5 * n
        constant = 0.5 * n * math.log(math.pi) + torch.mvlgamma(alpha - 0.5, n) - torch.lgamma(alpha) * n
        return (order * diagonal.log()).sum(-1) - constant


__all__ = ["LKJCholesky", "Wishart"]
