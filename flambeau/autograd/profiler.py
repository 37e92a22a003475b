"""torch.autograd.profiler: names for ranges of a program. There is no profiler to see them: Python's own times functions."""

from __future__ import annotations

import contextlib


class record_function(contextlib.ContextDecorator):  # noqa: N801 - PyTorch's name
    """A named range: a context manager or decorator. Without a profiler, as here, it does nothing.

    Source:   torch.autograd.profiler.record_function
    """

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args

    def __enter__(self):
        return self

    def __exit__(self, *exc) -> None:
        pass


def __getattr__(name: str):
    raise AttributeError(
        f"module 'flambeau.autograd.profiler' has no attribute {name!r}: there is no profiler of ops; "
        "cProfile times functions, torch.utils.benchmark.Timer statements"
    )
