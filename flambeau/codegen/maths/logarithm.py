"""log, log2, log10, log1p, pow.

x = 2^k m with m in [sqrt(1/2), sqrt 2), f = m - 1 exact. float32: log m = f + f^2 Q(f). float64: s = f / (2 + f),
log m = 2 atanh s = f - (h - s (h + s^2 R(s^2))), h = f^2/2 (the arrangement is fdlibm's e_log.c). `log_pair` gives twice
the precision for pow and the other bases.
"""

from __future__ import annotations

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.exponential import exp_parts
from flambeau.codegen.maths.kit import (
    F32,
    F64,
    INF,
    NAN,
    Format,
    Pair,
    bitcast,
    clamp,
    fast_two_sum,
    fma,
    nearest,
    pair_product,
    poly,
    pow2,
    scale,
    two_product,
    where,
)  # fmt: skip
from flambeau.codegen.maths.registry import expansion
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

ROOT = {F32: 0x3F3504F3, F64: 0x3FE6A09E667F3BCD}  # the bits of sqrt(1/2)
TINY_BITS, INF_BITS = {F32: 1 << 23, F64: 1 << 52}, {F32: 0xFF << 23, F64: 0x7FF << 52}
MAGIC_BITS = 0x4338000000000000


def to_float(k: Expr, f: Format) -> Expr:
    """A small integer as a float (64-bit conversions are slow before AVX-512: these are two additions)."""
    return E.cast(k, f.dtype) if f is F32 else bitcast(k + MAGIC_BITS, f.dtype) - f.magic


def decompose_normal(f: Format, x: Expr) -> tuple[Expr, Expr]:
    """(k as a float, m) of a positive normal x."""
    bits = bitcast(x, f.int)
    k = (bits - ROOT[f]) >> f.mantissa
    return to_float(k, f), bitcast(bits - (k << f.mantissa), f.dtype)


def decompose(f: Format, x: Expr) -> tuple[Expr, Expr]:
    """(k as a float, m) of a positive finite x."""
    denormal = x < f.tiny
    k, m = decompose_normal(f, where(denormal, x * 2.0 ** (f.mantissa + 1), x))
    return k - where(denormal, f.mantissa + 1.0, E.const(0.0, f.dtype)), m


def for_normal(f: Format, x: Expr, formula) -> Expr:
    """formula(k, m) of x = 2^k m, and the rest (denormals, 0, negatives, infinity, NaN) where any of it turns up."""
    bits = bitcast(x, f.int) - TINY_BITS[f]
    unsigned = E.dt.uint32 if f is F32 else E.dt.uint64
    odd = bitcast(bits, unsigned) >= E.const(INF_BITS[f] - TINY_BITS[f], unsigned)
    return E.rarely(odd, log_ends(x, formula(*decompose(f, x))), formula(*decompose_normal(f, x)))


def log_ends(x: Expr, y: Expr) -> Expr:
    """y, a logarithm of x, put right at 0, infinity, NaN and below 0."""
    y = where(x < INF, y, x)
    return where(x > 0, y, where(x == 0, E.const(-INF, x.dtype), NAN))


def log_sum(f: Format, k: Expr, m1: Expr, low=0.0) -> Expr:
    """k ln 2 + log(1 + m1) + low, m1 in [sqrt(1/2) - 1, sqrt(2) - 1], low below an ulp of m1."""
    hi, lo = T.LN2_32 if f is F32 else T.LN2_64
    if f is F32:
        return fma(k, hi, m1 + fma(k, lo, fma(m1 * m1, poly(m1, T.LOG32), low)))
    s = m1 / (2 + m1)
    z = s * s
    h = 0.5 * m1 * m1
    return fma(k, hi, m1 - (h - fma(s, fma(z, poly(z, T.LOG64), h), k * lo)))


@expansion("log")
def log(f: Format, x: Expr) -> Expr:
    """Natural logarithm."""
    return for_normal(f, x, lambda k, m: log_sum(f, k, m - 1))


@expansion("log1p")
def log1p(f: Format, x: Expr) -> Expr:
    """log(1 + x): with s = 2^-k, the mantissa less one is s x + (s - 1), rounded once."""
    u = 1 + x
    bits = bitcast(u, f.int)
    k = (bits - ROOT[f]) >> f.mantissa
    s = pow2(0 - k, f)
    huge = x > 2.0 ** (f.mantissa + 2)  # there 2^-k may be denormal
    m1 = where(huge, bitcast(bits - (k << f.mantissa), f.dtype) - 1, fma(x, s, s - 1))
    low = where(huge, 0.0, fma(x, s, (s - 1) - m1)) if f is F32 else 0.0
    y = log_ends(u, log_sum(f, to_float(k, f), m1, low))
    return where(abs(x) < 2.0 ** -(f.mantissa + 2), x, y)


def log_pair(f: Format, x: Expr) -> tuple[Expr, Pair]:
    """(k, log m) of a positive finite x, log m as a pair with relative error 2^-65 (float64)."""
    k, m = decompose(f, x)
    return k, log_mantissa_pair(m - 1, m + 1, m - ((m + 1) - 1))


def log_mantissa_pair(f1: Expr, d: Expr, dl: Expr, fl: Expr | None = None) -> Pair:
    """2 atanh(s) as a pair, s = (f1 + fl) / (d + dl), |s| < 0.172."""
    inverse = 1 / d
    s = f1 * inverse
    rest = fma(-s, dl, fma(-s, d, f1))
    if fl is not None:
        rest = rest + fl
    sl = rest * inverse
    z, zl = two_product(s, s)
    zl = fma(s + s, sl, zl)
    c, cl = T.TWO_THIRDS_64
    r = fast_two_sum(z * 0 + c, fma(z, poly(z, T.LOG_LONG64), cl))
    u, ul = pair_product((z, zl), r)
    v, vl = two_product(s, u)
    vl = fma(s, ul, fma(sl, u, vl))
    a, al = fast_two_sum(s + s, v)
    return fast_two_sum(a, al + (vl + (sl + sl)))




def log_base32(x: Expr, scale_: tuple, step: tuple) -> Expr:
    """k step + scale log m, with both constants as pairs."""

    def formula(k: Expr, m: Expr) -> Expr:
        m1 = m - 1
        tail = m1 * m1 * poly(m1, T.LOG32)
        low = fma(k, step[1], fma(m1, scale_[1], tail * scale_[0]))
        return fma(k, step[0], fma(m1, scale_[0], low))

    return for_normal(F32, x, formula)


def log_base64(x: Expr, scale_: tuple, step: tuple) -> Expr:
    """k step + scale log m, in pairs."""
    k, (h, low) = log_pair(F64, x)
    p, e = two_product(h, E.const(scale_[0], x.dtype))
    e = fma(h, scale_[1], fma(low, scale_[0], e))
    top, rest = fast_two_sum(k * step[0], p)
    return log_ends(x, top + (rest + fma(k, step[1], e)))


@expansion("log2")
def log2(f: Format, x: Expr) -> Expr:
    """Logarithm to base 2: exact at powers of two."""
    base = log_base32 if f is F32 else log_base64
    return base(x, T.LOG2E_32 if f is F32 else T.LOG2E_64, (1.0, 0.0))


@expansion("log10")
def log10(f: Format, x: Expr) -> Expr:
    """Logarithm to base 10."""
    base = log_base32 if f is F32 else log_base64
    return base(x, *((T.LOG10E_32, T.LOG10_2_32) if f is F32 else (T.LOG10E_64, T.LOG10_2_64)))


# pow ----------------------------------------------------------------------------------------------
def pow_ends(x: Expr, y: Expr, r: Expr) -> Expr:
    """r = |x|^y given its sign and IEEE 754's special cases."""
    whole = E.floor(y) == y
    half = y * 0.5
    odd = whole & (E.floor(half) != half)
    r = where(odd, E.copysign(r, x), r)
    r = where((x < 0) & (x != -INF) & ~whole, NAN, r)
    return where((x == 1) | (y == 0) | (x == -1) & (abs(y) == INF), 1.0, r)


@expansion("pow", F32)
def pow32(f: Format, x: Expr, y: Expr) -> Expr:
    """2^(y log2 |x|) in float64, rounded once to float32."""
    a = abs(x)
    k, m = decompose(f, a)
    power = log_sum(F64, E.cast(k, F64.dtype), E.cast(m - 1, F64.dtype)) * T.LOG2E_64[0]
    power = where(E.cast(a < INF, E.dt.bool), power, E.cast(a, F64.dtype))
    power = where(a == 0, -INF, power) * E.cast(y, F64.dtype)
    power = clamp(power, -160.0, 160.0)
    nearby, n = nearest(power, F64)
    r = power - nearby
    return pow_ends(x, y, E.cast(fma(r, poly(r, T.EXP2_MEDIUM), 1) * pow2(n, F64), f.dtype))


@expansion("pow", F64)
def pow64(f: Format, x: Expr, y: Expr) -> Expr:
    """exp(y log |x|), the logarithm and the product as pairs."""
    a = abs(x)
    k, (h, low) = log_pair(f, a)
    hi, lo = T.LN2_SHORT64
    h, rest = fast_two_sum(k * hi, h)
    h, low = fast_two_sum(h, rest + fma(k, lo, low))
    h = where(a < INF, h, a)
    h = where(a == 0, -INF, h)
    yc = clamp(y, -(2.0**70), 2.0**70)
    p, e = two_product(yc, h)
    e = fma(yc, low, e)
    e = where(abs(p) < 800, e, 0.0)
    p = clamp(p, -746.0, 710.0)
    n, t = exp_parts(f, p, e)
    return pow_ends(x, y, scale(1 + t, n, p < -707, f))
