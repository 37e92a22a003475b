"""Reduction kernels: out[o, i] = finish(fold over r1, r2 of prepare(x[o, r1, r2, i])).

Any reduction of any strided tensor is brought to this form: two kept axes around two reduced ones (see `geometry` in
reduce.py). `rows` has lanes along r2, `columns` along i; both sum in blocks, so rounding errors grow with the number of
blocks only. Where there are few outputs and much to reduce, the outermost reduced axis is cut into parts of fixed size
(never by the number of threads, so results do not depend on it): the kernel writes one partial result per part, and a
second launch folds those.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, identity, kernel

BLOCK = 4096  # elements summed by lanes before the total is moved on
SHORT = 8  # rows shorter than this are not worth lanes
STEPS = 64  # the same for lanes that walk down columns
FAR = (1 << 63) - 1  # "not found" among indices

FOLDS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "min": E.minimum,
    "max": E.maximum,
    "or": lambda a, b: a | b,
    "and": lambda a, b: a & b,
}


def power_of(x, p):
    """|x| ** p for the norms."""
    return E.power(abs(x), E.cast(p, x.dtype))


def same_or_nan(x, m):
    """True where x is the extreme m (or both are NaN)."""
    return (x == m) | (E.isnan(x) & E.isnan(m)) if x.dtype.is_floating_point else x == m


# what a reduction does to each element: fn(x, m, index, p); m is a value per output, p a number
PREPARE = {
    "plain": lambda x, m, at, p: x,
    "nonzero": lambda x, m, at, p: x != 0,
    "zero": lambda x, m, at, p: x == 0,
    "abs": lambda x, m, at, p: abs(x),
    "square": lambda x, m, at, p: x * x,
    "power": lambda x, m, at, p: power_of(x, p),
    "finite": lambda x, m, at, p: E.where(E.isnan(x), E.const(0, x.dtype), x),
    "number": lambda x, m, at, p: ~E.isnan(x),
    "deviation": lambda x, m, at, p: (x - m) * (x - m),
    "exp": lambda x, m, at, p: E.exp(x - E.where(abs(m) == math.inf, E.const(0, x.dtype), m)),
    "where": lambda x, m, at, p: E.where(same_or_nan(x, m), at, E.const(FAR, dt.int64)),
    "ties": lambda x, m, at, p: same_or_nan(x, m),
}

# what is done to the total: fn(total, scale)
FINISH = {
    "plain": lambda t, s: t,
    "scale": lambda t, s: t * E.cast(s, t.dtype),
    "divide": lambda t, s: t / E.cast(s, t.dtype),
    "sqrt": lambda t, s: E.sqrt(t),
    "root": lambda t, s: E.power(t, 1 / E.cast(s, t.dtype)),
    "divide_sqrt": lambda t, s: E.sqrt(t / E.cast(s, t.dtype)),
}


def element(x, at, index, m, p, prepare: str, d):
    """One prepared element in the accumulator's dtype."""
    v = x[at]
    if prepare == "plain":
        return E.cast(v, d)
    if prepare in ("deviation", "square", "abs", "power") and d.is_floating_point:
        v = E.cast(v, d)
    return E.cast(PREPARE[prepare](v, m, index, p), d)


@kernel
def reduce_rows(
    k, y: Ptr, x: Ptr, m: Ptr, p: Float, scale: Float, no: Int, ni: Int, n1: Int, n2: Int,
    so: Int, si: Int, s1: Int, s2: Int, part1: Int, part2: Int, first: Int,
    *, fold: str, prepare: str, finish: str, acc, unit: bool, extra: bool,
):  # fmt: skip
    """Lanes along r2. The launch's axis counts (part, o, i); part1/part2: how much of r1, r2 a part covers."""
    with k.parallel() as t:
        q = t // ni
        i = t - q * ni
        part = q // no
        o = q - part * no
        base = x.at(o * so + i * si)
        lo1, lo2 = E.minimum(part * part1, n1), E.minimum(part * part2, n2)
        whole1 = part1 == 0
        lo1 = E.where(whole1, E.const(0, dt.int64), lo1)
        hi1 = E.where(whole1, n1, E.minimum(lo1 + part1, n1))
        whole2 = part2 == 0
        lo2 = E.where(whole2, E.const(0, dt.int64), lo2)
        hi2 = E.where(whole2, n2, E.minimum(lo2 + part2, n2))
        known = m[o * ni + i] if extra else None
        total = k.var(E.const(identity(fold, acc), acc), acc)
        a = k.acc(fold, acc)
        with k.seq(lo1, hi1) as r1:
            row = base.at(r1 * s1)
            long = hi2 - lo2 >= SHORT if fold == "add" else E.const(True, dt.bool)
            if fold == "add":  # short rows one by one: first 0, 4, 5, 6, 7, then 1, 2, 3, as PyTorch does
                with k.if_(~long):
                    for low, high in ((lo2, E.minimum(lo2 + 1, hi2)), (lo2 + 4, hi2), (lo2 + 1, E.minimum(lo2 + 4, hi2))):
                        with k.seq(low, high) as r:
                            v = element(row, r if unit else r * s2, first + r1 * n2 + r, known, p, prepare, acc)
                            total.set(total.get() + v)
            with k.if_(long), k.seq(lo2, hi2, BLOCK) as b:
                a.reset()
                with k.vector(b, E.minimum(b + BLOCK, hi2), unroll=4) as r:
                    a.update(element(row, r if unit else r * s2, first + r1 * n2 + r, known, p, prepare, acc))
                total.set(FOLDS[fold](total.get(), a.value))
        y[t] = FINISH[finish](total.get(), scale)


@kernel
def reduce_short(
    k, y: Ptr, x: Ptr, m: Ptr, p: Float, scale: Float, n: Int, stride: Int, step: Int,
    *, fold: str, prepare: str, finish: str, acc, unit: bool, extra: bool, unroll: int,
):  # fmt: skip
    """Rows of up to BLOCK elements, `stride` apart, each in one go: no division, no parts."""
    with k.parallel() as t:
        row = x.at(t * stride)
        known = m[t] if extra else None
        total = k.acc(fold, acc)
        with k.vector(n, unroll=unroll) as r:
            total.update(element(row, r if unit else r * step, r, known, p, prepare, acc))
        y[t] = FINISH[finish](total.value, scale)


@kernel
def reduce_columns(
    k, y: Ptr, x: Ptr, m: Ptr, p: Float, scale: Float, no: Int, ni: Int, n1: Int, n2: Int,
    so: Int, si: Int, s1: Int, s2: Int, part1: Int, part2: Int, first: Int, blocks: Int, width: Int,
    *, fold: str, prepare: str, finish: str, acc, unit: bool, extra: bool,
):  # fmt: skip
    """Lanes along i, `width` of them a task. The launch's axis counts (part, o, block of i)."""
    zero = E.const(0, dt.int64)
    with k.parallel() as t:
        q = t // blocks
        lo = (t - q * blocks) * width
        hi = E.minimum(lo + width, ni)
        part = q // no
        o = q - part * no
        base = x.at(o * so)
        lo1 = E.where(part1 == 0, zero, E.minimum(part * part1, n1))
        hi1 = E.where(part1 == 0, n1, E.minimum(lo1 + part1, n1))
        lo2 = E.where(part2 == 0, zero, E.minimum(part * part2, n2))
        hi2 = E.where(part2 == 0, n2, E.minimum(lo2 + part2, n2))
        start = E.const(identity(fold, acc), acc)
        with k.vector(lo, hi, unroll=4) as i:
            known = m[o * ni + i] if extra else None
            total = k.var(start, acc)
            with k.seq(lo1, hi1) as r1:
                with k.seq(lo2, hi2, STEPS) as b:
                    some = k.var(start, acc)
                    with k.seq(b, E.minimum(b + STEPS, hi2)) as r2:
                        at = r1 * s1 + r2 * s2 + (i if unit else i * si)
                        v = element(base, at, first + r1 * n2 + r2, known, p, prepare, acc)
                        some.set(FOLDS[fold](some.get(), v))
                    total.set(FOLDS[fold](total.get(), some.get()))
            y[q * ni + i] = FINISH[finish](total.get(), scale)
