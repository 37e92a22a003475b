"""No kernel writes outside its memory: every expression runs between guard bytes, forward and backward."""

import ctypes
import sys
import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau.runtime import memory
from tests.parity import cases

GUARD = 4096
FILL = 0xAB


class Guarded:
    """Allocations with a guard area behind each (what is before one is behind its neighbour)."""

    def __init__(self):
        self.real, self.made = memory.allocate, []

    def __call__(self, nbytes):
        storage = self.real(nbytes + GUARD)
        ctypes.memset(storage.ptr, FILL, nbytes + GUARD)
        self.made.append((storage.ptr + nbytes, nbytes, storage))
        storage.nbytes = nbytes
        return storage

    def overruns(self):
        for ptr, nbytes, _ in self.made:
            area = np.frombuffer((ctypes.c_ubyte * GUARD).from_address(ptr), np.uint8)
            if (area != FILL).any():
                yield nbytes


@pytest.mark.parametrize("group", [g for g in cases.GROUPS if g != "errors"])
def test_nothing_is_written_outside(group, monkeypatch):
    torch.ones(1, requires_grad=True).sum().backward()  # the engine counts references once, of memory that nobody else holds
    guarded = Guarded()
    monkeypatch.setattr(memory, "allocate", guarded)
    for name in ("flambeau.tensor.tensor", "flambeau.runtime.memory"):
        monkeypatch.setattr(sys.modules[name], "allocate", guarded)
    monkeypatch.setattr(memory.most, "value", -1)
    wrong = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for expression in cases.cases(group):
            guarded.made.clear()
            cases.evaluate(torch, expression, cases.inputs(expression))
            wrong += [f"{expression}: behind an allocation of {n} bytes" for n in guarded.overruns()]
    guarded.made.clear()
    assert not wrong, "\n".join(wrong)
