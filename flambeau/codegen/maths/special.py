"""The error function's relatives and the modified Bessel functions.

float32 is computed in float64, and rounded once, except erf, which training uses. Products with e^(-x^2) take the square's
rounding error and e's fraction t = e^r - 1 (exponential.py) along, and add the large term last: that saves two ulps.
"""

from __future__ import annotations

import math

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.exponential import exp_parts
from flambeau.codegen.maths.kit import (
    F32,
    F64,
    INF,
    NAN,
    Format,
    Pair,
    clamp,
    fast_two_sum,
    fma,
    nearest,
    piecewise,
    poly,
    pow2,
    quotient,
    scale,
    square_root,
    two_product,
    two_sum,
    where,
    with_sign,
)  # fmt: skip
from flambeau.codegen.maths.registry import expansion, through64
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

ROOT2 = (math.sqrt(2), -9.667293313452913e-17)  # sqrt 2 as a pair
HALF_ROOT_PI = math.sqrt(math.pi) / 2


# error function -----------------------------------------------------------------------------------
@expansion("erf", F64)
def erf64(f: Format, x: Expr) -> Expr:
    """x + x P(x^2) near 0, else 1 - exp(Q(|x|))."""
    z = abs(x)
    s = x * x
    near = fma(x, poly(where(z < 1, s, 0.0), T.ERF_SMALL64), x)
    far = 1 - E.exp(poly(where(z < 5.95, z, 5.95), T.ERF_LARGE64))
    return where(E.isnan(x), x, where(z < 1, near, with_sign(far, x)))


@expansion("erf", F32)
def erf32(f: Format, x: Expr) -> Expr:
    """A polynomial for each of 32 pieces of [0, 3.93]; 1 beyond."""
    z = abs(x)
    return with_sign(piecewise(where(z > 3.93, 3.93, z), T.ERF_PIECES32, 1 / 8), x)


def scaled_erfc(x: Expr) -> Pair:
    """e^(x^2) erfc(x) for x >= 0, as a pair: P((x - 4) / (x + 4)) / (1 + 2x) (after Shepherd and Laframboise, 1981)."""
    end = x == INF
    z = where(end, 1.0, x)
    a, al = two_sum(z, E.const(-4.0, x.dtype))
    b, bl = two_sum(z, E.const(4.0, x.dtype))
    inverse = 1 / b
    q = a * inverse
    rest = (fma(-q, b, a) + fma(-q, bl, al)) * inverse
    p, low = fast_two_sum(E.const(T.ERFCX64[0], x.dtype), q * poly(q, T.ERFCX64[1:]))
    p, low = 0.5 * p, 0.5 * fma(rest, poly(q, T.ERFCX_SLOPE), low)
    d, dl = two_sum(z, E.const(0.5, x.dtype))
    inverse = where(end, 0.0, 1 / d)
    r = p * inverse
    return r, (fma(-r, d, p) + fma(-r, dl, low)) * inverse


def gaussian(z: Expr, factor: float) -> tuple[Expr, Expr]:
    """(n, t) with e^(factor z^2) = 2^n (1 + t); factor is a power of two."""
    s, e = two_product(z, z)
    return exp_parts(F64, factor * s, factor * e)


def upper_tail(n: Expr, t: Expr, scaled: Pair, denormal: Expr) -> Expr:
    """2^n (1 + t) times a pair, rounded once."""
    s, low = scaled
    return scale(s + fma(s, t, low), n, denormal, F64)


@expansion("erfc", F64)
def erfc64(f: Format, x: Expr) -> Expr:
    """e^(-x^2) times the scaled function; 2 - erfc(-x) for negative x."""
    z = clamp(abs(x), 0.0, 27.3)
    y = upper_tail(*gaussian(z, -1.0), scaled_erfc(z), z > 26.5)
    return where(E.isnan(x), x, where(abs(x) < 0.25, 1 - erf64(f, x), where(x < 0, 2 - y, y)))


@expansion("erfc", F32)
def erfc32(f: Format, x: Expr) -> Expr:
    """The same to 30 bits."""
    w = E.cast(x, F64.dtype)
    z = clamp(abs(w), 0.0, 10.2)
    p = z * z * -T.LOG2E_64[0]
    nearby, n = nearest(p, F64)
    r = p - nearby
    y = fma(r, poly(r, T.EXP2_MEDIUM), 1) * pow2(n, F64) * poly((z - 4) / (z + 4), T.ERFCX_MEDIUM) / fma(z, 2.0, 1)
    return E.cast(where(E.isnan(w), w, where(w < 0, 2 - y, y)), f.dtype)


@through64("erfcx")
def erfcx(f: Format, x: Expr) -> Expr:
    """e^(x^2) erfc(x); infinite below -26.6287."""
    z = abs(x)
    s, low = scaled_erfc(z)
    y = s + low
    n, t = gaussian(clamp(z, 0.0, 26.63), 1.0)
    below = where(x < -26.628735713751493, INF, 2 * scale(1 + t, n, n != n, F64) - y)
    return where(E.isnan(x), x, where(x < 0, below, y))


# its inverse --------------------------------------------------------------------------------------
def inverse_start(x: Expr, q: Expr) -> Expr:
    """erfinv(x) = erfc^-1(q), x + q = 1, 0 <= x < 1, to 26 bits: polynomials in w = -log(1 - x^2) and its root."""
    w = -E.log(q * (2 - q))
    s = E.sqrt(where(w > 0, w, 0.0))
    t = 1 / where(s < 4, E.const(4.0, s.dtype), s)
    y = where(w < 5, poly(w - 2.5, T.ERFINV_NEAR) * x, poly(s - 3, T.ERFINV_FAR))
    return where(s < 4, y, poly(t, T.ERFINV_END) * s)


def polished(x: Expr, q: Expr) -> Pair:
    """The same to about 60 bits: one step of Halley's method on erf if x <= 1/2, else on erfc."""
    y = inverse_start(x, q)
    s = y * y
    near = fma(y, poly(s, T.ERF_SMALL64), y - x)  # erf y - x; y - x is exact
    near = near * -HALF_ROOT_PI * poly(s, [1 / math.factorial(k) for k in range(8)])
    e, low = scaled_erfc(y)
    n, t = gaussian(y, 1.0)
    half = n >> 1
    p = q * pow2(half, F64) * pow2(n - half, F64)
    far = ((e - p) - fma(p, t, -low)) * HALF_ROOT_PI
    step = where(x <= 0.5, near, far)
    return y, step / fma(-y, step, 1)


def erfinv_ends(x: Expr, y: Expr) -> Expr:
    """erfinv x given that of |x|."""
    z = abs(x)
    y = where(z < 1, y, where(z == 1, INF, E.const(NAN, y.dtype)))
    return where(x == 0, x, with_sign(y, x))


@expansion("erfinv", F64)
def erfinv64(f: Format, x: Expr) -> Expr:
    """The inverse of erf."""
    z = clamp(abs(x), 0.0, 1 - 2.0**-53)
    y, step = polished(z, 1 - z)
    return erfinv_ends(x, y + step)


@expansion("erfinv", F32)
def erfinv32(f: Format, x: Expr) -> Expr:
    """The same; 26 bits are enough."""
    w = E.cast(x, F64.dtype)
    z = clamp(abs(w), 0.0, 1 - 2.0**-24)
    return erfinv_ends(x, E.cast(inverse_start(z, 1 - z), f.dtype))


def ndtri_ends(p: Expr, y: Expr) -> Expr:
    """ndtri p given that of min(p, 1 - p), without sign."""
    y = where(p < 0.5, -y, y)
    ends = where(p == 0, -INF, where(p == 1, E.const(INF, p.dtype), NAN))
    return where((p > 0) & (p < 1), y, ends)


def ndtri_arguments(p: Expr) -> tuple[Expr, Expr]:
    """(|2p - 1|, 2 min(p, 1 - p)), with what is outside (0, 1) replaced."""
    q = 2 * where(p < 0.5, p, 1 - p)
    return abs(fma(p, 2.0, -1)), where((p > 0) & (p < 1), q, 0.5)


@expansion("ndtri", F64)
def ndtri64(f: Format, p: Expr) -> Expr:
    """The inverse normal distribution function: -+ sqrt 2 erfc^-1(2 min(p, 1 - p))."""
    y, step = polished(*ndtri_arguments(p))
    return ndtri_ends(p, fma(y, ROOT2[0], fma(y, ROOT2[1], step * ROOT2[0])))


@expansion("ndtri", F32)
def ndtri32(f: Format, p: Expr) -> Expr:
    """The same; 26 bits are enough."""
    w = E.cast(p, F64.dtype)
    return E.cast(ndtri_ends(w, inverse_start(*ndtri_arguments(w)) * ROOT2[0]), f.dtype)


@through64("log_ndtr")
def log_ndtr(f: Format, x: Expr) -> Expr:
    """log of the normal distribution function: log(erfcx(-x / sqrt 2) / 2) - x^2 / 2, and log1p of the tail above 0."""
    z = abs(x)
    u = z * (0.5 * ROOT2[0])
    s, low = scaled_erfc(u)
    rest = fma(z, 0.5 * ROOT2[0], -u) + z * (0.5 * ROOT2[1])  # z / sqrt 2 less u; erfcx'(u) = 2 u erfcx u - 2 / sqrt pi
    low = low + where(z < 1e9, rest * fma(u + u, s, -1 / HALF_ROOT_PI), 0.0)
    below = E.log(0.5 * s) - fma(0.5 * x, x, -where(s > 0, low / s, 0.0))
    w = clamp(z, 0.0, 38.6)
    above = E.log1p(-0.5 * upper_tail(*gaussian(w, -0.5), (s, low), w > 37.5))
    return where(x < 0, below, above)


# modified Bessel functions ------------------------------------------------------------------------
def factorials(order: int, count: int) -> list[float]:
    """1 / (k! (k + order)!)."""
    return [1 / (math.factorial(k) * math.factorial(k + order)) for k in range(count)]


def bessel_series(x: Expr, order: int) -> Expr:
    """I_order(x) / (x/2)^order by its power series in x^2/4, to x = 8; the derivative makes the square's rounding good."""
    s, e = two_product(0.5 * x, 0.5 * x)
    return fma(e, poly(s, factorials(order + 1, 16)), poly(s, factorials(order, 30)))


def bessel(x: Expr, order: int, scaled: bool) -> Expr:
    """I_order(x), by e^-|x| if scaled."""
    z = abs(x)
    small = z <= 8
    w, v = where(small, z, 0.0), where(small, 8.0, z)
    near, near_low = bessel_series(w, order), E.const(0.0, x.dtype)
    if order:
        near, near_low = two_product(near, 0.5 * w)
    # without scaling, e^8 goes into the root: e^z may overflow where the result does not, and v - 8 is exact
    c, low = T.TURN_SMALL_64 if scaled else T.TURN_LOW_64
    p, e = two_product(v, E.const(c, x.dtype))
    far = poly(16 / v - 1, T.I1_LARGE64 if order else T.I0_LARGE64)
    far, far_low = quotient((0.25 * far if scaled else far, far * 0), square_root((p, fma(v, low, e))))
    if scaled:
        n, t = exp_parts(F64, -w)
        y = where(small, (near + fma(near, t, near_low)) * pow2(n, F64), where(z == INF, 0.0, far))
    else:
        n, t = exp_parts(F64, where(z > 717, 709.0, v - 8))
        far = where(z > 717, z * INF, scale(far + fma(far, t, far_low), n, n != n, F64))
        y = where(small, near, far)
    return with_sign(y, x) if order else y


for _name, _order, _scaled in (("i0", 0, False), ("i0e", 0, True), ("i1", 1, False), ("i1e", 1, True)):
    through64(_name)(lambda f, x, order=_order, scaled=_scaled: bessel(x, order, scaled))
