"""L-BFGS with an optional strong Wolfe line search (Nocedal and Wright, Numerical Optimization, 2006, ch. 3 and 7)."""

from __future__ import annotations

from flambeau.autograd.modes import enable_grad, no_grad
from flambeau.ops.join import cat
from flambeau.optim.optimizer import Optimizer, checked
from flambeau.tensor.tensor import Tensor


def cubic_minimum(x1, f1, g1, x2, f2, g2, bounds=None):
    """Where the cubic through two points with two slopes is least, within bounds."""
    low, high = bounds if bounds is not None else (min(x1, x2), max(x1, x2))
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    if square >= 0:
        d2 = square**0.5
        if x1 <= x2:
            at = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
        else:
            at = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
        return min(max(at, low), high)
    return (low + high) / 2


def strong_wolfe(evaluate, x, t, d, f, g, slope, c1=1e-4, c2=0.9, tolerance=1e-9, most=25):
    """(f, g, step, evaluations) of a step that meets the strong Wolfe conditions, or the best one seen."""
    width = largest(d)
    ends, done, n, evaluations = bracket(evaluate, x, t, d, f, g.clone(), slope, c1, c2, most)
    stuck = False
    low = 0 if ends[0][1] <= ends[-1][1] else 1
    while not done and n < most:
        a, b = ends[0][0], ends[1][0]
        if abs(b - a) * width < tolerance:
            break
        t = cubic_minimum(*(ends[0][i] for i in (0, 1, 3)), *(ends[1][i] for i in (0, 1, 3)))
        t, stuck = inside(t, a, b, stuck)
        point = measured(evaluate, x, t, d)
        evaluations, n = evaluations + 1, n + 1
        if point[1] > f + c1 * t * slope or point[1] >= ends[low][1]:
            ends[1 - low] = point
            low = 0 if ends[0][1] <= ends[1][1] else 1
        else:
            if abs(point[3]) <= -c2 * slope:
                done = True
            elif point[3] * (ends[1 - low][0] - ends[low][0]) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = point
    t, f, g, _ = ends[low]
    return f, g, t, evaluations


def measured(evaluate, x, t, d) -> tuple:
    """(t, f, g, slope) at x + t d."""
    f, g = evaluate(x, t, d)
    return t, f, g, g.dot(d).item()


def bracket(evaluate, x, t, d, f, g, slope, c1, c2, most) -> tuple:
    """(ends, done, iterations, evaluations): one good point, or two with a good one between them."""
    before, point = (0.0, f, g, slope), measured(evaluate, x, t, d)
    for n in range(most):
        if point[1] > f + c1 * t * slope or n > 1 and point[1] >= before[1]:
            return [before, point], False, n, n + 1
        if abs(point[3]) <= -c2 * slope:
            return [point], True, n, n + 1
        if point[3] >= 0:
            return [before, point], False, n, n + 1
        bounds = (t + 0.01 * (t - before[0]), t * 10)
        t = cubic_minimum(before[0], before[1], before[3], t, point[1], point[3], bounds)
        before, point = point, measured(evaluate, x, t, d)
    return [(0.0, f, g, slope), point], False, most, most + 1


def inside(t, a, b, stuck: bool) -> tuple:
    """(t, stuck): a trial that stays too near an end is moved a tenth of the way in."""
    low, high = min(a, b), max(a, b)
    margin = 0.1 * (high - low)
    if min(high - t, t - low) >= margin:
        return t, False
    if stuck or t >= high or t <= low:
        return (high - margin if abs(t - high) < abs(t - low) else low + margin), False
    return t, True


class LBFGS(Optimizer):
    """Limited-memory BFGS: directions from the last `history_size` steps; the closure is evaluated several times.

    Source:   torch.optim.LBFGS
    """

    def __init__(self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
                 history_size=100, line_search_fn=None):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }))  # fmt: skip
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def __getstate__(self):
        return super().__getstate__() | {"_params": self._params}

    def _flat_grad(self):
        return cat([(p.new_zeros(p.numel()) if p.grad is None else p.grad.to_dense().reshape(-1)) for p in self._params])

    def _move(self, t: float, direction) -> None:
        at = 0
        for p in self._params:
            n = p.numel()
            p.add_(direction[at : at + n].view_as(p), alpha=t)
            at += n

    def _evaluate(self, closure, start, t, direction):
        self._move(t, direction)
        loss = float(closure())
        grad = self._flat_grad()
        for p, old in zip(self._params, start, strict=True):
            p.copy_(old)
        return loss, grad

    def step(self, closure):
        """Up to max_iter iterations; returns the first loss."""
        with no_grad():
            return self._iterate(enable_grad()(closure))

    def _iterate(self, closure):
        group, state = self.param_groups[0], self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first = closure()
        loss, g, evaluations = float(first), self._flat_grad(), 1
        state["func_evals"] += 1
        if largest(g) <= group["tolerance_grad"]:
            return first
        memory = {k: state.get(k) for k in MEMORY}
        for n in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direct(memory, state, g, group["history_size"])
            memory["prev_flat_grad"], memory["prev_loss"] = g.clone(), loss
            d, lr = memory["d"], group["lr"]
            lr = lr.item() if isinstance(lr, Tensor) else lr
            t = min(1.0, 1.0 / float(g.abs().sum())) * lr if state["n_iter"] == 1 else lr
            memory["t"] = t
            slope = float(g.dot(d))
            if slope > -group["tolerance_change"]:
                break
            last = n == group["max_iter"]
            loss, g, t, count = self._advance(closure, group, loss, g, t, d, slope, evaluations, last)
            memory["t"] = t
            evaluations += count
            state["func_evals"] += count
            if last or evaluations >= group["max_eval"]:
                break
            if largest(g) <= group["tolerance_grad"] or largest(d.mul(t)) <= group["tolerance_change"]:
                break
            if abs(loss - memory["prev_loss"]) < group["tolerance_change"]:
                break
        state.update(memory)
        return first

    def _advance(self, closure, group, loss, g, t, d, slope, evaluations, last):
        """Move along d; (loss, gradient, step, evaluations) there."""
        if group["line_search_fn"] is None:
            self._move(t, d)
            if last:  # nobody will look at the loss there
                return loss, g, t, 0
            loss = float(closure())
            return loss, self._flat_grad(), t, 1
        if group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        start = [p.clone() for p in self._params]

        def evaluate(x, a, b):
            return self._evaluate(closure, x, a, b)

        loss, g, t, count = strong_wolfe(evaluate, start, t, d, loss, g, slope, most=group["max_eval"] - evaluations)
        self._move(t, d)
        return loss, g, t, count


MEMORY = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")


def largest(x) -> float:
    """max |x|."""
    return x.abs().max().item()


def direct(memory: dict, state: dict, g, history_size: int) -> None:
    """Take the last step into the history, and make d = -H g, H the inverse Hessian the history implies."""
    if state["n_iter"] == 1:
        memory.update(d=g.neg(), old_dirs=[], old_stps=[], ro=[], H_diag=1)
        return
    dirs, steps, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
    y, s = g.sub(memory["prev_flat_grad"]), memory["d"].mul(memory["t"])
    ys = y.dot(s)
    if ys.item() > 1e-10:
        for history, new in ((dirs, y), (steps, s), (ro, 1.0 / ys)):
            if len(history) == history_size:
                history.pop(0)
            history.append(new)
        memory["H_diag"] = ys / y.dot(y)
    al = state.setdefault("al", [None] * history_size)
    q = g.neg()
    for i in range(len(dirs) - 1, -1, -1):
        al[i] = steps[i].dot(q) * ro[i]
        q.add_(dirs[i], alpha=-al[i].item())
    d = q.mul(memory["H_diag"])
    for i in range(len(dirs)):
        be = dirs[i].dot(d) * ro[i]
        d.add_(steps[i], alpha=(al[i] - be).item())
    memory["d"] = d
