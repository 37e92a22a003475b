"""The gamma function's logarithm and what comes of it: digamma, polygamma, zeta.

float32 is computed in float64 and rounded once.
"""

from __future__ import annotations

import math

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import INF, NAN, Format, fma, poly, where, with_sign
from flambeau.codegen.maths.registry import through64
from flambeau.codegen.maths.trigonometry import sine_of_pi, tangent
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

# Stirling's series: B_2k / (2k (2k - 1))
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
SHIFT = 8


def stirling(x: Expr) -> Expr:
    """log Gamma(x) for x >= 8."""
    huge = x > 1e17
    w = 1 / x
    tail = where(huge, 0.0, w * poly(w * w, STIRLING))
    return fma(x - 0.5, E.log(x) - 1, tail + (0.5 * math.log(2 * math.pi) - 0.5))


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


@through64("lgamma")
def lgamma(f: Format, x: Expr) -> Expr:
    """log |Gamma(x)|; by reflection for negative x: log(pi / (|x| sin(pi |x|))) - log Gamma(|x|)."""
    z = abs(x)
    y = lgamma_positive(where(z == 0, 1.0, z))
    tiny = z < 2.0**-60  # there log |Gamma(-z)| = log Gamma(z) = -log z
    mirrored = -E.log(where(tiny, 1.0, abs(sine_of_pi(z)) * z * (1 / math.pi))) - y
    y = where(x < 0, where(E.floor(x) == x, INF, where(tiny, y, mirrored)), y)
    return where(E.isnan(x), x, where((x == 0) | (z == INF), INF, y))


# B_2k / (2k)
DIGAMMA = (
    1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12, -3617 / 8160, 43867 / 14364, -174611 / 6600,
)  # fmt: skip


def digamma_positive(x: Expr) -> Expr:
    """psi(x), x > 0: below 8 moved into [1, 2.5], a polynomial about the root 1.46; the asymptotic series above."""
    low = x < SHIFT
    z, total = where(low, x, 1.0), E.const(0.0, x.dtype)
    small = z < 1
    total = where(small, -1 / z, total)
    z = where(small, z + 1, z)
    for _ in range(6):
        big = z >= 2.5
        z = where(big, z - 1, z)
        total = where(big, total + 1 / z, total)
    t = (z - T.DIGAMMA_ROOT_64[0]) - T.DIGAMMA_ROOT_64[1]
    near = fma(t, poly(t, T.DIGAMMA64), total)
    v = 1 / where(low, float(SHIFT), x)
    s = v * v
    far = E.log(x) - fma(s, poly(s, DIGAMMA), 0.5 * v)
    return where(low, near, far)


@through64("digamma")
def digamma(f: Format, x: Expr) -> Expr:
    """The derivative of lgamma; by reflection for negative x: psi(1 - x) - pi / tan(pi x)."""
    negative = x <= 0
    y = digamma_positive(where(negative, 1 - x, x))
    mirrored = y - math.pi / tangent((x - E.rint(x)) * math.pi, None)
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
    mirrored = (math.pi * math.pi) / (sine_of_pi(x) * sine_of_pi(x)) - zeta_of(f, n + 1, 1 - x)  # n = 1
    return where((n == 1) & (x < 0), mirrored, where(odd, size, -size))


zeta_of = zeta
