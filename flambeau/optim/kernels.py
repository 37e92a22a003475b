"""The updates of the optimizers: scalar formulas of what is read and written, one launch for all parameters of a step.

A formula takes (p, g, *state, numbers...) and returns the new (p, *state). Operations are in PyTorch's order and round
where PyTorch's round (`fma` where its kernels have a fused multiply-add), so that trajectories agree to the last bit or
nearly; float16 and bfloat16 are computed in float32 and rounded once. `Update` compiles a formula once per dtype; shapes
and numbers are arguments. Numbers like 1 - beta arrive computed in double precision. Where steps are recorded
(differentiable=True) the same formula becomes one pointwise op for each tensor that is written.
"""

from __future__ import annotations

import functools
import inspect
import threading
from array import array

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.calling import dispatcher
from flambeau.ops.custom import pointwise
from flambeau.ops.record import POINTWISE, Op, state
from flambeau.runtime import calls
from flambeau.tensor.tensor import Tensor

CHUNK = 4096  # elements of a task
GRAIN = 32768  # elements that make another thread worth waking


class Update:
    """A formula as a kernel: update(tensors, numbers) changes p and the state in place, within a Batch at its end."""

    def __init__(self, fn):
        self.op, self.fn = Op(fn, POINTWISE, {}), fn
        dispatcher(self.op)
        self.kernel = many(fn, len(self.op.params) - len(self.op.keyword_only))

    def __call__(self, tensors: tuple, *numbers: float) -> None:
        p, batch = tensors[0], open_batch.now
        if batch is None and state.grad:
            self.recorded(tensors, numbers)
            return
        if p._dtype.is_complex:  # PyTorch's formulas are of the real and imaginary parts
            tensors = tuple([t.view_as_real() for t in tensors])
            p = tensors[0]
        if batch is None:
            with Batch():
                self(tensors, *numbers)
            return
        at = calls.changed(tensors, p._dtype.itemsize)
        if at is not None:
            batch.add(self, p._dtype, p._numel, at, numbers)
            batch.held.append(tensors)
            return
        check_shapes(tensors)
        self.op.elementwise.run((*tensors, *numbers), (p, *tensors[2:]))
        for t in (p, *tensors[2:]):
            t._vc.version += 1

    def recorded(self, tensors: tuple, numbers: tuple) -> None:
        """The update with its history, from copies of what is about to change; numbers may be tensors too."""
        check_shapes(tensors)
        is_complex = tensors[0]._dtype.is_complex
        before = [t.clone().view_as_real() if is_complex else t.clone() for t in tensors]
        after = [part(*before, *numbers) for part in self.parts]
        for t, y in zip((tensors[0], *tensors[2:]), after, strict=True):
            t.copy_(y.view_as_complex() if is_complex else y)

    @functools.cached_property
    def parts(self) -> list:
        """For each tensor that is written, the op that computes it alone."""
        return [part_of(self.fn, i, self.op.params) for i in range(len(self.op.params) - len(self.op.keyword_only) - 1)]


def part_of(fn, i: int, names: tuple[str, ...]):
    """The i-th result of a formula as an op, differentiable in each of its arguments."""
    count = fn.__code__.co_argcount

    def part(*values):
        y = fn(*values[:count], **dict(zip(names[count:], values[count:], strict=True)))
        return y[i] if isinstance(y, tuple) else y

    part.__name__ = part.__qualname__ = f"{fn.__name__}_{names[i + (i > 0)]}"
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = ["gradient" if n == "g" else n for n in names]  # g is what rules of derivatives are given
    part.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in own])  # type: ignore[attr-defined]
    return pointwise(part)


def many(fn, count: int):
    """The kernel of a formula for many parameters: rows of a table say where each one's tensors are, and its numbers.

    Each row of `table`: the number of its first task, how many elements, the addresses of its `count` tensors.
    """

    def run(k, base: Ptr, table: Ptr, numbers: Ptr, at: Int, rows: Int, *, names: tuple):
        width = count + 2
        with k.parallel() as task:
            row = k.var(E.const(0, dt.int64), dt.int64)
            with k.seq(1, rows) as r:
                row.set(E.where(table[r * width] <= task, r, row.get()))
            line = table.at(row.get() * width)
            first = (task - line[0]) * CHUNK
            places = [base.at((line[2 + i] - at) // base.dtype.itemsize) for i in range(count)]
            given = {n: E.cast(numbers[row.get() * len(names) + i], base.compute) for i, n in enumerate(names)}
            with k.vector(first, E.minimum(first + CHUNK, line[1])) as i:
                y = fn(*[x[i] for x in places], **given)
                for place, value in zip((places[0], *places[2:]), y if isinstance(y, tuple) else (y,), strict=True):
                    place[i] = value

    run.__name__ = fn.__name__
    return kernel(run)


class Batch:
    """Updates put together: all of one formula and dtype are one launch, when the block ends."""

    def __init__(self):
        self.parts: dict = {}
        self.seen: set = set()
        self.held: list = []  # only addresses are in the tables

    def add(self, update: Update, dtype, count: int, at: list, numbers: tuple) -> None:
        """One parameter's update, to be done with the others': `count` elements at each of the addresses `at`."""
        if at[0] in self.seen:  # the same parameter again: one after the other
            self.run()
        self.seen.add(at[0])
        part = self.parts.get((update, dtype))
        if part is None:
            part = self.parts[update, dtype] = [[], [], 0, 0]
        part[0] += part[2], count, *at
        part[1] += numbers
        part[2] += -(-count // CHUNK)
        part[3] += count

    def run(self) -> None:
        """Do what has been put together."""
        for (update, dtype), (rows, numbers, tasks, elements) in self.parts.items():
            op = update.op
            table, values, at = array("q", rows), array("d", numbers), rows[2]
            names = op.params[-len(op.keyword_only) :]
            run = update.kernel((dtype, dt.int64, dt.float64), names=names)
            run(tasks, max(1, tasks * GRAIN // max(elements, 1)), at, table.buffer_info()[0], values.buffer_info()[0], at,
                len(numbers) // len(names))  # fmt: skip
        for kept in (self.parts, self.seen, self.held):
            kept.clear()

    def __enter__(self):
        self.outer, open_batch.now = open_batch.now, self
        return self

    def __exit__(self, *exc):
        open_batch.now = self.outer
        self.run()


class Open(threading.local):
    """The batch that updates of this thread join."""

    now: Batch | None = None


open_batch = Open()


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
def sparse_adam(p, g, m, v, *, step, eps, sign, rest1, rest2):
    """m += rest1 (g - m), v += rest2 (g^2 - v); p - step m / (sqrt(v) + eps)."""
    g = sign * g
    m, v = m + (g - m) * rest1, v + (g * g - v) * rest2
    return p + -step * (m / (E.sqrt(v) + eps)), m, v


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
