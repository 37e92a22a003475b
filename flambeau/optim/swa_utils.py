"""Averages of a model's weights over training: SWA (Izmailov et al., 2018) and exponential moving averages."""

from __future__ import annotations

import math
from copy import deepcopy

from flambeau.autograd.modes import no_grad
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.ops.create import full
from flambeau.optim.lr_scheduler.base import LRScheduler, per_group
from flambeau.tensor.tensor import Tensor

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn",
    "update_bn",
]  # fmt: skip


def check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def get_ema_avg_fn(decay: float = 0.999):
    """average decay + new (1 - decay).

    Source:   torch.optim.swa_utils.get_ema_avg_fn
    """
    check_decay(decay)

    def average(ema_param, current_param, num_averaged):
        return decay * ema_param + (1 - decay) * current_param

    return average


def get_swa_avg_fn():
    """The mean of all that were given.

    Source:   torch.optim.swa_utils.get_swa_avg_fn
    """

    def average(averaged_param, current_param, num_averaged):
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999):
    """get_ema_avg_fn for lists, in place.

    Source:   torch.optim.swa_utils.get_ema_multi_avg_fn
    """
    check_decay(decay)

    def average(ema_params, current_params, num_averaged):
        for a, b in zip(ema_params, current_params, strict=True):
            a.lerp_(b, 1 - decay) if a.is_floating_point() else a.copy_(a * decay + b * (1 - decay))

    return average


def get_swa_multi_avg_fn():
    """get_swa_avg_fn for lists, in place.

    Source:   torch.optim.swa_utils.get_swa_multi_avg_fn
    """

    def average(averaged_params, current_params, num_averaged):
        for a, b in zip(averaged_params, current_params, strict=True):
            a.lerp_(b, 1 / (float(num_averaged) + 1))

    return average


class AveragedModel(Module):
    """A copy of a model whose parameters are averages.

    Source:   torch.optim.swa_utils.AveragedModel
    """

    n_averaged: Tensor

    def __init__(self, model, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False):
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", full((), 0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    def _all(self, module):
        return [*module.parameters(), *(module.buffers() if self.use_buffers else ())]

    def update_parameters(self, model) -> None:
        """Take the model's present parameters into the average."""
        mine, new = self._all(self.module), self._all(model)
        with no_grad():
            first = self.n_averaged.item() == 0
            if first:
                for a, b in zip(mine, new, strict=True):
                    a.detach().copy_(b.detach())
            elif self.avg_fn is None:
                average = self.multi_avg_fn or get_swa_multi_avg_fn()
                average([a.detach() for a in mine], [b.detach() for b in new], self.n_averaged)
            else:
                for a, b in zip(mine, new, strict=True):
                    a.detach().copy_(self.avg_fn(a.detach(), b.detach(), self.n_averaged))
            if not self.use_buffers:
                for a, b in zip(self.module.buffers(), model.buffers(), strict=True):
                    a.detach().copy_(b.detach())
            self.n_averaged += 1


def update_bn(loader, model, device=None) -> None:
    """Compute the running statistics of batch norm layers anew over a loader.

    Source:   torch.optim.swa_utils.update_bn
    """
    momenta = {}
    for m in model.modules():
        if isinstance(m, _BatchNorm):
            m.reset_running_stats()
            momenta[m] = m.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for m in momenta:
        m.momentum = None
    with no_grad():
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x.to(device) if device is not None else x)
    for m, momentum in momenta.items():
        m.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to swa_lr in anneal_epochs steps, then constant.

    Source:   torch.optim.swa_utils.SWALR
    """

    def __init__(self, optimizer, swa_lr, anneal_epochs=10, anneal_strategy="cos", last_epoch=-1):
        for lr, group in zip(per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = lr
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy, self.anneal_epochs = anneal_strategy, anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, t: float) -> float:
        return (1 - math.cos(math.pi * t)) / 2 if self._anneal_strategy == "cos" else t

    def _next(self):
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        n = max(1, self.anneal_epochs)
        before = self._part(max(0, min(1, (step - 1) / n)))
        now = self._part(max(0, min(1, step / n)))
        out = []
        for group in self.optimizer.param_groups:
            lr = group["swa_lr"] if before == 1 else (group["lr"] - before * group["swa_lr"]) / (1 - before)
            out.append(group["swa_lr"] * now + lr * (1 - now))
        return out
