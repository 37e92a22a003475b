"""Where the expansions are listed, and `expand`, which applies one."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.codegen.maths.kit import F32, F64, Format
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

EXPANSIONS: dict[tuple, Callable[..., Expr]] = {}


def expansion(op: str, *formats: Format):
    """Decorator: f(format, *args) is what the named function `op` means, in these formats (default both)."""

    def register(fn):
        for f in formats or (F32, F64):
            EXPANSIONS[op, f.dtype] = _bound(fn, f)
        return fn

    return register


def through64(op: str):
    """Decorator: as `expansion`, for a float64 function that float32 uses too, rounding its result once."""

    def register(fn):
        def wide(f: Format, *args: Expr) -> Expr:
            return E.cast(fn(F64, *[E.cast(a, F64.dtype) for a in args]), f.dtype)

        expansion(op, F64)(fn)
        expansion(op, F32)(wide)
        return fn

    return register


def _bound(fn, f: Format):
    def expanded(*args: Expr) -> Expr:
        return fn(f, *args)

    return expanded


def expand(op: str, args: tuple[Expr, ...], dtype) -> Expr:
    """The named function `op` of `args` in primitives.

    Errors: NotImplementedError if `op` has no expansion for `dtype`.
    """
    found = EXPANSIONS.get((op, dtype))
    if found is None:
        raise NotImplementedError(f"maths: {op} has no expansion for {dtype}; float32 and float64 have")
    return found(*args)
