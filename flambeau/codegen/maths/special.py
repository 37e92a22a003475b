"""erf and its relatives, the gamma function's, and the modified Bessel functions.

float32 is computed in float64, except erf, which training uses. Sources: named at each function.
"""

from __future__ import annotations

import math

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import (
    F32,
    F64,
    INF,
    NAN,
    Format,
    clamp,
    fma,
    nearest,
    poly,
    two_product,
    where,
    with_sign,
)
from flambeau.codegen.maths.registry import expansion, through64
from flambeau.codegen.maths.trigonometry import sine_of
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr


# error function -----------------------------------------------------------------------------------
@expansion("erf")
def erf(f: Format, x: Expr) -> Expr:
    """x + x P(x^2) near 0, else 1 - exp(Q(|x|))."""
    z = abs(x)
    if f is F32:
        small, large, edge, most = T.ERF_SMALL32, T.ERF_LARGE32, 0.925, 3.95
    else:
        small, large, edge, most = T.ERF_SMALL64, T.ERF_LARGE64, 1.0, 5.95
    s = x * x
    near = fma(x, poly(where(z < 1, s, 0.0), small), x)
    far = 1 - E.exp(poly(where(z < most, z, most), large))
    return where(E.isnan(x), x, where(z < edge, near, with_sign(far, x)))


def scaled_erfc(x: Expr) -> Expr:
    """e^(x^2) erfc(x) for x >= 0: a polynomial in (x - 4) / (x + 4), by 1 + 2x (after Shepherd and Laframboise, 1981)."""
    q = where(x == INF, 1.0, (x - 4) / (x + 4))
    return poly(q, T.ERFCX64) / fma(x, 2.0, 1)


def exp_square(x: Expr, sign: float) -> Expr:
    """e^(sign x^2), the square's rounding error made good."""
    z = clamp(abs(x), 0.0, 40.0)
    s, e = two_product(z, z)
    p = E.exp(sign * s)
    return fma(p, sign * e, p)


@through64("erfc")
def erfc(f: Format, x: Expr) -> Expr:
    """e^(-x^2) times the scaled function; 2 - erfc(-x) for negative x."""
    z = clamp(abs(x), 0.0, 28.0)
    s, e = two_product(z, z)
    half = E.exp(-0.5 * s)  # twice, so that it is no denormal where the result is
    y = half * (scaled_erfc(z) * (1 - e)) * half
    near = 1 - erf(f, x)
    return where(E.isnan(x), x, where(abs(x) < 0.25, near, where(x < 0, 2 - y, y)))


@through64("erfcx")
def erfcx(f: Format, x: Expr) -> Expr:
    """e^(x^2) erfc(x)."""
    y = scaled_erfc(abs(x))
    below = where(x < -26.7, INF, 2 * exp_square(x, 1.0) - y)
    return where(E.isnan(x), x, where(x < 0, below, y))


# Giles, Approximating the erfinv function, 2010: the single precision polynomials, a starting value here.
GILES = (
    (1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-06, -3.5233877e-06,
     3.43273939e-07, 2.81022636e-08),
    (2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844, 0.00134934322,
     0.000100950558, -0.000200214257),
)  # fmt: skip


def erfc_inverse(q: Expr) -> Expr:
    """y > 0 with erfc(y) = q, 0 < q <= 1: Giles's start (1 - x = q), and Halley's method twice."""
    w = -E.log(q * (2 - q))
    near = poly(w - 2.5, GILES[0])
    far = poly(E.sqrt(clamp(w, 0.0, 800.0)) - 3, GILES[1])
    y = where(w < 5, near, where(w < 16, far, E.sqrt(clamp(w - 0.5 * E.log(math.pi * clamp(w, 1.0, 800.0)), 1.0, 800.0)))) * where(
        w < 16, 1 - q, 1.0)  # fmt: skip
    for _ in range(3):
        # erfc(y) - q relative to the derivative; with the scaled function nothing underflows
        gap = scaled_erfc(y) - q * exp_square(y, 1.0)
        step = gap * (math.sqrt(math.pi) / 2)
        y = y + step / (1 - y * step)
    return y


@through64("erfinv")
def erfinv(f: Format, x: Expr) -> Expr:
    """The inverse of erf: Giles's start and Halley's method on erf itself, on erfc near 1."""
    z = abs(x)
    w = -E.log((1 - z) * (1 + z))
    y = poly(clamp(w, 0.0, 5.0) - 2.5, GILES[0]) * z
    for _ in range(2):
        step = (erf(f, y) - z) * exp_square(y, 1.0) * (math.sqrt(math.pi) / 2)
        y = y - step / (1 + y * step)
    far = erfc_inverse(clamp(1 - z, 2.0**-54, 0.5))
    y = where(z < 0.5, where(z == 0, z, y), far)
    return where(z < 1, with_sign(y, x), where(z == 1, with_sign(E.const(INF, x.dtype), x), NAN))


def erfinv_64(x: Expr) -> Expr:
    """erfinv of float64 values."""
    return erfinv(F64, x)


@through64("ndtri")
def ndtri(f: Format, p: Expr) -> Expr:
    """The inverse normal distribution function: -+ sqrt 2 erfc^-1(2 min(p, 1 - p))."""
    low = p < 0.5
    q = 2 * where(low, p, 1 - p)
    y = erfc_inverse(clamp(q, 2.0**-1070, 1.0)) * math.sqrt(2)
    y = where(low, -y, y)
    middle = erfinv_64(2 * p - 1) * math.sqrt(2)
    y = where(abs(p - 0.5) < 0.2, middle, y)
    ends = where(p == 0, -INF, where(p == 1, E.const(INF, p.dtype), NAN))
    return where((p > 0) & (p < 1), y, ends)


@through64("log_ndtr")
def log_ndtr(f: Format, x: Expr) -> Expr:
    """log of the normal distribution function."""
    t = x * math.sqrt(0.5)
    near = E.log1p(-0.5 * erfc(f, t))
    far = E.log(0.5 * scaled_erfc(clamp(-t, 0.0, INF))) - t * t
    return where(x < -1, far, near)


# gamma function -----------------------------------------------------------------------------------
# Stirling's series: B_2k / (2k (2k - 1))
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
SHIFT = 8


def stirling(x: Expr) -> Expr:
    """log Gamma(x) for x >= 8."""
    huge = x > 1e17
    w = 1 / x
    tail = where(huge, 0.0, w * poly(w * w, STIRLING))
    return (x - 0.5) * (E.log(x) - 1) + (tail + (0.5 * math.log(2 * math.pi) - 0.5))


def lgamma_positive(x: Expr) -> Expr:
    """log Gamma(x), x > 0: below 8 moved into [0.7, 2.5], where polynomials carry the zeros at 1 and 2; Stirling above."""
    z, product = where(x < SHIFT, x, 1.0), E.const(1.0, x.dtype)
    for _ in range(6):
        big = z >= 2.5
        z = where(big, z - 1, z)
        product = where(big, product * z, product)
    small = z < 0.7
    t = where(small, z + 1, z)
    one = t < 1.5
    a, b = where(one, t - 1, 0.0), where(one, 0.0, t - 2)
    near = where(one, a * poly(a, T.LGAMMA_ONE64), b * poly(b, T.LGAMMA_TWO64))
    moved = E.log(where(small, z, product))
    y = where(x < SHIFT, where(small, near - moved, near + moved), stirling(where(x < SHIFT, float(SHIFT), x)))
    return where(x == INF, INF, y)


def sine_of_pi(f: Format, x: Expr) -> Expr:
    """sin(pi x) with whole half turns taken off exactly."""
    n, bits = nearest(where(abs(x) < 2.0**51, x, 0.0), f)
    r = where(abs(x) < 2.0**51, x - n, 0.0)
    return sine_of(f, r * math.pi, r * 0, bits)


@through64("lgamma")
def lgamma(f: Format, x: Expr) -> Expr:
    """log |Gamma(x)|; by reflection for negative x."""
    z = abs(x)
    y = lgamma_positive(where(z == 0, 1.0, z))
    mirrored = E.log(math.pi / abs(sine_of_pi(f, z) * z)) - y
    y = where(x < 0, where(E.floor(x) == x, INF, mirrored), y)
    return where(E.isnan(x), x, where((x == 0) | (z == INF), INF, y))


# B_2k / (2k)
DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


@through64("digamma")
def digamma(f: Format, x: Expr) -> Expr:
    """The asymptotic series, x moved up to 8; by reflection for negative x."""
    negative = x <= 0
    z = where(negative, 1 - x, x)
    low = z < SHIFT
    shifted = E.const(0.0, x.dtype)
    for i in range(SHIFT):
        shifted = shifted + 1 / (z + float(i))
    w = where(low, z + SHIFT, z)
    s = 1 / (w * w)
    y = E.log(w) - 0.5 / w - s * poly(s, DIGAMMA) - where(low, shifted, 0.0)
    n, _ = nearest(where(abs(x) < 2.0**51, x, 0.0), f)
    r = x - n
    mirrored = y - math.pi / E.tan(r * math.pi)
    y = where(negative, mirrored, y)
    pole = negative & (E.floor(x) == x)
    y = where(pole, where(x == 0, with_sign(E.const(INF, x.dtype), -x), NAN), y)
    return where(x == INF, INF, where(x == -INF, NAN, y))


# B_2k / (2k)!
BERNOULLI = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000,
)  # fmt: skip


@through64("zeta")
def zeta(f: Format, s: Expr, q: Expr) -> Expr:
    """Hurwitz's zeta function, sum (q + k)^-s: nine terms, then the Euler-Maclaurin formula."""
    total = E.const(0.0, s.dtype)
    for k in range(9):
        total = total + E.power(q + float(k), -s)
    w = q + 9.0
    last = E.power(w, -s)
    total = total + last * w / (s - 1) + 0.5 * last
    factor, term = s, last / w
    for i, b in enumerate(BERNOULLI):
        total = total + b * factor * term
        factor = factor * (s + (2 * i + 1)) * (s + (2 * i + 2))
        term = term / (w * w)
    bad = (s < 1) | ((q <= 0) & (E.floor(s) != s))
    total = where((q <= 0) & (E.floor(q) == q), INF, total)
    return where(s == 1, INF, where(bad, NAN, total))


@through64("polygamma")
def polygamma(f: Format, n: Expr, x: Expr) -> Expr:
    """(-1)^(n+1) n! zeta(n + 1, x)."""
    odd = E.floor(n * 0.5) * 2 != n
    size = E.exp(lgamma_positive(n + 1)) * zeta_of(f, n + 1, x)
    mirrored = (math.pi * math.pi) / (sine_of_pi(f, x) * sine_of_pi(f, x)) - zeta_of(f, n + 1, 1 - x)  # n = 1
    return where((n == 1) & (x < 0), mirrored, where(odd, size, -size))


zeta_of = zeta


# modified Bessel functions ------------------------------------------------------------------------
def bessel_series(x: Expr, order: int) -> Expr:
    """The power series, to |x| = 8: sum (x^2/4)^k / (k! (k + order)!)."""
    terms = [1 / (math.factorial(k) * math.factorial(k + order)) for k in range(30)]
    return poly(x * x * 0.25, terms)


def bessel(x: Expr, order: int, scaled: bool) -> Expr:
    """I_order(x), by e^-|x| if scaled."""
    z = abs(x)
    small = z <= 8
    near = bessel_series(where(small, z, 0.0), order)
    near = near * z * 0.5 if order else near
    t = 1 / where(small, 8.0, z)
    far = poly(t, T.I1_LARGE64 if order else T.I0_LARGE64) * E.sqrt(t * (0.5 / math.pi))
    if scaled:
        y = where(small, near * E.exp(-where(small, z, 0.0)), far)
    else:
        half = E.exp(0.5 * z)  # e^x may overflow where the result does not
        y = where(small, near, far * half * half)
    return with_sign(y, x) if order else y


for _name, _order, _scaled in (("i0", 0, False), ("i0e", 0, True), ("i1", 1, False), ("i1e", 1, True)):
    through64(_name)(lambda f, x, order=_order, scaled=_scaled: bessel(x, order, scaled))
