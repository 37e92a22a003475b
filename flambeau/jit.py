"""torch.jit: scripting leaves functions as they are, since their kernels are compiled anyway; nothing is exported."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["Final", "annotate", "export", "ignore", "is_scripting", "is_tracing", "isinstance", "load", "save", "script", "trace", "unused"]


def is_scripting() -> bool:
    """False."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


def script(obj=None, *args, **kwargs):
    """obj itself: it runs as it is.

    Source:   torch.jit.script
    """
    return obj


def trace(func, example_inputs=None, *args, **kwargs):
    """func itself, after one call with the example inputs (so that errors show here).

    Source:   torch.jit.trace
    """
    if example_inputs is not None:
        func(*(example_inputs if isinstance_(example_inputs, (tuple, list)) else (example_inputs,)))
    return func


def _marker(fn=None, *args, **kwargs):
    """A decorator that leaves the function as it is."""
    return fn if callable(fn) else (lambda f: f)


ignore = unused = export = script_method = interface = _overload = _overload_method = _marker
isinstance_ = isinstance


def annotate(the_type, the_value) -> Any:
    """the_value."""
    return the_value


def isinstance(obj, target_type) -> bool:  # noqa: A001 - PyTorch's name
    """Python's isinstance."""
    return isinstance_(obj, target_type)


def save(m, f, _extra_files=None):
    """Not there: save m.state_dict() with torch.save."""
    raise NotImplementedError("jit.save: programs are not exported; save the module's state_dict() with torch.save")


def load(f, map_location=None, _extra_files=None):
    """Not there: scripted programs cannot be run."""
    raise NotImplementedError("jit.load: TorchScript programs cannot be run here; load a state_dict() with torch.load")
