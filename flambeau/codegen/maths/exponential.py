"""exp, exp2, expm1, and what is made of them: sigmoid, tanh, sinh, cosh.

exp(x) = 2^n (1 + t): n = round(x / ln 2), r = x - n ln 2 in two steps with fma (Cody & Waite), t = r + r^2 Q(r).
Keeping the 1 apart lets callers add it late, with one rounding less.
"""

from __future__ import annotations

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import (
    F32,
    F64,
    Format,
    bitcast,
    clamp,
    fast_two_sum,
    fma,
    nearest,
    piecewise,
    poly,
    pow2,
    where,
    with_sign,
)  # fmt: skip
from flambeau.codegen.maths.registry import expansion
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr


def constants(f: Format):
    """(ln 2 as a pair, 1/ln 2, exp's table) of a format."""
    if f is F32:
        return T.LN2_32, T.LOG2E_32[0], T.EXP32
    return T.LN2_64, T.LOG2E_64[0], T.EXP64


def reduced(f: Format, x: Expr) -> tuple[Expr, Expr, Expr]:
    """(n in an integer's low bits, r, low) with x = n ln 2 + r + low; r is exact, low tiny."""
    (hi, lo), inverse, _ = constants(f)
    t = fma(x, inverse, f.magic)
    n = t - f.magic
    return bitcast(t, f.int), fma(n, -hi, x), n * -lo


def exp_parts(f: Format, x: Expr, low: Expr | None = None) -> tuple[Expr, Expr]:
    """(n, t) with exp(x + low) = 2^n (1 + t), for x in exp's range; n in an integer's low bits."""
    n, r, rest = reduced(f, x)
    s = r + rest if low is None else r + (rest + low)
    return n, fma(s * s, poly(s, constants(f)[2]), s)


# The constants of SLEEF's expf (N. Shibata and F. Petrogalli, 2020), which PyTorch uses: the same results to the last bit.
SHARED_LN2 = (0.693145751953125, 1.428606765330187045e-06)
SHARED_EXP = (
    0.5, 0.166666671633720397949219, 0.0416664853692054748535156, 0.00833336077630519866943359,
    0.00139304355252534151077271, 0.000198527617612853646278381,
)  # fmt: skip


def guarded(x: Expr, low: float, high: float, power) -> Expr:
    """power(x) for x up to `high`; 0 below `low`, without the underflow that costs processors some 150 cycles each."""
    gone = x < low
    x = where(gone, 0, where(x > high, high, x))
    return where(gone, 0, power(x))


@expansion("exp", F32)
def exp32(f: Format, x: Expr) -> Expr:
    """e^x, with PyTorch's rounding."""

    def power(x):
        n = x * T.LOG2E_32[0] + f.magic - f.magic
        r = fma(n, -SHARED_LN2[1], fma(n, -SHARED_LN2[0], x))
        return E.scalef(fma(r * r, poly(r, SHARED_EXP), r) + 1, n)

    return guarded(x, -104.0, 89.0, power)


@expansion("exp", F64)
def exp(f: Format, x: Expr) -> Expr:
    """e^x; denormal results are rounded once."""

    def power(x):
        n = fma(x, T.LOG2E_64[0], f.magic) - f.magic
        r = fma(n, -T.LN2_64[1], fma(n, -T.LN2_64[0], x))
        return E.scalef(poly(r, (1.0, 1.0, *T.EXP64)), n)

    return guarded(x, -746.0, 710.0, power)


@expansion("exp2")
def exp2(f: Format, x: Expr) -> Expr:
    """2^x."""
    least, most = (-151.0, 129.0) if f is F32 else (-1076.0, 1025.0)

    def power(x):
        nearby, _ = nearest(x, f)
        r = x - nearby
        return E.scalef(fma(r, poly(r, T.EXP2_32 if f is F32 else T.EXP2_64), 1), nearby)

    return guarded(x, least, most, power)


@expansion("expm1")
def expm1(f: Format, x: Expr) -> Expr:
    """e^x - 1 = 2^n t + (2^n - 1), halved until the end so that 2^n may be the overflow threshold."""
    least, most, small = (-18.0, 89.0, 2.0**-30) if f is F32 else (-40.0, 710.0, 2.0**-60)
    z = clamp(x, least, most)
    n, r, low = reduced(f, z)
    r, low = fast_two_sum(r, low)
    half = pow2(n - 1, f)
    t = fma(r * r, poly(r, constants(f)[2]), low)
    y = 2 * fma(half, t, fma(half, r, half - 0.5))
    return where(abs(x) < small, x, y)


@expansion("sigmoid", F32)
def sigmoid32(f: Format, x: Expr) -> Expr:
    """1 / (1 + e^-x), with PyTorch's rounding: 0 from where e^-x overflows."""
    return 1 / (1 + exp32(f, -x))


@expansion("sigmoid", F64)
def sigmoid(f: Format, x: Expr) -> Expr:
    """1 / (1 + e^-x) = c / (c + c 2^n + c 2^n t), c so small that nothing overflows where the result is denormal."""
    least, most, c = -50.0, 746.0, 54
    n, t = exp_parts(f, clamp(-x, least, most))
    s = bitcast((n << f.mantissa) + ((f.bias - c) << f.mantissa), f.dtype)
    whole = s + 2.0**-c
    d = fma(s, t, whole)
    q = 2.0**-c / d
    lost = (whole - d) + (2.0**-c - (whole - s))  # in d's two roundings
    error = fma(-q, fma(s, t, lost), fma(-q, d, 2.0**-c))
    return fma(q * 2.0**c, error, q)


@expansion("tanh", F32)
def tanh32(f: Format, x: Expr) -> Expr:
    """A polynomial for each of 32 pieces of [0, 8.85]; 1 beyond."""
    z = abs(x)
    return with_sign(piecewise(where(z > 8.85, 8.85, z), T.TANH_PIECES32, 9 / 32), x)


def expm1_pairs(f: Format, x: Expr):
    """e^x - 1 and e^x + 1 for 0 <= x < 60 as pairs (high parts exact to rounding)."""
    n, r, low = reduced(f, x)
    s = pow2(n, f)
    tail = s * fma(r * r, poly(r, constants(f)[2]), low)
    a, al = fast_two_sum(s - 1, s * r)
    b, bl = fast_two_sum(s + 1, s * r)
    return (a, al + tail), fast_two_sum(b, bl + tail)


@expansion("tanh", F64)
def tanh64(f: Format, x: Expr) -> Expr:
    """(e^2|x| - 1) / (e^2|x| + 1), the quotient corrected once."""
    z = abs(x)
    z = where(z > 20.0, 20.0, z)
    (a, al), (b, bl) = expm1_pairs(f, z + z)
    inverse = 1 / b
    q = a * inverse
    q = fma(fma(-q, b, a) + fma(-q, bl, al), inverse, q)
    return where(z < 2.0**-30, x, with_sign(q, x))


def half_sum(f: Format, z: Expr, sign: float) -> Expr:
    """(e^z + sign e^-z) / 2 for z >= 0; halved once more until the end, so that only the result overflows."""
    most = 89.7 if f is F32 else 710.6
    n, t = exp_parts(f, where(z > most, most, z))
    s = pow2(n - 2, f)
    return 2 * (s + fma(s, t, sign * 0.0625 / fma(s, t, s)))


@expansion("sinh")
def sinh(f: Format, x: Expr) -> Expr:
    """x + x^3 P(x^2) below 1, else (e^|x| - e^-|x|) / 2."""
    z = abs(x)
    q = z * z
    small = fma(z * q, poly(q, T.SINH32 if f is F32 else T.SINH64), z)
    return with_sign(where(z < 1, small, half_sum(f, z, -1.0)), x)


@expansion("cosh")
def cosh(f: Format, x: Expr) -> Expr:
    """(e^|x| + e^-|x|) / 2."""
    return half_sum(f, abs(x), 1.0)
