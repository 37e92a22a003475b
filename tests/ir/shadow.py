"""Every kernel the parity expressions launch, in the machine and in the interpreter; prints a summary and what differs.

Run as a process of its own (test_interpret.py), so that the launchers are in place before any kernel is.
"""

import ctypes
import sys
import warnings
import weakref
from collections import Counter

import numpy as np

import flambeau as torch
from flambeau.codegen import maths
from flambeau.ir import interpret
from flambeau.ir import kernel as K
from flambeau.runtime import kernels, memory
from tests.parity import cases

ROUNDS = 2  # launches of one program that are compared
RTOL = {"f4": 2e-5, "f8": 1e-11, "f2": 2e-3, "c8": 2e-5, "c16": 1e-11}  # sums in another order, products fused or not

live: weakref.WeakValueDictionary = weakref.WeakValueDictionary()
launched: Counter = Counter()
compared: Counter = Counter()
wrong: list[str] = []


def noted(make):
    """An allocating function whose storages can be found again by address."""

    def call(*args):
        storage = make(*args)
        live[storage.ptr] = storage
        return storage

    return call


def holder(address: int):
    """The live storage that an address lies in."""
    found = live.get(address)
    if found is not None:
        return found
    return next((s for s in list(live.values()) if s.ptr <= address < s.ptr + s.nbytes), None)


def contents(storage) -> np.ndarray:
    """A copy of a storage's bytes."""
    return np.frombuffer(ctypes.string_at(storage.ptr, storage.nbytes), np.uint8).copy()


def span(storage, raw: np.ndarray, address: int, dtype) -> interpret.Span:
    """The copy of a storage as an operand's memory."""
    d = interpret.stored_dtype(dtype)
    skip = (address - storage.ptr) % d.itemsize
    usable = raw[skip : skip + (len(raw) - skip) // d.itemsize * d.itemsize]
    return interpret.Span(usable.view(d), (address - storage.ptr) // d.itemsize)


def same(a: np.ndarray, b: np.ndarray, dtypes) -> bool:
    """Bytes are equal, or close as numbers of one of the dtypes they are used as."""
    if np.array_equal(a, b):
        return True
    for dtype in dtypes:
        d = interpret.stored_dtype(dtype)
        if dtype.kind not in "fc" or len(a) % d.itemsize:
            continue
        x, y = (interpret.from_memory(v.view(d), dtype) for v in (a, b))
        rtol = 2e-2 if d.kind == "u" else RTOL[d.str[1:]]
        changed = np.abs(y[np.isfinite(y)])
        if np.allclose(x, y, rtol=rtol, atol=rtol * (1 + changed.max(initial=0)), equal_nan=True):
            return True
    return False


def shadowed(program: K.Program):
    """A launcher that compares, the first few times."""
    real = kernels.compile_program(program)
    pointers = [i for i, (_, kind, _, _) in enumerate(program.params) if kind is K.Ptr]

    def launch(extent, grain, *args):
        launched[program.name] += 1
        addresses = [int(args[i] or 0) for i in pointers]
        holders = [holder(a) for a in addresses]
        if extent <= 0 or compared[id(program)] >= ROUNDS or any(h is None for a, h in zip(addresses, holders, strict=True) if a):
            return real(extent, grain, *args)
        compared[id(program)] += 1
        copies = {id(h): contents(h) for h in holders if h is not None}
        operands, uses = list(args), {}
        for i, a, h in zip(pointers, addresses, holders, strict=True):
            dtype = program.params[i][2]
            if h is None:
                operands[i] = interpret.Span(np.empty(0, interpret.stored_dtype(dtype)))
            else:
                operands[i] = span(h, copies[id(h)], a, dtype)
                uses.setdefault(id(h), []).append(dtype)
        operands = [v if v is not None else 0 for v in operands]
        real(extent, grain, *args)
        try:
            interpret.run(program, extent, *operands, expand=maths.expand)
        except Exception as e:  # noqa: BLE001 - it is the result
            wrong.append(f"{program.name} {program.key}: {type(e).__name__}: {e}")
            return None
        for h in {id(h): h for h in holders if h is not None}.values():
            if not same(contents(h), copies[id(h)], uses[id(h)]):
                wrong.append(f"{program.name} {program.key}: memory of {[d.name for d in uses[id(h)]]} differs")
        return None

    return launch


def main(groups: list[str]) -> None:
    warnings.simplefilter("ignore")
    memory.most.value = -1  # all requests go through `allocate`
    for name in ("allocate", "zeroed", "from_external"):
        real = getattr(memory, name)
        note = noted(real)
        for module in [m for m in sys.modules.values() if getattr(m, name, None) is real]:
            setattr(module, name, note)
    K.compile_program = shadowed
    for group in groups or [g for g in cases.GROUPS if g != "errors"]:
        for expression in cases.cases(group):
            cases.evaluate(torch, expression, cases.inputs(expression))
    names = {name for name in launched}
    print(len(names), sum(compared.values()), *dict.fromkeys(wrong), sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
