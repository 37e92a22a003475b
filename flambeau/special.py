"""torch.special: functions of one or two numbers, under their mathematical names."""

from flambeau import ops as _ops
from flambeau.ops import bessel as _bessel
from flambeau.ops import polynomials as _polynomials
from flambeau.ops.bessel import *  # noqa: F403
from flambeau.ops.polynomials import *  # noqa: F403

_NAMES = {
    "expit": "sigmoid", "exp2": "exp2", "expm1": "expm1", "log1p": "log1p", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv",
    "gammaln": "lgamma", "digamma": "digamma", "psi": "digamma", "polygamma": "polygamma", "logit": "logit", "sinc": "sinc",
    "modified_bessel_i0": "special_i0", "modified_bessel_i1": "special_i1", "i0": "special_i0", "i0e": "special_i0e", "i1": "special_i1", "i1e": "special_i1e", "ndtri": "special_ndtri",
    "erfcx": "special_erfcx", "log_ndtr": "special_log_ndtr", "xlogy": "xlogy", "softmax": "softmax",
    "gammainc": "igamma", "gammaincc": "igammac", "zeta": "special_zeta", "log_softmax": "log_softmax", "logsumexp": "logsumexp", "round": "round",
}  # fmt: skip
for _name, _op in _NAMES.items():
    globals()[_name] = getattr(_ops, _op)


def ndtr(input):
    """The normal distribution function: erfc(-x / sqrt 2) / 2.

    Source:   torch.special.ndtr
    """
    return 0.5 * _ops.erfc(input * -(0.5**0.5))


def entr(input):
    """-x log x; 0 at 0, -inf below.

    Source:   torch.special.entr
    """
    y = -_ops.xlogy(input, input.clamp(min=0))
    return y.masked_fill(input < 0, float("-inf"))


def xlog1py(input, other):
    """x log(1 + y), 0 where x is 0.

    Source:   torch.special.xlog1py
    """
    x = input if isinstance(input, _ops.record.hooks.Tensor) else other * 0 + input
    y = x * _ops.log1p(other)
    return y.masked_fill((x == 0) & ~other.isnan(), 0) if isinstance(other, _ops.record.hooks.Tensor) else y


multigammaln = _ops.mvlgamma

__all__ = [*_NAMES, *_bessel.__all__, *_polynomials.__all__, "entr", "multigammaln", "ndtr", "xlog1py"]
