"""sin, cos, tan.

x = n pi + r, |r| <= pi/2, in steps with fma (Cody & Waite; the first difference is exact); sin x = (-1)^n sin r.
float32 is computed in float64 and is right for every argument: one of 2^50 or more is a whole number y of 2^a with a = 27,
54 or 81, and y 2^a is the angle y (2^a mod 2 pi), small enough for the steps. float64 is right below 2^49 (5.6e14), a
range where neighbouring floats are less than 1/10 apart; beyond, the result is NaN rather than a wrong number.
"""

from __future__ import annotations

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import F32, F64, NAN, Format, bitcast, fma, nearest, poly, where
from flambeau.codegen.maths.registry import expansion
from flambeau.ir.expr import Expr, cast, const, floor, rarely, rint

INVERSE_PI = 0.3183098861837907
LIMIT = 2.0**49
FOLDS = ((2.0**50, (1.0, 0.0)), (2.0**77, T.FOLD_27), (2.0**103, T.FOLD_54), (None, T.FOLD_81))


def remainder(x: Expr, n: Expr, low: Expr | None = None) -> Expr:
    """x + low - n pi."""
    r = x
    for part in T.PI_64[:3]:
        r = fma(n, -part, r)
    return r if low is None else r + low


def turn(r: Expr) -> Expr:
    """sin r for |r| <= pi/2."""
    s = r * r
    return fma(r * s, poly(s, T.SIN64), r)


def flipped(y: Expr, bits: Expr) -> Expr:
    """-y where the low bit of `bits` is set, else y."""
    return bitcast(bitcast(y, F64.int) ^ (bits << 63), F64.dtype)


def folded(x: Expr) -> tuple[Expr, Expr]:
    """An angle below 2^50 as a pair, for the float64 value x of a float32: the same up to whole turns."""
    z = abs(x)
    hi, lo = (const(v, x.dtype) for v in FOLDS[-1][1])
    for bound, (h, low) in reversed(FOLDS[:-1]):
        inside = z < bound
        hi, lo = where(inside, h, hi), where(inside, low, lo)
    p = x * hi
    return p, fma(x, hi, -p) + x * lo


def limited(x: Expr) -> tuple[Expr, None]:
    """x below the limit, else NaN."""
    return where(abs(x) < LIMIT, x, NAN), None


def sine(x: Expr, low: Expr | None) -> Expr:
    """sin(x + low)."""
    n, bits = nearest(x * INVERSE_PI, F64)
    return flipped(turn(remainder(x, n, low)), bits)


def cosine(x: Expr, low: Expr | None) -> Expr:
    """cos(x + low): the sine a quarter turn on, n taken at half integers."""
    n, bits = nearest(fma(x, INVERSE_PI, -0.5), F64)
    return flipped(turn(remainder(x, n + 0.5, low)), bits + 1)


def tangent(x: Expr, low: Expr | None) -> Expr:
    """sin / cos, both from reductions of their own."""
    return sine(x, low) / cosine(x, low)


def sine_of_pi(x: Expr) -> Expr:
    """sin(pi x), whole half turns taken off exactly; NaN at infinities."""
    n = rint(x)
    half = n * 0.5
    y = turn((x - n) * T.PI_64[0])
    return where(floor(half) == half, y, -y)


# float32 below NEAR: fewer terms and steps are enough
NEAR = 2.0**28


def rest(x: Expr, n: Expr, unit: float = 1.0) -> Expr:
    """x - n pi unit for a power of two `unit`."""
    return fma(n, -unit * T.PI_64[1], fma(n, -unit * T.PI_64[0], x))


def short_turn(r: Expr) -> Expr:
    """sin r for |r| <= pi/2 to 27 bits; -0 stays -0."""
    s = r * r
    return r * fma(s, poly(s, T.SIN_MEDIUM), 1)


def near_sine(x: Expr) -> Expr:
    n, bits = nearest(x * INVERSE_PI, F64)
    return flipped(short_turn(rest(x, n)), bits)


def near_cosine(x: Expr) -> Expr:
    n, bits = nearest(fma(x, INVERSE_PI, -0.5), F64)
    return flipped(short_turn(rest(x, n + 0.5)), bits + 1)


def near_tangent(x: Expr) -> Expr:
    """sin r / cos r, or -cos r / sin r an odd number of quarter turns on; |r| <= pi/4."""
    n, bits = nearest(x * (2 * INVERSE_PI), F64)
    r = rest(x, n, 0.5)
    s = r * r
    sine, cosine = r * fma(s, poly(s, T.SIN_SHORT), 1), fma(s, poly(s, T.COS_SHORT), 1)
    odd = (bits & 1) != 0
    return where(odd, -cosine, sine) / where(odd, sine, cosine)


NEARBY = {"sin": near_sine, "cos": near_cosine, "tan": near_tangent}


def _register(name: str, angle_function, odd: bool) -> None:
    def single(f: Format, x: Expr) -> Expr:
        y = cast(angle_function(*folded(cast(x, F64.dtype))), f.dtype)
        return rarely(abs(x) >= NEAR, y, cast(NEARBY[name](cast(x, F64.dtype)), f.dtype))

    def double(f: Format, x: Expr) -> Expr:
        y = angle_function(*limited(x))
        return where(x == 0, x, y) if odd else y

    for fn, f in ((single, F32), (double, F64)):
        expansion(name, f)(fn)


for _name, _function, _odd in (("sin", sine, True), ("cos", cosine, False), ("tan", tangent, True)):
    _register(_name, _function, _odd)
