"""sin, cos, tan.

x = n pi + r, |r| <= pi/2, in steps with fma (Cody & Waite; the first difference is exact); sin x = (-1)^n sin r.
"""

from __future__ import annotations

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import F32, Format, bitcast, fma, nearest, poly, where
from flambeau.codegen.maths.registry import through64
from flambeau.ir.expr import Expr

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


@through64("sin")
def sin(f: Format, x: Expr) -> Expr:
    """Sine."""
    n, bits = nearest(x * INVERSE_PI, f)
    return where(x == 0, x, sine_of(f, x, n, bits))


@through64("cos")
def cos(f: Format, x: Expr) -> Expr:
    """Cosine: the sine a quarter turn on, n taken at half integers."""
    n, bits = nearest(fma(abs(x), INVERSE_PI, -0.5), f)
    return sine_of(f, abs(x), n + 0.5, bits + 1)
