"""Launches recorded once per geometry, repeated with other addresses: what a small convolution costs in Python.

The functions that work out a convolution are run once with stand-ins for its operands, whose addresses are symbols; every
launch is written down, and repeated by filling the symbols in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flambeau.core.shapes import contiguous_strides
from flambeau.runtime import calls, memory
from flambeau.runtime.threads import within

OUT, FIRST, SECOND, BIAS = range(4)  # the operands whose addresses `run` is given
OPERANDS = 4


@dataclass(frozen=True)
class Address:
    """A place in an operand or in scratch memory: which one, and how many bytes further."""

    base: int
    offset: int = 0

    def __add__(self, count: int) -> Address:
        return Address(self.base, self.offset + count)


class Operand:
    """What planning may know of a tensor."""

    def __init__(self, base: int, shape: tuple, dtype, strides: tuple | None = None):
        self._ptr, self._shape, self._dtype = Address(base), tuple(shape), dtype
        self._strides = contiguous_strides(shape) if strides is None else strides


class Plan:
    """Scratch sizes and launches, in order, for at most so many threads."""

    def __init__(self, threads: int):
        self.threads = threads
        self.sizes: list[int] = []
        self.launches: list[tuple] = []
        self.tables: list = []

    def scratch(self, nbytes: int) -> Address:
        """Memory of its own, for as long as a run takes."""
        self.sizes.append(nbytes)
        return Address(OPERANDS + len(self.sizes) - 1)

    def launch(self, kernel, extent: int, grain: int, *args) -> None:
        """Note a launch; arguments are numbers, addresses, and tables (kept alive)."""
        values, symbols = list(args), []
        for i, a in enumerate(args):
            if isinstance(a, Address):
                symbols.append((i, a.base, a.offset))
            elif not isinstance(a, int):
                self.tables.append(a)
                values[i] = a._ptr
        self.launches.append((kernel, extent, within(grain, self.threads), values, symbols))

    def call(self, geometry: tuple, operands: int) -> Callable:
        """All of it for an output of this geometry and operands FIRST, SECOND, ...; see calls.bind."""

        def place(base: int, offset: int) -> calls.Place:
            if base == OUT:
                return calls.out() + offset
            return (calls.operand(base - FIRST) if base < OPERANDS else calls.room(base - OPERANDS)) + offset

        launches = []
        for kernel, extent, grain, values, symbols in self.launches:
            args = values.copy()
            for i, base, offset in symbols:
                args[i] = place(base, offset)
            launches.append((kernel, extent, grain, args))
        return calls.bind((geometry,), operands, 0, launches, tuple(self.sizes), keep=self.tables)

    def run(self, *pointers: int) -> None:
        """Do it all, with the operands at these addresses (OUT, FIRST, SECOND, BIAS)."""
        rooms = [memory.allocate(n) for n in self.sizes]
        bases = (*pointers, *[r.ptr for r in rooms])
        for kernel, extent, grain, values, symbols in self.launches:
            args = values.copy()
            for i, base, offset in symbols:
                args[i] = bases[base] + offset
            kernel(extent, grain, *args)
