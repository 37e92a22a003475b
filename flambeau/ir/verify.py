"""The rules of the kernel language, checked on a traced program: what every emitter may take for granted.

    types        operands and result of each primitive; what memory gives and takes; constants
    definitions  values, variables, accumulators and scratch are made before they are used, in a block that encloses the use
    lanes        bounds and conditions are uniform, vector loops do not nest, an accumulator is not read while it is updated

Tests run it on every kernel they compile, before and after named mathematics is expanded; nothing here runs in production.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir.expr import Expr

COMPUTED = {dt.bool, dt.float32, dt.float64, dt.uint8, dt.uint16, dt.uint32, dt.uint64, dt.int8, dt.int16, dt.int32, dt.int64}
COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
BITS = {"and", "or", "xor", "not"}
INTEGERS = {"shl", "shr", "popcount", "clz"}
FLOATS = {"sqrt", "floor", "ceil", "trunc", "rint", "copysign", "scalef"}
NUMBERS = {"div", "rem", "fma"}  # and not booleans, as + * - are
FOLDS = {"add", "mul", "min", "max", "and", "or", "xor"}


class Invalid(Exception):
    """A program breaks a rule of the language."""


def mistake(e: Expr) -> str | None:
    """What is wrong with one node, by its operands' dtypes."""
    dtypes, d = [a.dtype for a in e.args], e.dtype
    if d not in COMPUTED:
        return f"{d} is not computed in"
    if e.op == "leaf":
        return None
    if e.op == "const":
        kind = float if d.kind == "f" else bool if d is dt.bool else int
        return None if type(e.attr) is kind else f"a constant of {d} holds a {type(e.attr).__name__}"
    count = E.PRIMITIVES.get(e.op, E.MATHS.get(e.op))
    if count is None:
        return f"there is no primitive {e.op}"
    if count != len(dtypes):
        return f"{e.op} takes {count} operands, not {len(dtypes)}"
    if e.op == "cast":
        return None
    if e.op == "bitcast":
        return None if dtypes[0].itemsize == d.itemsize and dt.bool not in (d, dtypes[0]) else "a bitcast between sizes"
    if e.op == "lookup":
        power = isinstance(e.attr, tuple) and len(e.attr) > 1 and not len(e.attr) & len(e.attr) - 1
        return None if dtypes[0].kind in "iu" and d.kind == "f" and power else "a lookup takes an integer and 2^k floats"
    if e.op in ("select", "rarely"):
        good = dtypes[0] is dt.bool and dtypes[1] is dtypes[2] is d
    elif e.op in COMPARISONS:
        good = dtypes[0] is dtypes[1] and d is dt.bool
    else:
        good = all(x is d for x in dtypes) and allowed(e.op, d)
    return None if good else f"{e.op} of ({', '.join(map(str, dtypes))}) giving {d}"


def allowed(op: str, dtype) -> bool:
    """True if a primitive exists for values of dtype."""
    if op in INTEGERS:
        return dtype.kind in "iu"
    if op in NUMBERS:
        return dtype is not dt.bool
    if op in BITS:
        return dtype.kind in "iub"
    return dtype.kind == "f" if op in FLOATS or op in E.MATHS else True


class Verifier:
    """A walk over a program, with what is defined and what varies by lane."""

    def __init__(self, program: K.Program, expand: Callable | None):
        self.program, self.expand = program, expand
        self.scopes: list[dict[int, bool]] = [{}]  # uid of a value in reach -> whether it varies by lane
        self.made: list[set] = [set()]  # variables, accumulators and memory in reach
        self.lanes: K.Loop | None = None
        self.atomic = False  # a vector loop with atomic stores runs lane by lane
        self.updated: set = set()
        self.parallel = False
        self.where = program.name

    def fail(self, text: str) -> None:
        raise Invalid(f"kernel {self.program.name}, {self.where}: {text}")

    def run(self) -> None:
        """Check everything; raises Invalid at the first mistake."""
        for _, kind, dtype, value in self.program.params:
            if kind is K.Ptr:
                self.made[0].add(value)
            else:
                if value.dtype is not dtype:
                    self.fail(f"parameter {value} is {value.dtype}, declared {dtype}")
                self.scopes[0][value.uid] = False
        self.scopes[0][self.program.worker.uid] = False
        self.block(self.program.body)

    @contextmanager
    def frame(self):
        self.scopes.append({})
        self.made.append(set())
        try:
            yield
        finally:
            self.scopes.pop()
            self.made.pop()

    def block(self, body: list) -> None:
        for s in body:
            self.where = type(s).__name__
            check = CHECKS.get(type(s))
            if check is None:
                raise Invalid(f"kernel {self.program.name}: {self.where} is no statement")
            check(self, s)

    # values ---------------------------------------------------------------------------------------
    def known(self, e: Expr) -> bool | None:
        """Whether a value already met varies by lane (None: not met)."""
        for scope in reversed(self.scopes):
            if e.uid in scope:
                return scope[e.uid]
        return None

    def value(self, root: Expr, dtype=None) -> bool:
        """Check an expression (and that it is of dtype); whether it varies by lane."""
        if not isinstance(root, Expr):
            self.fail(f"{root!r} is not an expression")
        for e in E.postorder([root]):
            if self.known(e) is not None:
                continue
            wrong = mistake(e)
            if wrong:
                self.fail(f"{wrong}, in {str(root)[:200]}")
            if e.op == "leaf":
                self.fail(f"{e.attr} is used outside the block that makes it")
            if e.op in E.MATHS and self.expand is not None:
                inner = self.expand(e.op, e.args, e.dtype)
                self.value(inner, e.dtype)
            self.scopes[-1][e.uid] = any(self.known(a) for a in e.args)
        if dtype is not None and root.dtype is not dtype:
            self.fail(f"{str(root)[:200]} is {root.dtype}, {dtype} is needed")
        return bool(self.known(root))

    def uniform(self, e: Expr, dtype, what: str) -> None:
        """Check an expression that must be the same for every lane."""
        if self.value(e, dtype) and not self.atomic:
            self.fail(f"{what} varies by lane: {str(e)[:200]}")

    def define(self, out: Expr, dtype, varies: bool) -> None:
        if out.op != "leaf" or out.dtype is not dtype:
            self.fail(f"{out} is {out.dtype}, {dtype} is made here")
        if self.known(out) is not None:
            self.fail(f"{out} is defined twice")
        self.scopes[-1][out.uid] = varies

    def reach(self, thing, name: str) -> None:
        if not any(thing in made for made in self.made):
            self.fail(f"{name} is used outside the block that makes it")

    # memory ---------------------------------------------------------------------------------------
    def access(self, ptr: K.PtrRef, index: Expr, where: Expr | None) -> bool:
        """Check pointer, index and condition; whether the access varies by lane."""
        self.reach(ptr, ptr.name)
        if ptr.offset is not None or ptr.base is not ptr:
            self.fail(f"{ptr.name} is displaced: accesses name the memory itself")
        varies = self.value(index, dt.int64)
        return self.value(where, dt.bool) or varies if where is not None else varies

    def load(self, s: K.Load) -> None:
        varies = self.access(s.ptr, s.index, s.where)
        compute = s.ptr.compute
        if (s.out2 is not None) != s.ptr.dtype.is_complex:
            self.fail(f"{s.ptr.name} holds {s.ptr.dtype}: {'two parts' if s.ptr.dtype.is_complex else 'one part'} expected")
        if s.out2 is not None:
            compute = compute.to_real()
            self.define(s.out2, compute, varies)
        self.define(s.out, compute, varies)

    def store(self, s: K.Store) -> None:
        self.access(s.ptr, s.index, s.where)
        complex_ = s.ptr.dtype.is_complex
        if (s.value2 is not None) != complex_:
            self.fail(f"{s.ptr.name} holds {s.ptr.dtype}: {'two parts' if complex_ else 'one part'} expected")
        compute = s.ptr.compute.to_real() if complex_ else s.ptr.compute
        for v in (s.value, s.value2):
            if v is not None and self.value(v, compute) and self.lanes is None:
                self.fail(f"a value that varies by lane is stored to {s.ptr.name} outside vector loops")
        if s.atomic not in (None, "add"):
            self.fail(f"there is no atomic {s.atomic}")
        if s.atomic and s.ptr.dtype in (dt.float16, dt.bfloat16, dt.bool):
            self.fail(f"there is no atomic addition of {s.ptr.dtype}")
        if self.lanes is not None and not self.atomic and not self.known(s.index):
            self.fail(f"every lane stores to one element of {s.ptr.name}")

    def prefetch(self, s: K.Prefetch) -> None:
        self.access(s.ptr, s.index, None)
        if s.level not in (1, 2, 3):
            self.fail(f"there is no cache level {s.level}")

    def local(self, s: K.Local) -> None:
        if type(s.count) is not int or s.count < 1:
            self.fail(f"scratch of {s.count} elements")
        self.made[-1].add(s.ptr)

    def point(self, s: K.Point) -> None:
        self.reach(s.ptr, s.ptr.name)
        self.uniform(s.index, dt.int64, f"the place of {s.out.name}")
        if s.out.dtype is not s.ptr.dtype:
            self.fail(f"{s.out.name} holds {s.out.dtype}, in memory of {s.ptr.dtype}")
        self.made[-1].add(s.out)

    def transpose(self, s: K.Transpose) -> None:
        if self.lanes is None or self.lanes.kind != "lanes" or not self.lanes.step == len(s.values) == len(s.outs):
            self.fail(f"{len(s.values)} values transposed, in other than as many lanes")
        if len(s.values) & (len(s.values) - 1):
            self.fail(f"{len(s.values)} values transposed: a power of two is needed")
        for out, value in zip(s.outs, s.values, strict=True):
            self.value(value, out.dtype)
            self.define(out, out.dtype, True)

    def permute(self, s: K.Permute) -> None:
        n = len(s.places)
        if self.lanes is None or self.lanes.kind != "lanes" or self.lanes.step != n:
            self.fail(f"{n} lanes permuted, among other than as many")
        if not all(-1 <= p < n for p in s.places) or -1 in s.places and s.fill is None:
            self.fail(f"lanes {s.places} of {n}{'' if s.fill is not None else ' and nothing for the others'}")
        self.value(s.value, s.out.dtype)
        if s.fill is not None:
            self.uniform(s.fill, s.out.dtype, "what fills lanes")
        self.define(s.out, s.out.dtype, True)

    # variables ------------------------------------------------------------------------------------
    def new_var(self, s: K.Define) -> None:
        if s.var.lanes != (self.lanes is not None):
            self.fail(f"variable {s.var.name} has {'one value per lane' if s.var.lanes else 'one value'}")
        self.made[-1].add(s.var)
        self.assign(s)

    def assign(self, s: K.Define | K.Assign) -> None:
        self.reach(s.var, f"variable {s.var.name}")
        if s.var.lanes:
            self.value(s.value, s.var.dtype)
        else:
            self.uniform(s.value, s.var.dtype, f"variable {s.var.name}")

    def read(self, s: K.Read) -> None:
        self.reach(s.var, s.var.name)
        if isinstance(s.var, K.Acc) and s.var in self.updated:
            self.fail(f"accumulator {s.var.name} is read in the vector loop that updates it")
        self.define(s.out, s.var.dtype, isinstance(s.var, K.Var) and s.var.lanes)

    def new_acc(self, s: K.NewAcc) -> None:
        acc = s.acc
        if acc.op not in FOLDS or acc.op in ("and", "or", "xor") and acc.dtype.kind == "f":
            self.fail(f"accumulator {acc.name} cannot {acc.op} values of {acc.dtype}")
        if acc in self.updated:
            self.fail(f"accumulator {acc.name} is reset in the vector loop that updates it")
        self.uniform(s.init, acc.dtype, f"accumulator {acc.name}")
        self.made[-1].add(acc)

    def update(self, s: K.Update) -> None:
        self.reach(s.acc, f"accumulator {s.acc.name}")
        self.value(s.value, s.acc.dtype)

    # control --------------------------------------------------------------------------------------
    def loop(self, s: K.Loop) -> None:
        self.bounds(s)
        if not s.lanes:
            with self.frame():
                self.define(s.index, dt.int64, False)
                self.block(s.body)
            return
        if self.lanes is not None:
            self.fail("a vector loop holds another")
        if s.unroll < 1 or s.unroll & (s.unroll - 1):
            self.fail(f"{s.unroll} vectors at a time: a power of two is needed")
        inner = list(K.walk(s.body))
        self.lanes, self.atomic = s, any(isinstance(x, K.Store) and x.atomic for x in inner)
        self.updated = {x.acc for x in inner if isinstance(x, K.Update)}
        for acc in self.updated:
            self.reach(acc, f"accumulator {acc.name}, updated by lanes,")
        with self.frame():
            self.define(s.index, dt.int64, True)
            self.block(s.body)
        self.lanes, self.atomic, self.updated = None, False, set()

    def bounds(self, s: K.Loop) -> None:
        if s.kind == "parallel":
            if self.parallel or len(self.scopes) > 1:
                self.fail("a kernel has one parallel axis, outermost")
            self.parallel = True
            return
        for e in (s.lo, s.hi):
            if e is not None:
                self.uniform(e, dt.int64, "a loop bound")
            elif s.kind != "lanes" or e is s.lo:
                self.fail("a loop has no bound")
        if isinstance(s.step, Expr):
            self.uniform(s.step, dt.int64, "a loop step")
        elif s.step == 0:
            self.fail("a loop step is 0")

    def while_(self, s: K.While) -> None:
        with self.frame():
            self.block(s.head)
            self.uniform(s.cond, dt.bool, "a while condition")
            with self.frame():
                self.block(s.body)

    def if_(self, s: K.If) -> None:
        self.uniform(s.cond, dt.bool, "an if condition")
        for body in (s.body, s.orelse):
            with self.frame():
                self.block(body)


CHECKS: dict[type, Callable] = {
    K.Load: Verifier.load, K.Store: Verifier.store, K.Define: Verifier.new_var, K.Assign: Verifier.assign,
    K.Read: Verifier.read, K.Update: Verifier.update, K.Loop: Verifier.loop, K.While: Verifier.while_,
    K.If: Verifier.if_, K.Local: Verifier.local, K.NewAcc: Verifier.new_acc,
    K.Prefetch: Verifier.prefetch, K.Point: Verifier.point, K.Transpose: Verifier.transpose,
    K.Permute: Verifier.permute,
}  # fmt: skip


def verify(program: K.Program, expand: Callable | None = None) -> None:
    """Check a traced program; with `expand` (codegen.maths.expand) also what named mathematics becomes.

    Errors: Invalid, naming the kernel, the statement and the rule.
    """
    Verifier(program, expand).run()
