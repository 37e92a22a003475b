"""Connectionist temporal classification: the loss over all alignments, and its gradient, each in one kernel.

Source:   Graves, Fernandez, Gomez and Schmidhuber, Connectionist temporal classification, 2006
"""

from __future__ import annotations

import math

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.elementwise import SCALAR_NAMES
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

NONE = -math.inf


def log_sum(a, b, c):
    """log(e^a + e^b + e^c); -inf of three -inf."""
    top = E.maximum(E.maximum(a, b), c)
    top = E.where(top == NONE, 0.0, top)
    return E.log(E.exp(a - top) + E.exp(b - top) + E.exp(c - top)) + top


def forwards(k, alpha, lp, path, steps, states, row) -> None:
    """alpha[t, s] = log p(of the path's first s + 1 states within the first t + 1 steps); states may be skipped between
    two different labels."""
    none = E.const(NONE, alpha.compute)
    with k.seq(states) as s:
        alpha[s] = E.where(s < 2, lp[path[s]], none)
    with k.seq(1, steps) as t:
        old, new, p = alpha.at((t - 1) * states), alpha.at(t * states), lp.at(t * row)
        with k.seq(states) as s:
            one, two = E.maximum(s - 1, 0), E.maximum(s - 2, 0)
            skip = (s > 1) & (path[s] != path[two]) & ((s & 1) == 1)
            new[s] = log_sum(old[s], E.where(s > 0, old[one], none), E.where(skip, old[two], none)) + p[path[s]]


def likelihood(alpha, steps, states):
    """log p of the whole path: it ends in the last label or the blank behind it."""
    end = alpha.at((steps - 1) * states)
    none = E.const(NONE, alpha.compute)
    return log_sum(end[states - 1], E.where(states > 1, end[E.maximum(states - 2, 0)], none), none)


@kernel
def losses(k, nll: Ptr, lp: Ptr, path: Ptr, steps: Ptr, states: Ptr, alpha: Ptr, batch: Int, classes: Int, longest: Int, size: Int):
    """-log p of every sample; without a step, 0 for no label and infinity else."""
    with k.parallel() as b:
        n, m = steps[b], states[b]
        a = alpha.at(b * size)
        with k.if_(n > 0):
            forwards(k, a, lp.at(b * classes), path.at(b * longest), n, m, batch * classes)
            nll[b] = -likelihood(a, n, m)
        with k.if_(n == 0):
            nll[b] = E.where(m == 1, E.const(0.0, nll.compute), E.const(math.inf, nll.compute))


@kernel
def slopes(k, gx: Ptr, g: Ptr, lp: Ptr, path: Ptr, steps: Ptr, states: Ptr, alpha: Ptr, beta: Ptr, batch: Int, classes: Int,
           longest: Int, size: Int, *, zero_infinity: bool):  # fmt: skip
    """gx[t, b, c] = g[b] (exp(lp) - p(state of class c at t | the labels)): the slope by unnormalised scores, as PyTorch's."""
    none = E.const(NONE, alpha.compute)
    with k.parallel() as b:
        n, m, row = steps[b], states[b], batch * classes
        a, w = alpha.at(b * size), path.at(b * longest)
        x, out = lp.at(b * classes), gx.at(b * classes)
        with k.if_(n > 0):
            forwards(k, a, x, w, n, m, row)
            total = likelihood(a, n, m)
            now, old = beta.at(b * 2 * longest), beta.at((b * 2 + 1) * longest)
            with k.seq(n) as back:
                t = n - 1 - back
                p, y = x.at(t * row), out.at(t * row)
                with k.seq(classes) as c:
                    y[c] = E.exp(p[c])
                with k.seq(m) as s:
                    old[s] = now[s]
                with k.seq(m) as s:
                    one, two = E.minimum(s + 1, m - 1), E.minimum(s + 2, m - 1)
                    skip = (s + 2 < m) & (w[s] != w[two]) & ((s & 1) == 1)
                    later = log_sum(old[s], E.where(s + 1 < m, old[one], none), E.where(skip, old[two], none))
                    first = E.where(s + 2 < m, none, E.const(0.0, alpha.compute))  # at the end of time
                    beyond = E.where(back == 0, first, later)
                    now[s] = beyond + p[w[s]]
                    y[w[s]] = y[w[s]] - E.exp(a[t * m + s] + beyond - total)
                with k.seq(classes) as c:
                    if zero_infinity:
                        y[c] = E.where(total == NONE, 0.0, y[c] * g[b])
                    else:
                        y[c] = E.where(total == NONE, math.nan, y[c] * g[b])


class Problem:
    """What both kernels are given: paths (labels with blanks between them), numbers of steps and states, scratch."""

    def __init__(self, log_probs, paths, steps, states):
        self.x = log_probs.contiguous()
        self.longest = paths._shape[1]
        self.size = self.x._shape[0] * self.longest
        self.alpha = hooks.empty((paths._shape[0] * self.size,), self.x._dtype)
        self.tensors = (self.x, paths, steps, states, self.alpha)
        self.numbers = (*self.x._shape[1:], self.longest, self.size)
        self.dtypes = tuple(t._dtype for t in self.tensors)

    def pointers(self):
        """Of the tensors, in the kernels' order."""
        return [t._ptr for t in self.tensors]


@op(KERNEL, function=False, method=False, node="CtcLossBackward0")
def ctc_losses(log_probs, paths, steps, states, zero_infinity):
    """The loss of every sample."""
    p = Problem(log_probs, paths, steps, states)
    nll = hooks.empty((p.x._shape[1],), p.x._dtype)
    if nll._numel:
        losses((nll._dtype, *p.dtypes))(nll._numel, 1, nll._ptr, *p.pointers(), *p.numbers)
    return nll


@op(KERNEL, function=False, method=False)
def ctc_losses_backward(g, log_probs, paths, steps, states, zero_infinity):
    """The gradient of ctc_losses."""
    p = Problem(log_probs, paths, steps, states)
    gx, g = hooks.empty(p.x._shape, p.x._dtype).zero_(), g.contiguous()
    beta = hooks.empty((2 * p.longest * p.x._shape[1],), p.x._dtype)
    if gx._numel:
        launch = slopes((gx._dtype, g._dtype, *p.dtypes, beta._dtype), zero_infinity=zero_infinity)
        launch(p.x._shape[1], 1, gx._ptr, g._ptr, *p.pointers(), beta._ptr, *p.numbers)
    return gx


def no_second(g):
    """PyTorch has no second derivative either."""
    raise RuntimeError("derivative for aten::_ctc_loss_backward is not implemented")


ctc_losses.derivative(
    log_probs=lambda g, log_probs, paths, steps, states, zero_infinity: ctc_losses_backward(
        g, log_probs, paths, steps, states, zero_infinity
    )
)
ctc_losses_backward.derivative(g=no_second, log_probs=no_second)


@op(COMPOSITE, functional=True, method=False)
def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """The negative log likelihood of label sequences over all alignments (Connectionist Temporal Classification).

    Its gradient is that by unnormalised scores, as PyTorch's: log_probs are to come from log_softmax. It has no second one.

    Shapes:   log_probs (T, N, C) or (T, C); targets (N, S) or all labels in one vector
    Source:   Graves et al., 2006; torch.nn.functional.ctc_loss
    """
    if log_probs._dtype not in (dt.float32, dt.float64):
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{SCALAR_NAMES[log_probs._dtype.name]}': convert log_probs to float32")
    reduction = reduction if isinstance(reduction, str) else ("none", "mean", "sum")[reduction]
    single = len(log_probs._shape) == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    steps, batch, classes = log_probs._shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range, got {blank} of {classes} classes")
    lengths_in, lengths = numbers("input_lengths", input_lengths, batch), numbers("target_lengths", target_lengths, batch)
    for n in lengths_in:
        if not 0 <= n <= steps:
            raise RuntimeError(f"Expected input_lengths to have value at {f'most {steps}' if n > 0 else 'least 0'}, but got value {n}")
    paths = paths_of(targets, lengths, blank, classes)
    states = hooks.tensor([2 * n + 1 for n in lengths], dtype=dt.int64)
    loss = ctc_losses(log_probs, paths, hooks.tensor(lengths_in, dtype=dt.int64), states, bool(zero_infinity))
    if zero_infinity:
        loss = loss.masked_fill(loss == math.inf, 0)
    if reduction == "none":
        return loss[0] if single else loss
    if reduction == "sum":
        return loss.sum()
    return (loss / loss.new_tensor([max(1, n) for n in lengths])).mean()


def numbers(name: str, lengths, batch: int) -> list[int]:
    """Lengths as a list of ints."""
    if isinstance(lengths, hooks.Tensor):
        if lengths._dtype.is_floating_point:
            raise RuntimeError(f"{name} must be integral")
        lengths = lengths.reshape(-1).tolist()
    values = [int(n) for n in lengths] if hasattr(lengths, "__iter__") else [int(lengths)]
    if len(values) != batch:
        raise RuntimeError(f"{name} must be of size batch_size, got {len(values)} for a batch of {batch}")
    return values


def paths_of(targets, lengths: list[int], blank: int, classes: int):
    """(N, 2 S + 1): every sample's labels, with blanks around them."""
    labels = targets.detach().to(dt.int64).numpy()
    longest = max(lengths, default=0)
    if labels.ndim == 2 and (labels.shape[0] != len(lengths) or labels.shape[1] < longest):
        raise RuntimeError(f"Expected tensor to have size at least {longest} at dimension 1, but got size {labels.shape[-1]} for argument #2 'targets'")
    if labels.ndim < 2 and labels.size != sum(lengths):
        raise RuntimeError(f"Expected tensor to have size {sum(lengths)} at dimension 0, but got size {labels.size} for argument #2 'targets'")
    paths, at = np.full((len(lengths), 2 * longest + 1), blank, np.int64), 0
    for b, n in enumerate(lengths):
        row = labels[b, :n] if labels.ndim == 2 else labels.reshape(-1)[at : at + n]
        if ((row < 0) | (row >= classes)).any():
            raise RuntimeError(f"ctc_loss(targets): labels must be in [0, {classes}), got {row.tolist()} for sample {b}")
        paths[b, 1 : 2 * n : 2], at = row, at + n
    return hooks.from_array(paths)
