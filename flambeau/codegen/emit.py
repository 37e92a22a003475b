"""Loop nests to LLVM IR text for CPUs.

Vectorisation is explicit: a vector loop's body is emitted once for full vectors (as wide as `unroll` registers;
LLVM splits them) and once for the tail (masked where the target masks cheaply, else element by element). Inside
a body every value is either uniform (scalar) or varying (one per lane); uniform work stays scalar. Memory
accesses are classed by how the index moves with the lane: not at all (one load), by one (vector load), by minus
one (reversed), anything else (gather, scatter).
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager

from flambeau.codegen.emit_memory import Memory
from flambeau.codegen.llvm_types import literal, llvm_type, memory_type
from flambeau.codegen.primitives import FLOAT, SIGNED, UNSIGNED, table_text
from flambeau.codegen.target import LANE_BYTES, Target
from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir.expr import Expr


class Scope:
    """Values in reach, innermost first; and the lane context they were made in."""

    def __init__(self):
        self.frames: list[dict[int, tuple[str, int]]] = [{}]

    def get(self, uid: int):
        for frame in reversed(self.frames):
            if uid in frame:
                return frame[uid]
        return None

    def put(self, uid: int, name: str, width: int) -> None:
        self.frames[-1][uid] = (name, width)


class Emitter(Memory):
    """Writes one function."""

    def __init__(self, program: K.Program, target: Target, name: str, expand):
        self.program, self.target, self.name, self.expand = program, target, name, expand
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.declared: dict[str, str] = {}
        self.count = 0
        self.scope = Scope()
        self.bases = Scope()  # the same expressions with the lane index at its first lane
        self.width = 1
        self.mask: str | None = None
        self.lane: Expr | None = None
        self.vars: dict = {}
        self.accs: dict = {}
        self.lane_accs: dict = {}
        self.pointers: dict = {}
        self.expansions: dict[int, Expr] = {}
        self.tables: dict = {}  # constants in memory: (type, values) -> name

    # text -----------------------------------------------------------------------------------------
    def temp(self, prefix: str = "t") -> str:
        self.count += 1
        return f"%{prefix}{self.count}"

    def op(self, text: str) -> str:
        """One instruction with a result."""
        name = self.temp()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def vtype(self, scalar: str, width: int) -> str:
        return scalar if width == 1 else f"<{width} x {scalar}>"

    def call(self, fn: str, result: str, *args: tuple[str, str], flags: str = "") -> str:
        """Call an external function or intrinsic, declaring it."""
        self.declared[fn] = f"declare {result} @{fn}({', '.join(t for t, _ in args)})"
        text = f"@{fn}({', '.join(f'{t} {v}' for t, v in args)})"
        if result == "void":
            self.do(f"call void {text}")
            return ""
        return self.op(f"call {flags}{result} {text}")

    def intrinsic(self, name: str, scalar: str, width: int, *values: str, extra=(), flags: str = "") -> str:
        """A type-generic llvm.* function whose operands all have the result's type."""
        t = self.vtype(scalar, width)
        short = {"float": "f32", "double": "f64"}.get(scalar, scalar)
        suffix = short if width == 1 else f"v{width}{short}"
        return self.call(f"llvm.{name}.{suffix}", t, *((t, v) for v in values), *extra, flags=flags)

    def splat(self, value: str, scalar: str, width: int) -> str:
        """A scalar in every lane."""
        if not value.startswith("%"):
            return f"splat ({scalar} {value})"
        one = self.op(f"insertelement <{width} x {scalar}> poison, {scalar} {value}, i64 0")
        zeros = f"<{width} x i32> zeroinitializer"
        return self.op(f"shufflevector <{width} x {scalar}> {one}, <{width} x {scalar}> poison, {zeros}")

    def iota(self, width: int) -> str:
        return "<" + ", ".join(f"i64 {i}" for i in range(width)) + ">"

    @contextmanager
    def frame(self):
        self.scope.frames.append({})
        self.bases.frames.append({})
        try:
            yield
        finally:
            self.scope.frames.pop()
            self.bases.frames.pop()

    # expressions ----------------------------------------------------------------------------------
    def value(self, root: Expr, base: bool = False) -> tuple[str, int]:
        """The (text, width) of an expression; base=True puts the lane index at its first lane."""
        scope = self.bases if base else self.scope
        stack = [root]
        while stack:
            e = stack[-1]
            if self._known(scope, e, base) is not None:
                stack.pop()
                continue
            if e.op == "leaf":
                raise RuntimeError(f"emit {self.name}: {e.attr} is used outside the block that makes it")
            if e.op in E.MATHS:
                if e.uid not in self.expansions:
                    self.expansions[e.uid] = self.expand(e.op, e.args, e.dtype)
                inner = self.expansions[e.uid]
                found = self._known(scope, inner, base)
                if found is None:
                    stack.append(inner)
                else:
                    scope.put(e.uid, *found)
                    stack.pop()
                continue
            rare = e.op == "rarely"
            missing = [a for a in (e.args[::2] if rare else e.args) if self._known(scope, a, base) is None]
            if missing:
                stack.extend(missing)
                continue
            if rare:
                scope.put(e.uid, *self.rarely(e, base))
                stack.pop()
                continue
            operands = [self._known(scope, a, base) for a in e.args]
            scope.put(e.uid, *self.primitive(e, operands))
            stack.pop()
        return self._known(scope, root, base)

    def _known(self, scope: Scope, e: Expr, base: bool):
        if e.op == "const":
            return literal(e.attr, e.dtype), 1
        found = scope.get(e.uid)
        if found is None and base:  # what does not vary by lane is shared with the lane scope
            found = self.scope.get(e.uid)
            if found is not None and found[1] != 1:
                found = None
        return found

    def rarely(self, e: Expr, base: bool) -> tuple[str, int]:
        """A select whose first value is worked out behind a branch, if any lane needs it."""
        (cond, cw), (usual, uw) = self.value(e.args[0], base), self.value(e.args[2], base)
        width, t = max(cw, uw, 1 if base else self.width), llvm_type(e.dtype)
        tv = self.vtype(t, width)
        usual = usual if uw == width else self.splat(usual, t, width)
        any_ = cond if cw == 1 else self.call(f"llvm.vector.reduce.or.v{cw}i1", "i1", (self.vtype("i1", cw), cond))
        n, slot = self.temp("r")[2:], self.slot(t, width)
        self.do(f"store {tv} {usual}, ptr {slot}")
        self.do(f"br i1 {any_}, label %rare{n}, label %usual{n}")
        self.label(f"rare{n}")
        with self.frame():
            text, w = self.value(e.args[1], base)
            text = text if w == width else self.splat(text, t, width)
            ct = self.vtype("i1", cw)
            text = self.op(f"select {ct} {cond}, {tv} {text}, {tv} {usual}")
            self.do(f"store {tv} {text}, ptr {slot}")
        self.do(f"br label %usual{n}")
        self.label(f"usual{n}")
        return self.op(f"load {tv}, ptr {slot}"), width

    def by_registers(self, scalar: str, width: int, each, *vectors: tuple[str, str]) -> str:
        """each(piece, ...) of vectors cut into whole registers, joined again; narrower ones are padded."""
        lanes = self.target.vector_bytes // (8 if scalar == "double" else 4)
        pieces = []
        for start in range(0, width, lanes):
            pick = ", ".join(f"i32 {min(i, width - 1)}" for i in range(start, start + lanes))
            parts = [
                self.op(f"shufflevector <{width} x {t}> {v}, <{width} x {t}> poison, <{lanes} x i32> <{pick}>")
                for t, v in vectors
            ]
            pieces.append(each(*parts))
        have = lanes
        while len(pieces) > 1:
            every = ", ".join(f"i32 {i}" for i in range(2 * have))
            v = f"<{have} x {scalar}>"
            pieces = [
                self.op(f"shufflevector {v} {a}, {v} {b}, <{2 * have} x i32> <{every}>")
                for a, b in zip(pieces[::2], pieces[1::2], strict=True)
            ]
            have *= 2
        if have == width:
            return pieces[0]
        pick = ", ".join(f"i32 {i}" for i in range(width))
        v = f"<{have} x {scalar}>"
        return self.op(f"shufflevector {v} {pieces[0]}, {v} poison, <{width} x i32> <{pick}>")

    def lookup(self, e: Expr, index: str, width: int) -> str:
        """An entry of a constant table: by permuting registers where the target can, else from memory."""
        t, table = llvm_type(e.dtype), e.attr
        entries = [f"{t} {literal(x, e.dtype)}" for x in table]
        it = llvm_type(e.args[0].dtype)
        if self.target.permutes and width > 1 and (t, it, len(table)) == ("float", "i32", 32):
            permuted = self.permuted_32 if self.target.permutes == 32 else self.permuted_8
            return self.by_registers(t, width, lambda at: permuted(entries, at), ("i32", index))
        name = self.tables.setdefault((t, table), f"@table{len(self.tables)}")
        iv = self.vtype(it, width)
        at = self.op(f"and {iv} {index}, {self.number(it, len(table) - 1, width)}")
        where = self.op(f"getelementptr {t}, ptr {name}, {iv} {at}")
        size = e.dtype.itemsize
        return self.op(f"load {t}, ptr {where}, align {size}") if width == 1 else self.gather(where, t, width, size)

    def permuted_32(self, entries: list, at: str) -> str:
        """16 lanes chosen from 32 floats."""
        v, low, high = "<16 x float>", f"<{', '.join(entries[:16])}>", f"<{', '.join(entries[16:])}>"
        return self.call("llvm.x86.avx512.vpermi2var.ps.512", v, (v, low), ("<16 x i32>", at), (v, high))

    def permuted_8(self, entries: list, at: str) -> str:
        """8 lanes chosen from 32 floats: from each eight by the low bits, among those by the bits above."""
        v, vi = "<8 x float>", "<8 x i32>"
        found = [
            self.call("llvm.x86.avx2.permps", v, (v, f"<{', '.join(entries[i : i + 8])}>"), (vi, at)) for i in range(0, 32, 8)
        ]
        for bit in (8, 16):
            low = self.op(f"and {vi} {at}, {self.number('i32', bit, 8)}")
            high = self.op(f"icmp ne {vi} {low}, zeroinitializer")
            found = [
                self.op(f"select <8 x i1> {high}, {v} {b}, {v} {a}") for a, b in zip(found[::2], found[1::2], strict=True)
            ]
        return found[0]

    def scalar(self, e: Expr, what: str) -> str:
        """The text of an expression that must be uniform."""
        text, width = self.value(e)
        if width != 1:
            raise RuntimeError(f"emit {self.name}: {what} must be the same for every lane")
        return text

    def widened(self, e: Expr) -> str:
        """The text of an expression as a value of the present width."""
        text, width = self.value(e)
        return text if width == self.width else self.splat(text, llvm_type(e.dtype), self.width)

    def primitive(self, e: Expr, operands) -> tuple[str, int]:
        """Emit one node over already emitted operands."""
        width = max(w for _, w in operands)
        types = [llvm_type(a.dtype) for a in e.args]
        texts = [
            v if w == width or (e.op == "select" and i == 0) else self.splat(v, t, width)
            for i, ((v, w), t) in enumerate(zip(operands, types, strict=True))
        ]
        kind, t = e.args[0].dtype.kind, types[0]
        tv = self.vtype(t, width)
        if e.op == "select":
            ct = self.vtype("i1", operands[0][1])
            tv = self.vtype(types[1], width)
            return self.op(f"select {ct} {texts[0]}, {tv} {texts[1]}, {tv} {texts[2]}"), width
        if e.op == "cast":
            return self.cast(texts[0], e.args[0].dtype, e.dtype, width), width
        if e.op == "lookup":
            return self.lookup(e, texts[0], width), width
        if e.op == "bitcast":
            to = self.vtype(llvm_type(e.dtype), width)
            return (texts[0] if to == tv else self.op(f"bitcast {tv} {texts[0]} to {to}")), width
        family = FLOAT if kind == "f" else UNSIGNED if kind in "ub" else SIGNED
        how = family[e.op]
        if callable(how):
            return how(self, e, texts, t, tv, width), width
        if how.startswith("llvm."):
            return self.intrinsic(how[5:], t, width, *texts), width
        return self.op(f"{how} {tv} {', '.join(texts)}"), width

    def cast(self, v: str, a, b, width: int) -> str:
        """Convert by value from dtype a to b."""
        ta, tb = llvm_type(a), llvm_type(b)
        va, vb = self.vtype(ta, width), self.vtype(tb, width)
        if b is dt.bool:
            zero = "0.0" if a.kind == "f" else "0"
            zero = zero if width == 1 else "zeroinitializer"
            how = "fcmp une" if a.kind == "f" else "icmp ne"
            return self.op(f"{how} {va} {v}, {zero}")
        if a.kind == "f" and b.kind == "f":
            return self.op(f"{'fpext' if b.itemsize > a.itemsize else 'fptrunc'} {va} {v} to {vb}")
        if a.kind == "f":
            return self._to_int(v, va, b, vb, width)
        if b.kind == "f":
            return self.op(f"{'sitofp' if a.kind == 'i' else 'uitofp'} {va} {v} to {vb}")
        if ta == tb:
            return v
        if a.itemsize > b.itemsize and a is not dt.bool:
            return self.op(f"trunc {va} {v} to {vb}")
        return self.op(f"{'sext' if a.kind == 'i' else 'zext'} {va} {v} to {vb}")

    def _to_int(self, v: str, va: str, b, vb: str, width: int) -> str:
        """Float to integer; small integers wrap through int32 as C compilers for x86 do."""
        if b.itemsize >= 4:
            wide, how = vb, "fptoui" if b is dt.uint64 else "fptosi"
            if b is dt.uint32:
                wide = self.vtype("i64", width)
        else:
            wide, how = self.vtype("i32", width), "fptosi"
        raw = self.op(f"{how} {va} {v} to {wide}")
        raw = self.op(f"freeze {wide} {raw}")  # out of range is some number, never undefined behaviour
        return raw if wide == vb else self.op(f"trunc {wide} {raw} to {vb}")

    # statements -----------------------------------------------------------------------------------
    def block(self, body: list) -> None:
        for s in body:
            HANDLERS[type(s)](self, s)

    def define(self, s: K.Define) -> None:
        width = self.width if s.var.lanes else 1
        slot = self.slot(llvm_type(s.var.dtype), width)
        self.vars[s.var] = (slot, width)
        self.assign(s)

    def slot(self, scalar: str, width: int) -> str:
        """Room for a mutable value in the entry block; LLVM turns it into registers."""
        name = self.temp("m")
        self.allocas.append(f"  {name} = alloca {self.vtype(scalar, width)}")
        return name

    def assign(self, s) -> None:
        slot, width = self.vars[s.var]
        t = llvm_type(s.var.dtype)
        text = self.widened(s.value) if width != 1 else self.scalar(s.value, f"variable {s.var.name}")
        self.do(f"store {self.vtype(t, width)} {text}, ptr {slot}")

    def read(self, s: K.Read) -> None:
        if isinstance(s.var, K.Acc):
            slot, width = self.accs[s.var], 1
        else:
            slot, width = self.vars[s.var]
        t = self.vtype(llvm_type(s.var.dtype), width)
        self.scope.put(s.out.uid, self.op(f"load {t}, ptr {slot}"), width)

    def new_acc(self, s: K.NewAcc) -> None:
        t = llvm_type(s.acc.dtype)
        if s.acc not in self.accs:
            self.accs[s.acc] = self.slot(t, 1)
        self.do(f"store {t} {self.scalar(s.init, 'an accumulator')}, ptr {self.accs[s.acc]}")

    def update(self, s: K.Update) -> None:
        """Fold a value in; a product of floats is added as it is, rounded once."""
        scalar = self.lane is None or self.width == 1 and self.mask is None
        acc, width = s.acc, 1 if scalar else self.width
        slot = self.accs[acc] if scalar else self.lane_accs[acc]
        fused = acc.op == "add" and s.value.op == "mul" and acc.dtype.is_floating_point
        given = [self.scalar(v, "an update") if scalar else self.widened(v) for v in (s.value.args if fused else [s.value])]
        vt = self.vtype(llvm_type(acc.dtype), width)
        old = self.op(f"load {vt}, ptr {slot}")
        text = self.primitive_of("fma", acc.dtype, width, *given, old) if fused else self.combine(acc, width, *given, old)
        if self.mask is not None:
            text = self.op(f"select <{width} x i1> {self.mask}, {vt} {text}, {vt} {old}")
        self.do(f"store {vt} {text}, ptr {slot}")

    def acc_identity(self, acc: K.Acc):
        return K.identity(acc.op, acc.dtype)

    def combine(self, acc: K.Acc, width: int, a: str, b: str) -> str:
        return self.primitive_of(acc.op, acc.dtype, width, a, b)

    def primitive_of(self, op: str, dtype, width: int, *given: str) -> str:
        """One operation on values that are text already."""
        e = object.__new__(Expr)
        e.op, e.args, e.dtype = op, tuple(E.leaf("a", dtype) for _ in given), dtype
        return self.primitive(e, [(text, width) for text in given])[0]

    def prefetch(self, s: K.Prefetch) -> None:
        where = self.address(s.ptr, self.value(s.index, base=True)[0])
        near, write = str(4 - s.level), str(int(s.write))
        self.call("llvm.prefetch.p0", "void", ("ptr", where), ("i32", write), ("i32", near), ("i32", "1"))

    def local(self, s: K.Local) -> None:
        name = self.temp("l")
        count = s.count * (2 if s.ptr.dtype.is_complex else 1)
        self.allocas.append(f"  {name} = alloca [{count} x {memory_type(s.ptr.dtype)}], align 64")
        self.pointers[s.ptr] = name

    def point(self, s: K.Point) -> None:
        index = self.scalar(s.index, "a pointer's place")
        self.pointers[s.out] = self.address(s.ptr, index, 2 if s.ptr.dtype.is_complex else 1)

    def transpose(self, s: K.Transpose) -> None:
        """log2(lanes) rounds: each swaps, between rows `step` apart, the blocks of `step` lanes off the diagonal."""
        n, t = self.width, llvm_type(s.outs[0].dtype)
        if n != len(s.values):
            raise RuntimeError(f"emit {self.name}: {len(s.values)} values transposed in {n} lanes")
        rows, step = [self.widened(v) for v in s.values], n // 2
        while step:
            low = ", ".join(f"i32 {n + j - step if j & step else j}" for j in range(n))
            high = ", ".join(f"i32 {n + j if j & step else j + step}" for j in range(n))
            for i in range(n):
                if not i & step:
                    pair = f"shufflevector <{n} x {t}> {rows[i]}, <{n} x {t}> {rows[i + step]}, <{n} x i32>"
                    rows[i], rows[i + step] = self.op(f"{pair} <{low}>"), self.op(f"{pair} <{high}>")
            step //= 2
        for out, row in zip(s.outs, rows, strict=True):
            self.scope.put(out.uid, row, n)

    def permute(self, s: K.Permute) -> None:
        n, t = self.width, llvm_type(s.value.dtype)
        if n != len(s.places):
            raise RuntimeError(f"emit {self.name}: {len(s.places)} lanes permuted among {n}")
        fill = "poison" if s.fill is None else self.splat(self.scalar(s.fill, "what fills lanes"), t, n)
        picks = ", ".join(f"i32 {n if p < 0 else p}" for p in s.places)
        out = self.op(f"shufflevector <{n} x {t}> {self.widened(s.value)}, <{n} x {t}> {fill}, <{n} x i32> <{picks}>")
        self.scope.put(s.out.uid, out, n)

    def loop(self, s: K.Loop) -> None:
        if s.kind == "lanes":
            self.fixed_lanes(s)
            return
        if s.kind == "parallel":
            lo, hi = "%begin", "%end"
        else:
            lo, hi = self.scalar(s.lo, "a loop bound"), self.scalar(s.hi, "a loop bound")
        if s.lanes:
            self.vector_loop(s, lo, hi)
        else:
            step = self.scalar(s.step, "a loop step") if isinstance(s.step, Expr) else s.step
            self.counted(s, lo, hi, step)

    def fixed_lanes(self, s: K.Loop) -> None:
        """One pass of a known number of lanes, masked if only some take part."""
        mask = None
        if s.hi is not None:
            bound = self.splat(self.scalar(s.hi, "a lane count"), "i64", s.step)
            mask = self.op(f"icmp slt <{s.step} x i64> {self.iota(s.step)}, {bound}")
        accs = updated(s.body)
        for a in accs:
            self.start_lanes(a, s.step)
        self.one_pass(s, "0", s.step, mask)
        self.finish_lanes(accs, s.step)

    def counted(self, s: K.Loop, lo: str, hi: str, step: int | str) -> None:
        """One pass of the body per index; the lane context stays as it is."""
        i = self.open_loop(lo, hi, step)
        with self.frame():
            self.scope.put(s.index.uid, i[0], 1)
            self.block(s.body)
        self.close_loop(i, step)

    def open_loop(self, lo: str, hi: str, step: int | str):
        slot = self.slot("i64", 1)
        n = self.count = self.count + 1
        self.do(f"store i64 {lo}, ptr {slot}")
        self.do(f"br label %head{n}")
        self.label(f"head{n}")
        i = self.op(f"load i64, ptr {slot}")
        more = self.op(f"icmp {'slt' if isinstance(step, str) or step > 0 else 'sgt'} i64 {i}, {hi}")
        self.do(f"br i1 {more}, label %body{n}, label %done{n}")
        self.label(f"body{n}")
        return i, slot, n

    def close_loop(self, opened, step: int | str) -> None:
        i, slot, n = opened
        after = self.op(f"add nsw i64 {i}, {step}")
        self.do(f"store i64 {after}, ptr {slot}")
        self.do(f"br label %head{n}")
        self.label(f"done{n}")

    def vector_loop(self, s: K.Loop, lo: str, hi: str) -> None:
        one = 1 if has_atomic(s.body) else self.vector_width(s.body)
        if one == 1:
            self.lanes_of(s, lo, hi, 1)
            return
        accs = updated(s.body)
        for a in accs:
            self.start_lanes(a, one * s.unroll)
        total = self.op(f"sub i64 {hi}, {lo}")
        if s.unroll > 1:
            mid = self.whole(lo, total, one * s.unroll)
            self.lanes_of(s, lo, mid, one * s.unroll)
            for a in accs:
                self.narrow(a, one * s.unroll, one)
            lo, total = mid, self.op(f"sub i64 {hi}, {mid}")
        mid = self.whole(lo, total, one)
        self.lanes_of(s, lo, mid, one)
        if (self.target.masks or folds_floats(s.body)) and not has_complex(s.body):
            left = self.op(f"sub i64 {hi}, {mid}")
            n = self.count = self.count + 1
            some = self.op(f"icmp sgt i64 {left}, 0")
            self.do(f"br i1 {some}, label %tail{n}, label %full{n}")
            self.label(f"tail{n}")
            bound = self.splat(left, "i64", one)
            mask = self.op(f"icmp slt <{one} x i64> {self.iota(one)}, {bound}")
            self.one_pass(s, mid, one, mask)
            self.do(f"br label %full{n}")
            self.label(f"full{n}")
            self.finish_lanes(accs, one)
        else:
            self.finish_lanes(accs, one)
            self.lanes_of(s, mid, hi, 1)

    def whole(self, lo: str, total: str, step: int) -> str:
        """lo plus the largest multiple of step (a power of two) not above total."""
        part = self.op(f"and i64 {total}, {-step}")
        part = self.call("llvm.smax.i64", "i64", ("i64", part), ("i64", "0"))
        return self.op(f"add i64 {lo}, {part}")

    def lanes_of(self, s: K.Loop, lo: str, hi: str, width: int) -> None:
        opened = self.open_loop(lo, hi, width)
        self.one_pass(s, opened[0], width, None)
        self.close_loop(opened, width)

    def one_pass(self, s: K.Loop, i: str, width: int, mask: str | None) -> None:
        """The body once, for `width` lanes from index i."""
        self.width, self.mask, self.lane = width, mask, s.index
        with self.frame():
            self.bases.put(s.index.uid, i, 1)
            lanes = i
            if width > 1:
                lanes = self.op(f"add <{width} x i64> {self.splat(i, 'i64', width)}, {self.iota(width)}")
            self.scope.put(s.index.uid, lanes, width)
            self.block(s.body)
        self.width, self.mask, self.lane = 1, None, None

    def vector_width(self, body: list) -> int:
        """Lanes per register: by the widest element the body moves.

        Folds of floats take LANE_BYTES on every processor with vectors, so that they give the same bits on all.
        """
        sizes = [
            x.ptr.compute.itemsize // (2 if x.ptr.dtype.is_complex else 1)
            for x in K.walk(body)
            if isinstance(x, (K.Load, K.Store))
        ] + [x.acc.dtype.itemsize for x in K.walk(body) if isinstance(x, K.Update)]
        fixed = self.target.vector_bytes >= 16 and folds_floats(body)
        return max(1, (LANE_BYTES if fixed else self.target.vector_bytes) // max(sizes, default=4))

    def start_lanes(self, acc: K.Acc, width: int) -> None:
        t = llvm_type(acc.dtype)
        slot = self.lane_accs[acc] = self.slot(t, width)
        none = self.splat(literal(self.acc_identity(acc), acc.dtype), t, width)
        self.do(f"store {self.vtype(t, width)} {none}, ptr {slot}")

    def narrow(self, acc: K.Acc, width: int, to: int) -> None:
        t = llvm_type(acc.dtype)
        rows = [self.op(f"load <{width} x {t}>, ptr {self.lane_accs[acc]}")]
        while width > to:
            rows, width = self.halved(acc, rows, width, width)
        slot = self.lane_accs[acc] = self.slot(t, to)
        self.do(f"store {self.vtype(t, to)} {rows[0]}, ptr {slot}")

    def finish_lanes(self, accs, width: int) -> None:
        """Fold the lanes of accumulators by halves, those of one kind side by side: n of them in little more than one's time."""
        kinds: dict = {}
        for acc in accs:
            kinds.setdefault((acc.op, acc.dtype), []).append(acc)
        for some in kinds.values():
            t = llvm_type(some[0].dtype)
            rows = [self.op(f"load <{width} x {t}>, ptr {self.lane_accs[acc]}") for acc in some]
            for acc, text in zip(some, self.totals(some[0], rows, width), strict=True):
                slot = self.accs[acc]
                old = self.op(f"load {t}, ptr {slot}")
                self.do(f"store {t} {self.combine(acc, 1, old, text)}, ptr {slot}")

    def totals(self, like: K.Acc, rows: list[str], n: int) -> list[str]:
        """The total of each row of n lanes, lanes i and i + h added for h = n / 2, n / 4, ... 1."""
        count, t, size = len(rows), llvm_type(like.dtype), n
        while size > 1:
            rows, n = self.halved(like, rows, n, size)
            size //= 2
        if n == 1:
            return rows
        return [self.op(f"extractelement <{n} x {t}> {rows[i // n]}, i64 {i % n}") for i in range(count)]

    def halved(self, like: K.Acc, rows: list[str], n: int, size: int) -> tuple[list[str], int]:
        """(rows, their lanes) with the halves of each segment of `size` lanes added: of several rows, two become one."""
        t, h = llvm_type(like.dtype), size // 2
        v, m = f"<{n} x {t}>", n if len(rows) > 1 else n // 2
        low, high = (self.lane_list(at + i for at in range(first, 2 * m, size) for i in range(h)) for first in (0, h))
        out = []
        for pair in itertools.zip_longest(rows[::2], rows[1::2], fillvalue="poison"):
            halves = [self.op(f"shufflevector {v} {pair[0]}, {v} {pair[1]}, <{m} x i32> {lanes}") for lanes in (low, high)]
            if m == 1:
                halves = [self.op(f"extractelement <1 x {t}> {half}, i64 0") for half in halves]
            out.append(self.combine(like, m, *halves))
        return out, m

    @staticmethod
    def lane_list(lanes) -> str:
        return "<" + ", ".join(f"i32 {i}" for i in lanes) + ">"

    def while_(self, s: K.While) -> None:
        n = self.count = self.count + 1
        self.do(f"br label %while{n}")
        self.label(f"while{n}")
        with self.frame():
            self.block(s.head)
            cond = self.scalar(s.cond, "a while condition")
            self.do(f"br i1 {cond}, label %loop{n}, label %end{n}")
            self.label(f"loop{n}")
            with self.frame():
                self.block(s.body)
            self.do(f"br label %while{n}")
        self.label(f"end{n}")

    def if_(self, s: K.If) -> None:
        n = self.count = self.count + 1
        cond = self.scalar(s.cond, "an if condition")
        other = f"else{n}" if s.orelse else f"fi{n}"
        self.do(f"br i1 {cond}, label %then{n}, label %{other}")
        self.label(f"then{n}")
        with self.frame():
            self.block(s.body)
        self.do(f"br label %fi{n}")
        if s.orelse:
            self.label(f"else{n}")
            with self.frame():
                self.block(s.orelse)
            self.do(f"br label %fi{n}")
        self.label(f"fi{n}")

    # the function ---------------------------------------------------------------------------------
    def emit(self) -> str:
        """The whole module as text."""
        for i, (_, kind, dtype, value) in enumerate(self.program.params):
            slot = self.op(f"getelementptr i64, ptr %args, i64 {i}")
            if kind is K.Ptr:
                self.pointers[value] = self.op(f"load ptr, ptr {slot}")
            else:
                self.scope.put(value.uid, self.op(f"load {llvm_type(dtype)}, ptr {slot}"), 1)
        self.scope.put(self.program.worker.uid, "%worker", 1)
        self.block(self.program.body)
        body = "\n".join(self.allocas + self.lines)
        declares = "\n".join([*self.declared.values(), *map(table_text, self.tables.items())])
        width = 8 * self.target.vector_bytes
        return (
            f"define void @{self.name}(ptr noalias readonly %args, i64 %begin, i64 %end, i64 %worker) #0 {{\n"
            f"entry:\n{body}\n  ret void\n}}\n{declares}\n"
            f'attributes #0 = {{ nounwind "min-legal-vector-width"="{width}" }}\n'
        )


HANDLERS = {
    K.Load: Emitter.load, K.Store: Emitter.store, K.Define: Emitter.define, K.Assign: Emitter.assign,
    K.Read: Emitter.read, K.Update: Emitter.update, K.Loop: Emitter.loop, K.While: Emitter.while_,
    K.If: Emitter.if_, K.Local: Emitter.local, K.NewAcc: Emitter.new_acc,
    K.Point: Emitter.point, K.Transpose: Emitter.transpose, K.Permute: Emitter.permute, K.Prefetch: Emitter.prefetch,
}  # fmt: skip


def updated(body: list) -> list[K.Acc]:
    """The accumulators a block updates."""
    return list(dict.fromkeys(s.acc for s in K.walk(body) if isinstance(s, K.Update)))


def folds_floats(body: list) -> bool:
    """True if the block folds floats: the order shows in their rounding, or in the sign of a zero."""
    return any(a.dtype.is_floating_point for a in updated(body))


def has_atomic(body: list) -> bool:
    return any(isinstance(s, K.Store) and s.atomic for s in K.walk(body))


def has_complex(body: list) -> bool:
    return any(isinstance(s, (K.Load, K.Store)) and s.ptr.dtype.is_complex for s in K.walk(body))


def emit(program: K.Program, target: Target, name: str, expand) -> str:
    """LLVM IR for `program`; `expand` rewrites named mathematics (codegen.maths.expand)."""
    return Emitter(program, target, name, expand).emit()
