"""What all learning rate schedules share: counting steps, and writing the rates into the optimizer's groups.

A schedule says what the rates are after another step (`_next`, from the present rates: chainable), and where it can, in
closed form (`_get_closed_form_lr`). Schedules of users define `get_lr`, as in PyTorch.
"""

from __future__ import annotations

import types
import warnings
import weakref
from functools import wraps

from flambeau.optim.optimizer import Optimizer
from flambeau.tensor.tensor import Tensor

ADVICE = "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different from None, the closed form "
    "is used instead of the new chainable form, where available."
)
OVERRIDDEN_WARNING = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make sure to "
    f"call `optimizer.step()` before `lr_scheduler.step()`. {ADVICE}"
)
ORDER_WARNING = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call them in "
    "the opposite order: `optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in PyTorch "
    f"skipping the first value of the learning rate schedule. {ADVICE}"
)
GET_LR_WARNING = "To get the last learning rate computed by the scheduler, please use `get_last_lr()`."


def set_rate(group: dict, lr) -> None:
    """A group's rate; a tensor is filled, not replaced."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(float(lr))
    else:
        group["lr"] = lr


def copied(x):
    """A number, or a copy of a tensor."""
    return x.clone() if isinstance(x, Tensor) else x


def present(optimizer: Optimizer) -> list:
    """The groups' rates, tensors as copies."""
    return [copied(g["lr"]) for g in optimizer.param_groups]


def per_group(name: str, optimizer: Optimizer, value) -> list:
    """One value per group: a list of as many, or one for all."""
    n = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * n
    elif len(value) != n:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, "
            f"param_groups has {n}."
        )
    return [copied(v) for v in value]


def saved_function(fn):
    """What is saved of a function: nothing; of a callable object: its attributes."""
    return None if fn is None or isinstance(fn, types.FunctionType) else fn.__dict__.copy()


class LRScheduler:
    """Counts steps and sets rates; subclasses give get_lr().

    Source:   torch.optim.lr_scheduler.LRScheduler
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", copied(group["lr"]))
        else:
            for i, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise KeyError(f"param 'initial_lr' is not specified in param_groups[{i}] when resuming an optimizer")
        self.base_lrs = [copied(g["initial_lr"]) for g in optimizer.param_groups]
        self.last_epoch = last_epoch
        count_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict:
        """Everything but the optimizer."""
        return {k: v for k, v in self.__dict__.items() if k != "optimizer"}

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue from state_dict()."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list:
        """The rates set by the last step."""
        return self._last_lr

    def get_lr(self) -> list:
        """The rates after one more step (for the schedule itself; users want get_last_lr)."""
        if not self._get_lr_called_within_step:
            warnings.warn(GET_LR_WARNING, UserWarning, stacklevel=2)
        return self._next()

    def _next(self) -> list:
        raise NotImplementedError(f"{type(self).__name__} has no get_lr()")

    def rates(self) -> list:
        """The groups' present rates."""
        return [g["lr"] for g in self.optimizer.param_groups]

    def step(self, epoch=None) -> None:
        """One step (call it after optimizer.step())."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warnings.warn(OVERRIDDEN_WARNING, UserWarning, stacklevel=2)
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(ORDER_WARNING, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch=None) -> None:
        if epoch is None:
            self.last_epoch += 1
        else:
            self.last_epoch = epoch
        closed = getattr(self, "_get_closed_form_lr", None) if epoch is not None else None
        self._write(closed)

    def _write(self, compute=None) -> None:
        """Put the rates that compute() (or get_lr()) gives into the groups."""
        self._get_lr_called_within_step = True
        try:
            values = (compute or self.get_lr)()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_rate(group, lr)
        self._last_lr = present(self.optimizer)


class _LRScheduler(LRScheduler):
    """LRScheduler's old name."""


def count_steps(optimizer: Optimizer) -> None:
    """Let the optimizer remember that it has stepped."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    reference, function = weakref.ref(optimizer), optimizer.step.__func__

    @wraps(function)
    def step(self, *args, **kwargs):
        reference()._opt_called = True
        return function(self, *args, **kwargs)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]
