"""The double-precision logarithm, sine and cosine of float64 normal numbers, rounded once.

PyTorch calls the C library's, which are right but for about one result in a thousand. So are these: they are computed as pairs
of floats, to some 60 bits or more. So torch.randn's numbers come out the same, but for about one in a thousand.
"""

from __future__ import annotations

import math

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import (
    F64,
    Pair,
    fast_two_sum,
    fma,
    pair_product,
    poly,
    quotient,
    two_product,
    two_sum,
    where,
)
from flambeau.codegen.maths.logarithm import log_pair
from flambeau.ir import expr as E

QUARTER = (1.5707963267948966, 6.123233995736766e-17)  # pi / 2
SIN = (-0.16666666666666666, -9.25185853854297e-18, *((-1) ** k / math.factorial(2 * k + 1) for k in range(2, 11)))
COS = (0.041666666666666664, 2.3129646346357427e-18, *((-1) ** k / math.factorial(2 * k) for k in range(3, 12)))


def log(x):
    """The natural logarithm of a normal number in (0, 1]."""
    k, (h, low) = log_pair(F64, x)
    hi, lo = T.LN2_SHORT64
    h, rest = fast_two_sum(k * hi, h)
    return h + (rest + fma(k, lo, low))


def series(z: Pair, c) -> Pair:
    """c[0] + c[1] + c[2] z + c[3] z^2 + ... as a pair; c[1] is what c[0] lacks."""
    return fast_two_sum(E.const(c[0], z[0].dtype), fma(z[0], poly(z[0], c[2:]), c[1]))


def added(a: float, b: Pair) -> Pair:
    """a + b for |a| > |b|."""
    s, e = fast_two_sum(E.const(a, b[0].dtype), b[0])
    return s, e + b[1]


def sincos_pairs(x) -> tuple[Pair, Pair]:
    """(sine, cosine) of x, |x| <= 2 pi."""
    n = E.rint(x * (2 / math.pi))
    p, e = two_product(n, E.const(QUARTER[0], x.dtype))
    r, low = two_sum(x, -p)
    r, low = fast_two_sum(r, low - fma(n, QUARTER[1], e))
    z = pair_product((r, low), (r, low))
    s, sl = pair_product(pair_product(z, series(z, SIN)), (r, low))
    top, rest = fast_two_sum(r, s)
    sine = (top, rest + (sl + low))
    cosine = added(1.0, pair_product(z, added(-0.5, pair_product(z, series(z, COS)))))
    quadrant = E.cast(n, E.dt.int64)
    swap = (quadrant & 1) != 0
    flip_sine, flip_cosine = (quadrant & 2) != 0, ((quadrant + 1) & 2) != 0
    a = tuple(where(swap, c, v) for v, c in zip(sine, cosine, strict=True))
    b = tuple(where(swap, v, c) for v, c in zip(sine, cosine, strict=True))
    return tuple(where(flip_sine, -v, v) for v in a), tuple(where(flip_cosine, -v, v) for v in b)  # type: ignore[return-value]


def sincos(x):
    """(sine, cosine) of x, |x| <= 2 pi."""
    (s, sl), (c, cl) = sincos_pairs(x)
    return s + sl, c + cl


def tan(x):
    """The tangent of x, |x| <= 2 pi."""
    top, rest = quotient(*sincos_pairs(x))
    return top + rest
