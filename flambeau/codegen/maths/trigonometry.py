"""sin, cos, tan.

x = n pi + r, |r| <= pi/2, in steps with fma (Cody & Waite; the first difference is exact); sin x = (-1)^n sin r.
float32 is right for every argument: below 2^17 in pairs of float32, x = n pi/2 + r + low; from there in float64, where one
of 2^50 or more is a whole number y of 2^a with a = 27, 54 or 81, and y 2^a is the angle y (2^a mod 2 pi), small enough for
the steps. float64 is right below 2^49 (5.6e14), a range where neighbouring floats are less than 1/10 apart; beyond, the
result is NaN rather than a wrong number.
"""

from __future__ import annotations

from flambeau.codegen.maths import tables as T
from flambeau.codegen.maths.kit import (
    F32,
    F64,
    NAN,
    Format,
    bitcast,
    fast_two_sum,
    fma,
    nearest,
    poly,
    where,
)
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
    return bitcast(bitcast(y, bits.dtype) ^ (bits << 8 * bits.dtype.itemsize - 1), y.dtype)


def folded(x: Expr) -> tuple[Expr, Expr]:
    """An angle below 2^50 as a quarter, for the float64 value x of a float32: the same up to whole turns."""
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


# float32 below NEAR, in its own precision
NEAR = 2.0**17


def quarter(x: Expr) -> tuple[Expr, Expr, Expr]:
    """(r, low, n in an integer's low bits) with x = n pi/2 + r + low, |r| <= pi/4; the first difference is exact."""
    t = fma(x, 2 * INVERSE_PI, F32.magic)
    n = t - F32.magic
    a, b, c = (-0.5 * part for part in T.PI_32[:3])
    p = n * b
    r, low = fast_two_sum(fma(n, a, x), p)  # the difference, if not the larger, is a multiple of the product's unit
    return r, low + fma(n, c, fma(n, b, -p)), bitcast(t, F32.int)


def near_turn(x: Expr, quarters: int) -> Expr:
    """sin(x + quarters pi/2): u + u s P(s) of the sine (u = r) or the cosine (u = 1) of r."""
    r, low, bits = quarter(x)
    s = r * r
    bits = bits + quarters
    odd = (bits & 1) != 0
    u = where(odd, 1.0, r)
    p = poly(s, [where(odd, const(c, r.dtype), const(d, r.dtype)) for c, d in zip(T.COS32, (*T.SIN32, 0.0), strict=True)])
    return flipped(u + fma(u * s, p, where(odd, -r * low, low)), bits >> 1)


def near_sine(x: Expr) -> Expr:
    return flipped(near_turn(abs(x), 0), signbits(x))


def near_cosine(x: Expr) -> Expr:
    return near_turn(abs(x), 1)


def near_tangent(x: Expr) -> Expr:
    """tan r = r + r s P(s), or -1 / tan r, corrected once, an odd number of quarter turns on."""
    r, low, bits = quarter(abs(x))
    s = r * r
    y, rest = fast_two_sum(r, fma(r * s, poly(s, T.TAN32), fma(low, s, low)))
    q = -1 / y
    return flipped(where((bits & 1) != 0, fma(q, fma(q, y, 1) + q * rest, q), y), signbits(x))


def signbits(x: Expr) -> Expr:
    """x's sign in every bit: odd functions take |x| and give the sign back, so that -0 stays -0."""
    return bitcast(x, F32.int) >> 31


NEARBY = {"sin": near_sine, "cos": near_cosine, "tan": near_tangent}


def _register(name: str, angle_function, odd: bool) -> None:
    def single(f: Format, x: Expr) -> Expr:
        y = cast(angle_function(*folded(cast(x, F64.dtype))), f.dtype)
        return rarely(abs(x) >= NEAR, y, NEARBY[name](x))

    def double(f: Format, x: Expr) -> Expr:
        y = angle_function(*limited(x))
        return where(x == 0, x, y) if odd else y

    for fn, f in ((single, F32), (double, F64)):
        expansion(name, f)(fn)


for _name, _function, _odd in (("sin", sine, True), ("cos", cosine, False), ("tan", tangent, True)):
    _register(_name, _function, _odd)
