"""L-BFGS with an optional strong Wolfe line search (Nocedal and Wright, Numerical Optimization, 2006, ch. 3 and 7)."""

from __future__ import annotations

from flambeau.autograd.modes import enable_grad, no_grad
from flambeau.ops.join import cat
from flambeau.optim.optimizer import Optimizer


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
    d_norm = d.abs().max().item()
    g = g.clone()
    f_new, g_new = evaluate(x, t, d)
    evaluations, slope_new = 1, g_new.dot(d).item()
    t_old, f_old, g_old, slope_old = 0.0, f, g, slope
    done, n = False, 0
    while n < most:
        if f_new > f + c1 * t * slope or (n > 1 and f_new >= f_old):
            ends = [(t_old, f_old, g_old, slope_old), (t, f_new, g_new.clone(), slope_new)]
            break
        if abs(slope_new) <= -c2 * slope:
            ends, done = [(t, f_new, g_new, slope_new)], True
            break
        if slope_new >= 0:
            ends = [(t_old, f_old, g_old, slope_old), (t, f_new, g_new.clone(), slope_new)]
            break
        least, highest = t + 0.01 * (t - t_old), t * 10
        before = t
        t = cubic_minimum(t_old, f_old, slope_old, t, f_new, slope_new, (least, highest))
        t_old, f_old, g_old, slope_old = before, f_new, g_new.clone(), slope_new
        f_new, g_new = evaluate(x, t, d)
        evaluations, slope_new, n = evaluations + 1, g_new.dot(d).item(), n + 1
    else:
        ends = [(0.0, f, g, slope), (t, f_new, g_new, slope_new)]
    if len(ends) == 1:
        t, f_new, g_new, _ = ends[0]
        return f_new, g_new, t, evaluations
    stuck = False
    low, high = (0, 1) if ends[0][1] <= ends[1][1] else (1, 0)
    while not done and n < most:
        a, b = ends[0][0], ends[1][0]
        if abs(b - a) * d_norm < tolerance:
            break
        t = cubic_minimum(*(ends[0][i] for i in (0, 1, 3)), *(ends[1][i] for i in (0, 1, 3)))
        margin = 0.1 * (max(a, b) - min(a, b))
        if min(max(a, b) - t, t - min(a, b)) < margin:
            if stuck or t >= max(a, b) or t <= min(a, b):
                t = max(a, b) - margin if abs(t - max(a, b)) < abs(t - min(a, b)) else min(a, b) + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        f_new, g_new = evaluate(x, t, d)
        evaluations, slope_new, n = evaluations + 1, g_new.dot(d).item(), n + 1
        point = (t, f_new, g_new.clone(), slope_new)
        if f_new > f + c1 * t * slope or f_new >= ends[low][1]:
            ends[high] = point
            low, high = (0, 1) if ends[0][1] <= ends[1][1] else (1, 0)
        else:
            if abs(slope_new) <= -c2 * slope:
                done = True
            elif slope_new * (ends[high][0] - ends[low][0]) >= 0:
                ends[high] = ends[low]
            ends[low] = point
    t, f_new, g_new, _ = ends[low]
    return f_new, g_new, t, evaluations


class LBFGS(Optimizer):
    """Limited-memory BFGS: directions from the last `history_size` steps; the closure is evaluated several times.

    Source:   torch.optim.LBFGS
    """

    def __init__(self, params, lr=1.0, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9,
                 history_size=100, line_search_fn=None):  # fmt: skip
        if not float(lr) >= 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        defaults = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _flat_grad(self):
        return cat([(p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1)) for p in self._params])

    def _move(self, t: float, direction) -> None:
        at = 0
        for p in self._params:
            n = p.numel()
            p.add_(direction[at : at + n].view_as(p), alpha=t)
            at += n

    def _evaluate(self, closure, start, t, direction):
        self._move(t, direction)
        with enable_grad():
            loss = float(closure())
        grad = self._flat_grad()
        for p, old in zip(self._params, start, strict=True):
            p.copy_(old)
        return loss, grad

    def step(self, closure):
        """Up to max_iter iterations; returns the first loss."""
        with no_grad():
            return self._steps(closure)

    def _steps(self, closure):
        group = self.param_groups[0]
        lr, search = float(group["lr"]), group["line_search_fn"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        with enable_grad():
            first = closure()
        loss = float(first)
        evaluations = 1
        state["func_evals"] += 1
        g = self._flat_grad()
        if g.abs().max() <= group["tolerance_grad"]:
            return first
        d, t = state.get("d"), state.get("t")
        old_dirs, old_stps, ro = state.get("old_dirs"), state.get("old_stps"), state.get("ro")
        diag, before, before_loss = state.get("H_diag"), state.get("prev_flat_grad"), state.get("prev_loss")
        n = 0
        while n < group["max_iter"]:
            n += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d, old_dirs, old_stps, ro, diag = g.neg(), [], [], [], 1
            else:
                y, s = g.sub(before), d.mul(t)
                ys = float(y.dot(s))
                if ys > 1e-10:
                    if len(old_dirs) == group["history_size"]:
                        for history in (old_dirs, old_stps, ro):
                            history.pop(0)
                    old_dirs.append(y)
                    old_stps.append(s)
                    ro.append(1.0 / ys)
                    diag = ys / float(y.dot(y))
                q, al = g.neg(), [0.0] * len(old_dirs)
                for i in range(len(old_dirs) - 1, -1, -1):
                    al[i] = float(old_stps[i].dot(q)) * ro[i]
                    q.add_(old_dirs[i], alpha=-al[i])
                d = q.mul(diag)
                for i in range(len(old_dirs)):
                    d.add_(old_stps[i], alpha=al[i] - float(old_dirs[i].dot(d)) * ro[i])
            before, before_loss = g.clone(), loss
            t = min(1.0, 1.0 / float(g.abs().sum())) * lr if state["n_iter"] == 1 else lr
            slope = float(g.dot(d))
            if slope > -group["tolerance_change"]:
                break
            count = 0
            if search is not None:
                if search != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                start = [p.clone() for p in self._params]
                loss, g, t, count = strong_wolfe(
                    lambda x, a, b: self._evaluate(closure, x, a, b), start, t, d, loss, g, slope)  # fmt: skip
                self._move(t, d)
                done = bool(g.abs().max() <= group["tolerance_grad"])
            else:
                self._move(t, d)
                done = False
                if n != group["max_iter"]:
                    with enable_grad():
                        loss = float(closure())
                    g = self._flat_grad()
                    done = bool(g.abs().max() <= group["tolerance_grad"])
                    count = 1
            evaluations += count
            state["func_evals"] += count
            if n == group["max_iter"] or evaluations >= group["max_eval"] or done:
                break
            if float(d.mul(t).abs().max()) <= group["tolerance_change"]:
                break
            if abs(loss - before_loss) < group["tolerance_change"]:
                break
        state.update(d=d, t=t, old_dirs=old_dirs, old_stps=old_stps, ro=ro, H_diag=diag, prev_flat_grad=before,
                     prev_loss=before_loss)  # fmt: skip
        return first
