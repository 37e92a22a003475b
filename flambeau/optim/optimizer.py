"""The base of all optimizers: parameter groups, state, hooks, and PyTorch's state_dict format."""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from ctypes import c_float
from itertools import chain
from typing import Any

from flambeau.autograd.graph import Handle
from flambeau.autograd.modes import enable_grad, no_grad
from flambeau.core import dtypes as dt
from flambeau.core.device import strided
from flambeau.ops.record import state as grad_state
from flambeau.optim.kernels import Batch
from flambeau.tensor.tensor import Tensor

Params = Iterable[Any]
_global_pre: OrderedDict = OrderedDict()
_global_post: OrderedDict = OrderedDict()


def not_negative(label: str) -> Callable:
    """A rule: 0 <= value."""

    def rule(value) -> None:
        if not 0.0 <= value:
            raise ValueError(f"Invalid {label}: {value}")

    return rule


def check_betas(betas) -> None:
    for i, b in enumerate(betas):
        if not 0.0 <= b < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {b}")


def check_rho(rho) -> None:
    if not 0.0 <= rho <= 1.0:
        raise ValueError(f"Invalid rho value: {rho}")


def check_etas(etas) -> None:
    if not 0.0 < etas[0] < 1.0 < etas[1]:
        raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")


RULES = {
    "lr": not_negative("learning rate"), "eps": not_negative("epsilon value"), "betas": check_betas, "rho": check_rho,
    "etas": check_etas,
} | {
    name: not_negative(f"{name} value")
    for name in ("weight_decay", "momentum", "momentum_decay", "lr_decay", "initial_accumulator_value")
}  # fmt: skip


def checked(defaults: dict) -> dict:
    """An optimizer's options, each held to its rule; those that choose PyTorch's implementation are only accepted."""
    check_single(defaults["lr"])
    for name, rule in RULES.items():
        if name in defaults:
            rule(defaults[name])
    if defaults.get("fused"):
        if defaults.get("differentiable"):
            raise RuntimeError("`fused` does not support `differentiable`")
        if defaults.get("foreach"):
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    return defaults


def check_single(lr) -> None:
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")


def require(ok, what: str, value) -> None:
    if not ok:
        raise ValueError(f"{what}: {value}")


def sign(group: dict) -> float:
    """What the gradient is multiplied with."""
    return -1.0 if group["maximize"] else 1.0


def number(x):
    """An option as a number; where steps are recorded, a tensor with its history."""
    return x.reshape(()) if grad_state.grad and isinstance(x, Tensor) else float(x)


def update_rows(update, p, g, state: tuple, numbers: tuple) -> None:
    """An update of those elements of p and its state at which a sparse gradient has values."""
    g = g.coalesce()
    places = tuple(g._indices().unbind(0))
    rows = tuple([t[places] for t in (p, *state)])
    with Batch():
        update((rows[0], g._values(), *rows[1:]), *numbers)
    for t, row in zip((p, *state), rows, strict=True):
        t.index_put_(places, row)


def advance(state: dict) -> float:
    """Count a step and return its number."""
    step = state["step"]
    if step._requires_grad:
        raise RuntimeError("`requires_grad` is not supported for `step` in differentiable mode")
    if step._dtype is dt.float32 and not step._shape:
        cell = c_float.from_address(step._ptr)
        cell.value = count = cell.value + 1.0
        step._vc.version += 1
        return count
    return step.add_(1).item()


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook: Callable) -> Handle:
    """Call hook(optimizer, args, kwargs) before every step of every optimizer."""
    return Handle(_global_pre, hook)


def register_optimizer_step_post_hook(hook: Callable) -> Handle:
    """Call hook(optimizer, args, kwargs) after every step of every optimizer."""
    return Handle(_global_post, hook)


class Optimizer:
    """Holds parameters in groups with options, and per-parameter state.

    A subclass gives `_update(p, g, state, options)`, which changes p and its state in place; or, as in PyTorch, step().
    Steps of optimizers made with differentiable=True are recorded: gradients go back through them, to what the parameters
    (no leaves then) were made of, and to a learning rate, betas or weight decay that are tensors.
    Source:   torch.optim.Optimizer
    """

    def __init__(self, params: Params, defaults: dict):
        self.defaults = defaults
        for name in ("_pre_hooks", "_post_hooks", "_load_pre", "_load_post", "_save_pre", "_save_post"):
            setattr(self, name, OrderedDict())
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + params.type()
            )
        self.state: dict = defaultdict(dict)
        self.param_groups: list[dict] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __getstate__(self) -> dict:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        for name in ("_pre_hooks", "_post_hooks", "_load_pre", "_load_post", "_save_pre", "_save_post"):
            self.__dict__.setdefault(name, OrderedDict())
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"\nParameter Group {i}\n")
            lines += [f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params"]
        return "".join(lines) + ")"

    def add_param_group(self, param_group: dict) -> None:
        """One more group; options it does not name are the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        params = list(params)
        named = [isinstance(p, tuple) for p in params]
        if any(named):
            if not all(named):
                raise ValueError("all optimizer params should be with/without names. Some param names are missing")
            param_group["param_names"] = [n for n, _ in params]
            params = [p for _, p in params]
        if any(("param_names" in g) != ("param_names" in param_group) for g in self.param_groups):
            kind = "with" if any(named) else "without"
            raise ValueError(
                "all optimizer param groups should be with/without names. "
                f"cannot add param group {kind} names to the optimizer"
            )
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not (self.defaults.get("differentiable") or p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len({id(p) for p in params}) != len(params):
            import warnings

            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; see "
                "github.com/pytorch/pytorch/issues/40967 for more information", stacklevel=3,
            )  # fmt: skip
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in known for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        param_group["params"] = params
        self.param_groups.append({"params": params} | param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or fill them with zeros)."""
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is not None:
                    if set_to_none:
                        p._grad = None
                    else:
                        p._grad.detach_()
                        p._grad.requires_grad_(False)
                        p._grad.zero_()

    def step(self, closure: Callable | None = None):
        """One update of all parameters that have gradients; returns the closure's loss."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if self.defaults.get("differentiable"):
            with enable_grad():
                self._update_all()
        else:
            with no_grad(), Batch():
                self._update_all()
        return loss

    def _update_all(self) -> None:
        states = self.state
        for group in self.param_groups:
            options = self._options(group)
            for p in group["params"]:
                g = p._grad
                if g is None:
                    continue
                update = self._update if g._dense or g.layout is strided else self._update_sparse
                state = states.get(p)
                if state:
                    update(p, g, state, options)
                    continue
                state = self._start(p, group)
                update(p, g, state, options)
                if state:
                    states[p] = state

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__ and not hasattr(cls.step, "hooked"):
            cls.step = with_hooks(cls.step)

    def _start(self, p, group: dict) -> dict:
        """The state of a parameter before its first step, in PyTorch's order."""
        return {}

    def _options(self, group: dict):
        """What _update is given of a group: worked out once per step."""
        return group

    def _update(self, p, g, state: dict, options) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no step: define step() (or _update())")

    def _update_sparse(self, p, g, state: dict, options) -> None:
        raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")

    # saving ---------------------------------------------------------------------------------------
    def state_dict(self) -> dict:
        """{"state": {index: state}, "param_groups": [options with parameter indices]}, as PyTorch's."""
        for hook in self._save_pre.values():
            hook(self)
        numbers: dict = {}
        groups = []
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {(numbers[id(k)] if isinstance(k, Tensor) else k): v for k, v in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._save_post.values():
            new = hook(self, result)
            result = result if new is None else new
        return result

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue from state_dict(), one of PyTorch's included; floating state takes its parameter's dtype."""
        state_dict = dict(state_dict)
        for hook in self._load_pre.values():
            new = hook(self, state_dict)
            state_dict = state_dict if new is None else new
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(groups, saved, strict=True)):
            raise ValueError("loaded state dict contains a parameter group that doesn't match the size of optimizer's group")
        ids = chain.from_iterable(g["params"] for g in saved)
        params = chain.from_iterable(g["params"] for g in groups)
        by_id = dict(zip(ids, params, strict=True))
        state: dict = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in by_id:
                state[by_id[key]] = fitted(by_id[key], value)
            else:
                state[key] = value
        for group, new in zip(groups, saved, strict=True):
            new["params"] = group["params"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._load_post.values():
            hook(self)

    # hooks ----------------------------------------------------------------------------------------
    def register_step_pre_hook(self, hook: Callable) -> Handle:
        """Call hook(optimizer, args, kwargs) before each step; args[0] is the optimizer; it may return new (args, kwargs)."""
        return Handle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> Handle:
        """Call hook(optimizer, args, kwargs) after each step."""
        return Handle(self._post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer) before state_dict."""
        return placed(self._save_pre, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer, state_dict) after state_dict; it may return another."""
        return placed(self._save_post, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer, state_dict) before load_state_dict; it may return another."""
        return placed(self._load_pre, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call hook(optimizer) after load_state_dict."""
        return placed(self._load_post, hook, prepend)


def placed(table: OrderedDict, hook: Callable, prepend: bool) -> Handle:
    handle = Handle(table, hook)
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def fitted(p, value, key: str | None = None):
    """Loaded state for parameter p: copies, in p's dtype if that is floating (step counts as they are)."""
    if isinstance(value, Tensor):
        if key == "step" or not p.is_floating_point():
            return value.detach().clone()
        return value.detach().to(p.dtype, copy=True)
    if isinstance(value, dict):
        return {k: fitted(p, v, k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(fitted(p, v) for v in value)
    return value


def with_hooks(step: Callable) -> Callable:
    """step with the hooks around it."""

    @functools.wraps(step)
    def run(*args, **kwargs):
        self = args[0]
        if _global_pre or self._pre_hooks:
            for hook in chain(_global_pre.values(), self._pre_hooks.values()):
                new = hook(self, args, kwargs)
                if new is not None:
                    if not isinstance(new, tuple) or len(new) != 2:
                        raise RuntimeError(f"{step} must return None or a tuple of (new_args, new_kwargs), but got {new}.")
                    args, kwargs = new
        out = step(*args, **kwargs)
        if _global_post or self._post_hooks:
            for hook in chain(self._post_hooks.values(), _global_post.values()):
                hook(self, args, kwargs)
        return out

    run.hooked = True  # type: ignore[attr-defined]
    return run


Optimizer.step = with_hooks(Optimizer.step)  # type: ignore[method-assign]
