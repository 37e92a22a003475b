"""Loop nests of indexing: gather, scatter and row moves by computed offsets.

Every kernel checks indices itself: a bad one sets a flag and is read as 0, so memory stays safe, and the op
raises IndexError afterwards (`Flag`). Shapes: `dims` is the number of dimensions (a compile-time constant),
sizes and strides are arguments.
"""

from __future__ import annotations

import ctypes

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir.kernel import Builder, Int, Program, Ptr, PtrRef, kernel
from flambeau.runtime import memory


class Flag:
    """Where kernels report an index out of range: the offending value, or nothing."""

    NONE = -(1 << 63)

    def __init__(self):
        self.storage = memory.allocate(8)
        self.cell = ctypes.c_int64.from_address(self.storage.ptr)
        self.cell.value = self.NONE

    @property
    def ptr(self) -> int:
        return self.storage.ptr

    def check(self, op: str, dim: int, size: int, error: type = IndexError) -> None:
        """Raise if some index was out of range (PyTorch's type: RuntimeError in gather and scatter)."""
        if self.cell.value != self.NONE:
            raise error(
                f"index {self.cell.value} is out of bounds for dimension {dim} with size {size} ({op})"
            )


def checked(k: Builder, i, size, flag, wrap: bool):
    """i as a safe index: negative ones count from the end if wrap; bad ones become 0 and are flagged."""
    if wrap:
        i = E.where(i < 0, i + size, i)
    bad = (i < 0) | (i >= size)
    return E.where(bad, E.const(0, dt.int64), i), bad


def walk(row, sizes, strides_list):
    """Offsets of flattened position `row` over dims `sizes`, one per strides list."""
    at = [E.const(0, dt.int64) for _ in strides_list]
    for d in range(len(sizes) - 1, -1, -1):
        if d:
            q = row // sizes[d]
            i, row = row - q * sizes[d], q
        else:
            i = row
        at = [a + i * st[d] for a, st in zip(at, strides_list, strict=True)]
    return at


class Nest:
    """A kernel with a variable number of size and stride parameters, built per static key."""

    def __init__(self, name: str, build):
        self.name, self.build, self.cache = name, build, {}

    def __call__(self, dtypes: tuple, **static):
        key = (dtypes, *static.items())
        found = self.cache.get(key)
        if found is None:
            k = Builder()
            params: list = []

            def ptr(name, dtype):
                p = PtrRef(k, name, dtype)
                params.append((name, Ptr, dtype, p))
                return p

            def ints(name, n=None):
                out = []
                for i in range(1 if n is None else n):
                    leaf = E.leaf(f"{name}{i}", dt.int64)
                    params.append((leaf.attr, Int, dt.int64, leaf))
                    out.append(leaf)
                return out[0] if n is None else out

            self.build(k, ptr, ints, dtypes, **static)
            E.Expr._interned.clear()
            program = Program(self.name, params, k.root, k.worker)
            found = self.cache[key] = K.compile_program(program)
        return found


def _gather(k, ptr, ints, dtypes, *, dims: int, contiguous: bool):
    """y[pos] = x[pos with index[pos] at dim]; rows over the outer dims, lanes over the last."""
    y, x, idx, flag = ptr("y", dtypes[0]), ptr("x", dtypes[0]), ptr("idx", dtypes[1]), ptr("flag", dt.int64)
    n, size, xdim = ints("n"), ints("size"), ints("xdim")
    sizes = ints("m", dims - 1)
    ys, xs, is_ = ints("ys", dims), ints("xs", dims), ints("is", dims)  # xs is 0 at the gathered dim
    with k.parallel() as row:
        yo, xo, io = walk(row, sizes, [ys, xs, is_])
        worst = k.acc("max", dt.int64, init=Flag.NONE)
        with k.vector(n) as j:
            i = E.cast(idx[io + (j if contiguous else j * is_[-1])], dt.int64)
            safe, bad = checked(k, i, size, flag, wrap=False)
            worst.update(E.where(bad, i, E.const(Flag.NONE, dt.int64)))
            y[yo + (j if contiguous else j * ys[-1])] = x[xo + safe * xdim + j * xs[-1]]
        with k.if_(worst.value != Flag.NONE):
            flag[0] = worst.value


def combine(old, new, reduce: str):
    """One step of a scatter reduction."""
    if reduce == "set":
        return new
    if reduce in ("sum", "mean"):
        return old + new
    if reduce == "prod":
        return old * new
    return E.maximum(old, new) if reduce == "amax" else E.minimum(old, new)


def _scatter(k, ptr, ints, dtypes, *, dims: int, reduce: str, scalar: bool):
    """y[pos with index[pos] at dim] (reduce)= x[pos]; other dims in parallel, dim in order: deterministic."""
    y, idx, flag = ptr("y", dtypes[0]), ptr("idx", dtypes[1]), ptr("flag", dt.int64)
    x = ptr("x", dtypes[0])
    n, size, ydim, idim, xdim = ints("n"), ints("size"), ints("ydim"), ints("idim"), ints("xdim")
    sizes = ints("m", dims - 1)  # the other dims
    ys, is_, xs = ints("ys", dims - 1), ints("is", dims - 1), ints("xs", dims - 1)
    with k.parallel() as row:
        yo, io, xo = walk(row, sizes, [ys, is_, xs])
        with k.seq(n) as j:
            i = E.cast(idx[io + j * idim], dt.int64)
            safe, bad = checked(k, i, size, flag, wrap=False)
            with k.if_(bad):
                flag[0] = i
            with k.else_():
                at = yo + safe * ydim
                v = x[0] if scalar else x[xo + j * xdim]
                y[at] = combine(y[at], v, reduce) if reduce != "set" else v


def _rows_by_offset(k, ptr, ints, dtypes, *, dims: int, put: str):
    """Move the inner block of `dims` dimensions at offset off[j] of x to (or, put, from) row j of y."""
    y, x, off = ptr("y", dtypes[0]), ptr("x", dtypes[0]), ptr("off", dt.int64)
    n, yrow = ints("n"), ints("yrow")
    sizes = ints("m", dims - 1)
    ys, xs = ints("ys", dims), ints("xs", dims)
    inner = ints("inner")  # product of sizes: blocks of n per row j
    if put == "take":
        with k.parallel() as block:
            j = block // inner
            yo, xo = walk(block - j * inner, sizes, [ys, xs])
            base = xo + off[j]
            with k.vector(n) as i:
                y[yo + j * yrow + i * ys[-1]] = x[base + i * xs[-1]]
        return
    rows = ints("rows")
    with k.parallel() as block:  # columns in parallel, rows in order: duplicates meet in order
        yo, xo = walk(block, sizes, [ys, xs])
        with k.seq(rows) as j:
            base = xo + off[j]
            with k.vector(n) as i:
                at = base + i * xs[-1]
                v = y[yo + j * yrow + i * ys[-1]]
                x[at] = v if put == "set" else combine(x[at], v, put)


gather_nest = Nest("gather", _gather)
scatter_nest = Nest("scatter", _scatter)
rows_nest = Nest("rows_by_offset", _rows_by_offset)


@kernel
def count_true(k, counts: Ptr, x: Ptr, n: Int, block: Int):
    """counts[b] = number of non-zero elements in block b of a contiguous x."""
    with k.parallel() as b:
        lo = b * block
        hi = E.minimum(lo + block, n)
        total = k.acc("add", dt.int64)
        with k.vector(lo, hi) as i:
            v = x[i]
            hit = ((v.re != 0) | (v.im != 0)) if isinstance(v, E.Complex) else (v != 0)
            total.update(E.where(hit, E.const(1, dt.int64), E.const(0, dt.int64)))
        counts[b] = total.value


@kernel
def fill_true(k, out: Ptr, starts: Ptr, x: Ptr, n: Int, block: Int):
    """out[starts[b] ...] = flat positions of non-zero elements of block b, in order."""
    with k.parallel() as b:
        lo = b * block
        hi = E.minimum(lo + block, n)
        at = k.var(starts[b])
        with k.seq(lo, hi) as i:
            v = x[i]
            hit = ((v.re != 0) | (v.im != 0)) if isinstance(v, E.Complex) else (v != 0)
            with k.if_(hit):
                out[at.get()] = i
                at.set(at.get() + 1)
