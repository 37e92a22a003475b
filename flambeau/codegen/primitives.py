"""How each primitive of the scalar language is said in LLVM: an instruction, an intrinsic, or a few of them.

The tables FLOAT, SIGNED and UNSIGNED go by the kind of dtype. A function takes the emitter, the expression, the operands'
texts, their scalar and vector types, and the number of lanes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.codegen.llvm_types import literal
from flambeau.core import dtypes as dt

if TYPE_CHECKING:
    from flambeau.codegen.emit import Emitter


def _extreme(name: str):
    """min/max in which NaN wins, of zeros either: x86's instruction, and a blend where the first operand may be NaN."""

    def emit(m: Emitter, e, v, t, tv, w):
        return m.intrinsic(name, t, w, *v, flags="nsz ")

    return emit


def _divide(how: str, signed: bool):
    """Integer division without undefined behaviour: x/0 acts as x/1 (ops check first), MIN/-1 as MIN/1."""

    def emit(m: Emitter, e, v, t, tv, w):
        ci = m.vtype("i1", w)
        zero, one = m.number(t, 0, w), m.number(t, 1, w)
        bad = m.op(f"icmp eq {tv} {v[1]}, {zero}")
        if signed:
            lowest = m.number(t, -(1 << (int(t[1:]) - 1)), w)
            low = m.op(f"icmp eq {tv} {v[0]}, {lowest}")
            minus = m.op(f"icmp eq {tv} {v[1]}, {m.number(t, -1, w)}")
            bad = m.op(f"or {ci} {bad}, {m.op(f'and {ci} {low}, {minus}')}")
        safe = m.op(f"select {ci} {bad}, {tv} {one}, {tv} {v[1]}")
        return m.op(f"{how} {tv} {v[0]}, {safe}")

    return emit


def _shift(how: str):
    """Shifts by the width or more (or a negative count) give 0, or the sign for ashr."""

    def emit(m: Emitter, e, v, t, tv, w):
        bits = int(t[1:])
        if e.args[1].op == "const" and 0 <= e.args[1].attr < bits:
            return m.op(f"{how} {tv} {v[0]}, {v[1]}")
        ci = m.vtype("i1", w)
        over = m.op(f"icmp uge {tv} {v[1]}, {m.number(t, bits, w)}")
        last = m.number(t, bits - 1, w)
        safe = m.op(f"select {ci} {over}, {tv} {last}, {tv} {v[1]}")
        out = m.op(f"{how} {tv} {v[0]}, {safe}")
        if how == "ashr":
            return out
        return m.op(f"select {ci} {over}, {tv} {m.number(t, 0, w)}, {tv} {out}")

    return emit


def _not(m: Emitter, e, v, t, tv, w):
    return m.op(f"xor {tv} {v[0]}, {m.number(t, -1, w) if t != 'i1' else m.number(t, 1, w)}")


def _negate(m: Emitter, e, v, t, tv, w):
    return m.op(f"sub {tv} {m.number(t, 0, w)}, {v[0]}")


def _same(m: Emitter, e, v, t, tv, w):
    return v[0]


def _flag(name: str):
    """Intrinsics with a trailing i1 (what to do about undefined inputs: nothing is undefined here)."""

    def emit(m: Emitter, e, v, t, tv, w):
        return m.intrinsic(name, t, w, v[0], extra=(("i1", "false"),))

    return emit


def _scalef(m: Emitter, e, v, t, tv, w):
    """x * 2^n: one instruction with AVX-512, else two exact factors, of which only the last can round."""
    if m.target.permutes == 32 and w > 1:
        lanes, kind, bits = (8, "pd", "i8") if t == "double" else (16, "ps", "i16")
        whole = f"<{lanes} x {t}>"

        def scaled(x, n):
            return m.call(f"llvm.x86.avx512.mask.scalef.{kind}.512", whole, (whole, x), (whole, n),
                          (whole, "zeroinitializer"), (bits, "-1"), ("i32", "4"))  # fmt: skip

        return m.by_registers(t, w, scaled, (t, v[0]), (t, v[1]))
    it, mantissa, bias = ("i64", 52, 1023) if t == "double" else ("i32", 23, 127)
    ti = m.vtype(it, w)
    n = m.op(f"fptosi {tv} {v[1]} to {ti}")
    half = m.op(f"ashr {ti} {n}, {m.number(it, 1, w)}")
    x = v[0]
    for part in (half, m.op(f"sub {ti} {n}, {half}")):
        biased = m.op(f"add {ti} {part}, {m.number(it, bias, w)}")
        bits = m.op(f"shl {ti} {biased}, {m.number(it, mantissa, w)}")
        x = m.op(f"fmul {tv} {x}, {m.op(f'bitcast {ti} {bits} to {tv}')}")
    return x


def table_text(item) -> str:
    """A constant table's definition."""
    (t, values), name = item
    dtype = {"float": dt.float32, "double": dt.float64}[t]
    return f"{name} = private constant [{len(values)} x {t}] [{', '.join(f'{t} {literal(x, dtype)}' for x in values)}]"


FLOAT = {
    "scalef": _scalef, "add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "rem": "frem", "fma": "llvm.fma",
    "neg": "fneg", "abs": "llvm.fabs", "sqrt": "llvm.sqrt", "floor": "llvm.floor", "ceil": "llvm.ceil",
    "trunc": "llvm.trunc", "rint": "llvm.roundeven", "copysign": "llvm.copysign",
    "min": _extreme("minimum"), "max": _extreme("maximum"),
    "lt": "fcmp olt", "le": "fcmp ole", "gt": "fcmp ogt", "ge": "fcmp oge", "eq": "fcmp oeq", "ne": "fcmp une",
}  # fmt: skip


def _fma_int(m: Emitter, e, v, t, tv, w):
    return m.op(f"add {tv} {m.op(f'mul {tv} {v[0]}, {v[1]}')}, {v[2]}")


_BITS = {
    "add": "add", "sub": "sub", "mul": "mul", "fma": _fma_int, "neg": _negate,
    "and": "and", "or": "or", "xor": "xor", "not": _not, "shl": _shift("shl"), "eq": "icmp eq", "ne": "icmp ne",
    "popcount": "llvm.ctpop", "clz": _flag("ctlz"),
}  # fmt: skip
SIGNED = _BITS | {
    "div": _divide("sdiv", True), "rem": _divide("srem", True), "abs": _flag("abs"), "shr": _shift("ashr"),
    "min": "llvm.smin", "max": "llvm.smax",
    "lt": "icmp slt", "le": "icmp sle", "gt": "icmp sgt", "ge": "icmp sge",
}  # fmt: skip


def _bool_or(word: str, boolean: str):
    """Unsigned arithmetic, except that on booleans + is or and * is and."""

    def emit(m: Emitter, e, v, t, tv, w):
        return m.op(f"{boolean if t == 'i1' else word} {tv} {v[0]}, {v[1]}")

    return emit


UNSIGNED = _BITS | {
    "add": _bool_or("add", "or"), "mul": _bool_or("mul", "and"),
    "div": _divide("udiv", False), "rem": _divide("urem", False), "abs": _same, "shr": _shift("lshr"),
    "min": "llvm.umin", "max": "llvm.umax",
    "lt": "icmp ult", "le": "icmp ule", "gt": "icmp ugt", "ge": "icmp uge",
}  # fmt: skip
