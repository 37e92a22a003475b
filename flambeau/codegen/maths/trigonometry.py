"""sin, cos, tan.

x = n pi + r, |r| <= pi/2, in steps with fma (Cody & Waite; the first difference is exact); sin x = (-1)^n sin r.
"""

from __future__ import annotations

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import F32, F64, Format, bitcast, fma, nearest, poly, where
from flambeau.codegen.maths.registry import expansion
from flambeau.ir.expr import Expr, cast

INVERSE_PI = 0.3183098861837907


def sine_of(f: Format, x: Expr, n: Expr, bits: Expr) -> Expr:
    """(-1)^n sin(x - n pi), where the parity of n is the low bit of `bits`."""
    p = T.PI_32 if f is F32 else T.PI_64
    r = x
    for part in p[:3]:
        r = fma(n, -part, r)
    s = r * r
    y = fma(r * s, poly(s, T.SIN32 if f is F32 else T.SIN64), r)
    size = 8 * f.dtype.itemsize - 1
    return bitcast(bitcast(y, f.int) ^ (bits << size), f.dtype)


def sine_of_single(x: Expr, n: Expr, bits: Expr) -> Expr:
    """The same for float32: x and n are float64, the polynomial is float32's."""
    r = fma(n, -T.PI_64[1], fma(n, -T.PI_64[0], x))
    r32 = cast(r, F32.dtype)
    s = r32 * r32
    y = fma(r32 * s, poly(s, T.SIN32), r32)
    return bitcast(bitcast(y, F32.int) ^ (cast(bits, F32.int) << 31), F32.dtype)


@expansion("sin", F32)
def sin32(f: Format, x: Expr) -> Expr:
    """Sine; the argument is reduced in float64."""
    wide = cast(x, F64.dtype)
    n, bits = nearest(wide * INVERSE_PI, F64)
    return where(x == 0, x, sine_of_single(wide, n, bits))


@expansion("cos", F32)
def cos32(f: Format, x: Expr) -> Expr:
    """Cosine; the argument is reduced in float64."""
    wide = cast(abs(x), F64.dtype)
    n, bits = nearest(fma(wide, INVERSE_PI, -0.5), F64)
    return sine_of_single(wide, n + 0.5, bits + 1)


@expansion("sin", F64)
def sin(f: Format, x: Expr) -> Expr:
    """Sine."""
    n, bits = nearest(x * INVERSE_PI, f)
    return where(x == 0, x, sine_of(f, x, n, bits))


@expansion("cos", F64)
def cos(f: Format, x: Expr) -> Expr:
    """Cosine: the sine a quarter turn on, n taken at half integers."""
    n, bits = nearest(fma(abs(x), INVERSE_PI, -0.5), f)
    return sine_of(f, abs(x), n + 0.5, bits + 1)
