"""The loop-nest language: Python functions that, traced once, become kernels for every target.

    @kernel
    def scale_rows(k, y: Ptr, x: Ptr, s: Ptr, n: Int):
        with k.parallel() as r:              # [begin, end) of the launch: threads on a CPU, blocks on a GPU
            f = s[r]                         # load (float16, bfloat16 arrive as float32)
            with k.vector(n) as j:           # lanes: SIMD on a CPU, the block's threads on a GPU
                y[r * n + j] = x[r * n + j] * f

    scale_rows((float32, float32, float32))(rows, grain, y_ptr, x_ptr, s_ptr, n)

The first call form picks the dtypes of the `Ptr` parameters (and keyword static values), traces, compiles, and
caches; what it returns is a builtin `launch(extent, grain, *args)`. Sizes and strides are always arguments, so
no shape ever recompiles. Axes: `parallel` (one per kernel), `vector`, `seq`; also `while_`, `if_`, mutable
`var`s, reduction accumulators `acc`, and fixed-size `local` scratch. Indices are element counts, int64.

Rules the tracer enforces: a vector loop holds no vector loop; `while_`/`if_` conditions are uniform (not
lane-varying) inside vector loops; an accumulator is updated inside vector loops and read outside them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.expr import Complex, Expr


class Ptr:
    """Annotation: a typed memory address."""


class Int:
    """Annotation: a 64-bit integer."""


class Float:
    """Annotation: a float64 number."""


# statements ---------------------------------------------------------------------------------------
@dataclass(eq=False, slots=True)
class Load:
    """out = ptr[index]; for complex dtypes `out` and `out2` are the parts. 0 where `where` is false."""

    out: Expr
    ptr: PtrRef
    index: Expr
    out2: Expr | None = None
    where: Expr | None = None


@dataclass(eq=False, slots=True)
class Store:
    """ptr[index] = value (value2: imaginary part), only where `where` is true.

    atomic: "add" adds instead, safely across threads.
    """

    ptr: PtrRef
    index: Expr
    value: Expr
    value2: Expr | None = None
    atomic: str | None = None
    where: Expr | None = None


@dataclass(eq=False, slots=True)
class Prefetch:
    """Ask for the memory at ptr[index] to come to cache `level`, for writing or not; never faults."""

    ptr: PtrRef
    index: Expr
    level: int = 1
    write: bool = False


@dataclass(eq=False, slots=True)
class Define:
    """Create mutable `var` with a first value."""

    var: Var
    value: Expr


@dataclass(eq=False, slots=True)
class Assign:
    """var = value."""

    var: Var
    value: Expr


@dataclass(eq=False, slots=True)
class Read:
    """out = the present value of var (or, for an accumulator, its total)."""

    out: Expr
    var: Var | Acc


@dataclass(eq=False, slots=True)
class Update:
    """Fold a value into an accumulator."""

    acc: Acc
    value: Expr


@dataclass(eq=False, slots=True)
class Loop:
    """for index in range(lo, hi, step); kind is "seq", "vector" or "parallel" (then `lanes` says vector).

    kind "lanes": one pass with `step` lanes from lo, of which those below hi take part (None: all).
    """

    kind: str
    index: Expr
    lo: Expr | None
    hi: Expr | None
    step: int | Expr
    body: list
    lanes: bool = False
    unroll: int = 1


@dataclass(eq=False, slots=True)
class While:
    """Repeat: run `head`, stop unless cond, run `body`."""

    head: list
    cond: Expr
    body: list


@dataclass(eq=False, slots=True)
class If:
    """Run `body` or `orelse` by a uniform condition."""

    cond: Expr
    body: list
    orelse: list


@dataclass(eq=False, slots=True)
class Local:
    """Reserve fixed scratch memory for `ptr`."""

    ptr: PtrRef
    count: int


@dataclass(eq=False, slots=True)
class Point:
    """`out` becomes memory of its own that begins at ptr[index]."""

    out: PtrRef
    ptr: PtrRef
    index: Expr


@dataclass(eq=False, slots=True)
class Transpose:
    """Lane j of outs[i] = lane i of values[j]; as many lanes as values."""

    outs: list[Expr]
    values: list[Expr]


@dataclass(eq=False, slots=True)
class Permute:
    """Lane i of out = lane places[i] of value, or `fill` where that is -1."""

    out: Expr
    value: Expr
    places: tuple[int, ...]
    fill: Expr | None = None


@dataclass(eq=False, slots=True)
class NewAcc:
    """Start an accumulator at its identity (or `init`)."""

    acc: Acc
    init: Expr


def walk(body: list):
    """Every statement in a block and the blocks below it."""
    for s in body:
        yield s
        for inner in ("head", "body", "orelse"):
            yield from walk(getattr(s, inner, ()))


# values -------------------------------------------------------------------------------------------
@dataclass(eq=False)
class Var:
    """A mutable scalar (or, made inside a vector loop, one value per lane)."""

    builder: Builder
    name: str
    dtype: Any
    lanes: bool

    def get(self) -> Expr:
        """The present value."""
        out = E.leaf(self.name, self.dtype)
        self.builder.emit(Read(out, self))
        return out

    def set(self, value) -> None:
        """Change the value."""
        self.builder.emit(Assign(self, E.cast(E.wrap(value, self.dtype), self.dtype)))

    value = property(get, set)


IDENTITY = {"add": 0, "mul": 1, "or": 0, "and": -1, "xor": 0}


def identity(op: str, dtype):
    """The value that leaves any other unchanged under `op`."""
    if op in ("min", "max"):
        if dtype.is_floating_point:
            return float("inf") if op == "min" else float("-inf")
        if dtype is dt.bool:
            return op == "min"
        bits = 8 * dtype.itemsize
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if dtype.is_signed else (0, (1 << bits) - 1)
        return high if op == "min" else low
    if dtype is dt.bool:
        return op == "and"
    return IDENTITY[op]


@dataclass(eq=False)
class Acc:
    """A reduction: `update` inside vector loops, `value` outside them."""

    builder: Builder
    name: str
    op: str
    dtype: Any

    def update(self, value) -> None:
        """Fold in one value (per lane)."""
        self.builder.emit(Update(self, E.cast(E.wrap(value, self.dtype), self.dtype)))

    def get(self) -> Expr:
        """The total so far."""
        out = E.leaf(self.name, self.dtype)
        self.builder.emit(Read(out, self))
        return out

    def reset(self, value=None) -> None:
        """Back to the identity (or `value`)."""
        init = identity(self.op, self.dtype) if value is None else value
        self.builder.emit(NewAcc(self, E.wrap(init, self.dtype)))

    value = property(get)


class PtrRef:
    """Memory of one dtype: `p[i]` loads, `p[i] = v` stores, `p.at(i)` is p displaced by i elements."""

    __slots__ = ("base", "builder", "compute", "dtype", "name", "offset")

    def __init__(self, builder: Builder, name: str, dtype, base: PtrRef | None = None, offset=None):
        self.builder, self.name, self.dtype = builder, name, dtype
        self.base, self.offset = base or self, offset
        self.compute = compute_dtype(dtype)

    def _index(self, i) -> Expr:
        i = E.cast(E.wrap(i, dt.int64), dt.int64)
        return i if self.offset is None else self.offset + i

    def at(self, i) -> PtrRef:
        """This memory, starting i elements further."""
        return PtrRef(self.builder, self.name, self.dtype, self.base, self._index(i))

    def __getitem__(self, i):
        return self.load(i)

    def load(self, i, where: Expr | None = None):
        """p[i]; with `where`, memory is touched only where it is true, and the value is 0 elsewhere."""
        index = self._index(i)
        if self.dtype.is_complex:
            real = self.compute.to_real()
            re, im = E.leaf(self.name + ".re", real), E.leaf(self.name + ".im", real)
            self.builder.emit(Load(re, self.base, index, im, where))
            return Complex(re, im)
        out = E.leaf(self.name, self.compute)
        self.builder.emit(Load(out, self.base, index, None, where))
        return out

    def __setitem__(self, i, value) -> None:
        self.builder.emit(self._store(i, value))

    def store(self, i, value, where: Expr | None) -> None:
        """p[i] = value where `where` is true; other memory is not touched."""
        store = self._store(i, value)
        store.where = where
        self.builder.emit(store)

    def atomic_add(self, i, value) -> None:
        """p[i] += value, safe when several threads or lanes meet at one i."""
        store = self._store(i, value)
        store.atomic = "add"
        self.builder.emit(store)

    def prefetch(self, i, level: int = 1, write: bool = False, lines: int = 1) -> None:
        """Ask for p[i], and the cache lines after it, to come to cache `level`; the addresses may lie outside."""
        for line in range(lines):
            self.builder.emit(Prefetch(self.base, self._index(i + line * (64 // self.dtype.itemsize)), level, write))

    def _store(self, i, value) -> Store:
        index = self._index(i)
        if self.dtype.is_complex:
            z = Complex.lift(value, self.compute.to_real())
            return Store(self.base, index, z.re, z.im)
        if isinstance(value, Complex):
            value = value.to(self.compute)
        return Store(self.base, index, E.cast(E.wrap(value, self.compute), self.compute))


def compute_dtype(dtype):
    """The dtype a stored value is computed in: half precisions in float32, the rest as they are."""
    return dt.float32 if dtype in (dt.float16, dt.bfloat16) else dtype


@dataclass
class Program:
    """A traced kernel: parameters as (name, kind, dtype or None, leaf or PtrRef), and the statements."""

    name: str
    params: list[tuple[str, type, Any, Any]]
    body: list
    worker: Expr
    key: tuple = field(default=())
    alias: str | None = None  # by which its machine code is found again without tracing


class Builder:
    """The `k` of a kernel function: opens loops and declares variables."""

    def __init__(self):
        self.root: list = []
        self.blocks: list[list] = [self.root]
        self.worker = E.leaf("worker", dt.int64)
        self.in_vector = False
        self.has_parallel = False
        self.count = 0

    def emit(self, statement) -> None:
        self.blocks[-1].append(statement)

    def fresh(self, name: str) -> str:
        self.count += 1
        return f"{name}{self.count}"

    @contextmanager
    def _block(self, body: list) -> Iterator[None]:
        self.blocks.append(body)
        try:
            yield
        finally:
            self.blocks.pop()

    @contextmanager
    def parallel(self, vector: bool = False, unroll: int = 1) -> Iterator[Expr]:
        """The launch's own axis; with vector=True its elements are lanes."""
        if self.has_parallel or len(self.blocks) > 1:
            raise TypeError("kernel: `parallel` may be opened once, at the outermost level")
        self.has_parallel = True
        index = E.leaf(self.fresh("p"), dt.int64)
        loop = Loop("parallel", index, None, None, 1, [], lanes=vector, unroll=unroll)
        self.emit(loop)
        self.in_vector = vector
        with self._block(loop.body):
            yield index
        self.in_vector = False

    @contextmanager
    def vector(self, lo, hi=None, unroll: int = 1) -> Iterator[Expr]:
        """Lanes over range(lo, hi), or range(lo); `unroll` independent vectors at a time."""
        if self.in_vector:
            raise TypeError("kernel: a vector loop cannot hold another vector loop")
        lo, hi = (0, lo) if hi is None else (lo, hi)
        index = E.leaf(self.fresh("v"), dt.int64)
        loop = Loop("vector", index, E.wrap(lo, dt.int64), E.wrap(hi, dt.int64), 1, [], True, unroll)
        self.emit(loop)
        self.in_vector = True
        with self._block(loop.body):
            yield index
        self.in_vector = False

    @contextmanager
    def lanes(self, width: int, count=None) -> Iterator[Expr]:
        """Exactly `width` (a Python number) lanes 0, 1, ...; only the first `count` take part if given."""
        if self.in_vector:
            raise TypeError("kernel: a vector loop cannot hold another vector loop")
        index = E.leaf(self.fresh("v"), dt.int64)
        hi = None if count is None else E.wrap(count, dt.int64)
        loop = Loop("lanes", index, E.const(0, dt.int64), hi, width, [], True)
        self.emit(loop)
        self.in_vector = True
        with self._block(loop.body):
            yield index
        self.in_vector = False

    @contextmanager
    def seq(self, lo, hi=None, step: int | Expr = 1) -> Iterator[Expr]:
        """One after another over range(lo, hi, step), or range(lo); an expression as step is positive."""
        lo, hi = (0, lo) if hi is None else (lo, hi)
        index = E.leaf(self.fresh("s"), dt.int64)
        loop = Loop("seq", index, E.wrap(lo, dt.int64), E.wrap(hi, dt.int64), step, [])
        self.emit(loop)
        with self._block(loop.body):
            yield index

    @contextmanager
    def while_(self, cond: Callable[[], Expr]) -> Iterator[None]:
        """Repeat while cond() (traced before each round) is true."""
        loop = While([], None, [])  # type: ignore[arg-type]
        with self._block(loop.head):
            loop.cond = cond()
        self.emit(loop)
        with self._block(loop.body):
            yield

    @contextmanager
    def if_(self, cond: Expr) -> Iterator[None]:
        """Run the block where cond is true; `else_` may follow at once."""
        branch = If(cond, [], [])
        self.emit(branch)
        with self._block(branch.body):
            yield

    @contextmanager
    def else_(self) -> Iterator[None]:
        """The other branch of the `if_` just before."""
        branch = self.blocks[-1][-1] if self.blocks[-1] else None
        if not isinstance(branch, If) or branch.orelse:
            raise TypeError("kernel: `else_` must follow its `if_` at once")
        with self._block(branch.orelse):
            yield

    def var(self, init, dtype=None) -> Var:
        """A mutable variable."""
        if dtype is None:
            dtype = init.dtype if isinstance(init, Expr) else (
                dt.float32 if isinstance(init, float) else dt.int64)  # fmt: skip
        v = Var(self, self.fresh("x"), dtype, self.in_vector)
        self.emit(Define(v, E.cast(E.wrap(init, dtype), dtype)))
        return v

    def acc(self, op: str, dtype, init=None) -> Acc:
        """A reduction by op: add, mul, min, max (NaN wins), and, or, xor."""
        a = Acc(self, self.fresh("a"), op, dtype)
        a.reset(init)
        return a

    def pointer(self, ref: PtrRef) -> PtrRef:
        """ref's address worked out here, once: for addresses that a loop displaces by what it loads."""
        p = PtrRef(self, self.fresh(ref.name), ref.dtype)
        self.emit(Point(p, ref.base, ref._index(0)))
        return p

    def transpose(self, values: list[Expr]) -> list[Expr]:
        """The square of values and lanes turned: inside `lanes(len(values))`."""
        outs = [E.leaf("t", v.dtype) for v in values]
        self.emit(Transpose(outs, values))
        return outs

    def permute(self, value: Expr, places, fill=None) -> Expr:
        """The lanes of value that `places` name, one for each, -1 for `fill`: inside `lanes(len(places))`."""
        out = E.leaf("p", value.dtype)
        self.emit(Permute(out, value, tuple(places), None if fill is None else E.wrap(fill, value.dtype)))
        return out

    def local(self, count: int, dtype) -> PtrRef:
        """Scratch for `count` elements, private to the thread (64-byte aligned; keep it small)."""
        p = PtrRef(self, self.fresh("l"), dtype)
        self.emit(Local(p, count))
        return p


class Template:
    """A kernel function with its specialisations."""

    def __init__(self, fn: Callable):
        self.fn, self.name = fn, fn.__name__
        self.__doc__, self.__name__, self.__module__ = fn.__doc__, fn.__name__, fn.__module__
        self.cache: dict = {}
        hints = inspect.signature(fn).parameters
        kinds = {"Ptr": Ptr, "Int": Int, "Float": Float}
        self.params = []
        for p in list(hints.values())[1:]:
            if p.kind is inspect.Parameter.KEYWORD_ONLY:
                continue
            kind = kinds.get(p.annotation, p.annotation)
            if kind not in (Ptr, Int, Float):
                raise TypeError(f"kernel {self.name}: parameter {p.name} needs : Ptr, : Int or : Float")
            self.params.append((p.name, kind))

    def trace(self, dtypes: tuple, **static) -> Program:
        """Run the Python function once on symbols."""
        k = Builder()
        params, operands, given = [], [], iter(dtypes)
        for name, kind in self.params:
            if kind is Ptr:
                dtype = next(given, None)
                if dtype is None:
                    raise TypeError(f"kernel {self.name}: no dtype for pointer {name}")
                value: Any = PtrRef(k, name, dtype)
            else:
                dtype = dt.int64 if kind is Int else dt.float64
                value = E.leaf(name, dtype)
            params.append((name, kind, dtype, value))
            operands.append(value)
        if next(given, None) is not None:
            raise TypeError(f"kernel {self.name}: more dtypes than pointers")
        self.fn(k, *operands, **static)
        E.Expr._interned.clear()  # leaves are unique per trace: nothing there can be met again
        return Program(self.name, params, k.root, k.worker, (dtypes, tuple(sorted(static.items()))))

    def __call__(self, dtypes: tuple = (), **static):
        key = (dtypes, *static.items()) if static else dtypes
        found = self.cache.get(key)
        if found is None:
            parts = (self.fn, dtypes, tuple(sorted(static.items())))
            found = self.cache[key] = obtain(self.name, parts, lambda: self.trace(dtypes, **static))
        return found


def kernel(fn: Callable) -> Template:
    """Decorator: make a kernel template of a Python function (see the module's docstring)."""
    return Template(fn)


def compile_program(program: Program):
    """Machine code for a traced program; installed by codegen, so the language needs no back end."""
    raise RuntimeError("no code generator is installed; import flambeau first")


def obtain(name: str, parts: tuple, trace: Callable[[], Program]):
    """The launcher of the kernel that trace() gives, which `parts` determine; installed by codegen, which may know it."""
    return compile_program(trace())
