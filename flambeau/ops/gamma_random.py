"""Gamma distributed numbers, and how they move with their concentration (what reparameterised sampling differentiates)."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Ptr, kernel
from flambeau.ops.generators import engine_of
from flambeau.ops.random_counts import rounded
from flambeau.ops.random_fill import check_float
from flambeau.ops.record import KERNEL, hooks, op

HIDDEN = {"function": False, "method": False}


@op(KERNEL, **HIDDEN, node="StandardGammaBackward0")
def standard_gamma(input, generator=None):
    """Gamma distributed numbers of concentration `input` and rate 1, drawn in float64 one after another.

    Source:   Marsaglia and Tsang, A simple method for generating gamma variables, 2000; torch._standard_gamma
    """
    check_float("_standard_gamma", input)
    engine = engine_of(generator)
    tiny = 1.1754943508222875e-38 if input._dtype is dt.float32 else 2.2250738585072014e-308
    real = float if input._dtype is dt.float64 else rounded
    values = [max(gamma_one(a, engine.uniform_double, engine.normal, real), tiny) for a in input.detach().reshape(-1).tolist()]
    return hooks.tensor(values, dtype=dt.float64).to(input._dtype).reshape(input._shape)


THIRD, SQUEEZE = 0.3333333432674408, 0.03310000151395798  # 1/3 and 0.0331 as PyTorch has them, rounded to float32


def gamma_one(alpha: float, uniform, normal, real=float) -> float:
    """One number; below concentration 1 by a power of a uniform one. `real` rounds what depends on alpha alone."""
    scale = 1.0
    if alpha < 1:
        if alpha <= 0:
            return 0.0 if alpha == 0 else math.nan
        scale, alpha = (1.0 - uniform()) ** real(1.0 / alpha), real(alpha + 1.0)
    d = real(alpha - THIRD)
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal()
        y = 1.0 + c * x
        if y <= 0:
            continue
        v = y * y * y
        u, square = 1.0 - uniform(), x * x
        if u < 1.0 - SQUEEZE * square * square or math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return scale * d * v


@kernel
def slopes(k, y: Ptr, a: Ptr, x: Ptr):
    """dx/da at constant P(a, x), by the series of P: the sum of t_n (psi(a + n + 1) - log x), t_n = x^(n+1) / (a)_(n+1)."""
    with k.parallel() as i:
        alpha, v = E.cast(a[i], dt.float64), E.cast(x[i], dt.float64)
        log_v = E.log(v)
        n, term = k.var(0.0, dt.float64), k.var(v / alpha)
        psi = k.var(E.digamma(alpha) + 1 / alpha)
        total, last = k.var(0.0, dt.float64), k.var(1.0, dt.float64)
        with k.while_(lambda: (n.value <= v) | (last.value > 1e-17 * abs(total.value))):
            part = term.value * (psi.value - log_v)
            total.set(total.value + part)
            last.set(abs(part))
            n.set(n.value + 1)
            term.set(term.value * (v / (alpha + n.value)))
            psi.set(psi.value + 1 / (alpha + n.value))
        y[i] = E.cast(total.value, y.compute)


@op(KERNEL, **HIDDEN)
def gamma_slope(input, value):
    """The derivative of a gamma distributed value by its concentration `input`, its probability held."""
    a, x = input.expand(value._shape).contiguous(), value.contiguous()
    out = hooks.empty(x._shape, x._dtype)
    if x._numel:
        slopes((out._dtype, a._dtype, x._dtype))(x._numel, 64, out._ptr, a._ptr, x._ptr)
    return out


standard_gamma.derivative(input=lambda g, input, result: g * gamma_slope(input, result))


def sample_dirichlet(concentration, generator=None):
    """Points of the simplex: gamma distributed numbers divided by their sum over the last dim, in float64.

    Source:   torch._sample_dirichlet
    """
    x = standard_gamma(concentration.to(dt.float64), generator)
    return (x / x.sum(-1, True)).to(concentration._dtype)
