"""The regularised incomplete gamma functions P(a, x) and Q(a, x) = 1 - P, computed in float64."""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Ptr, kernel
from flambeau.ops.loss import xlogy
from flambeau.ops.record import KERNEL, hooks, op
from flambeau.ops.unary import exp, lgamma

TINY = 1e-300


@kernel
def incomplete(k, y: Ptr, a: Ptr, x: Ptr, *, upper: bool):
    """P by its series below x = a + 1, Q by its continued fraction (Lentz's method) above; the other is 1 less it."""
    with k.parallel() as i:
        alpha, v = E.cast(a[i], dt.float64), E.cast(x[i], dt.float64)
        part = k.var(0.0, dt.float64)
        scale = E.exp(alpha * E.log(v) - v - E.lgamma(alpha))
        bad = (alpha < 0) | (v < 0) | E.isnan(alpha + v) | ((alpha == 0) & (v == 0))
        end = (v == 0) | (alpha == 0) | E.isinf(v) | E.isinf(alpha)
        low = v < alpha + 1
        with k.if_(low & ~(bad | end)):
            series(k, part, alpha, v)
        with k.if_(~(low | bad | end)):
            fraction(k, part, alpha, v)
        p = E.where(low, scale * part.value, 1 - scale * part.value)
        q = E.where(low, 1 - scale * part.value, scale * part.value)
        nothing = (v == 0) | E.isinf(alpha) & ~E.isinf(v)  # all of the mass lies above
        value = E.where(end, E.where(nothing, float(upper), float(not upper)), q if upper else p)
        y[i] = E.cast(E.where(bad | E.isinf(v) & E.isinf(alpha), float("nan"), value), y.compute)


def series(k, total, a, x) -> None:
    """sum x^n / (a (a + 1) ... (a + n))."""
    n, term = k.var(a), k.var(1 / a)
    total.set(1 / a)
    with k.while_(lambda: term.value > 1e-17 * total.value):
        n.set(n.value + 1)
        term.set(term.value * x / n.value)
        total.set(total.value + term.value)


def fraction(k, total, a, x) -> None:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / (x + 5 - a - ...)))."""
    b, n = k.var(x + 1 - a), k.var(1.0, dt.float64)
    c, d, step = k.var(1 / TINY, dt.float64), k.var(1 / (x + 1 - a)), k.var(0.0, dt.float64)
    total.set(d.value)
    with k.while_(lambda: (abs(step.value - 1) > 1e-16) & (n.value < 10000)):
        top = n.value * (a - n.value)
        b.set(b.value + 2)
        down = top * d.value + b.value
        d.set(1 / E.where(abs(down) < TINY, TINY, down))
        up = b.value + top / c.value
        c.set(E.where(abs(up) < TINY, TINY, up))
        step.set(c.value * d.value)
        total.set(total.value * step.value)
        n.set(n.value + 1)


def computed(name: str, input, other, upper: bool):
    """One of the two functions over broadcast operands."""
    shape = S.broadcast_shapes(name, tuple(input._shape), tuple(other._shape))
    d = dt.promote_types(input._dtype, other._dtype)
    if not d.is_floating_point:
        raise NotImplementedError(f'"{name}" not implemented for {d}: it takes floating dtypes')
    a, x = (t.to(d).expand(shape).contiguous() for t in (input, other))
    out = hooks.empty(shape, d)
    if out._numel:
        incomplete((d, d, d), upper=upper)(out._numel, 256, out._ptr, a._ptr, x._ptr)
    return out


def density(input, other):
    """x^(a - 1) exp(-x) / Gamma(a)."""
    return exp(xlogy(input - 1, other) - other - lgamma(input))


@op(KERNEL, aliases=("special_gammainc",), node="IgammaBackward0", inplace=True)
def igamma(input, other):
    """The regularised lower incomplete gamma function P(input, other); differentiable in other.

    Source:   torch.special.gammainc
    """
    return computed("igamma_cpu", input, other, False)


igamma.derivative(other=lambda g, input, other: g * density(input, other))


@op(KERNEL, aliases=("special_gammaincc",), node="IgammacBackward0", inplace=True)
def igammac(input, other):
    """The regularised upper incomplete gamma function Q(input, other) = 1 - P; differentiable in other.

    Source:   torch.special.gammaincc
    """
    return computed("igammac_cpu", input, other, True)


igammac.derivative(other=lambda g, input, other: -g * density(input, other))
