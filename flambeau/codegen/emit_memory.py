"""The emitter's loads and stores: by how an index moves with the lane, masked, gathered, transposed, atomic."""

from __future__ import annotations

from contextlib import contextmanager

from flambeau.codegen.llvm_types import SHORT, literal, llvm_type, memory_type
from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir.expr import Expr


class Memory:
    """Part of the Emitter (emit.py): memory accesses and what a value is in memory."""

    def lane_step(self, e: Expr) -> Expr | None:
        """How index e moves per lane: an expression (0: not at all), or None if not evenly."""
        if self.lane is None or self.width == 1 and self.mask is None:
            return E.const(0, dt.int64)
        steps: dict[int, Expr | None] = {}
        zero, one = E.const(0, dt.int64), E.const(1, dt.int64)
        for n in E.postorder([e]):
            if n is self.lane:
                step: Expr | None = one
            elif n.op == "leaf":
                step = zero if self.scope.get(n.uid)[1] == 1 else None
            elif not n.args or all(steps[a.uid] is zero for a in n.args):
                step = zero
            elif n.op in ("add", "sub") and n.dtype is dt.int64:
                x, y = (steps[a.uid] for a in n.args)
                step = None if x is None or y is None else E.node(n.op, (x, y), dt.int64)
            elif n.op == "mul" and n.dtype is dt.int64:
                (x, y), (a, b) = (steps[u.uid] for u in n.args), n.args
                step = None
                if x is zero and y is not None:
                    step = a * y
                elif y is zero and x is not None:
                    step = x * b
            else:
                step = None
            if isinstance(step, Expr) and step.op == "const":
                step = {0: zero, 1: one}.get(step.attr, step)
            steps[n.uid] = step
        return steps[e.uid]

    def address(self, ptr: K.PtrRef, index: str, scale: int = 1) -> str:
        if scale != 1:
            index = self.op(f"mul i64 {index}, {scale}") if index.startswith("%") else str(int(index) * scale)
        return self.op(f"getelementptr {memory_type(ptr.dtype)}, ptr {self.pointers[ptr]}, i64 {index}")

    @contextmanager
    def guarded(self, where: Expr | None):
        """The lane mask narrowed by a condition (all lanes together when the condition is uniform)."""
        if where is None or self.lane is None or self.width == 1:
            yield
            return
        cond = self.widened(where)
        before = self.mask
        if before is not None:
            cond = self.op(f"and <{self.width} x i1> {before}, {cond}")
        self.mask = cond
        try:
            yield
        finally:
            self.mask = before

    def load(self, s: K.Load) -> None:
        if s.where is not None and (self.lane is None or self.width == 1):
            self.load_if(s)
            return
        with self.guarded(s.where):
            self.load_lanes(s)

    def load_if(self, s: K.Load) -> None:
        """A scalar load behind a branch."""
        cond = self.scalar(s.where, "a load's condition")
        outs = [s.out] if s.out2 is None else [s.out, s.out2]
        slots = [self.slot(llvm_type(o.dtype), 1) for o in outs]
        for o, slot in zip(outs, slots, strict=True):
            self.do(f"store {llvm_type(o.dtype)} {literal(0, o.dtype)}, ptr {slot}")
        n = self.count = self.count + 1
        self.do(f"br i1 {cond}, label %then{n}, label %fi{n}")
        self.label(f"then{n}")
        with self.frame():
            self.load_lanes(s)
            for o, slot in zip(outs, slots, strict=True):
                self.do(f"store {llvm_type(o.dtype)} {self.value(o)[0]}, ptr {slot}")
        self.do(f"br label %fi{n}")
        self.label(f"fi{n}")
        for o, slot in zip(outs, slots, strict=True):
            self.scope.put(o.uid, self.op(f"load {llvm_type(o.dtype)}, ptr {slot}"), 1)

    def load_lanes(self, s: K.Load) -> None:
        parts = 1 if s.out2 is None else 2
        step = self.lane_step(s.index)
        mt, size = memory_type(s.ptr.dtype), s.ptr.dtype.itemsize // parts
        outs = [s.out] if s.out2 is None else [s.out, s.out2]
        if self.is_const(step, 0) and s.where is None or self.width == 1:
            text, _ = self.value(s.index, base=True)
            for part, out in enumerate(outs):
                where = self.address(s.ptr, text, parts)
                if part:
                    where = self.op(f"getelementptr {mt}, ptr {where}, i64 1")
                raw = self.op(f"load {mt}, ptr {where}, align {size}")
                self.scope.put(out.uid, self.from_memory(raw, s.ptr.dtype, 1), 1)
            return
        w = self.width
        if parts == 1 and (self.is_const(step, 1) or self.is_const(step, -1)) and not (
            self.mask and not self.is_const(step, 1)
        ):
            base, _ = self.value(s.index, base=True)
            back = self.is_const(step, -1)
            if back:
                base = self.op(f"sub i64 {base}, {w - 1}")
            raw = self.vector_load(self.address(s.ptr, base), mt, w, size)
            raw = self.reverse(raw, mt, w) if back else raw
            self.scope.put(s.out.uid, self.from_memory(raw, s.ptr.dtype, w), w)
            return
        if parts == 1 and self.is_const(step, 2):
            base, _ = self.value(s.index, base=True)
            self.scope.put(s.out.uid, self.from_memory(self.every_second(s.ptr, base, mt, w, size), s.ptr.dtype, w), w)
            return
        if parts == 2 and self.is_const(step, 1) and not self.mask:
            base, _ = self.value(s.index, base=True)
            both = self.vector_load(self.address(s.ptr, base, 2), mt, 2 * w, size)
            for part, out in enumerate(outs):
                pick = ", ".join(f"i32 {2 * i + part}" for i in range(w))
                raw = self.op(f"shufflevector <{2 * w} x {mt}> {both}, <{2 * w} x {mt}> poison, <{w} x i32> <{pick}>")
                self.scope.put(out.uid, raw, w)
            return
        where = self.lane_addresses(s.ptr, s.index, mt, parts)
        for part, out in enumerate(outs):
            if part:
                where = self.op(f"getelementptr {mt}, <{w} x ptr> {where}, i64 1")
            raw = self.gather(where, mt, w, size)
            self.scope.put(out.uid, self.from_memory(raw, s.ptr.dtype, w), w)

    def every_second(self, ptr: K.PtrRef, base: str, mt: str, w: int, size: int) -> str:
        """Elements base, base + 2, ...: two loads that touch nothing before the first or after the last, and a shuffle."""
        mask, halves = self.mask, []
        for first in (0, w - 1):
            if mask is not None:  # even elements whose lane takes part
                spread = ", ".join(f"i32 {(first + e) // 2}" for e in range(w))
                even = ", ".join(f"i1 {'false' if (first + e) % 2 else 'true'}" for e in range(w))
                lanes = f"<{w} x i1> {mask}, <{w} x i1> poison, <{w} x i32> <{spread}>"
                self.mask = self.op(f"and <{w} x i1> {self.op(f'shufflevector {lanes}')}, <{even}>")
            halves.append(self.vector_load(self.address(ptr, self.op(f"add i64 {base}, {first}")), mt, w, size))
        self.mask = mask
        pick = ", ".join(f"i32 {2 * i if 2 * i < w else w + 2 * i - (w - 1)}" for i in range(w))
        return self.op(f"shufflevector <{w} x {mt}> {halves[0]}, <{w} x {mt}> {halves[1]}, <{w} x i32> <{pick}>")

    def lane_addresses(self, ptr: K.PtrRef, index: Expr, mt: str, parts: int) -> str:
        text = self.widened(index)
        w = self.width
        if parts != 1:
            text = self.op(f"mul <{w} x i64> {text}, splat (i64 {parts})")
        return self.op(f"getelementptr {mt}, ptr {self.pointers[ptr]}, <{w} x i64> {text}")

    def vector_load(self, where: str, mt: str, w: int, size: int) -> str:
        if self.mask is None:
            return self.op(f"load <{w} x {mt}>, ptr {where}, align {size}")
        short = SHORT[mt]
        t = f"<{w} x {mt}>"
        return self.call(
            f"llvm.masked.load.v{w}{short}.p0", t, ("ptr", where), ("i32", str(size)),
            (f"<{w} x i1>", self.mask), (t, "zeroinitializer"),
        )  # fmt: skip

    def gather(self, where: str, mt: str, w: int, size: int) -> str:
        t = f"<{w} x {mt}>"
        mask = self.mask or "splat (i1 true)"
        return self.call(
            f"llvm.masked.gather.v{w}{SHORT[mt]}.v{w}p0", t, (f"<{w} x ptr>", where), ("i32", str(size)),
            (f"<{w} x i1>", mask), (t, "zeroinitializer"),
        )  # fmt: skip

    def reverse(self, v: str, mt: str, w: int) -> str:
        order = ", ".join(f"i32 {w - 1 - i}" for i in range(w))
        return self.op(f"shufflevector <{w} x {mt}> {v}, <{w} x {mt}> poison, <{w} x i32> <{order}>")

    def store(self, s: K.Store) -> None:
        if s.where is not None and (self.lane is None or self.width == 1):
            n = self.count = self.count + 1
            cond = self.scalar(s.where, "a store's condition")
            self.do(f"br i1 {cond}, label %then{n}, label %fi{n}")
            self.label(f"then{n}")
            with self.frame():
                self.store_lanes(s)
            self.do(f"br label %fi{n}")
            self.label(f"fi{n}")
            return
        with self.guarded(s.where):
            self.store_lanes(s)

    def store_lanes(self, s: K.Store) -> None:
        parts = 1 if s.value2 is None else 2
        values = [s.value] if s.value2 is None else [s.value, s.value2]
        step = self.lane_step(s.index)
        d, w = s.ptr.dtype, self.width
        mt, size = memory_type(d), d.itemsize // parts
        if s.atomic:
            return self.atomic(s, values, parts, mt)
        if w == 1 and self.mask is None or self.lane is None:
            base, _ = self.value(s.index, base=True)
            for part, v in enumerate(values):
                where = self.address(s.ptr, base, parts)
                if part:
                    where = self.op(f"getelementptr {mt}, ptr {where}, i64 1")
                text = self.to_memory(self.scalar(v, "a value stored outside vector loops"), d, 1)
                self.do(f"store {mt} {text}, ptr {where}, align {size}")
            return None
        if self.is_const(step, 0):
            raise RuntimeError(f"emit {self.name}: every lane stores to one element of {s.ptr.name}")
        texts = [self.to_memory(self.widened(v), d, w) for v in values]
        if parts == 1 and self.is_const(step, 1):
            where = self.address(s.ptr, self.value(s.index, base=True)[0])
            self.vector_store(texts[0], where, mt, w, size)
        elif parts == 1 and self.is_const(step, -1) and not self.mask:
            base = self.op(f"sub i64 {self.value(s.index, base=True)[0]}, {w - 1}")
            self.vector_store(self.reverse(texts[0], mt, w), self.address(s.ptr, base), mt, w, size)
        elif parts == 1 and self.is_const(step, 2):
            self.store_every_second(texts[0], s.ptr, self.value(s.index, base=True)[0], mt, w, size)
        elif parts == 2 and self.is_const(step, 1) and not self.mask:
            where = self.address(s.ptr, self.value(s.index, base=True)[0], 2)
            pick = ", ".join(f"i32 {i // 2 + (w if i % 2 else 0)}" for i in range(2 * w))
            both = self.op(
                f"shufflevector <{w} x {mt}> {texts[0]}, <{w} x {mt}> {texts[1]}, <{2 * w} x i32> <{pick}>"
            )
            self.vector_store(both, where, mt, 2 * w, size)
        else:
            where = self.lane_addresses(s.ptr, s.index, mt, parts)
            for part, text in enumerate(texts):
                if part:
                    where = self.op(f"getelementptr {mt}, <{w} x ptr> {where}, i64 1")
                self.call(
                    f"llvm.masked.scatter.v{w}{SHORT[mt]}.v{w}p0", "void", (f"<{w} x {mt}>", text),
                    (f"<{w} x ptr>", where), ("i32", str(size)),
                    (f"<{w} x i1>", self.mask or "splat (i1 true)"),
                )  # fmt: skip
        return None

    def store_every_second(self, text: str, ptr: K.PtrRef, base: str, mt: str, w: int, size: int) -> None:
        """Elements base, base + 2, ...: two shuffles and two masked stores that touch nothing between them."""
        mask = self.mask
        even = ", ".join(f"i1 {'false' if e % 2 else 'true'}" for e in range(w))
        for first in (0, w):
            spread = ", ".join(f"i32 {(first + e) // 2}" for e in range(w))
            self.mask = f"<{even}>"
            if mask is not None:
                lanes = self.op(f"shufflevector <{w} x i1> {mask}, <{w} x i1> poison, <{w} x i32> <{spread}>")
                self.mask = self.op(f"and <{w} x i1> {lanes}, <{even}>")
            part = self.op(f"shufflevector <{w} x {mt}> {text}, <{w} x {mt}> poison, <{w} x i32> <{spread}>")
            self.vector_store(part, self.address(ptr, self.op(f"add i64 {base}, {first}")), mt, w, size)
        self.mask = mask

    def vector_store(self, text: str, where: str, mt: str, w: int, size: int) -> None:
        if self.mask is None:
            self.do(f"store <{w} x {mt}> {text}, ptr {where}, align {size}")
            return
        self.call(
            f"llvm.masked.store.v{w}{SHORT[mt]}.p0", "void", (f"<{w} x {mt}>", text), ("ptr", where),
            ("i32", str(size)), (f"<{w} x i1>", self.mask),
        )  # fmt: skip

    def atomic(self, s: K.Store, values, parts: int, mt: str) -> None:
        if s.ptr.dtype in (dt.float16, dt.bfloat16, dt.bool):
            raise RuntimeError(f"emit {self.name}: no atomic addition of {s.ptr.dtype}")
        base, _ = self.value(s.index, base=True)
        how = "fadd" if mt in ("float", "double") else "add"
        for part, v in enumerate(values):
            where = self.address(s.ptr, base, parts)
            if part:
                where = self.op(f"getelementptr {mt}, ptr {where}, i64 1")
            self.op(f"atomicrmw {how} ptr {where}, {mt} {self.scalar(v, 'an atomic value')} monotonic")

    def from_memory(self, raw: str, d, w: int) -> str:
        """A loaded value as it is computed in."""
        if d is dt.bool:
            zero = "0" if w == 1 else "zeroinitializer"
            return self.op(f"icmp ne {self.vtype('i8', w)} {raw}, {zero}")
        if d is dt.float16:
            return self.op(f"fpext {self.vtype('half', w)} {raw} to {self.vtype('float', w)}")
        if d is dt.bfloat16:
            i32 = self.vtype("i32", w)
            wide = self.op(f"zext {self.vtype('i16', w)} {raw} to {i32}")
            bits = self.op(f"shl {i32} {wide}, {self.number('i32', 16, w)}")
            return self.op(f"bitcast {i32} {bits} to {self.vtype('float', w)}")
        return raw

    def to_memory(self, v: str, d, w: int) -> str:
        """A computed value as it is stored."""
        if d is dt.bool:
            return self.op(f"zext {self.vtype('i1', w)} {v} to {self.vtype('i8', w)}")
        if d is dt.float16:
            return self.op(f"fptrunc {self.vtype('float', w)} {v} to {self.vtype('half', w)}")
        if d is dt.bfloat16:  # round to nearest, ties to even, on the bits; NaN stays NaN
            f32, i32 = self.vtype("float", w), self.vtype("i32", w)
            bits = self.op(f"bitcast {f32} {v} to {i32}")
            high = self.op(f"lshr {i32} {bits}, {self.number('i32', 16, w)}")
            odd = self.op(f"and {i32} {high}, {self.number('i32', 1, w)}")
            bias = self.op(f"add {i32} {odd}, {self.number('i32', 0x7FFF, w)}")
            sum_ = self.op(f"add {i32} {bits}, {bias}")
            nan = self.op(f"fcmp uno {f32} {v}, {v}")
            pick = self.op(f"select {self.vtype('i1', w)} {nan}, {i32} {self.number('i32', 0x7FC00000, w)}, {i32} {sum_}")
            if w > 1:  # the upper half of each by one shuffle
                halves, odd = f"<{2 * w} x i16>", ", ".join(f"i32 {2 * i + 1}" for i in range(w))
                pick = self.op(f"bitcast {i32} {pick} to {halves}")
                return self.op(f"shufflevector {halves} {pick}, {halves} poison, <{w} x i32> <{odd}>")
            return self.op(f"trunc i32 {self.op(f'lshr i32 {pick}, 16')} to i16")
        return v

    def number(self, t: str, n: int, w: int) -> str:
        return str(n) if w == 1 else f"splat ({t} {n})"

    @staticmethod
    def is_const(e: Expr | None, n: int) -> bool:
        return e is not None and e.op == "const" and e.attr == n
