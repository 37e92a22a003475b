"""Kernels that turn raw draws (32 bits each) into numbers. What is drawn per element, and in which order, is a fact about
PyTorch (measured against 2.13; see tests/ops/test_random.py), not a choice.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel
from flambeau.ops import random_single as single


def unit(bits, d, digits: int):
    """The low `digits` bits of a draw as a float in [0, 1)."""
    if digits > 24:
        return E.cast(E.cast(bits & ((1 << digits) - 1), dt.int64), d) * 2.0**-digits
    return E.cast(E.cast(bits & ((1 << digits) - 1), dt.int32), d) * 2.0**-digits


def wide_draw(raw, i):
    """Two draws as 64 bits, the first one high."""
    high, low = E.cast(raw[2 * i], dt.int64), E.cast(raw[2 * i + 1], dt.int64)
    return (high << 32) | low


def double():
    """The functions of random_double, loaded when the first kernel needs them."""
    from flambeau.ops import random_double

    return random_double


@kernel
def to_uniform(k, y: Ptr, raw: Ptr, low: Float, high: Float, *, digits: int):
    """y = u (high - low) + low from one draw each (two for float64)."""
    d = y.compute
    with k.parallel(vector=True) as i:
        bits = wide_draw(raw, i) if digits == 53 else raw[i]
        a, b = E.cast(low, d), E.cast(high, d)
        y[i] = E.fma(unit(bits, d, digits), b - a, a)


@kernel
def to_normal(k, y: Ptr, u: Ptr, mean: Float, std: Float):
    """Box and Muller's transform of blocks of 16 uniforms: cosines from the first eight radii, then sines."""
    d = y.compute
    with k.parallel() as b:
        out, source = y.at(b * 16), u.at(b * 16)
        m, s = E.cast(mean, d), E.cast(std, d)
        with k.lanes(8) as j:
            u1, u2 = 1 - source[j], source[j + 8]
            maths = single if d is dt.float32 else double()
            radius, (sine, cosine) = E.sqrt(-2 * maths.log(u1)), maths.sincos((2 * math.pi) * u2)
            out[j] = E.fma(radius * cosine, s, m)
            out[j + 8] = E.fma(radius * sine, s, m)


@kernel
def scaled(k, y: Ptr, x: Ptr, mean: Float, std: Float):
    """y = x std + mean, rounded once."""
    with k.parallel(vector=True) as i:
        y[i] = E.fma(x[i], E.cast(std, y.compute), E.cast(mean, y.compute))


@kernel
def to_range(k, y: Ptr, raw: Ptr, span: Int, base: Int, *, wide: bool):
    """y = draw mod span + base."""
    with k.parallel(vector=not wide) as i:
        if wide:
            v = E.cast(wide_draw(raw, i), dt.uint64)
            r = E.where(span == 0, v, v % E.cast(E.where(span == 0, E.const(1, dt.int64), span), dt.uint64))
            y[i] = E.cast(E.cast(r, dt.int64) + base, y.compute)
        else:
            v = E.cast(raw[i], dt.int64)
            q = E.cast(E.cast(v, dt.float64) / E.cast(span, dt.float64), dt.int64)  # exact quotient, or one too many
            r = v - q * span
            r = E.where(r < 0, r + span, r)
            y[i] = E.cast(r + base, y.compute)


def unit_below(pairs, i, limit):
    """True where the i-th float64 uniform is below 2^-53 limit; two draws (the first one high) lie in 64 bits of memory."""
    both = pairs[i]
    return ((both << 32) | (both >> 32)) & ((1 << 53) - 1) < E.cast(limit, dt.uint64)


@kernel
def to_bernoulli(k, y: Ptr, pairs: Ptr, limit: Int):
    """y = 1 where a float64 uniform (two draws) is below 2^-53 limit."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(unit_below(pairs, i, limit), y.compute)


@kernel
def to_bernoulli_each(k, y: Ptr, raw: Ptr, p: Ptr, *, digits: int):
    """y = 1 where a uniform is below its own p."""
    d = p.compute
    with k.parallel(vector=True) as i:
        bits = wide_draw(raw, i) if digits == 53 else raw[i]
        y[i] = E.cast(unit(bits, d, digits) < p[i], y.compute)


FORMS = {
    "exponential": lambda u, a, b: -1 / a * E.log1p(-u),
    "cauchy": lambda u, a, b: a + b * double().tan(math.pi * (E.minimum(E.maximum(u, 2.0**-52), 1 - 2.0**-52) - 0.5)),
    "geometric": lambda u, a, b: E.ceil(E.log(u) / E.log1p(-a)),
}


@kernel
def to_form(k, y: Ptr, raw: Ptr, a: Float, b: Float, *, form: str):
    """A formula of a float64 uniform (two draws)."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(FORMS[form](unit(wide_draw(raw, i), dt.float64, 53), a, b), y.compute)


@kernel
def shuffle(k, p: Ptr, raw: Ptr, n: Int):
    """Fisher and Yates from the front: swap p[i] with p[i + draw mod (n - i)]."""
    with k.parallel():
        with k.seq(n) as i:
            p[i] = i
        with k.seq(n - 1) as i:
            j = i + E.cast(raw[i], dt.int64) % (n - i)
            a, b = p[i], p[j]
            p[i] = b
            p[j] = a
