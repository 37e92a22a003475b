"""KERNEL ops that are worked out once for each geometry of their arguments, and remembered as calls.

    @op(KERNEL)
    @by_geometry
    def mm(input, mat2):
        ...checks...
        return calls.bind(...)      # what is to be done for arguments of these dtypes, shapes and strides

The body may look at nothing of its tensors but dtype, shape, strides and what follows from them, and at the number of threads;
that may rise before the launches, so those with scratch memory for each thread have their grain from threads.within.
What it returns takes the tensors among its arguments, in order. Here is what a call does, in Python; runtime.calls has the
same as a builtin, which VIEW ops use too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from flambeau.core.dtypes import dtype
from flambeau.ops.record import TENSORS, Op, SparseOperand, hooks, parameters
from flambeau.runtime import calls, threads

MAX_CALLS = 2048  # geometries an op remembers; then it starts again
KEYS = frozenset((type(None), bool, int, str, dtype))
waiting: list = []  # the ops that become builtins when the first kernel is compiled


def key_of(args: tuple) -> tuple | None:
    """What tells the arguments' geometries apart; None where a value is of a kind that is not told here."""
    key: list = []
    for a in args:
        c = a.__class__
        if c in TENSORS:
            key += a._dtype, a._shape, a._strides
        elif isinstance(a, hooks.Tensor):
            try:
                key += a._dtype, a._shape, a._strides
            except SparseOperand:
                return None
        elif c in KEYS or c is float and a and a == a or c is tuple and all(i.__class__ is int for i in a):
            key += c, a, None
        else:
            return None
    return tuple(key)


def by_geometry(plan: Callable) -> Callable:
    """Decorator: the function that plans, as one that does what is planned (nothing is recorded: that is an op's business)."""
    known: dict = {}
    names = parameters(plan)[0]
    threads.at_change.append(known.clear)

    def run(*args, **kwargs):
        values = args
        if kwargs:
            given = dict(zip(names, args, strict=False)) | kwargs
            values = tuple([given[n] for n in names if n in given])
        key = key_of(values)
        if key is not None and kwargs:
            key = (*kwargs, *key)
        found = None if key is None else known.get(key)
        if found is None:
            count = threads.get_num_threads()
            found = plan(*args, **kwargs)
            if key is not None and threads.get_num_threads() == count:  # else it is cut for another number
                if len(known) >= MAX_CALLS:
                    known.clear()
                known[key] = found
        return found(*[a for a in values if isinstance(a, hooks.Tensor)])

    def same(result, *args):
        return result

    @functools.wraps(plan)
    def call(*args, **kwargs):
        return run(*args, **kwargs) if kwargs else quick(*args)

    def quicken() -> None:
        nonlocal quick
        quick = calls.new_builtin("planned", (known, run, same))

    quick = run
    waiting.append(quicken)
    call.known = known  # type: ignore[attr-defined]
    return call


class Lying:
    """Something of this shape (and strides): what plans read of a tensor that does not exist yet."""

    def __init__(self, shape, strides=()):
        self._shape, self._strides = tuple(shape), strides


def given(args: tuple) -> tuple:
    """Which of the arguments are there. A call that is kept holds on to this, never to the tensors themselves.

    Errors: TypeError for what is neither a tensor nor None.
    """
    for i, a in enumerate(args):
        if a is not None and not isinstance(a, hooks.Tensor):
            raise TypeError(f"argument {i + 1} must be a tensor or None, got {type(a).__name__}")
    return tuple([a is not None for a in args])


def unpacked(tensors: tuple, there: tuple) -> list:
    """The tensors of a call again, with None where an argument was not there."""
    rest = iter(tensors)
    return [next(rest) if known else None for known in there]


def quickened(op: Op, known: dict, slow: Callable) -> Callable:
    """call(*args), by a builtin once there is one: from what is known of the geometry, then op.note(result, *args)."""

    def call(*args, **kwargs):
        return slow(*args, **kwargs) if kwargs else run(*args)

    def quicken() -> None:
        nonlocal run
        note = hooks.recorder(op) or op.note_here
        run = op.quick = calls.new_builtin("planned", (known, slow, note))  # type: ignore[attr-defined]

    run = op.quick = slow  # type: ignore[attr-defined]
    waiting.append(quicken)
    call.known = known  # type: ignore[attr-defined]
    return call


def quicken() -> None:
    """From now on the builtins are used."""
    for use in waiting:
        use()
