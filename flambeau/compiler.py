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


class set_stance:  # noqa: N801 - PyTorch's name
    """How compiled functions are to be compiled: there is nothing to decide. A function, context manager or decorator.

    Errors:   RuntimeError for a stance that PyTorch does not know
    Source:   torch.compiler.set_stance
    """

    STANCES = ("default", "eager_then_compile", "aot_eager_then_compile", "force_eager", "eager_on_recompile", "fail_on_recompile")

    def __init__(self, stance="default", *, skip_guard_eval_unsafe=False, force_backend=None):
        if stance not in self.STANCES:
            raise RuntimeError(f"invalid torch.compile stance {stance!r}: expected one of {', '.join(self.STANCES)}")

    def __enter__(self):
        return self

    def __exit__(self, *exc) -> None:
        pass

    def __call__(self, fn):
        return fn


def list_backends(exclude_tags=()) -> list[str]:
    """[]: there is no backend to choose."""
    return []
