"""The optimizers that update each parameter by a formula of kernels.py."""

from __future__ import annotations

import math

from flambeau.ops.create import full, zeros_like
from flambeau.optim import kernels as K
from flambeau.optim.optimizer import Optimizer


def check(name: str, value: float, ok: bool) -> None:
    if not ok:
        raise ValueError(f"Invalid {name}: {value}")


def check_betas(betas) -> None:
    for i, b in enumerate(betas):
        if not 0.0 <= b < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {b}")


def common(foreach, maximize, differentiable, **more) -> dict:
    """Options all have: those that choose PyTorch's implementation are accepted, ours is always fused."""
    if differentiable:
        raise NotImplementedError("differentiable=True is not implemented: optimizer steps are not recorded")
    return {"maximize": maximize, "foreach": foreach, "differentiable": differentiable} | more


def number(x) -> float:
    """An option that may be a one-element tensor."""
    return float(x)


def counted(state: dict, *names: str, p) -> float:
    """Make missing state (zeros) and count the step."""
    if "step" not in state:
        state["step"] = full((), 0.0)
    for name in names:
        if name not in state:
            state[name] = zeros_like(p)
    step = state["step"].item() + 1
    state["step"].fill_(step)
    return step


def sign(group: dict) -> float:
    return -1.0 if group["maximize"] else 1.0


class SGD(Optimizer):
    """p - lr g, with momentum (Sutskever et al., 2013).

    Source:   torch.optim.SGD
    """

    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False,
                 foreach=None, differentiable=False, fused=None):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("momentum value", momentum, momentum >= 0.0)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                    "nesterov": nesterov}  # fmt: skip
        super().__init__(params, defaults | common(foreach, maximize, differentiable, fused=fused))

    def _update(self, p, g, state, group):
        lr, decay, momentum = number(group["lr"]), group["weight_decay"], group["momentum"]
        if not momentum:
            K.sgd((p, g), lr, float(decay), sign(group))
            return
        buffer, keep = state.get("momentum_buffer"), 1.0 - group["dampening"]
        if buffer is None:
            buffer, keep = zeros_like(p), 1.0
            state["momentum_buffer"] = buffer
        K.sgd_momentum((p, g, buffer), lr, float(decay), sign(group), float(momentum), keep, float(group["nesterov"]))


class Adam(Optimizer):
    """Running means of g and g^2, corrected for their start at 0 (Kingma and Ba, 2014).

    Source:   torch.optim.Adam
    """

    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *, foreach=None,
                 maximize=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("epsilon value", eps, eps >= 0.0)
        check_betas(betas)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        more = common(foreach, maximize, differentiable, capturable=capturable, fused=fused)
        super().__init__(params, defaults | more | {"decoupled_weight_decay": decoupled_weight_decay or self.decoupled})

    def _update(self, p, g, state, group):
        names = ("exp_avg", "exp_avg_sq") + (("max_exp_avg_sq",) if group["amsgrad"] else ())
        step = counted(state, *names, p=p)
        b1, b2 = map(float, group["betas"])
        lr, decay = number(group["lr"]), float(group["weight_decay"])
        apart = group.get("decoupled_weight_decay", self.decoupled)
        run = K.amsgrad if group["amsgrad"] else K.adam
        run((p, g, *[state[n] for n in names]), lr / (1 - b1**step), math.sqrt(1 - b2**step), float(group["eps"]),
            0.0 if apart else decay, 1 - lr * decay if apart else 1.0, sign(group), 1 - b1, b2)  # fmt: skip


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2017).

    Source:   torch.optim.AdamW
    """

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False,
                 foreach=None, capturable=False, differentiable=False, fused=None):  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused)  # fmt: skip


class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat, 2016).

    Source:   torch.optim.NAdam
    """

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
                 decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False, differentiable=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("epsilon value", eps, eps >= 0.0)
        check_betas(betas)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        check("momentum_decay value", momentum_decay, momentum_decay >= 0.0)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
                    "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        super().__init__(params, defaults | common(foreach, maximize, differentiable, capturable=capturable))

    def _update(self, p, g, state, group):
        if "mu_product" not in state:
            state["mu_product"] = full((), 1.0)
        step = counted(state, "exp_avg", "exp_avg_sq", p=p)
        b1, b2 = map(float, group["betas"])
        lr, decay, slow = number(group["lr"]), float(group["weight_decay"]), group["momentum_decay"]
        mu = b1 * (1 - 0.5 * 0.96 ** (step * slow))
        ahead = b1 * (1 - 0.5 * 0.96 ** ((step + 1) * slow))
        state["mu_product"].mul_(mu)
        product = state["mu_product"].item()
        apart = group["decoupled_weight_decay"]
        K.nadam((p, g, state["exp_avg"], state["exp_avg_sq"]), -lr * (1 - mu) / (1 - product),
                -lr * ahead / (1 - product * ahead), 1 - b2**step, float(group["eps"]), 0.0 if apart else decay,
                1 - lr * decay if apart else 1.0, sign(group), 1 - b1, b2)  # fmt: skip


class RAdam(Optimizer):
    """Adam whose adaptive part is rectified while its variance is large (Liu et al., 2019).

    Source:   torch.optim.RAdam
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False, *,
                 foreach=None, maximize=False, capturable=False, differentiable=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("epsilon value", eps, eps >= 0.0)
        check_betas(betas)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        more = common(foreach, maximize, differentiable, capturable=capturable)
        super().__init__(params, defaults | more | {"decoupled_weight_decay": decoupled_weight_decay})

    def _update(self, p, g, state, group):
        step = counted(state, "exp_avg", "exp_avg_sq", p=p)
        b1, b2 = map(float, group["betas"])
        lr, decay = number(group["lr"]), float(group["weight_decay"])
        c2 = 1 - b2**step
        most = 2 / (1 - b2) - 1
        rho = most - 2 * step * b2**step / c2
        rect = 0.0
        if rho > 5.0:
            rect = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
        apart = group["decoupled_weight_decay"]
        K.radam((p, g, state["exp_avg"], state["exp_avg_sq"]), lr, 1 - b1**step, math.sqrt(c2), rect, float(group["eps"]),
                0.0 if apart else decay, 1 - lr * decay if apart else 1.0, sign(group), 1 - b1, b2)  # fmt: skip


class Adamax(Optimizer):
    """Adam by the infinity norm (Kingma and Ba, 2014).

    Source:   torch.optim.Adamax
    """

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *, maximize=False,
                 differentiable=False, capturable=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("epsilon value", eps, eps >= 0.0)
        check_betas(betas)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | common(foreach, maximize, differentiable, capturable=capturable))

    def _update(self, p, g, state, group):
        step = counted(state, "exp_avg", "exp_inf", p=p)
        b1, b2 = map(float, group["betas"])
        K.adamax((p, g, state["exp_avg"], state["exp_inf"]), number(group["lr"]) / (1 - b1**step), float(group["eps"]),
                 float(group["weight_decay"]), sign(group), 1 - b1, b2)  # fmt: skip


class Adagrad(Optimizer):
    """Steps by the root of the sum of g^2 (Duchi et al., 2011).

    Source:   torch.optim.Adagrad
    """

    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
                 foreach=None, *, maximize=False, differentiable=False, fused=None):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("lr_decay value", lr_decay, lr_decay >= 0.0)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        check("initial_accumulator_value value", initial_accumulator_value, initial_accumulator_value >= 0.0)
        check("epsilon value", eps, eps >= 0.0)
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                    "initial_accumulator_value": initial_accumulator_value}  # fmt: skip
        super().__init__(params, defaults | common(foreach, maximize, differentiable, fused=fused))
        for group in self.param_groups:
            for p in group["params"]:
                first = group["initial_accumulator_value"]
                self.state[p] = {"step": full((), 0.0), "sum": zeros_like(p).fill_(float(first))}

    def share_memory(self) -> None:
        """Move the state to shared memory."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _update(self, p, g, state, group):
        step = counted(state, "sum", p=p)
        lr = number(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
        K.adagrad((p, g, state["sum"]), lr, float(group["eps"]), float(group["weight_decay"]), sign(group))


class Adadelta(Optimizer):
    """Steps in the ratio of running root mean squares (Zeiler, 2012).

    Source:   torch.optim.Adadelta
    """

    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *, capturable=False,
                 maximize=False, differentiable=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("rho value", rho, 0.0 <= rho <= 1.0)
        check("epsilon value", eps, eps >= 0.0)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | common(foreach, maximize, differentiable, capturable=capturable))

    def _update(self, p, g, state, group):
        counted(state, "square_avg", "acc_delta", p=p)
        K.adadelta((p, g, state["square_avg"], state["acc_delta"]), number(group["lr"]), float(group["rho"]),
                   float(group["eps"]), float(group["weight_decay"]), sign(group))  # fmt: skip


class RMSprop(Optimizer):
    """Steps by a running root mean square of g (Hinton, 2012).

    Source:   torch.optim.RMSprop
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
                 capturable=False, foreach=None, maximize=False, differentiable=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("epsilon value", eps, eps >= 0.0)
        check("momentum value", momentum, momentum >= 0.0)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        check("alpha value", alpha, alpha >= 0.0)
        defaults = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                    "weight_decay": weight_decay}  # fmt: skip
        super().__init__(params, defaults | common(foreach, maximize, differentiable, capturable=capturable))

    def _update(self, p, g, state, group):
        names = ["square_avg"] + ["momentum_buffer"] * (group["momentum"] > 0) + ["grad_avg"] * group["centered"]
        counted(state, *names, p=p)
        spare = zeros_like(p) if len(names) < 3 else None
        m = state.get("momentum_buffer", spare)
        mean = state.get("grad_avg", spare)
        if m is mean:
            mean = zeros_like(p)
        K.rmsprop((p, g, state["square_avg"], m, mean), number(group["lr"]), float(group["alpha"]), float(group["eps"]),
                  float(group["weight_decay"]), sign(group), float(group["momentum"]), float(group["centered"]))  # fmt: skip


class Rprop(Optimizer):
    """Step sizes by the signs of successive gradients (Riedmiller and Braun, 1993).

    Source:   torch.optim.Rprop
    """

    def __init__(self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0), *, capturable=False, foreach=None,
                 maximize=False, differentiable=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes}
        super().__init__(params, defaults | common(foreach, maximize, differentiable, capturable=capturable))

    def _update(self, p, g, state, group):
        if "step_size" not in state:
            state["step_size"] = zeros_like(p).fill_(number(group["lr"]))
        counted(state, "prev", p=p)
        K.rprop((p, g, state["prev"], state["step_size"]), sign(group), *map(float, group["etas"]),
                *map(float, group["step_sizes"]))  # fmt: skip


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992).

    Source:   torch.optim.ASGD
    """

    def __init__(self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None, maximize=False,
                 differentiable=False, capturable=False):  # fmt: skip
        check("learning rate", lr, number(lr) >= 0.0)
        check("weight_decay value", weight_decay, weight_decay >= 0.0)
        defaults = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay}
        super().__init__(params, defaults | common(foreach, maximize, differentiable, capturable=capturable))

    def _update(self, p, g, state, group):
        lr, lambd = number(group["lr"]), group["lambd"]
        if "eta" not in state:
            state["eta"], state["mu"] = full((), lr), full((), 1.0)
        step = counted(state, "ax", p=p)
        eta, mu = state["eta"].item(), state["mu"].item()
        K.asgd((p, g, state["ax"]), eta, 1 - lambd * eta, mu, float(group["weight_decay"]), sign(group))
        state["eta"].fill_(lr / (1 + lambd * lr * step) ** group["alpha"])
        state["mu"].fill_(1 / max(1.0, step - group["t0"]))


class SparseAdam(Optimizer):
    """Adam for sparse gradients, which do not exist here: gradients are dense, so use Adam.

    Source:   torch.optim.SparseAdam
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        raise NotImplementedError("SparseAdam needs sparse gradients, which flambeau does not make; use Adam")
