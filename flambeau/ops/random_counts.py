"""Counts: Poisson and binomially distributed numbers, drawn one after another."""

from __future__ import annotations

import math
import struct

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.generators import engine_of
from flambeau.ops.random_fill import check_float
from flambeau.ops.record import COMPOSITE, hooks, op


@op(COMPOSITE)
def poisson(input, generator=None):
    """Poisson distributed counts of the rates that input gives.

    Source:   Hormann, The transformed rejection method, 1993 (rates from 10 on); torch.poisson
    """
    engine = engine_of(generator)
    values = [poisson_one(rate, engine.uniform_double) for rate in input.detach().reshape(-1).tolist()]
    return hooks.tensor(values, dtype=input._dtype).reshape(input._shape)


def poisson_one(rate: float, uniform) -> float:
    """One count."""
    if rate < 0:
        raise RuntimeError(f"invalid Poisson rate, expected rate to be non-negative, got {rate}")
    if rate == 0:
        return 0.0
    if rate < 10:
        limit, product, count = math.exp(-rate), 1.0, 0
        while True:
            product *= uniform()
            if product <= limit:
                return float(count)
            count += 1
    root, log_rate = math.sqrt(rate), math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return float(k)
        if k < 0 or us < 0.013 and v > us:
            continue
        if math.log(v) + math.log(inverse) - math.log(a / (us * us) + b) <= -rate + k * log_rate - math.lgamma(k + 1):
            return float(k)


@op(COMPOSITE, method=False)
def binomial(count, prob, generator=None):
    """Numbers of successes in `count` trials of probability `prob`.

    Errors:   RuntimeError for dtypes that differ or are no floats
    Source:   Hormann, The generation of binomial random variates, 1993 (from 10 expected on); Devroye, Non-uniform random variate
              generation, 1986, p. 525 (below); torch.binomial
    """
    if count._dtype is not prob._dtype:
        raise RuntimeError(f"Found dtype {count._dtype} but expected {prob._dtype}: binomial(count, prob) takes two tensors of one dtype")
    check_float("binomial_cpu", count)
    shape = S.broadcast_shapes("binomial", tuple(count._shape), tuple(prob._shape))
    uniform = engine_of(generator).uniform_double
    real = float if count._dtype is dt.float64 else rounded
    counts, probabilities = (t.detach().expand(shape).reshape(-1).tolist() for t in (count, prob))
    values = [binomial_one(n, p, uniform, real) for n, p in zip(counts, probabilities, strict=True)]
    return hooks.tensor(values, dtype=count._dtype).reshape(shape)


def rounded(v: float) -> float:
    """v as a float32 holds it."""
    return struct.unpack("f", struct.pack("f", v))[0]


def binomial_one(n: float, p: float, uniform, real) -> float:
    """One count; of the rarer of the two outcomes. `real` rounds what depends on n and p alone."""
    if not (n > 0 and p > 0):
        return math.nan if math.isnan(n) or math.isnan(p) else 0.0
    if p >= 1:
        return n
    rare = p if p <= 0.5 else real(1.0 - p)
    k = by_rejection(n, rare, uniform, real) if real(n * rare) >= 10 else by_gaps(n, rare, uniform)
    return k if p <= 0.5 else n - k


def by_gaps(n: float, p: float, uniform) -> float:
    """The trials from one success to the next are geometrically distributed: how many such gaps n trials hold."""
    total, count, scale = 0.0, 0, math.log1p(-p)
    while True:
        u = uniform()
        total += math.ceil(math.log(u) / scale) if u else math.inf
        if total > n:
            return float(count)
        count += 1


def stirling_tail(k: float) -> float:
    """log k! less Stirling's formula for it, in k + 1."""
    if k <= 9:
        return math.lgamma(k + 1) - (0.5 * math.log(2 * math.pi) + (k + 0.5) * math.log(k + 1) - (k + 1))
    s = (k + 1) ** 2
    return (1 / 12 - (1 / 360 - 1 / 1260 / s) / s) / (k + 1)


def by_rejection(n: float, p: float, uniform, real) -> float:
    """Hormann's algorithm BTRS: a transformed uniform number, rejected where the probability is less than the hat."""
    spread = real(math.sqrt(real(real(n * p) * real(1 - p))))
    b = real(1.15 + 2.53 * spread)
    a, c, v_r = real(-0.0873 + 0.0248 * b + 0.01 * p), real(real(n * p) + 0.5), real(0.92 - 4.2 / b)
    odds, alpha, mode = real(p / (1 - p)), real((2.83 + 5.1 / b) * spread), math.floor(real((n + 1) * p))
    while True:
        u, v = uniform() - 0.5, uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= v_r:
            return float(k)
        if not 0 <= k <= n:
            continue
        bound = (mode + 0.5) * math.log((mode + 1) / (odds * (n - mode + 1)))
        bound += (n + 1) * math.log((n - mode + 1) / (n - k + 1)) + (k + 0.5) * math.log(odds * (n - k + 1) / (k + 1))
        bound += stirling_tail(mode) + stirling_tail(n - mode) - stirling_tail(k) - stirling_tail(n - k)
        if math.log(v * alpha / (a / (us * us) + b)) <= bound:
            return float(k)
