"""torch.profiler: see autograd.profiler. Ranges can be named; there is no profiler to see them."""

from flambeau.autograd.profiler import record_function

__all__ = ["record_function"]


def __getattr__(name: str):
    raise AttributeError(
        f"module 'flambeau.profiler' has no attribute {name!r}: there is no profiler of ops; "
        "cProfile times functions, torch.utils.benchmark.Timer statements"
    )
