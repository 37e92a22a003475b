"""torch.compiler and torch.compile: kernels are compiled as they are first used, so functions are left as they are."""

from __future__ import annotations


def compile(model=None, *, fullgraph=False, dynamic=None, backend="inductor", mode=None, options=None, disable=False):  # noqa: A001
    """model itself.

    Source:   torch.compile
    """
    if model is None:
        return lambda m: m
    return model


def disable(fn=None, recursive=True, *, reason=None):
    """fn itself."""
    return (lambda f: f) if fn is None else fn


def is_compiling() -> bool:
    """False."""
    return False


def is_dynamo_compiling() -> bool:
    """False."""
    return False


def is_exporting() -> bool:
    """False."""
    return False


def reset() -> None:
    """Nothing is kept."""


def cudagraph_mark_step_begin() -> None:
    """No CUDA graphs."""


def allow_in_graph(fn):
    """fn itself."""
    return fn


def assume_constant_result(fn):
    """fn itself."""
    return fn
