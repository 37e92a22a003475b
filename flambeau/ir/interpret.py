"""Traced kernels on NumPy arrays: each statement executed as written, every access checked against its array.

The lanes of a vector loop are NumPy's: `width` of them run a pass together, the last pass with as many as are left, so
results that depend on the width of a register show by running twice. Slow, and meant to be: an oracle between a
reference formula and emitted code, which places a fault in the rule, the lowering or the emission.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.ir import evaluate as V
from flambeau.ir import kernel as K
from flambeau.ir.expr import Expr

# dtype -> NumPy's in memory, where that is not the dtype computed in
STORED = {
    dt.bool: np.uint8, dt.float16: np.float16, dt.bfloat16: np.uint16,
    dt.complex64: np.complex64, dt.complex128: np.complex128,
}  # fmt: skip
FOLDS = {
    "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip
BOOLEAN_FOLDS = {"add": np.logical_or, "mul": np.logical_and, "min": np.logical_and, "max": np.logical_or}
POISON = 0xA5  # what scratch memory holds before it is written


def stored_dtype(dtype):
    """NumPy's dtype for elements of `dtype` in memory."""
    return np.dtype(STORED.get(dtype) or V.NUMPY[dtype])


class Span:
    """Memory of one pointer: a flat array, and where in it element 0 of the pointer is."""

    def __init__(self, array: np.ndarray, origin: int = 0):
        if array.ndim != 1:
            raise TypeError(f"interpret: a pointer needs a flat array, got {array.ndim} dims")
        self.array, self.origin = array, origin

    def places(self, name: str, what: str, index: np.ndarray) -> np.ndarray:
        """Positions in the array; IndexError for one outside."""
        at = index + self.origin
        bad = (at < 0) | (at >= self.array.shape[0])
        if np.any(bad):
            first = index[bad] if index.ndim else index
            low, high = -self.origin, self.array.shape[0] - self.origin
            raise IndexError(f"kernel {name}: {what}[{np.ravel(first)[0]}] is outside [{low}, {high})")
        return at


def from_memory(raw: np.ndarray, dtype) -> np.ndarray:
    """Loaded elements as they are computed in (complex ones stay complex)."""
    if dtype is dt.bool:
        return raw != 0
    if dtype is dt.float16:
        return raw.astype(np.float32)
    if dtype is dt.bfloat16:
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return raw


def to_memory(value: np.ndarray, dtype) -> np.ndarray:
    """Computed values as they are stored: rounded to nearest, ties to even."""
    if dtype is not dt.bfloat16:
        with np.errstate(all="ignore"):
            return value.astype(stored_dtype(dtype))
    bits = value.view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    with np.errstate(over="ignore"):
        cut = (bits + odd + np.uint32(0x7FFF)) >> np.uint32(16)
    return np.where(np.isnan(value), np.uint32(0x7FC0), cut).astype(np.uint16)


class Interpreter:
    """One call of a kernel over a part of its parallel axis."""

    def __init__(self, program: K.Program, operands: list, expand, width: int):
        self.program, self.width = program, width
        self.values = V.Values(expand)
        self.memory: dict[K.PtrRef, Span] = {}
        self.vars: dict[K.Var, np.ndarray] = {}
        self.accs: dict[K.Acc, np.ndarray] = {}
        self.lanes: int | None = None  # of the pass that runs, None outside vector loops
        self.active: np.ndarray | None = None  # which of them take part, None: all
        self.begin = self.end = 0
        if len(operands) != len(program.params):
            raise TypeError(f"kernel {program.name}: {len(program.params)} operands needed, {len(operands)} given")
        for (name, kind, dtype, value), given in zip(program.params, operands, strict=True):
            if kind is K.Ptr:
                span = given if isinstance(given, Span) else Span(given)
                if span.array.dtype != stored_dtype(dtype):
                    raise TypeError(f"kernel {program.name}: {name} holds {dtype}, got an array of {span.array.dtype}")
                self.memory[value] = span
            else:
                self.values.bind(value, given)

    def run(self, begin: int, end: int, worker: int) -> None:
        """The statements over [begin, end)."""
        self.begin, self.end = begin, end
        self.values.bind(self.program.worker, worker)
        self.block(self.program.body)

    @contextmanager
    def frame(self):
        self.values.frames.append({})
        try:
            yield
        finally:
            self.values.frames.pop()

    def block(self, body: list) -> None:
        for s in body:
            HANDLERS[type(s)](self, s)

    # values ---------------------------------------------------------------------------------------
    def scalar(self, e: Expr, what: str):
        """The value of an expression that must be the same for every lane."""
        value = self.values.of(e)
        if value.ndim:
            raise RuntimeError(f"interpret {self.program.name}: {what} must be the same for every lane")
        return value[()]

    def spread(self, value: np.ndarray) -> np.ndarray:
        """One value per lane."""
        return np.broadcast_to(value, (self.lanes,)) if self.lanes is not None else value

    def mask(self, where: Expr | None) -> np.ndarray | None:
        """Which lanes take part, in a loop's last pass and under a condition."""
        if where is None:
            return self.active
        cond = self.spread(self.values.of(where))
        return cond if self.active is None else self.active & cond

    # memory ---------------------------------------------------------------------------------------
    def load(self, s: K.Load) -> None:
        span, index = self.memory[s.ptr], self.values.of(s.index)
        uniform = index.ndim == 0 and (s.where is None or self.lanes is None)
        mask = self.mask(s.where) if not uniform or s.where is not None else None
        if mask is not None:
            index = self.spread(index)
            raw = np.zeros(index.shape, span.array.dtype)
            if np.any(mask):
                at = span.places(self.program.name, f"load {s.ptr.name}", index[mask])
                raw[mask] = span.array[at]
        else:
            raw = np.asarray(span.array[span.places(self.program.name, f"load {s.ptr.name}", index)])
        value = from_memory(raw, s.ptr.dtype)
        self.values.bind(s.out, value.real if s.out2 is not None else value)
        if s.out2 is not None:
            self.values.bind(s.out2, value.imag)

    def store(self, s: K.Store) -> None:
        span, index, mask = self.memory[s.ptr], self.values.of(s.index), self.mask(s.where)
        if self.lanes is not None and index.ndim == 0 and s.atomic is None:
            raise RuntimeError(f"interpret {self.program.name}: every lane stores to one element of {s.ptr.name}")
        value = self.values.of(s.value)
        if s.value2 is not None:
            value = self.join(value, self.values.of(s.value2), stored_dtype(s.ptr.dtype))
        index, raw = self.spread(index), to_memory(self.spread(value), s.ptr.dtype)
        if mask is not None:
            if not np.any(mask):
                return
            index, raw = index[mask], raw[mask]
        at = span.places(self.program.name, f"store {s.ptr.name}", index)
        if s.atomic == "add":
            np.add.at(span.array, at, raw)
        else:
            span.array[at] = raw

    def join(self, re: np.ndarray, im: np.ndarray, dtype) -> np.ndarray:
        """A complex array of its parts, exactly (re + 1j * im would lose infinities)."""
        out = np.empty(np.broadcast_shapes(re.shape, im.shape), dtype)
        out.real, out.imag = re, im
        return out

    def prefetch(self, s: K.Prefetch) -> None:
        """Nothing: what it asks for need not exist."""

    def local(self, s: K.Local) -> None:
        if s.ptr not in self.memory:  # one reservation a call, as a stack frame has
            dtype = stored_dtype(s.ptr.dtype)
            self.memory[s.ptr] = Span(np.full(s.count * dtype.itemsize, POISON, np.uint8).view(dtype))

    def point(self, s: K.Point) -> None:
        span = self.memory[s.ptr]
        self.memory[s.out] = Span(span.array, span.origin + int(self.scalar(s.index, "a pointer's place")))

    def transpose(self, s: K.Transpose) -> None:
        turned = np.stack([self.spread(self.values.of(v)) for v in s.values]).T
        for out, row in zip(s.outs, turned, strict=True):
            self.values.bind(out, row)

    def permute(self, s: K.Permute) -> None:
        value = self.spread(self.values.of(s.value))
        fill = value[:1] if s.fill is None else self.values.of(s.fill)
        self.values.bind(s.out, np.where(np.array(s.places) < 0, fill, value[list(s.places)]))

    # variables ------------------------------------------------------------------------------------
    def assign(self, s: K.Define | K.Assign) -> None:
        if s.var.lanes:
            self.vars[s.var] = self.spread(self.values.of(s.value))
        else:
            self.vars[s.var] = np.asarray(self.scalar(s.value, f"variable {s.var.name}"))

    def read(self, s: K.Read) -> None:
        self.values.bind(s.out, self.accs[s.var] if isinstance(s.var, K.Acc) else self.vars[s.var])

    def new_acc(self, s: K.NewAcc) -> None:
        self.accs[s.acc] = np.asarray(self.scalar(s.init, "an accumulator"))

    def update(self, s: K.Update) -> None:
        acc, value = s.acc, self.values.of(s.value)
        fold = BOOLEAN_FOLDS.get(acc.op, FOLDS[acc.op]) if acc.dtype is dt.bool else FOLDS[acc.op]
        if self.lanes is not None:
            value = self.spread(value)
            if self.active is not None:
                value = value[self.active]
            if not value.size:
                return
        with np.errstate(all="ignore"):
            total = fold.reduce(value, dtype=value.dtype) if value.ndim else value
            self.accs[acc] = np.asarray(fold(self.accs[acc], total), V.NUMPY[acc.dtype])

    # control --------------------------------------------------------------------------------------
    def loop(self, s: K.Loop) -> None:
        if s.kind == "lanes":
            left = None if s.hi is None else int(self.scalar(s.hi, "a lane count"))
            index = np.arange(s.step)  # type: ignore[arg-type]
            self.one_pass(s, index, None if left is None else index < left)
            return
        lo = self.begin if s.kind == "parallel" else int(self.scalar(s.lo, "a loop bound"))  # type: ignore[arg-type]
        hi = self.end if s.kind == "parallel" else int(self.scalar(s.hi, "a loop bound"))  # type: ignore[arg-type]
        if s.lanes:
            for first in range(lo, hi, self.width):
                self.one_pass(s, np.arange(first, min(first + self.width, hi)), None)
            return
        step = int(self.scalar(s.step, "a loop step")) if isinstance(s.step, Expr) else s.step
        for i in range(lo, hi, step):
            with self.frame():
                self.values.bind(s.index, i)
                self.block(s.body)

    def one_pass(self, s: K.Loop, index: np.ndarray, active: np.ndarray | None) -> None:
        """The body of a vector loop, once, for the lanes `index`."""
        self.lanes, self.active = len(index), active
        with self.frame():
            self.values.bind(s.index, index)
            self.block(s.body)
        self.lanes = self.active = None

    def while_(self, s: K.While) -> None:
        while True:
            with self.frame():
                self.block(s.head)
                if not self.scalar(s.cond, "a while condition"):
                    return
                with self.frame():
                    self.block(s.body)

    def if_(self, s: K.If) -> None:
        with self.frame():
            self.block(s.body if self.scalar(s.cond, "an if condition") else s.orelse)


HANDLERS: dict[type, Callable] = {
    K.Load: Interpreter.load, K.Store: Interpreter.store, K.Define: Interpreter.assign, K.Assign: Interpreter.assign,
    K.Read: Interpreter.read, K.Update: Interpreter.update, K.Loop: Interpreter.loop, K.While: Interpreter.while_,
    K.If: Interpreter.if_, K.Local: Interpreter.local, K.NewAcc: Interpreter.new_acc,
    K.Prefetch: Interpreter.prefetch, K.Point: Interpreter.point, K.Transpose: Interpreter.transpose,
    K.Permute: Interpreter.permute,
}  # fmt: skip


def run(program: K.Program, extent: int, *operands, expand: V.Expand | None = None, width: int = 8, parts: int = 1) -> None:
    """Run a traced kernel over [0, extent), as `parts` calls (one a worker), `width` lanes a pass.

    A pointer's operand is a flat array of the dtype in memory (bfloat16 as uint16, bool as uint8), or a `Span` of one.

    Errors: IndexError for an access outside an operand; RuntimeError for a use the language forbids.
    """
    cuts = [extent * i // parts for i in range(parts + 1)]
    for worker in range(parts):
        if cuts[worker] < cuts[worker + 1]:
            Interpreter(program, list(operands), expand, width).run(cuts[worker], cuts[worker + 1], worker)
