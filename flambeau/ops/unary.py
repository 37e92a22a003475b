"""Elementary and special functions of one argument: exp, log, trigonometry, erf, gamma, ...

Numerics: at most 1.5 ulp (float32) and 2 ulp (float64) unless docs/numerics.md says otherwise for a function.
"""

from __future__ import annotations

import math

from flambeau.ir import expr as E
from flambeau.ops.arithmetic import where_of
from flambeau.ops.record import COMPOSITE, POINTWISE, op


def conj(x):
    """The conjugate of complex values; real ones as they are (gradients of holomorphic functions need it)."""
    if isinstance(x, E.Complex):
        return x.conj()
    if isinstance(x, E.Expr) or not x.dtype.is_complex:
        return x
    return x.conj()


# name: (aliases, formula, derivative rule)
FUNCTIONS = {
    "exp": ((), "e ** input", lambda g, result: g * conj(result)),
    "exp2": (("special_exp2",), "2 ** input", lambda g, result: g * conj(result) * math.log(2)),
    "expm1": (("special_expm1",), "exp(input) - 1, exact near 0", lambda g, result: g * (conj(result) + 1)),
    "log": ((), "the natural logarithm", lambda g, input: g / conj(input)),
    "log2": ((), "the logarithm to base 2", lambda g, input: g / (conj(input) * math.log(2))),
    "log10": ((), "the logarithm to base 10", lambda g, input: g / (conj(input) * math.log(10))),
    "log1p": (("special_log1p",), "log(1 + input), exact near 0", lambda g, input: g / (conj(input) + 1)),
    "sqrt": ((), "the square root", lambda g, result: g / (2 * conj(result))),
    "rsqrt": ((), "1 / sqrt(input)", lambda g, result: -0.5 * g * conj(result * result * result)),
    "sin": ((), "the sine", lambda g, input: g * conj(cos(input))),
    "cos": ((), "the cosine", lambda g, input: -(g * conj(sin(input)))),
    "tan": ((), "the tangent", lambda g, result: g * conj(1 + result * result)),
    "asin": (("arcsin",), "the inverse sine", lambda g, input: g * conj(rsqrt(1 - input * input))),
    "acos": (("arccos",), "the inverse cosine", lambda g, input: -(g * conj(rsqrt(1 - input * input)))),
    "atan": (("arctan",), "the inverse tangent", lambda g, input: g / conj(input * input + 1)),
    "sinh": ((), "the hyperbolic sine", lambda g, input: g * conj(cosh(input))),
    "cosh": ((), "the hyperbolic cosine", lambda g, input: g * conj(sinh(input))),
    "tanh": ((), "the hyperbolic tangent", lambda g, result: g * conj(1 - result * result)),
    "asinh": (("arcsinh",), "the inverse of sinh", lambda g, input: g * conj(rsqrt(input * input + 1))),
    "acosh": (("arccosh",), "the inverse of cosh",
              lambda g, input: g * conj(rsqrt(input * input - 1))),
    "atanh": (("arctanh",), "the inverse of tanh", lambda g, input: g / conj(1 - input * input)),
    "sigmoid": (("special_expit",), "1 / (1 + exp(-input))",
                lambda g, result: g * conj((1 - result) * result)),
    "erf": (("special_erf",), "2/sqrt(pi) * the integral of exp(-t^2) from 0 to input",
            lambda g, input: g * (2 / math.sqrt(math.pi)) * exp(-(input * input))),
    "erfc": (("special_erfc",), "1 - erf(input), without cancellation",
             lambda g, input: g * (-2 / math.sqrt(math.pi)) * exp(-(input * input))),
    "erfinv": (("special_erfinv",), "the inverse of erf",
               lambda g, result: g * (math.sqrt(math.pi) / 2) * exp(result * result)),
    "lgamma": (("special_gammaln",), "log |Gamma(input)|", lambda g, input: g * digamma(input)),
    "digamma": (("special_digamma", "special_psi"), "d/dx log Gamma(x)",
                lambda g, input: g * trigamma(input)),
    "special_i0": (("i0",), "the modified Bessel function I0", lambda g, input: g * special_i1(input)),
    "special_i0e": ((), "exp(-|x|) I0(x)", lambda g, input, result: g * (special_i1e(input) - sign_of(input) * result)),
    "special_i1": ((), "the modified Bessel function I1",
                   lambda g, input, result: g * (special_i0(input) - ratio(result, input))),
    "special_i1e": ((), "exp(-|x|) I1(x)",
                    lambda g, input, result: g * (
                        special_i0e(input) - result * sign_of(input) - ratio(result, input))),
    "special_ndtri": ((), "the inverse of the normal distribution function",
                      lambda g, result: g * math.sqrt(2 * math.pi) * exp(result * result * 0.5)),
    "special_erfcx": ((), "exp(x^2) erfc(x)",
                      lambda g, input, result: g * (2 * input * result - 2 / math.sqrt(math.pi))),
    "special_log_ndtr": ((), "log of the normal distribution function",
                         lambda g, input, result: g * exp(-0.5 * input * input - result) * (1 / math.sqrt(2 * math.pi))),
    "sinc": (("special_sinc",), "sin(pi x) / (pi x), 1 at 0",
             lambda g, input, result: where_of(
                 input == 0, g * 0, g * (cos(input * math.pi) - result) / input)),
}  # fmt: skip


def sign_of(x):
    """sign on tensors or expressions."""
    from flambeau.ops.arithmetic import sign

    return sign(x)


def ratio(y, x):
    """I1(x) / x with its limit 1/2 at 0."""
    return where_of(x == 0, 0.5 + x * 0, y / x)


def trigamma(x):
    """polygamma(1, x) on tensors or expressions."""
    if isinstance(x, E.Expr):
        return E.polygamma(E.const(1, x.dtype), x)
    return polygamma(1, x)


# about twenty instructions each; the others go through float64 and take several times as many
LIGHT = {
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "atan", "tanh", "sigmoid", "erf",
}  # fmt: skip


def _define(name: str, aliases: tuple, what: str, rule):
    primitive = getattr(E, name.removeprefix("special_"))

    def body(input):
        return primitive(input)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{what[0].upper()}{what[1:]}.\n\n    Source:   torch.{name.replace('special_', 'special.')}\n    "
    cost = 4 if name in LIGHT else 16
    made = op(POINTWISE, promote="float", aliases=aliases, cost=cost, method=not name.startswith("special_"))(body)
    made.derivative(input=rule)
    return made


for _name, (_aliases, _what, _rule) in FUNCTIONS.items():
    globals()[_name] = _define(_name, _aliases, _what, _rule)

# For readers and type checkers: what the loop above defines.
exp, exp2, expm1, log, log2, log10, log1p, sqrt, rsqrt = (
    globals()[n] for n in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt")
)
sin, cos, tan, sinh, cosh, tanh, sigmoid, digamma, lgamma = (
    globals()[n] for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "sigmoid", "digamma", "lgamma")
)
special_i0, special_i0e, special_i1, special_i1e = (
    globals()[n] for n in ("special_i0", "special_i0e", "special_i1", "special_i1e")
)


@op(POINTWISE, promote="float", function=False, method=False, node="PolygammaBackward0")
def polygamma_of(input, *, n):
    """polygamma of order n as a kernel; see `polygamma`."""
    return E.polygamma(E.cast(n, input.dtype), input)


polygamma_of.derivative(input=lambda g, input, n: g * polygamma_of(input, n=n + 1), eager=True)


def polygamma(n, input):
    """The n-th derivative of digamma.

    Source:   torch.polygamma
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return digamma(input) if n == 0 else polygamma_of(input, n=n)


@op(COMPOSITE, inplace=True)
def mvlgamma(input, p):
    """log of the multivariate gamma function: p (p - 1) / 4 log pi + sum_(i < p) lgamma(input - i / 2).

    Source:   torch.mvlgamma
    """
    if p < 1:
        raise RuntimeError(f"p has to be greater than or equal to 1, got {p}")
    from flambeau.ops.create import arange

    steps = arange(p, dtype=input.dtype if input.dtype.is_floating_point else None) * 0.5
    return lgamma(input.unsqueeze(-1) - steps).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


@op(POINTWISE, promote="float", literal={"eps": set()})
def logit(input, eps=None):
    """log(input / (1 - input)); eps clamps input to [eps, 1 - eps].

    Source:   torch.logit
    """
    x = input if eps is None else E.minimum(E.maximum(input, eps), 1 - eps)
    return E.log(x / (1 - x))


def logit_grad(g, input, eps):
    """g / (x (1 - x)) inside the clamp, 0 outside."""
    d = g / (input * (1 - input))
    if eps is None:
        return where_of((input < 0) | (input > 1), g * math.nan, d)
    return where_of((input < eps) | (input > 1 - eps), g * 0, d)


logit.derivative(input=logit_grad)


@op(POINTWISE, promote="float")
def deg2rad(input):
    """input * pi / 180.

    Source:   torch.deg2rad
    """
    return input * (math.pi / 180)


deg2rad.derivative(input=lambda g: g * (math.pi / 180))


@op(POINTWISE, promote="float")
def rad2deg(input):
    """input * 180 / pi.

    Source:   torch.rad2deg
    """
    return input * (180 / math.pi)


rad2deg.derivative(input=lambda g: g * (180 / math.pi))


@op(POINTWISE, promote="float")
def angle(input):
    """The argument of a complex number; 0 or pi for real ones.

    Source:   torch.angle
    """
    if isinstance(input, E.Complex):
        return input.angle()
    return E.where(E.isnan(input), input, E.where(input < 0, E.const(math.pi, input.dtype), E.const(0, input.dtype)))


angle.derivative(eager=True, input=lambda g, input: angle_grad(g, input))


def angle_grad(g, input):
    """0 for real input; g * i z / |z|^2 for complex."""
    if not input.dtype.is_complex:
        return g * 0
    r2 = (input * input.conj()).real
    return where_of(input == 0, input * 0, g * (input * 1j) / r2)


__all__ = ["polygamma"]
