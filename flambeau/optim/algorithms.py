"""The optimizers that update each parameter by a formula of kernels.py: options, state, and the numbers of a step.

In the docstrings p is a parameter, g its gradient, t the number of the step from 1; `maximize` turns g's sign, and weight
decay adds weight_decay * p to it first, unless said otherwise.
"""

from __future__ import annotations

from flambeau.ops.create import full, zeros_like
from flambeau.ops.record import state as recording
from flambeau.optim import kernels as K
from flambeau.optim.optimizer import Optimizer, advance, checked, number, require, sign, update_rows
from flambeau.tensor.tensor import Tensor


def counter(value: float = 0.0):
    """A 0-d tensor for a number in the state."""
    return full((), value)


def started(p, *names: str) -> dict:
    """A step count and zeros like p."""
    return {"step": counter()} | {n: zeros_like(p) for n in names}


NUMBERS = ("step", "eta", "mu", "mu_product")  # state that is a number: tensors now, Python's in old files
ABSENT = {
    "momentum": 0, "centered": False, "nesterov": False, "amsgrad": False, "maximize": False, "foreach": None,
    "capturable": False, "differentiable": False, "fused": None, "decoupled_weight_decay": False,
}  # fmt: skip


class Algorithm(Optimizer):
    """An optimizer of PyTorch's, which reads the state that its older versions saved."""

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in ABSENT.items():
                if name in self.defaults:
                    group.setdefault(name, value)
        for values in self.state.values():
            for name in NUMBERS:
                if name in values and not isinstance(values[name], Tensor):
                    values[name] = counter(float(values[name]))


class SGD(Algorithm):
    """Stochastic gradient descent, with momentum (Sutskever et al., 2013).

        m = momentum * m + (1 - dampening) * g        (m = g at first; m = g without momentum)
        p = p - lr * m                                (nesterov: p - lr * (g + momentum * m))

    Source:   torch.optim.SGD
    """

    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False,
                 foreach=None, differentiable=False, fused=None):  # fmt: skip
        defaults = checked({
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        })  # fmt: skip
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, defaults)

    def _options(self, group):
        numbers = (number(group["lr"]), number(group["weight_decay"]), sign(group))
        return numbers, float(group["momentum"]), 1.0 - group["dampening"], float(group["nesterov"])

    def _update(self, p, g, state, options):
        numbers, momentum, keep, nesterov = options
        if not momentum:
            K.sgd((p, g), *numbers)
            return
        buffer = state.get("momentum_buffer")
        if buffer is None and recording.grad:
            lr, decay, turn = numbers
            g = g * turn + p * decay
            state["momentum_buffer"] = buffer = g.detach().clone()  # as PyTorch: the first buffer has no history
            K.sgd((p, g + momentum * buffer if nesterov else buffer), lr, 0.0, 1.0)
            return
        if buffer is None:
            buffer, keep = zeros_like(p), 1.0
            state["momentum_buffer"] = buffer
        K.sgd_momentum((p, g, buffer), *numbers, momentum, keep, nesterov)

    def _update_sparse(self, p, g, state, options):
        (lr, decay, turn), momentum, keep, nesterov = options
        g = g if turn > 0 else -g
        if decay:
            g = g.add(p, alpha=decay)
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                state["momentum_buffer"] = buffer = g.detach().clone()
            else:
                buffer.mul_(momentum).add_(g, alpha=keep)
            g = g.add(buffer, alpha=momentum) if nesterov else buffer
        p.add_(g, alpha=-lr)


class Moments(Algorithm):
    """What the Adam family shares: the first two moments, decay in the gradient or apart from it."""

    def _start(self, p, group):
        return started(p, "exp_avg", "exp_avg_sq")

    def _options(self, group):
        b1, b2 = map(number, group["betas"])
        lr, decay, apart = number(group["lr"]), number(group["weight_decay"]), group["decoupled_weight_decay"]
        tail = (number(group["eps"]), 0.0 if apart else decay, 1 - lr * decay if apart else 1.0, sign(group), 1 - b1, b2, 1 - b2)
        return group, lr, b1, b2, tail


class Adam(Moments):
    """Steps by running means of g and g^2, corrected for their start at 0 (Kingma and Ba, 2014).

        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g^2                   (b1, b2 = betas)
        p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    With amsgrad the largest v so far takes v's place in the step (Reddi et al., 2018).
    Source:   torch.optim.Adam
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *, foreach=None,
                 maximize=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }))  # fmt: skip

    def _start(self, p, group):
        return started(p, "exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * group["amsgrad"])

    def _update_sparse(self, p, g, state, options):
        raise RuntimeError("Adam does not support sparse gradients, please consider SparseAdam instead")

    def _update(self, p, g, state, options):
        group, lr, b1, b2, tail = options
        step = advance(state)
        numbers = lr / (1 - b1**step), (1 - b2**step) ** 0.5, *tail
        if group["amsgrad"]:
            K.amsgrad((p, g, state["exp_avg"], state["exp_avg_sq"], state["max_exp_avg_sq"]), *numbers)
        else:
            K.adam((p, g, state["exp_avg"], state["exp_avg_sq"]), *numbers)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2017).

        p = (1 - lr * weight_decay) * p, then Adam's step

    Source:   torch.optim.AdamW
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False,
                 foreach=None, capturable=False, differentiable=False, fused=None):  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused,
                         decoupled_weight_decay=True)  # fmt: skip

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:  # groups saved by Adam, or before the option was there
            group["decoupled_weight_decay"] = True


class NAdam(Moments):
    """Adam with Nesterov momentum (Dozat, 2016).

        mu_t = b1 * (1 - 0.5 * 0.96^(t * momentum_decay)),  c_t = mu_1 * ... * mu_t
        m = b1 * m + (1 - b1) * g,  v = b2 * v + (1 - b2) * g^2
        p = p - lr * ((1 - mu_t) / (1 - c_t) * g + mu_(t+1) / (1 - c_(t+1)) * m) / (sqrt(v / (1 - b2^t)) + eps)

    Source:   torch.optim.NAdam
    """

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3,
                 decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False, differentiable=False):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable,
        }))  # fmt: skip

    def _start(self, p, group):
        return {"step": counter(), "mu_product": counter(1.0), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}

    def _update(self, p, g, state, options):
        group, lr, b1, b2, tail = options
        step, slow = advance(state), group["momentum_decay"]
        mu = b1 * (1.0 - 0.5 * 0.96 ** (step * slow))
        ahead = b1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * slow))
        state["mu_product"].mul_(mu)
        product = number(state["mu_product"].clone())
        K.nadam((p, g, state["exp_avg"], state["exp_avg_sq"]), -lr * (1.0 - mu) / (1.0 - product),
                -lr * ahead / (1.0 - product * ahead), 1 - b2**step, *tail)  # fmt: skip


class RAdam(Moments):
    """Adam whose adaptive part is rectified while its variance is large (Liu et al., 2019).

        r_max = 2 / (1 - b2) - 1,  r = r_max - 2 * t * b2^t / (1 - b2^t)
        rect = sqrt((r - 4) * (r - 2) * r_max / ((r_max - 4) * (r_max - 2) * r))
        p = p - lr * m / (1 - b1^t) * rect * sqrt(1 - b2^t) / (sqrt(v) + eps)        (r > 5)
        p = p - lr * m / (1 - b1^t)                                                  (else)

    m and v as in Adam.
    Source:   torch.optim.RAdam
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, decoupled_weight_decay=False, *,
                 foreach=None, maximize=False, capturable=False, differentiable=False):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
        }))  # fmt: skip

    def _update(self, p, g, state, options):
        _, lr, b1, b2, tail = options
        step = advance(state)
        c2 = 1 - b2**step
        most = 2 / (1 - b2) - 1
        rho = most - 2 * step * (b2**step) / c2
        rect = 0.0
        if rho > 5.0:
            rect = ((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)) ** 0.5
        K.radam((p, g, state["exp_avg"], state["exp_avg_sq"]), lr, 1 - b1**step, c2**0.5, rect, *tail)


class Adamax(Algorithm):
    """Adam by the infinity norm (Kingma and Ba, 2014).

        m = b1 * m + (1 - b1) * g,  u = max(b2 * u, |g| + eps)
        p = p - lr / (1 - b1^t) * m / u

    Source:   torch.optim.Adamax
    """

    def __init__(self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, *, maximize=False,
                 differentiable=False, capturable=False):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }))  # fmt: skip

    def _start(self, p, group):
        return started(p, "exp_avg", "exp_inf")

    def _update(self, p, g, state, group):
        b1, b2 = map(number, group["betas"])
        K.adamax((p, g, state["exp_avg"], state["exp_inf"]), number(group["lr"]) / (1 - b1 ** advance(state)),
                 number(group["eps"]), number(group["weight_decay"]), sign(group), 1 - b1, b2)  # fmt: skip


class Adagrad(Algorithm):
    """Steps by the root of the sum of g^2 (Duchi et al., 2011).

        s = s + g^2                                   (s = initial_accumulator_value at first)
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Source:   torch.optim.Adagrad
    """

    def __init__(self, params, lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10,
                 foreach=None, *, maximize=False, differentiable=False, fused=None):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }))  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = self._start(p, group)

    def _start(self, p, group):
        first = group["initial_accumulator_value"]
        return {"step": counter(), "sum": zeros_like(p).fill_(complex(first, first) if p.is_complex() else first)}

    def share_memory(self) -> None:
        """Move the state to shared memory."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _update(self, p, g, state, group):
        lr = number(group["lr"]) / (1 + (advance(state) - 1) * group["lr_decay"])
        K.adagrad((p, g, state["sum"]), lr, number(group["eps"]), number(group["weight_decay"]), sign(group))

    def _update_sparse(self, p, g, state, group):
        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        lr = float(group["lr"]) / (1 + (advance(state) - 1) * group["lr_decay"])
        update_rows(K.adagrad, p, g, (state["sum"],), (lr, float(group["eps"]), 0.0, sign(group)))


class Adadelta(Algorithm):
    """Steps in the ratio of running root mean squares (Zeiler, 2012).

        s = rho * s + (1 - rho) * g^2
        delta = g * sqrt(d + eps) / sqrt(s + eps)
        p = p - lr * delta,  d = rho * d + (1 - rho) * delta^2

    Source:   torch.optim.Adadelta
    """

    def __init__(self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, *, capturable=False,
                 maximize=False, differentiable=False):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }))  # fmt: skip

    def _start(self, p, group):
        return started(p, "square_avg", "acc_delta")

    def _update(self, p, g, state, group):
        advance(state)
        rho = number(group["rho"])
        K.adadelta((p, g, state["square_avg"], state["acc_delta"]), number(group["lr"]), rho, 1 - rho,
                   number(group["eps"]), number(group["weight_decay"]), sign(group))  # fmt: skip


class RMSprop(Algorithm):
    """Steps by a running root mean square of g (Hinton, 2012).

        s = alpha * s + (1 - alpha) * g^2
        p = p - lr * g / (sqrt(s) + eps)
        m = momentum * m + g / (sqrt(s) + eps),  p = p - lr * m                      (with momentum)

    centered: s less the square of the running mean of g (Graves, 2013).
    Source:   torch.optim.RMSprop
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False,
                 capturable=False, foreach=None, maximize=False, differentiable=False):  # fmt: skip
        require(0.0 <= alpha, "Invalid alpha value", alpha)
        super().__init__(params, checked({
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        }))  # fmt: skip

    def _start(self, p, group):
        return started(p, "square_avg", *["momentum_buffer"] * (group["momentum"] > 0), *["grad_avg"] * group["centered"])

    def _update(self, p, g, state, group):
        advance(state)
        alpha, momentum = number(group["alpha"]), group["momentum"]
        numbers = (number(group["lr"]), alpha, 1 - alpha, number(group["eps"]), number(group["weight_decay"]), sign(group))
        tensors = (p, g, *[state[n] for n in ("square_avg", "momentum_buffer", "grad_avg") if n in state])
        if momentum > 0:
            run = K.rmsprop_centered_momentum if group["centered"] else K.rmsprop_momentum
            run(tensors, *numbers, float(momentum))
        else:
            (K.rmsprop_centered if group["centered"] else K.rmsprop)(tensors, *numbers)


class Rprop(Algorithm):
    """Step sizes by the signs of successive gradients (Riedmiller and Braun, 1993).

        size = size * etas[1] where g keeps its sign, * etas[0] where it turns; within step_sizes, lr at first
        p = p - sign(g) * size                        (where g has turned: no step, and g counts as 0 next time)

    Source:   torch.optim.Rprop
    """

    def __init__(self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *, capturable=False, foreach=None,
                 maximize=False, differentiable=False):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }))  # fmt: skip

    def _start(self, p, group):
        lr = float(group["lr"])
        return started(p, "prev") | {"step_size": zeros_like(p).fill_(complex(lr, lr) if p.is_complex() else lr)}

    def _update(self, p, g, state, group):
        advance(state)
        K.rprop((p, g, state["prev"], state["step_size"]), sign(group), *map(float, group["etas"]),
                *map(float, group["step_sizes"]))  # fmt: skip


class ASGD(Algorithm):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992).

        p = (1 - lambd * eta) * p - eta * g,  eta = lr / (1 + lambd * lr * t)^alpha afterwards
        ax = ax + mu * (p - ax),  mu = 1 / max(1, t - t0) afterwards        (the average; mu = 1 at first: ax = p)

    Source:   torch.optim.ASGD
    """

    def __init__(self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None, maximize=False,
                 differentiable=False, capturable=False):  # fmt: skip
        super().__init__(params, checked({
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        }))  # fmt: skip

    def _start(self, p, group):
        return {"step": counter(), "eta": counter(float(group["lr"])), "mu": counter(1.0), "ax": zeros_like(p)}

    def _update(self, p, g, state, group):
        lr, lambd, step = float(group["lr"]), group["lambd"], advance(state)
        eta, mu = state["eta"].item(), state["mu"].item()
        K.asgd((p, g, state["ax"]), eta, 1 - lambd * eta, mu, number(group["weight_decay"]), sign(group))
        state["eta"].fill_(lr / (1 + lambd * lr * step) ** group["alpha"])
        state["mu"].fill_(1 / max(1.0, step - group["t0"]))
