"""Every polynomial of flambeau.codegen.maths, computed: `python tools/minimax.py [name ...]`.

Writes flambeau/codegen/maths/tables.py. A table is the minimax polynomial P(t) = c0 + c1 t + ... of a function g on
an interval, the largest weighted error |g - P| w made as small as it can be (Remez exchange on a Chebyshev grid, in
mpmath). The coefficients are then rounded to the working precision from the lowest up, each time fitting the rest
again, so the rounding of one is made good by the others. Named tables only are recomputed; others are kept.
"""

from __future__ import annotations

import math
import runpy
import struct
import sys
from pathlib import Path

import mpmath as mp

mp.mp.dps = 50
OUT = Path(__file__).parent.parent / "flambeau" / "codegen" / "maths" / "tables.py"


def chebyshev(a, b, m):
    """m points of [a, b], dense at the ends, ends included."""
    return [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * i / (m - 1)) for i in range(m)]


def horner(c, t):
    """The polynomial c at t."""
    y = mp.mpf(0)
    for k in reversed(c):
        y = y * t + k
    return y


def extrema(errors, count):
    """Indices of `count` alternating extrema of a sampled error (the largest run of them)."""
    found: list[int] = []
    for i, e in enumerate(errors):
        if found and (errors[found[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[found[-1]]):
                found[-1] = i
        else:
            found.append(i)
    while len(found) > count:
        found.pop(0 if abs(errors[found[0]]) < abs(errors[found[-1]]) else -1)
    return found


def remez(grid, values, weights, fixed, n):
    """Coefficients with the first len(fixed) given and n in all; and the largest weighted error."""
    k, j = n - len(fixed), len(fixed)
    if not k:
        return list(fixed), None
    # what is left, divided by t^j, so that the unknown part is a plain polynomial (and alternates)
    rest = [(v - horner(fixed, t)) / t**j for v, t in zip(values, grid)]
    weights = [w * abs(t) ** j for w, t in zip(weights, grid)]
    m = len(grid)
    # off-centre, since a start symmetric about 0 is singular
    points = [min(m - 1, round(i * (m - 1) / k) + i % 2) for i in range(k + 1)]
    best = None
    for _ in range(20):
        rows, right = mp.matrix(k + 1, k + 1), mp.matrix(k + 1, 1)
        for i, p in enumerate(points):
            power = mp.mpf(1)
            for col in range(k):
                rows[i, col] = power
                power *= grid[p]
            rows[i, k] = (-1) ** i / weights[p]
            right[i] = rest[p]
        solution = mp.lu_solve(rows, right)
        c = [solution[col] for col in range(k)]
        errors = [(v - horner(c, t)) * w for v, t, w in zip(rest, grid, weights)]
        worst = max(abs(e) for e in errors)
        if best is None or worst < best[1]:
            best = (list(fixed) + c, worst)
        points = extrema(errors, k + 1)
        if worst <= abs(solution[k]) * mp.mpf("1.01") or len(points) < k + 1:
            break
    return best


def single(v):
    """v rounded to float32."""
    return struct.unpack("f", struct.pack("f", float(v)))[0]


def fit(g, a, b, n, weight=lambda t: mp.mpf(1), bits=53, refit=None, fixed=()):
    """Rounded coefficients of g on [a, b] and the weighted error, in log2."""
    a, b = mp.mpf(a), mp.mpf(b)
    grid = [t for t in chebyshev(a, b, 24 * n + 1) if abs(t) > (b - a) * mp.mpf("1e-3")]
    values, weights = [mp.mpf(g(t)) for t in grid], [abs(mp.mpf(weight(t))) for t in grid]
    to_working = single if bits == 24 else float
    done = [mp.mpf(c) for c in fixed]
    refit = n if refit is None else refit
    c, worst = remez(grid, values, weights, done, n)
    ideal = worst
    for j in range(len(fixed), n):
        done.append(mp.mpf(to_working(c[j])))
        if j < refit and j + 1 < n:
            c, worst = remez(grid, values, weights, done, n)
    worst = max(abs((v - horner(done, t)) * w) for v, t, w in zip(values, grid, weights))
    return [to_working(x) for x in done], float(mp.log(ideal, 2)), float(mp.log(worst, 2))


# tables -------------------------------------------------------------------------------------------
R2 = mp.sqrt(2)
LOW, HIGH = 1 / R2 - 1, R2 - 1  # log's mantissa less one
LN2_2 = mp.log(2) / 2 * mp.mpf("1.0005")
A = {}  # name -> keyword arguments of fit


def table(name, g, a, b, n, **kw):
    """Declare a table."""
    A[name] = {"g": g, "a": a, "b": b, "n": n, **kw}


def odd(f):
    """(f(sqrt t)/sqrt t - 1)/t: f(x) = x + x^3 P(x^2)."""
    return lambda t: (f(mp.sqrt(t)) / mp.sqrt(t) - 1) / t


def odd_weight(f):
    """Relative error of f for `odd`."""
    return lambda t: t * mp.sqrt(t) / f(mp.sqrt(t))


def exp_tail(r):
    return (mp.expm1(r) - r) / r**2


table("EXP32", exp_tail, -LN2_2, LN2_2, 5, weight=lambda r: r**2, bits=24, fixed=(0.5,))
table("EXP64", exp_tail, -LN2_2, LN2_2, 10, weight=lambda r: r**2, fixed=(0.5,), refit=3)
HALF = mp.mpf("0.5005")
table("EXP2_32", lambda r: mp.expm1(r * mp.log(2)) / r, -HALF, HALF, 6, weight=lambda r: r, bits=24)
table("EXP2_64", lambda r: mp.expm1(r * mp.log(2)) / r, -HALF, HALF, 12, weight=lambda r: r, refit=3)


def log_tail(f):
    return (mp.log1p(f) - f) / f**2


table("LOG32", log_tail, LOW, HIGH, 9, weight=lambda f: f**2 / mp.log1p(f), bits=24, fixed=(-0.5,))
table("LOG64", lambda z: (2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z, 0, (HIGH / (2 + HIGH)) ** 2, 7,
      weight=lambda z: z, refit=3)
table("LOG_LONG64", lambda z: ((2 * mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 2) / z - mp.mpf(2) / 3) / z, 0,
      (HIGH / (2 + HIGH)) ** 2 * mp.mpf("1.001"), 8, weight=lambda z: z**2)
table("LOG2_MEDIUM", lambda f: mp.log1p(f) / f / mp.log(2), LOW, HIGH, 13, weight=lambda f: f / mp.log1p(f))
table("EXP2_MEDIUM", lambda r: mp.expm1(r * mp.log(2)) / r, -HALF, HALF, 7, weight=lambda r: r)
table("SINH32", odd(mp.sinh), 0, 1, 4, weight=odd_weight(mp.sinh), bits=24)
table("SINH64", odd(mp.sinh), 0, 1, 7, weight=odd_weight(mp.sinh), refit=3)
SQ = (mp.pi / 2 * mp.mpf("1.0001")) ** 2
table("SIN64", odd(mp.sin), 0, SQ, 8, weight=odd_weight(mp.sin), refit=3)
table("ERF_SMALL64", lambda t: mp.erf(mp.sqrt(t)) / mp.sqrt(t) - 1, 0, 1, 12,
      weight=lambda t: mp.sqrt(t) / mp.erf(mp.sqrt(t)), refit=3)
table("ERF_LARGE64", lambda t: mp.log(mp.erfc(t)), 1, mp.mpf("5.95"), 21, weight=mp.erfc, refit=3)



def pieces(f, width, n, fixed=(), end=None):
    """32 polynomials of an odd function, coefficient by coefficient: f(k width + d) for |d| <= width / 2, k = 0 ... 31.

    The first is of f(d)/d - 1, so that d is added last; the last is the constant `end` if given.
    """
    width = mp.mpf(width)
    half = width / 2 * mp.mpf("1.001")
    rows = []
    for k in range(32):
        if k == 31 and end is not None:
            rows.append([end] + [0.0] * (n - 1))
        elif k == 0:
            first = fit(lambda t: f(t) / t - 1, 0, half, n - 1, weight=lambda t: t / f(t), bits=24, fixed=fixed)
            rows.append([0.0, *first[0]])
        else:
            rows.append(fit(lambda t, c=width * k: f(c + t), -half, half, n, weight=lambda t, c=width * k: 1 / f(c + t), bits=24)[0])
    return [rows[k][j] for j in range(n) for k in range(32)], math.nan, math.nan


def piecewise(name, f, width, n, **kw):
    """Declare such a table."""
    A[name] = {"pieces": (f, width, n), "bits": 24, **kw}


piecewise("TANH_PIECES32", mp.tanh, mp.mpf(9) / 32, 7, fixed=(0.0, 0.0), end=1.0)
piecewise("ERF_PIECES32", mp.erf, mp.mpf(1) / 8, 6)

T8 = (mp.sqrt(2) - 1) ** 2 * mp.mpf("1.001")  # tan(pi/8), squared
table("ATAN32", odd(mp.atan), 0, 1, 8, weight=odd_weight(mp.atan), bits=24)
QUARTER = (mp.pi / 4 * mp.mpf("1.0001")) ** 2
table("SIN32", odd(mp.sin), 0, QUARTER, 3, weight=odd_weight(mp.sin), bits=24)
table("COS32", lambda t: (mp.cos(mp.sqrt(t)) - 1) / t, 0, QUARTER, 4, weight=lambda t: t / mp.cos(mp.sqrt(t)), bits=24, fixed=(-0.5,))
table("TAN32", odd(mp.tan), 0, QUARTER, 7, weight=odd_weight(mp.tan), bits=24)
table("ATAN64", odd(mp.atan), 0, T8, 11, weight=odd_weight(mp.atan), refit=3)
table("ASIN64", odd(mp.asin), 0, mp.mpf("0.2501"), 13, weight=odd_weight(mp.asin), refit=3)


def scaled_erfc(q):
    """(1 + 2x) e^(x^2) erfc(x) at x = 4 (1 + q) / (1 - q)."""
    if q >= 1:
        return 2 / mp.sqrt(mp.pi)
    x = 4 * (1 + q) / (1 - q)
    if x > 1000:
        return (1 + 2 * x) / (x * mp.sqrt(mp.pi)) * (1 - 1 / (2 * x * x) + 3 / (4 * x**4))
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


table("ERFCX64", scaled_erfc, -1, 1, 25, weight=lambda q: 1 / scaled_erfc(q), refit=2)


table("ERFCX_SLOPE", lambda q: mp.diff(scaled_erfc, min(max(q, mp.mpf("-0.9999")), mp.mpf("0.9999"))), -1, 1, 6, refit=0)
table("ERFCX_MEDIUM", scaled_erfc, -1, 1, 14, weight=lambda q: 1 / scaled_erfc(q), refit=0)


def erfc_inverse(q):
    """y > 0 with erfc(y) = q, by Newton's method on log erfc from the leading terms."""
    if q > mp.mpf("1e-3"):
        return mp.erfinv(1 - q)
    w = -mp.log(q)
    y = mp.sqrt(w - mp.log(mp.pi * w) / 2)
    for _ in range(9):
        y += (mp.log(mp.erfc(y)) + w) * mp.erfc(y) * mp.sqrt(mp.pi) / 2 * mp.exp(y * y)
    return y


def logarithmic_erfc_inverse(w):
    """The same in terms of w = -log(q (2 - q)), and 1 - q."""
    e = mp.exp(-w)
    root = mp.sqrt(1 - e)
    return erfc_inverse(e / (1 + root)), root


def erfinv_start(w):
    """erfinv(x) / x at x = sqrt(1 - e^-w)."""
    y, x = logarithmic_erfc_inverse(w)
    return y / x


table("ERFINV_NEAR", lambda t: erfinv_start(t + mp.mpf("2.5")), mp.mpf("-2.499999"), mp.mpf("2.51"), 11,
      weight=lambda t: 1 / erfinv_start(t + mp.mpf("2.5")), refit=0)
table("ERFINV_FAR", lambda t: logarithmic_erfc_inverse((t + 3) ** 2)[0], mp.mpf("-0.77"), mp.mpf("1.05"), 9,
      weight=lambda t: 1 / (t + 3), refit=0)
table("ERFINV_END", lambda t: logarithmic_erfc_inverse(1 / t**2)[0] * t, mp.mpf(1) / mp.mpf("27.5"), mp.mpf(1) / mp.mpf("3.99"), 10,
      refit=0)


def gamma_part(f):
    """log Gamma(2 + f) / f and log Gamma(1 + f) / f: what is left without the zeros at 2 and 1."""
    return lambda t: mp.loggamma(f + t) / t if t else mp.digamma(f)


table("LGAMMA_ONE64", gamma_part(1), mp.mpf("-0.3"), mp.mpf("0.5"), 23, refit=3)
table("LGAMMA_TWO64", gamma_part(2), mp.mpf("-0.5"), mp.mpf("0.5"), 19, refit=3)


DIGAMMA_ROOT = mp.findroot(mp.digamma, mp.mpf("1.4616321449683623"))
table("DIGAMMA64", lambda t: mp.digamma(DIGAMMA_ROOT + t) / t, 1 - DIGAMMA_ROOT, mp.mpf("2.5") - DIGAMMA_ROOT, 27,
      weight=lambda t: t / mp.digamma(DIGAMMA_ROOT + t), refit=2)


def bessel_tail(n):
    """sqrt(2 pi x) e^-x I_n(x) at 16 / x = 1 + q."""
    def tail(q):
        x = 16 / (1 + q) if q > -1 else mp.inf
        return mp.mpf(1) if x > 1e9 else mp.sqrt(2 * mp.pi * x) * mp.exp(-x) * mp.besseli(n, x)

    return tail


for order in (0, 1):
    table(f"I{order}_LARGE64", bessel_tail(order), -1, 1, 25, refit=2)


# constants ----------------------------------------------------------------------------------------
C = {}  # name -> (parts, bits)


def parts(name, value, count, bits, trailing=0):
    """Declare value as an unevaluated sum of `count` floats, the first with `trailing` zero bits at its end."""
    out, rest = [], mp.mpf(value)
    for i in range(count):
        keep = bits - (trailing if i == 0 else 0)
        _, e = mp.frexp(rest)
        out.append(float(mp.ldexp(mp.nint(mp.ldexp(rest, keep - e)), e - keep)))
        rest -= out[-1]
    C[name] = (out, bits)


parts("TWO_THIRDS_64", mp.mpf(2) / 3, 2, 53)
parts("TURN_SMALL_64", mp.pi / 8, 2, 53)
parts("TURN_LOW_64", 2 * mp.pi * mp.exp(-16), 2, 53)
parts("DIGAMMA_ROOT_64", DIGAMMA_ROOT, 2, 53)
for power in (27, 54, 81):  # 2^power less turns, over 2^power: times a multiple of 2^power, the same angle
    left = mp.ldexp(1, power) - 2 * mp.pi * mp.nint(mp.ldexp(1, power) / (2 * mp.pi))
    parts(f"FOLD_{power}", mp.ldexp(left, -power), 2, 53)
for size in (24, 53):
    suffix = "32" if size == 24 else "64"
    parts(f"LN2_{suffix}", mp.log(2), 2, size)
    parts(f"LN2_SHORT{suffix}", mp.log(2), 2, size, 9 if size == 24 else 11)  # times an exponent is exact
    parts(f"LOG2E_{suffix}", 1 / mp.log(2), 2, size)
    parts(f"LOG10E_{suffix}", mp.log10(mp.e), 2, size)
    parts(f"LOG10_2_{suffix}", mp.log10(2), 2, size, 9 if size == 24 else 11)
    parts(f"PI_{suffix}", mp.pi, 4, size)


HEADER = '''"""Minimax coefficients, lowest degree first. Written by tools/minimax.py, which says what each table is of."""

# fmt: off
'''


def short(v, bits):
    """The shortest decimal that rounds to v at this precision."""
    import numpy as np

    return repr(float(str(np.float32(v)))) if bits == 24 else repr(v)


def main(names):
    old = runpy.run_path(str(OUT)) if OUT.exists() else {}
    tables = {k: v for k, v in old.items() if k in A}
    for name, spec in A.items():
        if name not in tables or name in names or "all" in names:
            several = spec.get("pieces")
            rest = {k: v for k, v in spec.items() if k not in ("pieces", "bits")}
            c, ideal, got = pieces(*several, **rest) if several else fit(**spec)
            print(f"{name}: 2^{ideal:.2f}, rounded 2^{got:.2f}", flush=True)
            tables[name] = tuple(c)
    with OUT.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        every = {name: (tables[name], A[name].get("bits", 53)) for name in A} | C
        for name, (values, bits) in every.items():
            words = [short(v, bits) for v in values]
            lines, line = [], "   "
            for w in words:
                if len(line) + len(w) + 2 > 100:
                    lines.append(line)
                    line = "   "
                line += f" {w},"
            file.write(f"{name} = (\n" + "\n".join([*lines, line]) + "\n)\n")


if __name__ == "__main__":
    main(sys.argv[1:])
