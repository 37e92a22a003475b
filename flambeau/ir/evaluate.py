"""What each primitive of `expr` means, on NumPy arrays: the reference that emitted code is held to.

Values are arrays of the primitive's dtype, 0-d where they are the same for every lane. Integers wrap, division by zero
and shifts by the width or more mean what `codegen.emit` says they mean, so that the two can be compared bit for bit.
Named mathematics is not computed here: `expand` rewrites it into primitives (codegen.maths.expand, or a test's own).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

NUMPY = {
    dt.bool: np.bool_, dt.uint8: np.uint8, dt.uint16: np.uint16, dt.uint32: np.uint32, dt.uint64: np.uint64,
    dt.int8: np.int8, dt.int16: np.int16, dt.int32: np.int32, dt.int64: np.int64,
    dt.float32: np.float32, dt.float64: np.float64,
}  # fmt: skip

Expand = Callable[[str, tuple, object], Expr]


def _safe(a, b):
    """Divisors without undefined results: x / 0 is x / 1, the lowest number / -1 is itself / 1."""
    bad = b == 0
    if a.dtype.kind == "i":
        bad |= (a == np.iinfo(a.dtype).min) & (b == -1)
    return np.where(bad, b.dtype.type(1), b)


def _div(a, b):
    """IEEE for floats, towards zero for integers (fmod takes the dividend's sign, so a - fmod divides exactly)."""
    if a.dtype.kind == "f":
        return a / b
    b = _safe(a, b)
    return (a - np.fmod(a, b)) // b


def _rem(a, b):
    """With the sign of the dividend."""
    return np.fmod(a, b if a.dtype.kind == "f" else _safe(a, b))


def _fma(a, b, c):
    """a * b + c rounded once (Boldo and Melquiond 2008: an intermediate sum rounded to odd is rounded again safely)."""
    if a.dtype.kind != "f":
        return a * b + c
    if a.dtype == np.float32:
        return _odd_sum(a.astype(np.float64) * b, c.astype(np.float64)).astype(np.float32)
    high, low = _two_product(a, b)
    t, t_low = _two_sum(c, low)
    v, v_low = _two_sum(high, t)
    exact = v + _odd_sum(t_low, v_low)
    plain = high + c  # right where parts overflow, and about the sign of zero
    return np.where(np.isfinite(exact) & ((exact != 0) | (plain != 0)), exact, plain)


def _two_sum(a, b):
    """The sum and its rounding error (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _odd_sum(a, b):
    """a + b in float64, inexact results rounded to the neighbour whose last bit is set."""
    s, error = _two_sum(a, b)
    even = (s.view(np.int64) & 1) == 0
    nudged = np.nextafter(s, np.where(error > 0, np.inf, -np.inf))
    return np.where(np.isfinite(error) & (error != 0) & even, nudged, s)


def _two_product(a, b):
    """The product and its rounding error (Dekker 1971; the splitting constant is Veltkamp's)."""
    p = a * b
    parts = []
    for x in (a, b):
        big = x * 134217729.0
        high = big - (big - x)
        parts.append((high, x - high))
    (ah, al), (bh, bl) = parts
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _shift(left: bool):
    """Counts outside [0, bits) give 0, or the sign for arithmetic shifts to the right."""

    def shift(a, n):
        bits = 8 * a.dtype.itemsize
        over = (n < 0) | (n >= bits)
        some = np.where(over, n.dtype.type(bits - 1), n)
        if not left and a.dtype.kind == "i":
            return a >> some
        return np.where(over, a.dtype.type(0), a << some if left else a >> some)

    return shift


def _leading_zeros(a):
    u = a.view(f"u{a.dtype.itemsize}")
    for n in (1, 2, 4, 8, 16, 32):
        if n < 8 * a.dtype.itemsize:
            u = u | u >> u.dtype.type(n)
    return a.dtype.type(8 * a.dtype.itemsize) - np.bitwise_count(u).astype(a.dtype)


def _boolean(on_numbers, on_bools):
    """Arithmetic, except that on booleans + is or, * is and, - is xor."""
    return lambda a, b: (on_bools if a.dtype == np.bool_ else on_numbers)(a, b)


PRIMITIVES: dict[str, Callable] = {
    "add": _boolean(np.add, np.logical_or), "sub": _boolean(np.subtract, np.logical_xor),
    "mul": _boolean(np.multiply, np.logical_and), "div": _div, "rem": _rem, "fma": _fma,
    "neg": lambda a: a if a.dtype == np.bool_ else np.negative(a), "abs": np.abs, "sqrt": np.sqrt,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint, "copysign": np.copysign,
    "min": np.minimum, "max": np.maximum,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "select": np.where, "rarely": np.where, "scalef": lambda x, n: np.ldexp(x, n.astype(np.int32)),
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shl": _shift(True), "shr": _shift(False), "clz": _leading_zeros,
    "popcount": lambda a: np.bitwise_count(a.view(f"u{a.dtype.itemsize}")).astype(a.dtype),
}  # fmt: skip


def convert(a: np.ndarray, dtype) -> np.ndarray:
    """`cast`: by value; floats reach small integers through int32 (uint32 through int64) and wrap."""
    to = NUMPY[dtype]
    if dtype is dt.bool:
        return a != 0
    if a.dtype.kind == "f" and dtype.kind in "iu" and dtype is not dt.uint64:
        wide = np.int64 if dtype.itemsize == 8 or dtype is dt.uint32 else np.int32
        return a.astype(wide).astype(to)
    return a.astype(to)


def apply(e: Expr, operands: list[np.ndarray]) -> np.ndarray:
    """One node over the values of its operands."""
    if e.op == "cast":
        return convert(operands[0], e.dtype)
    if e.op == "bitcast":
        return operands[0].view(NUMPY[e.dtype])
    if e.op == "lookup":
        return np.array(e.attr, NUMPY[e.dtype])[operands[0] & (len(e.attr) - 1)]
    return np.asarray(PRIMITIVES[e.op](*operands))


class Values:
    """The values of expressions in reach: frames as blocks nest, the innermost first."""

    def __init__(self, expand: Expand | None = None):
        self.frames: list[dict[int, np.ndarray]] = [{}]
        self.expand = expand
        self.expansions: dict[int, Expr] = {}

    def find(self, e: Expr) -> np.ndarray | None:
        """The value of a constant, or of what was computed or bound before."""
        for frame in reversed(self.frames):
            found = frame.get(e.uid)
            if found is not None:
                return found
        if e.op == "const":
            return np.asarray(e.attr, NUMPY[e.dtype])
        return None

    def bind(self, e: Expr, value) -> None:
        """Give a leaf its value, in the innermost frame."""
        self.frames[-1][e.uid] = np.asarray(value, NUMPY[e.dtype])

    def inner(self, e: Expr) -> tuple[Expr, ...]:
        """What must be known before e: its operands, or the expansion of named mathematics."""
        if e.op == "leaf":
            raise RuntimeError(f"interpret: {e.attr} is used outside the block that makes it")
        if e.op not in E.MATHS:
            return e.args
        if e.uid not in self.expansions:
            if self.expand is None:
                raise NotImplementedError(f"interpret: {e.op} needs an expansion; give expand=")
            self.expansions[e.uid] = self.expand(e.op, e.args, e.dtype)
        return (self.expansions[e.uid],)

    def of(self, root: Expr) -> np.ndarray:
        """The value of an expression."""
        stack = [root]
        while stack:
            e = stack[-1]
            if self.find(e) is not None:
                stack.pop()
                continue
            needs = self.inner(e)
            missing = [a for a in needs if self.find(a) is None]
            if missing:
                stack.extend(missing)
                continue
            operands = [self.find(a) for a in needs]
            with np.errstate(all="ignore"):
                value = operands[0] if e.op in E.MATHS else apply(e, operands)  # type: ignore[arg-type]
            self.frames[-1][e.uid] = value  # type: ignore[assignment]
            stack.pop()
        return self.find(root)  # type: ignore[return-value]


def evaluate(roots: Iterable[Expr], leaves: dict[Expr, object], expand: Expand | None = None) -> list[np.ndarray]:
    """The values of `roots` for given values of their leaves.

    Errors: RuntimeError for a leaf without a value; NotImplementedError for named mathematics without `expand`.
    """
    values = Values(expand)
    for leaf, value in leaves.items():
        values.bind(leaf, value)
    return [values.of(r) for r in roots]
