"""The POINTWISE family: from a scalar expression to dtype promotion and kernels.

A plan is made by what the arguments are (dtypes, 0-d or not, kinds of Python numbers, None), never by shape: it holds
the result dtype and the kernels of each layout class. Operands are loaded in their own dtype and converted in
registers, so mixed dtypes, broadcasting and strided views cost no copies. Layout classes: `dense` (everything one
block of memory walked in one order; 0-d operands read once) and `strided` (collapsed to few dimensions; the innermost
has lanes). Which layout a call has, its outputs and its launch: calling.py.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ops.record import Op

GRAIN = 16384  # elements one thread should at least have
NUMBERS = frozenset((bool, int, float, complex))


class Plan:
    """One op for one choice of argument kinds: result dtypes, and kernels by layout class."""

    __slots__ = ("compute", "grain", "kernels", "kinds", "op", "out_dtypes", "out_of")

    def __init__(self, op: Op, kinds: tuple):
        self.op, self.kinds, self.kernels = op, kinds, {}
        self.compute = compute_dtype(op, kinds)
        self.grain = max(1, GRAIN // op.option("cost", 1))
        program = K.Builder()
        outs = self.trace(program, [self.symbol(k) for k in kinds])
        self.out_dtypes = tuple(self.result_dtype(o) for o in outs)

    def result_dtype(self, value):
        """float16 computed in float32 is float16 again; comparisons give bool; |complex| is real."""
        d = value.dtype
        if d is K.compute_dtype(self.compute):
            return self.compute
        return d

    def symbol(self, kind):
        """A placeholder for tracing without memory."""
        if kind[0] == "static":
            return kind[1]
        real = K.compute_dtype(self.compute)
        d = weak_dtype(real) if kind[0] == "weak" else K.compute_dtype(kind[1]) if kind[0] == "own" else real
        if d.is_complex:
            r = d.to_real()
            return E.Complex(E.leaf("x", r), E.leaf("y", r))
        return E.leaf("x", d)

    def trace(self, k, values) -> tuple:
        try:
            result = self.op.invoke(values)
        except (AttributeError, TypeError) as error:
            if any(isinstance(v, E.Complex) for v in values):  # a primitive that has no complex form
                raise NotImplementedError(f'"{self.op.name}_cpu" not implemented for complex numbers') from error
            raise
        outs = result if isinstance(result, tuple) else (result,)
        real = K.compute_dtype(self.compute)
        return tuple(o if isinstance(o, (E.Expr, E.Complex)) else E.wrap(o, real) for o in outs)

    def kernel(self, layout, out_dtypes: tuple):
        """The launcher for a layout class: ("dense",) or ("strided", dims, inner steps)."""
        key = (layout, out_dtypes)
        found = self.kernels.get(key)
        if found is None:
            op = self.op
            parts = (op.fn, op.options, sorted(op.keyword_only), self.kinds, self.compute, layout, out_dtypes)
            found = self.kernels[key] = K.obtain(op.name, parts, lambda: self.program(layout, out_dtypes))
        return found

    def program(self, layout, out_dtypes: tuple) -> K.Program:
        """Trace the whole kernel: parameters are outputs, tensors, numbers, then sizes and strides."""
        k = K.Builder()
        params: list = []

        def param(name: str, kind: type, dtype):
            value = K.PtrRef(k, name, dtype) if kind is K.Ptr else E.leaf(name, dtype)
            params.append((name, kind, dtype, value))
            return value

        outs = [param(f"y{i}", K.Ptr, d) for i, d in enumerate(out_dtypes)]
        tensors = [param(f"x{i}", K.Ptr, kd[1]) for i, kd in enumerate(self.kinds) if kd[0] in TENSOR_KINDS]
        numbers = [self.number(param, i, kd) for i, kd in enumerate(self.kinds) if kd[0] in NUMBER_KINDS]

        def element(index: list, at) -> None:
            """Load, compute, store one element; `at` maps operand number to its index."""
            real = K.compute_dtype(self.compute)
            t, n = iter(range(len(tensors))), iter(numbers)
            values = []
            for kd in self.kinds:
                if kd[0] == "static":
                    values.append(kd[1])
                elif kd[0] in NUMBER_KINDS:
                    values.append(next(n))
                else:
                    j = next(t)
                    x = tensors[j][at(len(outs) + j)]
                    values.append(x if kd[0] == "own" else E.cast(x, real))
            for j, (o, v) in enumerate(zip(outs, self.trace(k, values), strict=True)):
                o[at(j)] = v

        if layout[0] == "dense":
            uniform = layout[1]
            zero = E.const(0, dt.int64)
            # two vectors at a time hide the latencies of a polynomial; more would only be longer to compile
            with k.parallel(vector=True, unroll=2 if 4 <= self.op.option("cost", 1) <= 6 else 1) as i:
                element([], lambda j: zero if j >= len(outs) and uniform[j - len(outs)] else i)
        else:
            self.strided(k, param, layout, len(outs) + len(tensors), element)
        E.Expr._interned.clear()
        return K.Program(self.op.name, params, k.root, k.worker)

    def strided(self, k, param, layout, count: int, element) -> None:
        """Rows by division of the launch index; the innermost dimension in lanes, tiled if it jumps."""
        _, dims, inner, tiled = layout
        n = param("n", K.Int, dt.int64)
        outer = [param(f"n{d}", K.Int, dt.int64) for d in range(dims - 1)]
        steps = [[param(f"s{j}_{d}", K.Int, dt.int64) for d in range(dims)] for j in range(count)]

        def offsets(row):
            at = [E.const(0, dt.int64)] * count
            for d in range(dims - 2, -1, -1):
                if d:
                    i, row = row - (row // outer[d]) * outer[d], row // outer[d]
                else:
                    i = row
                at = [a + i * st[d] for a, st in zip(at, steps, strict=True)]
            return at

        def columns(row, lo, hi):
            at = offsets(row)
            with k.vector(lo, hi) as i:
                moves = [a - i if c == -1 else a + (i if c == 1 else i * st[-1] if c else 0)
                         for a, c, st in zip(at, inner, steps, strict=True)]  # fmt: skip
                element([], lambda j: moves[j])

        if not tiled:
            with k.parallel() as row:
                columns(row, 0, n)
            return
        with k.parallel() as tile:  # 32 rows at a time, so that lines fetched by a jump are used up
            rows = param("rows", K.Int, dt.int64)
            first = tile * 32
            last = E.minimum(first + 32, rows)
            with k.seq(0, n, 64) as lo:
                hi = E.minimum(lo + 64, n)
                with k.seq(first, last) as row:
                    columns(row, lo, hi)

    def number(self, param, i: int, kind):
        """A Python number as a kernel argument, in the dtype it takes part with."""
        real = K.compute_dtype(self.compute)
        want = weak_dtype(real) if kind[0] == "weak" else real
        if kind[1] is complex:
            part = want.to_real() if want.is_complex else want
            re, im = (E.cast(param(f"c{i}{p}", K.Float, dt.float64), part) for p in "ri")
            return E.Complex(re, im)
        source = (K.Float, dt.float64) if kind[1] is float else (K.Int, dt.int64)
        return E.cast(param(f"c{i}", *source), want)


TENSOR_KINDS = ("tensor", "zero", "own")  # "own": loaded as it is, no part in promotion
NUMBER_KINDS = ("number", "weak")


def weak_dtype(real):
    """The dtype of scalars that stay out of promotion: as computed, but never bool."""
    return dt.int64 if real is dt.bool else real


def compute_dtype(op: Op, kinds: tuple):
    """Promote the arguments that take part."""
    entries = [(k[1], CATEGORY[k[0]]) for k in kinds if k[0] in ("tensor", "zero", "number")]
    if not entries:
        entries = [(k[1], "number") for k in kinds if k[0] == "weak"]
    fixed = op.option("compute")
    if fixed is not None:
        return fixed
    entries = [(python_dtype(x) if x in NUMBERS else x, c) for x, c in entries]
    check = op.option("check")
    if check is not None:
        check([x for x, _ in entries])
    d = dt.result_type(entries)
    if op.option("promote") == "number" and d is dt.bool:
        return dt.int64
    if op.option("promote") == "float" and d.kind in "biu":
        d = dt.get_default_dtype()
    allowed = op.option("dtypes")
    if allowed is not None and d.kind not in allowed:
        names = {"f": "floating", "c": "complex", "i": "signed integer", "u": "unsigned integer", "b": "bool"}
        raise NotImplementedError(
            f'"{op.name}" not implemented for \'{SCALAR_NAMES.get(d.name, d.name)}\': {op.name}() takes '
            f"{', '.join(names[c] for c in allowed)} dtypes"
        )
    return d


SCALAR_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "uint8": "Byte",
    "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long", "bool": "Bool",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64",
}  # fmt: skip
CATEGORY = {"tensor": "tensor", "zero": "zero", "number": "number"}


def python_dtype(kind: type):
    """The dtype a Python number has when nothing else decides."""
    if kind is bool:
        return dt.bool
    if kind is int:
        return dt.int64
    return dt.get_default_dtype() if kind is float else dt.get_default_dtype().to_complex()
