"""The updates of the optimizers, each one fused kernel per parameter: scalar formulas of what is read and written.

A formula takes (p, g, *state, numbers...) and returns the new (p, *state). Operations are in PyTorch's order and round
where PyTorch's round (`fma` where its kernels have a fused multiply-add), so that trajectories agree to the last bit or
nearly; float16 and bfloat16 are computed in float32 and rounded once. `Update` compiles a formula once per dtype; shapes
and numbers are arguments. Numbers like 1 - beta arrive computed in double precision.
"""

from __future__ import annotations

from flambeau.ir import expr as E
from flambeau.ops.calling import dispatcher
from flambeau.ops.record import POINTWISE, Op
from flambeau.tensor.tensor import Tensor

GRAIN = 16384


class Update:
    """A formula as a kernel: update(tensors, numbers) changes p and the state in place."""

    def __init__(self, fn):
        self.op = Op(fn, POINTWISE, {})
        dispatcher(self.op)
        self.run = self.op.elementwise.run
        self.kernels: dict = {}

    def __call__(self, tensors: tuple, *numbers: float) -> None:
        p = tensors[0]
        if p._dtype.is_complex:  # PyTorch's formulas are of the real and imaginary parts
            tensors = tuple([t.view_as_real() for t in tensors])
            p = tensors[0]
        outs = (p, *tensors[2:])
        dtype, shape = p._dtype, p._shape
        for t in tensors:
            if not t._dense or t._dtype is not dtype or t._shape != shape:
                dense = False
                break
        else:
            dense = bool(shape)
        if dense:
            kernel = self.kernels.get(dtype)
            if kernel is None:
                plan = self.op.elementwise.plan((*tensors, *numbers))
                kernel = plan.kernel(("dense", (False,) * len(tensors)), (dtype,) * len(outs))
                self.kernels[dtype] = kernel
            kernel(p._numel, GRAIN, *[t._ptr for t in outs], *[t._ptr for t in tensors], *numbers)
        else:
            check_shapes(tensors)
            self.run((*tensors, *numbers), outs)
        for t in outs:
            t._vc.version += 1


def check_shapes(tensors: tuple[Tensor, ...]) -> None:
    """The gradient and the state have the parameter's shape."""
    shape = tuple(tensors[0]._shape)
    for i, t in enumerate(tensors[1:]):
        if tuple(t._shape) != shape:
            what = "gradient" if i == 0 else "state"
            raise RuntimeError(f"optimizer: a parameter of shape {list(shape)} has a {what} of shape {list(t._shape)}")


def descent(p, g, decay, sign):
    """The gradient to descend along: sign turned for maximising, decay * p added."""
    g = sign * g
    return E.where(decay != 0, E.fma(p, decay, g), g)


def lerp(a, b, w):
    """a + w (b - a), from the nearer end."""
    return E.fma(E.where(w < 0.5, w, w - 1), b - a, E.where(w < 0.5, a, b))


def mean_square(s, g, keep, rest):
    """keep s + rest g^2."""
    return E.fma(rest * g, g, keep * s)


@Update
def sgd(p, g, *, lr, decay, sign):
    """p - lr g."""
    return E.fma(descent(p, g, decay, sign), -lr, p)


@Update
def sgd_momentum(p, g, m, *, lr, decay, sign, momentum, keep, nesterov):
    """m = momentum m + keep g; p - lr m, or p - lr (g + momentum m)."""
    g = descent(p, g, decay, sign)
    m = E.fma(g, keep, momentum * m)
    return E.fma(E.where(nesterov != 0, E.fma(m, momentum, g), m), -lr, p), m


@Update
def adam(p, g, m, v, *, step, root, eps, decay, shrink, sign, rest1, b2, rest2):
    """p - step m / (sqrt(v) / root + eps); rest is 1 - beta, shrink AdamW's factor of p."""
    p = p * shrink
    g = descent(p, g, decay, sign)
    m, v = lerp(m, g, rest1), mean_square(v, g, b2, rest2)
    return p + -step * m / (E.sqrt(v) / root + eps), m, v


@Update
def amsgrad(p, g, m, v, most, *, step, root, eps, decay, shrink, sign, rest1, b2, rest2):
    """adam with the largest v so far."""
    p = p * shrink
    g = descent(p, g, decay, sign)
    m, v = lerp(m, g, rest1), mean_square(v, g, b2, rest2)
    most = E.maximum(most, v)
    return p + -step * m / (E.sqrt(most) / root + eps), m, v, most


@Update
def nadam(p, g, m, v, *, by_g, by_m, c2, eps, decay, shrink, sign, rest1, b2, rest2):
    """p + by_g g / d + by_m m / d, d = sqrt(v / c2) + eps."""
    p = p * shrink
    g = descent(p, g, decay, sign)
    m, v = lerp(m, g, rest1), mean_square(v, g, b2, rest2)
    d = E.sqrt(v / c2) + eps
    return p + by_g * g / d + by_m * m / d, m, v


@Update
def radam(p, g, m, v, *, lr, c1, root, rect, eps, decay, shrink, sign, rest1, b2, rest2):
    """p - lr (m / c1) rect root / (sqrt(v) + eps); without the adaptive part where rect is 0."""
    p = p * shrink
    g = descent(p, g, decay, sign)
    m, v = lerp(m, g, rest1), mean_square(v, g, b2, rest2)
    mean = m / c1 * lr
    return p - E.where(rect != 0, mean * (root / (E.sqrt(v) + eps)) * rect, mean), m, v


@Update
def adamax(p, g, m, u, *, step, eps, decay, sign, rest1, b2):
    """u = max(beta2 u, |g| + eps); p - step m / u."""
    g = descent(p, g, decay, sign)
    m = lerp(m, g, rest1)
    u = E.maximum(u * b2, abs(g) + eps)
    return p + -step * m / u, m, u


@Update
def adagrad(p, g, s, *, lr, eps, decay, sign):
    """s += g^2; p - lr g / (sqrt(s) + eps)."""
    g = descent(p, g, decay, sign)
    s = E.fma(g, g, s)
    return p + -lr * g / (E.sqrt(s) + eps), s


@Update
def adadelta(p, g, s, d, *, lr, rho, rest, eps, decay, sign):
    """p - lr delta, delta = g sqrt(d + eps) / sqrt(s + eps): s and d are running means of g^2 and delta^2."""
    g = descent(p, g, decay, sign)
    s = mean_square(s, g, rho, rest)
    delta = E.sqrt(d + eps) / E.sqrt(s + eps) * g
    return E.fma(delta, -lr, p), s, mean_square(d, delta, rho, rest)


@Update
def rmsprop(p, g, s, *, lr, alpha, rest, eps, decay, sign):
    """p - lr g / (sqrt(s) + eps)."""
    g = descent(p, g, decay, sign)
    s = mean_square(s, g, alpha, rest)
    return p + -lr * g / (E.sqrt(s) + eps), s


@Update
def rmsprop_momentum(p, g, s, m, *, lr, alpha, rest, eps, decay, sign, momentum):
    """m = momentum m + g / (sqrt(s) + eps); p - lr m."""
    g = descent(p, g, decay, sign)
    s = mean_square(s, g, alpha, rest)
    m = momentum * m + g / (E.sqrt(s) + eps)
    return E.fma(m, -lr, p), s, m


@Update
def rmsprop_centered(p, g, s, mean, *, lr, alpha, rest, eps, decay, sign):
    """rmsprop by the variance, s - mean^2."""
    g = descent(p, g, decay, sign)
    s, mean = mean_square(s, g, alpha, rest), lerp(mean, g, rest)
    return p + -lr * g / (E.sqrt(E.fma(-mean, mean, s)) + eps), s, mean


@Update
def rmsprop_centered_momentum(p, g, s, m, mean, *, lr, alpha, rest, eps, decay, sign, momentum):
    """rmsprop_momentum by the variance."""
    g = descent(p, g, decay, sign)
    s, mean = mean_square(s, g, alpha, rest), lerp(mean, g, rest)
    m = momentum * m + g / (E.sqrt(E.fma(-mean, mean, s)) + eps)
    return E.fma(m, -lr, p), s, m, mean


@Update
def rprop(p, g, prev, size, *, sign, minus, plus, least, most):
    """Step sizes grow while the gradient's sign stays, shrink (and the step is left out) where it turns."""
    g = sign * g
    turn = g * prev
    zero, one = E.const(0, g.dtype), E.const(1, g.dtype)
    factor = E.where(turn > 0, E.cast(plus, g.dtype), E.where(turn < 0, E.cast(minus, g.dtype), one))
    size = E.minimum(E.maximum(size * factor, least), most)
    g = E.where(turn < 0, zero, g)
    return p - E.where(g > 0, size, E.where(g < 0, -size, zero)), g, size


@Update
def asgd(p, g, average, *, eta, shrink, mu, decay, sign):
    """p shrink - eta g, and its average."""
    g = descent(p, g, decay, sign)
    p = E.fma(g, -eta, p * shrink)
    return p, E.where(mu == 1, p, average + (p - average) * mu)
