"""Schedules made of schedules: one after another, or all at once."""

from __future__ import annotations

from bisect import bisect_right

from flambeau.optim.lr_scheduler.base import LRScheduler, present, set_rate
from flambeau.optim.lr_scheduler.plateau import ReduceLROnPlateau


def check_parts(name: str, optimizer, schedulers) -> None:
    """Parts of a combination are schedules of its optimizer that need no metric."""
    for i, s in enumerate(schedulers):
        if not hasattr(s, "optimizer"):
            raise TypeError(f"{name} at index {i} should have `optimizer` as its attribute.")
        if isinstance(s, ReduceLROnPlateau):
            raise ValueError(
                f"{name} does not support `ReduceLROnPlateau` scheduler as it requires additional kwargs to be specified "
                f"when calling `step`, but got one at index {i} in the given schedulers sequence."
            )
        if s.optimizer is not optimizer:
            raise ValueError(
                f"{name} expects all schedulers to belong to the same optimizer, but got scheduler {type(s).__name__} at "
                f"index {i} has {s.optimizer}, which is different from {type(optimizer).__name__}."
            )


class Combined(LRScheduler):
    """Schedules within a schedule, saved with it."""

    _schedulers: list

    def state_dict(self):
        """The schedules' states under _schedulers."""
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "_schedulers")}
        return state | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict):
        """Continue from state_dict()."""
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for s, saved in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            s.load_state_dict(saved)


def undo(scheduler) -> None:
    """Take back the step that construction made, of all parts."""
    if hasattr(scheduler, "_schedulers"):
        for s in scheduler._schedulers:
            undo(s)
    elif hasattr(scheduler, "last_epoch"):
        scheduler.last_epoch -= 1


class SequentialLR(Combined):
    """One schedule after another, changed at milestones.

    Source:   torch.optim.lr_scheduler.SequentialLR
    """

    def __init__(self, optimizer, schedulers, milestones, last_epoch=-1):
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name} expects at least one scheduler, but got no scheduler.")
        check_parts(name, optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of milestone "
                f"points, but got number of schedulers {len(schedulers)} and the number of milestones to be equal to "
                f"{len(milestones)}"
            )
        self._schedulers, self._milestones, self.optimizer = schedulers, milestones, optimizer
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            set_rate(group, group["initial_lr"])
        undo(self)
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self):  # type: ignore[override]
        """One step of the schedule that is on."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        s = self._schedulers[i]
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            s._update_lr(0)
        else:
            s.step()
        self._last_lr = s.get_last_lr()


class ChainedScheduler(Combined):
    """Several schedules at once, each changing what the one before left.

    Source:   torch.optim.lr_scheduler.ChainedScheduler
    """

    def __init__(self, schedulers, optimizer=None):
        name = type(self).__name__
        if len(schedulers) < 1:
            raise ValueError(f"{name} expects at least one scheduler to be chained, but got no scheduler.")
        self.optimizer = optimizer or schedulers[0].optimizer
        check_parts(name, self.optimizer, schedulers)
        self._schedulers = schedulers
        self._last_lr = present(self.optimizer)

    def step(self):  # type: ignore[override]
        """One step of every schedule."""
        for s in self._schedulers:
            s.step()
        self._last_lr = present(self.optimizer)
