"""Optimizers that treat a parameter as a matrix: Adafactor (factored second moments) and Muon (orthogonal steps)."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core.limits import finfo
from flambeau.ops.create import full, zeros_like
from flambeau.optim.optimizer import Optimizer, advance, check_single, require


class Adafactor(Optimizer):
    """Steps of size rho max(eps2, rms(p)) along g / sqrt(v), v the product of row and column means of g^2 over its mean.

    rho = min(lr, 1 / sqrt(t)); the update's root mean square is clipped to d (Shazeer and Stern, 2018).
    Source:   torch.optim.Adafactor
    """

    def __init__(self, params, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, *, foreach=None,
                 maximize=False):  # fmt: skip
        check_single(lr)
        require(0.0 <= lr, "Learning rate should be >= 0 but is", lr)
        require(0.0 >= beta2_decay, "beta2_decay should be <= 0 but is", beta2_decay)
        require(eps[0] is None or 0.0 <= eps[0], "epsilon1 should be >= 0 but is", eps[0])
        require(0.0 <= eps[1], "epsilon2 should be >= 0 but is", eps[1])
        require(1.0 <= d, "Clipping threshold d should be >= 1 but is", d)
        require(0.0 <= weight_decay, "weight_decay should be >= 0 but is", weight_decay)
        super().__init__(params, {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize,
        })  # fmt: skip

    def _start(self, p, group):
        state = {"step": full((), 0.0)}
        if p.dim() > 1:
            rows, columns = list(p.shape), list(p.shape)
            rows[-1] = columns[-2] = 1
            return state | {"row_var": p.new_zeros(rows), "col_var": p.new_zeros(columns)}
        return state | {"variance": zeros_like(p)}

    def _update(self, p, g, state, group):
        if p.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        lr, decay, (eps1, eps2) = float(group["lr"]), group["weight_decay"], group["eps"]
        eps1 = finfo(p.dtype).eps if eps1 is None else eps1
        g = -g if group["maximize"] else g
        step = advance(state)
        rest = step ** group["beta2_decay"]
        alpha = max(eps2, rms(p)) * min(lr, 1 / step**0.5)
        if decay != 0:
            p.mul_(1 - lr * decay)
        if g.dim() > 1:
            rows, columns = state["row_var"], state["col_var"]
            rows.lerp_(g.norm(dim=-1, keepdim=True).square_().div_(g.size(-1)), rest)
            columns.lerp_(g.norm(dim=-2, keepdim=True).square_().div_(g.size(-2)), rest)
            v = (rows @ columns).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=eps1))
        else:
            v = state["variance"].lerp_(g * g, rest).clone()
        update = v.clamp_(min=eps1 * eps1).rsqrt_().mul_(g)
        p.add_(update, alpha=-alpha / max(1.0, rms(update) / group["d"]))


def rms(x) -> float:
    """The root mean square of a tensor."""
    return x.norm(2).item() / x.numel() ** 0.5


LR_RATIOS = {
    None: lambda rows, columns: math.sqrt(max(1, rows / columns)),
    "original": lambda rows, columns: math.sqrt(max(1, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}


class Muon(Optimizer):
    """Momentum, made nearly orthogonal by Newton-Schulz steps, with decay apart from the gradient (Jordan, 2024).

    For matrices only: biases, embeddings and the like take another optimizer.
    Source:   torch.optim.Muon
    """

    def __init__(self, params, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True,
                 ns_coefficients=(3.4445, -4.775, 2.0315), eps=1e-7, ns_steps=5, adjust_lr_fn=None):  # fmt: skip
        check_single(lr)
        require(0.0 <= lr, "Learning rate should be >= 0 but is", lr)
        require(0.0 <= momentum, "momentum should be >= 0 but is", momentum)
        require(0.0 <= weight_decay, "weight decay should be >= 0 but is", weight_decay)
        if adjust_lr_fn not in LR_RATIOS:
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        })  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}")

    def _start(self, p, group):
        return {"momentum_buffer": zeros_like(p)}

    def _update(self, p, g, state, group):
        if p.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        lr, momentum, mean = float(group["lr"]), float(group["momentum"]), state["momentum_buffer"]
        mean.lerp_(g, 1 - momentum)
        update = g.lerp(mean, momentum) if group["nesterov"] else mean
        update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        p.mul_(1 - lr * group["weight_decay"])
        p.add_(update, alpha=-lr * LR_RATIOS[group["adjust_lr_fn"]](*p.shape))


def orthogonalized(g, coefficients, steps: int, eps: float):
    """g with singular values near 1: x <- a x + (b G + c G^2) x, G = x x^T.

    Numerics: values are bfloat16, each line computed in float32 and rounded once, as PyTorch's addmm does
    """
    if steps >= 100:
        raise ValueError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ValueError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = coefficients
    tall = g.size(0) > g.size(1)
    x = rounded(g.T if tall else g)
    x = rounded(x / rounded(x.norm()).clamp(min=eps))
    for _ in range(steps):
        gram = rounded(x @ x.T)
        x = rounded(a * x + rounded(b * gram + c * (gram @ gram)) @ x)
    return x.T if tall else x


def rounded(x):
    """The nearest bfloat16 values, as float32."""
    return x.to(dt.bfloat16).to(dt.float32)
