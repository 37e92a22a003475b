"""functional_call: a module run with other tensors in place of its parameters and buffers."""

import warnings
from contextlib import contextmanager

from flambeau.nn._base import Tensor
from flambeau.nn.modules.module import Module

__all__ = ["functional_call"]


def functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """``module(*args, **kwargs)`` with the tensors of ``parameters_and_buffers`` in place of its own.

    Args: tie_weights: names that are one tensor in the module get one replacement; strict: every name must
    be given, and none else. The module is as before afterwards.
    """
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 "
        "and will be removed in a future version of PyTorch. "
        "Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return _functional_call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def _functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    if not isinstance(module, Module):
        raise TypeError(f"Expected a Module; got {type(module).__name__}")
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _reparametrize_module(
        module, parameters_and_buffers, tie_weights=tie_weights, strict=strict
    ):
        return module(*args, **({} if kwargs is None else kwargs))


def _slots(module):
    """{dotted name: (table, name in it)} of every parameter and buffer, shared ones under each name."""
    found = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for name, value in table.items():
                if value is not None:
                    found[f"{path}.{name}" if path else name] = (table, name)
    return found


def _untied(slots, given):
    """``given`` with each replacement under every name of the tensor it replaces."""
    names_of = {}
    for name, (table, key) in slots.items():
        names_of.setdefault(id(table[key]), []).append(name)
    tied = {name: group for group in names_of.values() for name in group}
    full = dict(given)
    for name in given:
        group = tied.get(name, ())
        present = {other for other in group if other in given}
        if len({id(given[other]) for other in present}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(present)}, "
                "which are tied. Consider using tie_weights=False"
            )
        for other in group:
            full[other] = given[name]
    return full


@contextmanager
def _reparametrize_module(module, parameters_and_buffers, *, tie_weights=False, strict=False):
    slots = _slots(module)
    full = parameters_and_buffers
    if tie_weights:
        full = _untied(slots, parameters_and_buffers)
    _check_keys(module, slots, full, strict)
    placed = []
    try:
        for name, value in full.items():
            if name not in slots:
                continue
            if not isinstance(value, Tensor):
                raise TypeError(f"{value} is not an instance of torch.Tensor")
            table, key = slots[name]
            placed.append((name, table, key, table[key]))
            table[key] = value
        yield
    finally:
        for name, table, key, was in reversed(placed):
            if name in parameters_and_buffers and isinstance(parameters_and_buffers, dict):
                # In-place changes of buffers belong to the caller's tensors.
                parameters_and_buffers[name] = table.get(key, parameters_and_buffers[name])
            table[key] = was


def _check_keys(module, slots, given, strict):
    missing = [name for name in slots if name not in given]
    unexpected = [name for name in given if name not in slots]
    errors = []
    if strict and unexpected:
        errors.append("Unexpected key(s): {}.".format(", ".join(map(repr, unexpected))))
    if strict and missing:
        errors.append("Missing key(s): {}.".format(", ".join(map(repr, missing))))
    if errors:
        raise RuntimeError(
            "Error(s) in reparametrizing for {}:\n\t{}".format(
                module._get_name(), "\n\t".join(errors)
            )
        )
