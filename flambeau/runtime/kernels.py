"""From a traced loop nest to a launcher: emit, compile (or take from the cache), bind."""

from __future__ import annotations

from flambeau.ir import kernel as K
from flambeau.runtime import jit, launch

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
    name = "k_" + "".join(c if c.isalnum() else "_" for c in program.name)
    text = emit(program, host(), name, expand)
    K.E.Expr._interned.clear()
    return launch.bind(jit.compile(text, name))


K.compile_program = compile_program
