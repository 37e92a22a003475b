"""Expressions and loop nests as text, for people: what a kernel computes, line by line.

    print(show.expression(y))     # an expression; what is used twice gets a name of its own
    print(show.program(traced))   # a whole kernel

The text is for reading only; nothing parses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir.expr import Expr

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>", "rem": "%",
}  # fmt: skip


class Writer:
    """Lines of text, and the names given to values so far."""

    def __init__(self):
        self.lines: list[str] = []
        self.names: dict[int, str] = {}
        self.taken: Counter[str] = Counter()
        self.depth = 0

    def put(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def name(self, e: Expr, wanted: str) -> str:
        """A name nobody has yet: x, x_2, x_3, ..."""
        self.taken[wanted] += 1
        count = self.taken[wanted]
        self.names[e.uid] = name = wanted if count == 1 else f"{wanted}_{count}"
        return name

    def share(self, roots: Iterable[Expr]) -> None:
        """A line for each part that is used more than once."""
        roots = list(roots)
        uses = Counter(a.uid for e in E.postorder(roots) if e.uid not in self.names for a in e.args)
        for e in E.postorder(roots):
            if e.args and uses[e.uid] > 1 and e.uid not in self.names:
                text = self.text(e)
                self.put(f"{self.name(e, 't')} = {text}")

    def text(self, e: Expr, inner: bool = False) -> str:
        """An expression on one line; parentheses where it is part of another."""
        if e.uid in self.names:
            return self.names[e.uid]
        if e.op == "const":
            return str(e.attr) if not isinstance(e.attr, float) else f"{e.attr:.9g}"
        if e.op == "leaf":
            return str(e.attr)
        if e.op in INFIX:
            a, b = (self.text(x, inner=True) for x in e.args)
            joined = f"{a} {INFIX[e.op]} {b}"
            return f"({joined})" if inner else joined
        if e.op in ("cast", "bitcast"):
            how = e.dtype.name if e.op == "cast" else f"bits_as_{e.dtype.name}"
            return f"{how}({self.text(e.args[0])})"
        return f"{e.op}({', '.join(self.text(a) for a in e.args)})"

    # statements -----------------------------------------------------------------------------------
    def block(self, statements: list) -> None:
        names = dict(self.names)  # what is named inside means nothing outside
        self.depth += 1
        for s in statements:
            STATEMENTS[type(s)](self, s)
        self.depth -= 1
        self.names = names

    def load(self, s: K.Load) -> None:
        self.share([s.index])
        where = "" if s.where is None else f" if {self.text(s.where)} else 0"
        names = [self.name(out, str(out.attr)) for out in (s.out, s.out2) if out is not None]
        self.put(f"{', '.join(names)} = {pointer(s.ptr)}[{self.text(s.index)}]{where}")

    def store(self, s: K.Store) -> None:
        values = [v for v in (s.value, s.value2) if v is not None]
        self.share([s.index, *values])
        where = "" if s.where is None else f" if {self.text(s.where)}"
        sign = "+=" if s.atomic else "="
        self.put(f"{pointer(s.ptr)}[{self.text(s.index)}] {sign} {', '.join(self.text(v) for v in values)}{where}")

    def define(self, s: K.Define) -> None:
        self.put(f"var {s.var.name} = {self.text(s.value)}")

    def assign(self, s: K.Assign) -> None:
        self.share([s.value])
        self.put(f"{s.var.name} = {self.text(s.value)}")

    def read(self, s: K.Read) -> None:
        self.names[s.out.uid] = s.var.name

    def new_acc(self, s: K.NewAcc) -> None:
        self.put(f"accumulate {s.acc.name} by {s.acc.op} from {self.text(s.init)}")

    def update(self, s: K.Update) -> None:
        self.share([s.value])
        self.put(f"{s.acc.name} <- {self.text(s.value)}")

    def local(self, s: K.Local) -> None:
        self.put(f"scratch {pointer(s.ptr)}: {s.count} x {s.ptr.dtype.name}")

    def prefetch(self, s: K.Prefetch) -> None:
        self.put(f"prefetch {pointer(s.ptr)}[{self.text(s.index)}] to cache {s.level}{' for writing' if s.write else ''}")

    def point(self, s: K.Point) -> None:
        self.put(f"{pointer(s.out)} = {pointer(s.ptr)} from {self.text(s.index)}")

    def transpose(self, s: K.Transpose) -> None:
        values = ", ".join(self.text(v) for v in s.values)
        self.put(f"{', '.join(self.name(out, str(out.attr)) for out in s.outs)} = lanes turned of ({values})")

    def permute(self, s: K.Permute) -> None:
        places = ", ".join("-" if p < 0 else str(p) for p in s.places)
        fill = "" if s.fill is None else f", - {self.text(s.fill)}"
        self.put(f"{self.name(s.out, str(s.out.attr))} = lanes ({places}) of {self.text(s.value)}{fill}")

    def loop(self, s: K.Loop) -> None:
        kind = "parallel vector" if s.kind == "parallel" and s.lanes else s.kind
        low = "begin" if s.lo is None else self.text(s.lo)
        high = "end" if s.hi is None and s.kind == "parallel" else "" if s.hi is None else self.text(s.hi)
        step = s.step if isinstance(s.step, int) else self.text(s.step)
        self.put(f"{kind} {s.index.attr} in {low}..{high}{'' if step == 1 else f' by {step}'}:")
        self.block(s.body)

    def while_(self, s: K.While) -> None:
        self.put("repeat:")
        self.block([*s.head, s.cond, *s.body])

    def stop(self, cond: Expr) -> None:
        self.put(f"stop unless {self.text(cond)}")

    def if_(self, s: K.If) -> None:
        self.put(f"if {self.text(s.cond)}:")
        self.block(s.body)
        if s.orelse:
            self.put("else:")
            self.block(s.orelse)


STATEMENTS = {
    K.Load: Writer.load, K.Store: Writer.store, K.Define: Writer.define, K.Assign: Writer.assign, K.Read: Writer.read,
    K.NewAcc: Writer.new_acc, K.Update: Writer.update, K.Local: Writer.local, K.Loop: Writer.loop, K.While: Writer.while_,
    K.If: Writer.if_, K.Prefetch: Writer.prefetch, K.Point: Writer.point, K.Transpose: Writer.transpose, K.Permute: Writer.permute, Expr: Writer.stop,
}  # fmt: skip


def pointer(p: K.PtrRef) -> str:
    """Memory, told from the values loaded from it by a capital letter."""
    return p.name[:1].upper() + p.name[1:]


def expression(e: Expr) -> str:
    """One expression in Python's notation; parts used twice are written above it."""
    w = Writer()
    w.share([e])
    return "\n".join([*w.lines, w.text(e)])


def program(p: K.Program) -> str:
    """A traced kernel: its parameters, then its statements."""
    w = Writer()
    shown = [
        f"{pointer(value)}: {dtype.name}*" if kind is K.Ptr else f"{name}: {dtype.name}"
        for name, kind, dtype, value in p.params
    ]
    w.put(f"kernel {p.name}({', '.join(shown)})")
    w.block(p.body)
    return "\n".join(w.lines)
