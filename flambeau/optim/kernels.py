"""The updates of the optimizers, each one fused kernel per parameter: scalar formulas of what is read and written.

A formula takes (p, g, *state, numbers...) and returns the new (p, *state). Every operation is in PyTorch's order, so that
trajectories agree to rounding. `Update` compiles a formula once per choice of dtypes; shapes and numbers are arguments.
"""

from __future__ import annotations

from flambeau.ir import expr as E
from flambeau.ops.elementwise import dispatcher
from flambeau.ops.record import POINTWISE, Op

GRAIN = 16384


class Update:
    """A formula as a kernel: update(tensors, numbers) changes p and the state in place."""

    def __init__(self, fn, states: int):
        self.count = 2 + states
        self.op = Op(fn, POINTWISE, {})
        dispatcher(self.op)
        self.run = self.op.elementwise.run
        self.kernels: dict = {}

    def __call__(self, tensors: tuple, *numbers: float) -> None:
        p = tensors[0]
        outs = (p, *tensors[2:])
        if all(t._dense and t._dtype is p._dtype for t in tensors) and p._shape:
            kernel = self.kernels.get(p._dtype)
            if kernel is None:
                plan, _, _ = self.op.elementwise.plan((*tensors, *numbers))
                kernel = plan.kernel(("dense", (False,) * len(tensors)), (p._dtype,) * len(outs))
                self.kernels[p._dtype] = kernel
            kernel(p._numel, GRAIN, *[t._ptr for t in outs], *[t._ptr for t in tensors], *numbers)
        else:
            self.run((*tensors, *numbers), outs)
        for t in outs:
            t._vc.version += 1


def update(states: int):
    """Decorator: a formula with this many state tensors."""
    return lambda fn: Update(fn, states)


def decayed(p, g, decay, sign):
    """The gradient to descend along: sign turned for maximising, decay * p added."""
    return sign * g + decay * p


@update(0)
def sgd(p, g, *, lr, decay, sign):
    """p - lr g."""
    return p - lr * decayed(p, g, decay, sign)


@update(1)
def sgd_momentum(p, g, m, *, lr, decay, sign, momentum, keep, nesterov):
    """m = momentum m + keep g; p - lr m, or p - lr (g + momentum m)."""
    g = decayed(p, g, decay, sign)
    m = momentum * m + keep * g
    return p - lr * E.where(nesterov != 0, g + momentum * m, m), m


def moments(p, g, m, v, decay, sign, b1, b2):
    """(g, the running mean of g, that of g^2)."""
    g = decayed(p, g, decay, sign)
    return g, m + b1 * (g - m), b2 * v + (1 - b2) * g * g


@update(2)
def adam(p, g, m, v, *, step, root, eps, decay, shrink, sign, b1, b2):
    """p - step m / (sqrt(v) / root + eps); b1 is 1 - beta1, shrink AdamW's factor of p."""
    p = p * shrink
    g, m, v = moments(p, g, m, v, decay, sign, b1, b2)
    return p - step * (m / (E.sqrt(v) / root + eps)), m, v


@update(3)
def amsgrad(p, g, m, v, most, *, step, root, eps, decay, shrink, sign, b1, b2):
    """adam with the largest v so far."""
    p = p * shrink
    g, m, v = moments(p, g, m, v, decay, sign, b1, b2)
    most = E.maximum(most, v)
    return p - step * (m / (E.sqrt(most) / root + eps)), m, v, most


@update(2)
def nadam(p, g, m, v, *, by_g, by_m, c2, eps, decay, shrink, sign, b1, b2):
    """p + by_g g / d + by_m m / d, d = sqrt(v / c2) + eps."""
    p = p * shrink
    g, m, v = moments(p, g, m, v, decay, sign, b1, b2)
    d = E.sqrt(v / c2) + eps
    return p + by_g * (g / d) + by_m * (m / d), m, v


@update(2)
def radam(p, g, m, v, *, lr, c1, root, rect, eps, decay, shrink, sign, b1, b2):
    """p - lr (m / c1) rect root / (sqrt(v) + eps); without the adaptive part where rect is 0."""
    p = p * shrink
    g, m, v = moments(p, g, m, v, decay, sign, b1, b2)
    mean = m / c1
    adaptive = mean * lr * (root / (E.sqrt(v) + eps)) * rect
    return p - E.where(rect != 0, adaptive, mean * lr), m, v


@update(2)
def adamax(p, g, m, u, *, step, eps, decay, sign, b1, b2):
    """u = max(beta2 u, |g| + eps); p - step m / u."""
    g = decayed(p, g, decay, sign)
    m = m + b1 * (g - m)
    u = E.maximum(u * b2, abs(g) + eps)
    return p - step * (m / u), m, u


@update(1)
def adagrad(p, g, s, *, lr, eps, decay, sign):
    """s += g^2; p - lr g / (sqrt(s) + eps)."""
    g = decayed(p, g, decay, sign)
    s = s + g * g
    return p - lr * (g / (E.sqrt(s) + eps)), s


@update(2)
def adadelta(p, g, s, d, *, lr, rho, eps, decay, sign):
    """Steps in the ratio of two running root mean squares."""
    g = decayed(p, g, decay, sign)
    s = rho * s + (1 - rho) * g * g
    delta = E.sqrt(d + eps) / E.sqrt(s + eps) * g
    return p - lr * delta, s, rho * d + (1 - rho) * delta * delta


@update(3)
def rmsprop(p, g, s, m, mean, *, lr, alpha, eps, decay, sign, momentum, centered):
    """g / (sqrt(s - mean^2) + eps), with momentum; mean counts if centered."""
    g = decayed(p, g, decay, sign)
    s = alpha * s + (1 - alpha) * g * g
    mean = mean + (1 - alpha) * (g - mean)
    size = E.where(centered != 0, s - mean * mean, s)
    m = momentum * m + g / (E.sqrt(size) + eps)
    return p - lr * m, s, m, mean


@update(2)
def rprop(p, g, prev, size, *, sign, minus, plus, least, most):
    """Step sizes grow while the gradient's sign stays, shrink (and the step is left out) where it turns."""
    g = sign * g
    turn = g * prev
    factor = E.where(turn > 0, E.cast(plus, g.dtype), E.where(turn < 0, E.cast(minus, g.dtype), E.const(1, g.dtype)))
    size = E.minimum(E.maximum(size * factor, least), most)
    g = E.where(turn < 0, E.const(0, g.dtype), g)
    way = E.where(g > 0, size, E.where(g < 0, -size, E.const(0, g.dtype)))
    return p - way, g, size


@update(1)
def asgd(p, g, average, *, eta, shrink, mu, decay, sign):
    """p shrink - eta g, and its average."""
    g = decayed(p, g, decay, sign)
    p = p * shrink - eta * g
    return p, E.where(mu == 1, p, average + (p - average) * mu)


@update(1)
def ema(average, p, unused, *, rate):
    """average + rate (p - average)."""
    return average + rate * (p - average), unused
