"""The inverse trigonometric and hyperbolic functions, hypot, cbrt, rsqrt, sinc, nextafter.

float32 is computed in float64 and rounded once: within 0.51 ulp, at twice the cost per lane.
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
    bitcast,
    fast_two_sum,
    fma,
    poly,
    two_product,
    where,
    with_sign,
)  # fmt: skip
from flambeau.codegen.maths.logarithm import log1p
from flambeau.codegen.maths.registry import expansion, through64
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

PI_2 = (math.pi / 2, 6.123233995736766e-17)  # pi / 2 as a pair
PI_2_SINGLE = (1.57079637050628662109375, -4.37113900018624283e-8)
TAN_PI_8 = math.sqrt(2) - 1


def atan_positive(z: Expr) -> tuple[Expr, Expr]:
    """atan z, z >= 0, as a pair: at 1/z beyond 1, about pi/4 beyond tan(pi/8)."""
    big = z > 1
    w = where(big, 1 / z, z)
    rest = where(big & (z < INF), fma(-w, z, 1) * w, 0.0)  # 1/z less w
    middle = w > TAN_PI_8
    q = where(middle, (w - 1) / (w + 1), w)
    s = q * q
    low = fma(q * s, poly(s, T.ATAN64), where(middle, 2 * rest / ((w + 1) * (w + 1)), rest))
    base = where(middle, math.pi / 4, E.const(0.0, z.dtype))
    hi, lo = fast_two_sum(base, q)
    lo = lo + low + where(middle, PI_2[1] / 2, E.const(0.0, z.dtype))
    h, r = fast_two_sum(E.const(PI_2[0], z.dtype), -hi)
    return where(big, h, hi), where(big, r + (PI_2[1] - lo), lo)


@expansion("atan", F32)
def atan32(f: Format, x: Expr) -> Expr:
    """q + q^3 P(q^2), q = |x|, or pi/2 plus that of -1/|x| beyond 1."""
    z = abs(x)
    big = z > 1
    q = where(big, -1 / z, z)
    s = q * q
    hi, lo = (where(big, part, E.const(0.0, x.dtype)) for part in PI_2_SINGLE)
    y = hi + q
    return with_sign(y + ((hi - y) + q + fma(q * s, poly(s, T.ATAN32), lo)), x)


@expansion("atan", F64)
def atan(f: Format, x: Expr) -> Expr:
    """Inverse tangent."""
    hi, lo = atan_positive(abs(x))
    return where(E.isnan(x), x, with_sign(hi + lo, x))


@through64("atan2")
def atan2(f: Format, y: Expr, x: Expr) -> Expr:
    """The angle of (x, y), with IEEE 754's signs at zeros and infinities."""
    a, b = abs(y), abs(x)
    equal = a == b
    ratio = where(equal, where(a == 0, E.const(0.0, x.dtype), 1.0), a / b)
    hi, lo = atan_positive(ratio)
    h, r = fast_two_sum(E.const(math.pi, x.dtype), -hi)
    left = E.signbit(x)
    angle = where(left, h + (r + (2 * PI_2[1] - lo)), hi + lo)
    return where(E.isnan(x) | E.isnan(y), NAN, with_sign(angle, y))


def asin_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """(whether |x| <= 1/2, s, tail): asin|x| is s + tail there, pi/2 - 2 (s + tail) beyond."""
    z = abs(x)
    small = z <= 0.5
    t = where(small, z * z, fma(-0.5, z, 0.5))
    s = where(small, z, E.sqrt(t))
    lost = where(small | (s == 0), 0.0, fma(-s, s, t) / (2 * s))
    return small, s, fma(s * t, poly(t, T.ASIN64), lost)


@through64("asin")
def asin(f: Format, x: Expr) -> Expr:
    """Inverse sine; NaN outside [-1, 1]."""
    small, s, tail = asin_parts(x)
    h, r = fast_two_sum(E.const(PI_2[0], x.dtype), -2 * s)
    y = where(small, s + tail, h + (r + (PI_2[1] - 2 * tail)))
    return where(abs(x) <= 1, with_sign(y, x), NAN)


@through64("acos")
def acos(f: Format, x: Expr) -> Expr:
    """Inverse cosine; NaN outside [-1, 1]."""
    small, s, tail = asin_parts(x)
    negative = x < 0
    signed, st = where(negative, -s, s), where(negative, -tail, tail)
    h, r = fast_two_sum(E.const(PI_2[0], x.dtype), -signed)
    near = h + (r + (PI_2[1] - st))
    g, q = fast_two_sum(E.const(math.pi, x.dtype), -2 * s)
    far = where(negative, g + (q + (2 * PI_2[1] - 2 * tail)), 2 * (s + tail))
    return where(abs(x) <= 1, where(small, near, far), NAN)


@through64("asinh")
def asinh(f: Format, x: Expr) -> Expr:
    """sign(x) log1p(|x| + x^2 / (1 + sqrt(x^2 + 1)))."""
    z = abs(x)
    huge = z > 2.0**28
    w = where(huge, E.const(1.0, x.dtype), z)
    y = log1p(f, w + w * w / (1 + E.sqrt(fma(w, w, 1))))
    far = E.log(where(huge, z, 1.0)) + math.log(2)
    return where(E.isnan(x) | (z == INF), x, with_sign(where(huge, far, y), x))


@through64("acosh")
def acosh(f: Format, x: Expr) -> Expr:
    """log1p(t + sqrt(2t + t^2)), t = x - 1; NaN below 1."""
    huge = x > 2.0**28
    t = where(huge | (x < 1), E.const(0.0, x.dtype), x - 1)
    y = log1p(f, t + E.sqrt(fma(t, t, 2 * t)))
    far = E.log(where(huge, x, 1.0)) + math.log(2)
    return where(x < 1, NAN, where(huge, far, where(E.isnan(x), x, y)))


@through64("atanh")
def atanh(f: Format, x: Expr) -> Expr:
    """log1p(2|x| / (1 - |x|)) / 2."""
    z = abs(x)
    return with_sign(0.5 * log1p(f, 2 * z / (1 - z)), x)


@through64("hypot")
def hypot(f: Format, x: Expr, y: Expr) -> Expr:
    """sqrt(x^2 + y^2) without overflow: both scaled by a power of two near the larger."""
    a, b = E.maximum(abs(x), abs(y)), E.minimum(abs(x), abs(y))
    bits = bitcast(a, f.int) & E.const(0x7FF << 52, f.int)
    bits = E.minimum(E.maximum(bits, E.const(2 << 52, f.int)), E.const(0x7FC << 52, f.int))
    unit = bitcast(bits, f.dtype)
    inverse = bitcast(E.const(0x7FE << 52, f.int) - bits, f.dtype)
    p, q = a * inverse, b * inverse
    s, e = two_product(p, p)
    t, g = two_product(q, q)
    h, low = fast_two_sum(s, t)
    low = low + (e + g)
    root = E.sqrt(h)
    root = where(root == 0, root, root + (fma(-root, root, h) + low) / (root + root))
    infinite = (abs(x) == INF) | (abs(y) == INF)
    return where(infinite, INF, root * unit)


@through64("cbrt")
def cbrt(f: Format, x: Expr) -> Expr:
    """exp2(log2|x| / 3), put right by one step of Halley's method."""
    z = abs(x)
    tiny = z < f.tiny
    w = where(tiny, z * 2.0**54, z)
    y = E.exp2(E.log2(where((w == 0) | (w == INF), 1.0, w)) / 3)
    s, e = two_product(y, y)
    c, r = two_product(s, y)
    error = ((c - w) + (r + e * y)) / (3 * s)
    y = y - error
    y = where(tiny, y * 2.0**-18, y)
    return where((z == 0) | (z == INF) | E.isnan(x), x, with_sign(y, x))


@expansion("rsqrt")
def rsqrt(f: Format, x: Expr) -> Expr:
    """1 / sqrt x."""
    return 1 / E.sqrt(x)


@through64("sinc")
def sinc(f: Format, x: Expr) -> Expr:
    """sin(pi x) / (pi x): with x = n + r, that is (-1)^n r / x sin(pi r) / (pi r)."""
    n = E.rint(x)
    r = x - n
    half = n * 0.5
    s = r * r * (math.pi * math.pi)
    y = r / where(x == 0, 1.0, x) * fma(s, poly(s, T.SIN64), 1)
    return where(x == 0, 1.0, where(E.floor(half) == half, y, -y))


@expansion("nextafter")
def nextafter(f: Format, x: Expr, y: Expr) -> Expr:
    """The float next to x in the direction of y: the bits plus or minus one."""
    bits = bitcast(x, f.int)
    away = (x < y) == (x > 0)
    step = where(away, E.const(1, f.int), E.const(-1, f.int))
    moved = bitcast(bits + step, f.dtype)
    least = with_sign(bitcast(E.const(1, f.int), f.dtype), y)
    out = where(x == 0, least, moved)
    return where(E.isnan(x) | E.isnan(y), NAN, where(x == y, y, out))

