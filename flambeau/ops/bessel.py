"""Bessel's functions of order 0 and 1 and Airy's, computed in float64; loaded with torch.special.

Near 0 they are power series. From 2 to 25, J and Y come from Miller's backward recurrence and Neumann's series in it; beyond,
from Hankel's asymptotic series. K is its integral by the trapezoidal rule, which converges geometrically. Airy's function is a
Taylor series about the nearest integer, K of order 1/3 above 1, and its asymptotic series below -9. Absolute errors stay below
1e-15 of the functions' size around.

Source:   Abramowitz and Stegun, Handbook of mathematical functions, 1964, chapters 9 and 10
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ops.record import POINTWISE, op

EULER = 0.5772156649015329
SERIES, TOP, HANKEL, STEPS = 14, 60, 13, 22  # terms of the series; where the recurrence starts; terms; steps of the integral
INF, NAN = math.inf, math.nan


def const(v: float):
    """A float64 constant."""
    return E.const(v, dt.float64)


def horner(x, c):
    """c[0] + c[1] x + c[2] x^2 + ..."""
    y = const(c[-1])
    for k in reversed(c[:-1]):
        y = E.fma(y, x, k)
    return y


def harmonic(k: int) -> float:
    """1 + 1/2 + ... + 1/k."""
    return sum(1 / i for i in range(1, k + 1))


def power_series(order: int, sign: int):
    """Coefficients in q = x^2 / 4: of J (sign -1) or I (1) over (x/2)^order, and of the sum that Y or K adds to log(x/2) times it."""
    plain, psi = [], []
    for k in range(SERIES):
        a = sign**k / (math.factorial(k) * math.factorial(k + order))
        plain.append(a)
        psi.append(a * (harmonic(k) + harmonic(k + order) - 2 * EULER))
    return plain, psi


# J and Y ------------------------------------------------------------------------------------------
def near_zero(order: int, x):
    """(J, Y) for 0 <= x < 2."""
    plain, psi = power_series(order, -1)
    q, half = x * x * 0.25, (x * 0.5 if order else const(1.0))
    j = half * horner(q, plain)
    y = (2 / math.pi) * E.log(x * 0.5) * j - half * horner(q, psi) * (1 / math.pi)
    return j, y - (2 / math.pi) / x if order else y


def middle(order: int, x):
    """(J, Y) for 2 <= x <= 25: J_60, J_59, ... to J_0 by J_(n-1) = (2n/x) J_n - J_(n+1), scaled so that J_0 + 2 J_2 + 2 J_4 + ... = 1."""
    above, here, twice = const(0.0), const(1e-100), 2 / x
    total, tail, first = const(0.0), const(0.0), here
    for n in range(TOP, 0, -1):
        k, odd = divmod(n, 2)
        if not odd:
            total = total + here
        if odd == order and k:  # Neumann's series
            tail = tail + here * ((-1) ** k * ((2 * k + 1) / (k * (k + 1)) if order else 2 / k))
        if n == 1:
            first = here
        above, here = here, E.fma(here, twice * float(n), -above)
    scale = 1 / (here + 2 * total)
    zeroth, j = here * scale, (first if order else here) * scale
    y = (E.log(x * 0.5) + (EULER - order)) * j - tail * scale
    y = y - zeroth / x if order else y
    return j, (2 / math.pi) * y


def far(order: int, x):
    """(J, Y) for x > 25: sqrt(2 / (pi x)) (P cos w - Q sin w) and (P sin w + Q cos w), w = x - (2 order + 1) pi / 4."""
    a = [1.0]
    for k in range(1, 2 * HANKEL):
        a.append(a[-1] * (4 * order * order - (2 * k - 1) ** 2) / (8 * k))
    inverse = 1 / x
    s = -inverse * inverse
    p, q = horner(s, a[0::2]), horner(s, a[1::2]) * inverse
    sine, cosine = E.sin(x), E.cos(x)
    c, s = (sine - cosine, -(sine + cosine)) if order else (sine + cosine, sine - cosine)  # sqrt 2 cos w, sqrt 2 sin w
    size = E.sqrt(inverse * (1 / math.pi))
    return size * (p * c - q * s), size * (p * s + q * c)


def bessel(order: int, x, second: bool):
    """J (or Y) of order 0 or 1 at a float64 x."""
    z = abs(x)
    low, high = z < 2, z > 25
    end = z == INF
    a = near_zero(order, E.where(low, z, 1.0))[second]
    b = middle(order, E.where(low | high, 2.0, z))[second]
    c = far(order, E.where(high & ~end, z, 30.0))[second]
    y = E.where(low, a, E.where(high, c, b))
    if second:
        y = E.where(x < 0, NAN, E.where(x == 0, -INF, E.where(end, NAN, y)))
    else:
        y = E.where(end, 0.0, E.where(x < 0, -y, y) if order else y)
    return E.where(E.isnan(x), x, y)


# K ------------------------------------------------------------------------------------------------
def integral(order: float, x):
    """e^x K(x), the integral of exp(-x (cosh t - 1)) cosh(order t) over t > 0, for x >= 1/2."""
    h = E.where(x < 32, math.pi**2 / (x + 38), 0.7 / E.sqrt(x))  # errors of exp(x - pi^2 / h) and exp(-2 pi^2 / (h^2 x))
    s = E.sinh(h * 0.5)
    s = 4 * s * s  # 2 (cosh h - 1)
    turn = 2 * E.cosh(h * order)
    v0, v = const(0.0), 0.5 * s  # cosh t - 1, by the recurrence of cosh
    c0, c = const(1.0), 0.5 * turn
    total = const(0.5)
    for _ in range(STEPS):
        total = total + E.exp(-x * v) * c
        v0, v = v, E.fma(s, v + 1, 2 * v - v0)
        c0, c = c, turn * c - c0
    return h * total


def modified(order: int, x, scaled: bool):
    """K of order 0 or 1, times e^x if scaled."""
    low, end = x < 2, x == INF
    z, w = E.where(low, x, 1.0), E.where(low | end, 2.0, x)
    plain, psi = power_series(order, 1)
    q = z * z * 0.25
    i, rest, log = horner(q, plain), horner(q, psi), E.log(z * 0.5)
    a = 1 / z + 0.5 * z * (log * i - 0.5 * rest) if order else 0.5 * rest - log * i
    a, b = (a * E.exp(z), integral(order, w)) if scaled else (a, integral(order, w) * E.exp(-w))
    y = E.where(low, a, E.where(end, 0.0, b))
    return E.where(E.isnan(x), x, E.where(x < 0, NAN, E.where(x == 0, INF, y)))


# Airy ---------------------------------------------------------------------------------------------
# At -9, -8, ..., 1, then zeros.
AIRY = (
    -0.022133721547341403, -0.0527050503563862, 0.18428083525050565, -0.3291451736298231, 0.35076100902411433,
    -0.07026553294928951, -0.37881429367765806, 0.22740742820168558, 0.5355608832923521, 0.3550280538878172,
    0.13529241631288141, 0.0, 0.0, 0.0, 0.0, 0.0,
)  # fmt: skip
AIRY_SLOPE = (
    -0.9756639809263316, 0.9355609381983065, -0.7710081684101265, 0.3459354872813429, 0.32719281855444315,
    -0.7906285753685813, 0.3145837692165988, 0.618259020741691, -0.01016056711664521, -0.2588194037928068,
    -0.1591474412967932, 0.0, 0.0, 0.0, 0.0, 0.0,
)  # fmt: skip


def taylor(x):
    """Airy's function from -9.5 to 1.5 by y'' = x y, about the nearest integer."""
    n = E.rint(x)
    d, index = x - n, E.cast(n, dt.int64) + 9
    c = [E.lookup(index, AIRY, dt.float64), E.lookup(index, AIRY_SLOPE, dt.float64)]
    c.append(n * c[0] * 0.5)
    for k in range(1, 22):
        c.append(E.fma(n, c[k], c[k - 1]) * (1 / ((k + 1) * (k + 2))))
    y = c[-1]
    for a in reversed(c[:-1]):
        y = E.fma(y, d, a)
    return y


def oscillating(z):
    """Airy's function at -z, z > 9: (sin(t) P - cos(t) Q) / (sqrt(pi) z^(1/4)), t = 2/3 z^(3/2) + pi/4."""
    u = [1.0]
    for k in range(23):
        u.append(u[-1] * (6 * k + 5) * (6 * k + 3) * (6 * k + 1) / (216 * (k + 1) * (2 * k + 1)))
    root = E.sqrt(z)
    t = (2 / 3) * z * root
    inverse = 1 / t
    s = -inverse * inverse
    p, q = horner(s, u[0::2]), horner(s, u[1::2]) * inverse
    sine, cosine = E.sin(t), E.cos(t)
    return ((sine + cosine) * p - (cosine - sine) * q) * E.sqrt(1 / root) * (1 / math.sqrt(2 * math.pi))


def airy(x):
    """Airy's function Ai."""
    low, high, end = x < -9, x > 1, abs(x) == INF
    w = E.where(high & ~end & (x < 110), x, 1.0)
    t = (2 / 3) * w * E.sqrt(w)
    decaying = E.sqrt(w * (1 / 3)) * (1 / math.pi) * integral(1 / 3, t) * E.exp(-t)
    y = E.where(low, oscillating(E.where(low & ~end, -x, 10.0)), taylor(E.where(low | high | E.isnan(x), 0.0, x)))
    y = E.where(high, E.where(x < 110, decaying, 0.0), y)
    return E.where(E.isnan(x), x, E.where(end, NAN, y))


def spherical(x):
    """sin(x) / x."""
    zero = x == 0
    return E.where(abs(x) == INF, 0.0, E.where(zero, 1.0, E.sin(x) / E.where(zero, 1.0, x)))


# ops ----------------------------------------------------------------------------------------------
def define(name: str, what: str, formula, rule=None):
    """One op: a formula of a float64 number, and its derivative."""

    def body(input):
        return E.cast(formula(E.cast(input, dt.float64)), input.dtype)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{what}\n\n    Source:   torch.special.{name}\n    "
    made = op(POINTWISE, promote="float", dtypes="f", function=False, method=False, cost=64)(body)
    if rule is not None:
        made.derivative(input=rule)
    return made


bessel_j0 = define("bessel_j0", "The Bessel function of the first kind, J0.", lambda x: bessel(0, x, False), lambda g, input: -g * bessel_j1(input))
bessel_j1 = define("bessel_j1", "The Bessel function of the first kind, J1.", lambda x: bessel(1, x, False),
                   lambda g, input, result: g * (bessel_j0(input) - over(result, input, 0.5)))  # fmt: skip
bessel_y0 = define("bessel_y0", "The Bessel function of the second kind, Y0.", lambda x: bessel(0, x, True), lambda g, input: -g * bessel_y1(input))
bessel_y1 = define("bessel_y1", "The Bessel function of the second kind, Y1.", lambda x: bessel(1, x, True),
                   lambda g, input, result: g * (bessel_y0(input) - result / input))  # fmt: skip
modified_bessel_k0 = define("modified_bessel_k0", "The modified Bessel function K0.", lambda x: modified(0, x, False),
                            lambda g, input: -g * modified_bessel_k1(input))  # fmt: skip
modified_bessel_k1 = define("modified_bessel_k1", "The modified Bessel function K1.", lambda x: modified(1, x, False),
                            lambda g, input, result: -g * (modified_bessel_k0(input) + result / input))  # fmt: skip
scaled_modified_bessel_k0 = define("scaled_modified_bessel_k0", "exp(x) K0(x).", lambda x: modified(0, x, True),
                                   lambda g, input, result: g * (result - scaled_modified_bessel_k1(input)))  # fmt: skip
scaled_modified_bessel_k1 = define("scaled_modified_bessel_k1", "exp(x) K1(x).", lambda x: modified(1, x, True),
                                   lambda g, input, result: g * (result - scaled_modified_bessel_k0(input) - result / input))  # fmt: skip
airy_ai = define("airy_ai", "Airy's function Ai.", airy)
spherical_bessel_j0 = define("spherical_bessel_j0", "The spherical Bessel function j0(x) = sin(x) / x.", spherical)


def over(y, x, limit: float):
    """y / x with its limit at 0."""
    from flambeau.ops.arithmetic import where_of

    return where_of(x == 0, limit + x * 0, y / x)


__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1",
    "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "spherical_bessel_j0",
]  # fmt: skip
