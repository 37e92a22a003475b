"""What the expansions are written with: float formats, polynomials, powers of two, pairs of floats.

A pair (hi, lo) is an unevaluated sum of two floats, |lo| <= ulp(hi)/2: about twice the working precision. The error-free
transformations are Dekker's and Knuth's; products use fma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

where, fma, bitcast = E.where, E.fma, E.bitcast
INF, NAN = math.inf, math.nan


@dataclass(frozen=True)
class Format:
    """A binary float format: its dtype, the integer of its size, and its parameters."""

    dtype: Any
    int: Any
    mantissa: int  # explicit bits
    bias: int
    magic: float  # 1.5 * 2**mantissa: adding it rounds to an integer, left in the low bits
    tiny: float  # the smallest normal number
    sign: int  # the sign bit


F32 = Format(dt.float32, dt.int32, 23, 127, 1.5 * 2**23, 2.0**-126, -(1 << 31))
F64 = Format(dt.float64, dt.int64, 52, 1023, 1.5 * 2**52, 2.0**-1022, -(1 << 63))


def poly(x: Expr, c: Sequence) -> Expr:
    """c[0] + c[1] x + c[2] x^2 + ... by Horner's rule, one fma a step."""
    y = E.wrap(c[-1], x.dtype)
    for k in reversed(c[:-1]):
        y = fma(y, x, k)
    return y


def clamp(x: Expr, low, high) -> Expr:
    """x kept within [low, high]; NaN stays."""
    x = where(x < low, low, x)
    return where(x > high, high, x)


def nearest(x: Expr, f: Format) -> tuple[Expr, Expr]:
    """x (of modest size) rounded to an integer: as float, and as an integer in the low mantissa bits."""
    t = x + f.magic
    return t - f.magic, bitcast(t, f.int)


def pow2(n: Expr, f: Format) -> Expr:
    """2**n for an integer n (only its low bits matter) of a normal power."""
    return bitcast((n << f.mantissa) + (f.bias << f.mantissa), f.dtype)


def scale(p: Expr, n: Expr, low: Expr, f: Format) -> Expr:
    """p * 2**n for n within [-bias - 60, bias + 1], rounded once: `low` says which n may make denormals."""
    lift = 2 * f.mantissa + 18
    bias = where(low, E.const((f.bias + lift) << f.mantissa, f.int), E.const((f.bias - 1) << f.mantissa, f.int))
    return p * bitcast((n << f.mantissa) + bias, f.dtype) * where(low, 2.0**-lift, E.const(2.0, f.dtype))


def piecewise(z: Expr, table: Sequence[float], width: float) -> Expr:
    """An odd function at z >= 0 by the polynomial of its piece k = rint(z / width) < 32 (tools/minimax.py, `pieces`).

    The coefficients are looked up in registers; the first piece is of f(z)/z - 1, and there z itself is added last.
    """
    t = fma(z, 1 / width, F32.magic)
    k = bitcast(t, F32.int)
    n = t - F32.magic
    d = fma(n, -width, z)
    *rest, y = [E.lookup(k, table[j : j + 32], z.dtype) for j in range(0, len(table), 32)]
    rest[0] = where(n == 0, z, rest[0])
    for c in reversed(rest[1:]):
        y = fma(y, d, c)
    return fma(y, d, rest[0])


def with_sign(x: Expr, s: Expr) -> Expr:
    """|x| with the sign of s."""
    return E.copysign(x, s)


def choose(x: Expr, bounds: Sequence[float], tables: Sequence[Sequence[float]]) -> list[Expr]:
    """Per coefficient, the one of the table in whose interval x lies (bounds ascending, one fewer than tables)."""
    conditions = [x < b for b in bounds]
    size = max(map(len, tables))
    out = []
    for j in range(size):
        columns = [t[j] if j < len(t) else 0.0 for t in tables]
        value = E.const(columns[-1], x.dtype)
        for c, k in zip(reversed(conditions), reversed(columns[:-1]), strict=True):
            value = where(c, E.const(k, x.dtype), value)
        out.append(value)
    return out


# pairs --------------------------------------------------------------------------------------------
Pair = tuple[Expr, Expr]


def fast_two_sum(a: Expr, b: Expr) -> Pair:
    """a + b exactly, for |a| >= |b| (or a = 0)."""
    s = a + b
    return s, b - (s - a)


def two_sum(a: Expr, b: Expr) -> Pair:
    """a + b exactly."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a: Expr, b: Expr) -> Pair:
    """a * b exactly."""
    p = a * b
    return p, fma(a, b, -p)


def pair_product(a: Pair, b: Pair) -> Pair:
    """a * b to about twice the working precision."""
    p, e = two_product(a[0], b[0])
    return fast_two_sum(p, fma(a[0], b[1], fma(a[1], b[0], e)))


def quotient(a: Pair, b: Pair) -> Pair:
    """a / b to about twice the working precision."""
    q = a[0] / b[0]
    r = fma(-q, b[0], a[0]) + fma(-q, b[1], a[1])
    return fast_two_sum(q, r / b[0])


def square_root(a: Pair) -> Pair:
    """The square root of a (> 0) as a pair."""
    s = E.sqrt(a[0])
    r = fma(-s, s, a[0]) + a[1]
    return s, where(s == 0, s, r / (s + s))
