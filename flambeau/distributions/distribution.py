"""Distribution: what all distributions are, and ExponentialFamily."""

from __future__ import annotations

import flambeau as torch
from flambeau.distributions import constraints
from flambeau.distributions.utils import lazy_property


class Distribution:
    """A distribution over events of `event_shape`, one per element of `batch_shape`.

    A class names its parameters in `trailing`: parameter -> how many of its last dims belong to an event.
    """

    has_rsample = False
    has_enumerate_support = False
    trailing: dict[str, int] = {}
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether parameters and values are checked unless said otherwise."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape=(), event_shape=(), validate_args=None):
        self._batch_shape, self._event_shape = torch.Size(batch_shape), torch.Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        try:
            given = self.arg_constraints
        except NotImplementedError:
            return
        for name, constraint in given.items():
            computed = isinstance(getattr(type(self), name, None), lazy_property) and name not in self.__dict__
            if constraints.is_dependent(constraint) or computed:
                continue
            value = getattr(self, name)
            if not constraint.check(value).all():
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    def expand(self, batch_shape, _instance=None):
        """The same distribution over a larger batch; parameters are expanded, not copied."""
        new = self._get_checked_instance(Distribution, _instance)
        batch_shape = torch.Size(batch_shape)
        for name, dims in self.trailing.items():
            if name in self.__dict__:
                value = self.__dict__[name]
                new.__dict__[name] = value.expand(batch_shape + value.shape[value.dim() - dims :])
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def batch_shape(self):
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self):
        """The shape of one sample."""
        return self._event_shape

    @property
    def arg_constraints(self) -> dict:
        """Constraints of the parameters by name."""
        raise NotImplementedError

    @property
    def support(self):
        """The constraint that samples satisfy."""
        raise NotImplementedError

    @property
    def mean(self):
        """The expected value."""
        raise NotImplementedError

    @property
    def mode(self):
        """The most likely value."""
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self):
        """The expected squared distance from the mean."""
        raise NotImplementedError

    @property
    def stddev(self):
        """The root of the variance."""
        return self.variance.sqrt()

    def sample(self, sample_shape=()):
        """Draws of shape sample_shape + batch_shape + event_shape, without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=()):
        """Draws that parameters get gradients through."""
        raise NotImplementedError

    def sample_n(self, n: int):
        """n draws (deprecated: sample((n,)))."""
        return self.sample(torch.Size((n,)))

    def log_prob(self, value):
        """The log of the density or probability at value."""
        raise NotImplementedError

    def cdf(self, value):
        """The probability of values up to `value`."""
        raise NotImplementedError

    def icdf(self, value):
        """The value whose cdf is `value`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True):
        """All values of a finite support, along a new first dim."""
        raise NotImplementedError

    def entropy(self):
        """The expected -log_prob."""
        raise NotImplementedError

    def perplexity(self):
        """exp(entropy)."""
        return torch.exp(self.entropy())

    def _extended_shape(self, sample_shape=()):
        return torch.Size(sample_shape) + self._batch_shape + self._event_shape

    def _validate_sample(self, value) -> None:
        if not isinstance(value, torch.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        if value.dim() < len(self._event_shape):
            raise ValueError(f"value must have at least {len(self._event_shape)} dims, got {value.dim()}")
        actual, expected = value.size(), self._batch_shape + self._event_shape
        for i, j in zip(reversed(actual), reversed(expected), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {actual} vs {expected}.")
        try:
            support = self.support
        except NotImplementedError:
            return
        if not support.check(value).all():
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the support "
                f"({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def _checked(self, value):
        """value, validated if this distribution validates."""
        if self._validate_args:
            self._validate_sample(value)
        return value

    def _get_checked_instance(self, cls, _instance=None):
        return type(self).__new__(type(self)) if _instance is None else _instance

    def __repr__(self):
        names = [k for k in self.arg_constraints if k in self.__dict__]
        texts = [f"{p}: {self.__dict__[p] if self.__dict__[p].numel() == 1 else self.__dict__[p].size()}" for p in names]
        return f"{self.__class__.__name__}({', '.join(texts)})"


class ExponentialFamily(Distribution):
    """exp(t(x) . theta - F(theta) + k(x)): entropy and divergences follow from the log-normaliser F."""

    _mean_carrier_measure: float = 0.0

    @property
    def _natural_params(self):
        raise NotImplementedError

    def _log_normalizer(self, *natural_params):
        raise NotImplementedError

    def entropy(self):
        """F(theta) - theta . F'(theta) - E k(x)."""
        theta = [p.detach().requires_grad_() for p in self._natural_params]
        norm = self._log_normalizer(*theta)
        grads = torch.autograd.grad(norm.sum(), theta, create_graph=True)
        result = norm - self._mean_carrier_measure
        for p, g in zip(theta, grads, strict=True):
            result = result - (p * g).reshape(self._batch_shape + (-1,)).sum(-1)
        return result


__all__ = ["Distribution", "ExponentialFamily"]
