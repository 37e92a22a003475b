"""From a traced loop nest to a launcher: emit, compile (or take from the cache), bind."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.ir import kernel as K
from flambeau.runtime import jit, launch, recall

traced: list | None = None  # a list to collect programs in (tests assemble them for GPUs)


def expand(*args):
    """codegen.maths.expand, loaded when a kernel first needs it."""
    from flambeau.codegen import maths

    return maths.expand(*args)


def compile_program(program: K.Program):
    """The launcher `k(extent, grain, *args)` of a program on this machine's CPU."""
    from flambeau.codegen.emit import emit
    from flambeau.codegen.target import host

    if traced is not None:
        traced.append(program)
    name = symbol(program.name)
    text = emit(program, host(), name, expand)
    K.E.Expr._interned.clear()
    return launch.bind(jit.compile(text, name, program.alias))


def symbol(name: str) -> str:
    """The machine code's name of a kernel."""
    return "k_" + "".join(c if c.isalnum() else "_" for c in name)


def obtain(name: str, parts: tuple, trace: Callable[[], K.Program]):
    """The launcher of the kernel that trace() gives: without tracing if `parts`, which determine it, are known on disk."""
    if K.compile_program is not compile_program or traced is not None:  # somebody wants to see programs
        return K.compile_program(trace())
    from flambeau.codegen.target import host

    alias = recall.name_of(name, parts, host())
    address = None if alias is None else jit.recall(alias, symbol(name))
    if address is not None:
        return launch.bind(address)
    program = trace()
    program.alias = alias
    return compile_program(program)


K.compile_program, K.obtain = compile_program, obtain
