"""torch._dynamo: kernels are compiled as they are first used and functions left as they are, so there is nothing to steer."""

from __future__ import annotations

import sys
import types

from flambeau.compiler import (
    allow_in_graph,
    assume_constant_result,
    compile,
    disable,
    is_compiling,
    list_backends,
    reset,
)

__all__ = [
    "OptimizedModule", "allow_in_graph", "assume_constant_result", "config", "disable", "graph_break", "is_compiling", "list_backends",
    "mark_dynamic", "mark_static", "mark_static_address", "maybe_mark_dynamic", "optimize", "reset",
]  # fmt: skip

# Settings are kept; no compiler reads them.
config = types.SimpleNamespace(
    automatic_dynamic_shapes=True, assume_static_by_default=True, cache_size_limit=8, capture_dynamic_output_shape_ops=False,
    capture_scalar_outputs=False, optimize_ddp=True, recompile_limit=8, suppress_errors=False, verbose=False,
)  # fmt: skip


class OptimizedModule:
    """What PyTorch's compile makes of a module: here compile returns the module itself, and isinstance says so."""


def optimize(backend="inductor", *args, **kwargs):
    """A decorator: the function itself."""
    return lambda fn: compile(fn, backend=backend)


def graph_break(msg: str = "") -> None:
    """Nothing: there are no graphs."""


def mark_dynamic(t, index, *, min=None, max=None) -> None:  # noqa: A002 - PyTorch's names
    """Nothing: every kernel takes any size."""


def maybe_mark_dynamic(t, index) -> None:
    """Nothing: every kernel takes any size."""


def mark_static(t, index=None) -> None:
    """Nothing: every kernel takes any size."""


def mark_static_address(t, guard: bool = True) -> None:
    """Nothing: addresses are looked up at every call."""


eval_frame = sys.modules[f"{__name__}.eval_frame"] = sys.modules[__name__]  # where PyTorch has OptimizedModule
