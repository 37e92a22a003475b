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


class Flag:
    """Where kernels report an index out of range: what `told` makes of it, or nothing."""

    NONE = -(1 << 63)

    def __init__(self):
        self.cell = ctypes.c_int64(self.NONE)
        self.ptr = ctypes.addressof(self.cell)

    @property
    def index(self) -> int | None:
        """The index out of range, if there was one; the least two integers are not told apart."""
        at = self.cell.value
        return None if at == self.NONE else self.NONE if at == self.NONE + 1 else at

    def check(self, op: str, dim: int, size: int, error: type = IndexError) -> None:
        """Raise if some index was out of range (PyTorch's type: RuntimeError in gather and scatter)."""
        if self.index is not None:
            raise error(f"index {self.index} is out of bounds for dimension {dim} with size {size} ({op})")


def told(i):
    """What a kernel writes to a Flag for the index i: never NONE, which may be an index too, such as the integer of a NaN."""
    return E.maximum(i, E.const(Flag.NONE + 1, dt.int64))


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
            worst.update(E.where(bad, told(i), E.const(Flag.NONE, dt.int64)))
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


def _scatter(k, ptr, ints, dtypes, *, dims: int, reduce: str, scalar: bool, columns: bool, unit: bool):
    """y[pos with index[pos] at dim] (reduce)= x[pos]; other dims in parallel, dim in order: deterministic.

    columns: the last of the other dims, dense, is walked in pieces inside, so that memory is read in order.
    unit: dim is the last and dense in all three.
    """
    y, idx, flag = ptr("y", dtypes[0]), ptr("idx", dtypes[1]), ptr("flag", dt.int64)
    x = ptr("x", dtypes[0])
    n, size, ydim, idim, xdim = ints("n"), ints("size"), ints("ydim"), ints("idim"), ints("xdim")
    sizes = ints("m", dims - 1)  # the other dims
    ys, is_, xs = ints("ys", dims - 1), ints("is", dims - 1), ints("xs", dims - 1)
    width = ints("width")
    if unit:
        ydim = idim = xdim = 1

    def one(yo, io, xo, j):
        i = E.cast(idx[io + j * idim], dt.int64)
        with k.if_(E.cast(i, dt.uint64) >= E.cast(size, dt.uint64)):
            flag[0] = told(i)
        with k.else_():
            at = yo + i * ydim
            v = x[0] if scalar else x[xo + j * xdim]
            y[at] = combine(y[at], v, reduce) if reduce != "set" else v

    with k.parallel() as row:
        if not columns:
            yo, io, xo = walk(row, sizes, [ys, is_, xs])
            with k.seq(n) as j:
                one(yo, io, xo, j)
        else:
            pieces = (sizes[-1] + width - 1) // width
            outer = row // pieces
            lo = (row - outer * pieces) * width
            yo, io, xo = walk(outer, sizes[:-1], [ys[:-1], is_[:-1], xs[:-1]])
            with k.seq(n) as j, k.seq(lo, E.minimum(lo + width, sizes[-1])) as c:
                one(yo + c * ys[-1], io + c * is_[-1], xo + c * xs[-1], j)


def _take_rows(k, ptr, ints, dtypes, *, dims: int, unit: bool):
    """Row j of y = the inner block of `dims` dimensions at offset off[j] of x; unit: its last dim is dense in both."""
    y, x, off = ptr("y", dtypes[0]), ptr("x", dtypes[0]), ptr("off", dt.int64)
    n, yrow = ints("n"), ints("yrow")
    sizes = ints("m", dims - 1)
    ys, xs = ints("ys", dims), ints("xs", dims)
    inner = ints("inner")  # product of sizes: blocks of n per row j
    with k.parallel() as block:
        j = block // inner if dims > 1 else block
        yo, xo = walk(block - j * inner, sizes, [ys, xs]) if dims > 1 else (E.const(0, dt.int64),) * 2
        row, source = y.at(yo + j * yrow), x.at(xo + off[j])
        with k.vector(n, unroll=4 if unit else 1) as i:
            row[i if unit else i * ys[-1]] = source[i if unit else i * xs[-1]]


def _put_rows(k, ptr, ints, dtypes, *, dims: int, put: str, unit: bool):
    """The other way, the rows in order so that duplicates meet in order: inner positions and columns are parallel."""
    y, x, off = ptr("y", dtypes[0]), ptr("x", dtypes[0]), ptr("off", dt.int64)
    n, yrow = ints("n"), ints("yrow")
    sizes = ints("m", dims - 1)
    ys, xs = ints("ys", dims), ints("xs", dims)
    ints("inner")
    rows, width, pieces = ints("rows"), ints("width"), ints("pieces")
    with k.parallel() as task:
        block = task // pieces
        lo = (task - block * pieces) * width
        hi = E.minimum(lo + width, n)
        yo, xo = walk(block, sizes, [ys, xs])
        with k.seq(rows) as j:
            row, target = y.at(yo + j * yrow), x.at(xo + off[j])
            with k.vector(lo, hi, unroll=4 if unit else 1) as i:
                at = i if unit else i * xs[-1]
                v = row[i if unit else i * ys[-1]]
                target[at] = v if put == "set" else combine(target[at], v, put)


@kernel
def take_table(k, y: Ptr, x: Ptr, index: Ptr, flag: Ptr, size: Int, n: Int, step: Int, inner: Int, *, unit: bool, wrap: bool):
    """Row r of y = row index[r] of x, n elements each; an index outside is flagged and gives row 0."""
    with k.parallel() as r:
        i = E.cast(index[r], dt.int64)
        safe, bad = checked(k, i, size, flag, wrap)
        with k.if_(bad):
            flag[0] = told(i)
        row, source = y.at(r * n), x.at(safe * step)
        with k.vector(n, unroll=4 if unit else 1) as j:
            row[j] = source[j if unit else j * inner]


@kernel
def put_elements(k, x: Ptr, y: Ptr, off: Ptr, n: Int, *, put: str):
    """x[off[j]] (put)= y[j], in order."""
    with k.parallel() as _, k.seq(n) as j:
        at = off[j]
        x[at] = y[j] if put == "set" else combine(x[at], y[j], put)


@kernel
def chain(k, head: Ptr, after: Ptr, index: Ptr, flag: Ptr, n: Int, size: Int, skip: Int, *, wrap: bool):
    """The places of each index as a list: head[i] is the first, after[j] the one after j, -1 the end; `skip` has none."""
    with k.parallel() as _:
        with k.vector(size) as i:
            head[i] = -1
        with k.seq(n) as back:
            j = n - 1 - back
            i = E.cast(index[j], dt.int64)
            safe, bad = checked(k, i, size, flag, wrap)
            with k.if_(bad):
                flag[0] = told(i)
            with k.else_(), k.if_(safe != skip):
                after[j] = head[safe]
                head[safe] = j


@kernel
def put_chained(k, y: Ptr, base: Ptr, x: Ptr, head: Ptr, after: Ptr, size: Int, width: Int, step: Int, piece: Int, *, put: str, start: str):
    """Row i of y (put)= the rows of x in i's list, in order, after it "keep"s its own elements, or has "base"'s, or "zero"s.

    A task does `piece` columns of one row.
    """
    with k.parallel() as task:
        part = task // size
        i = task - part * size
        lo = part * piece
        hi = E.minimum(lo + piece, width)
        row, own = y.at(i * step), base.at(i * width)
        if start != "keep":
            with k.vector(lo, hi, unroll=4) as c:
                row[c] = own[c] if start == "base" else 0
        at = k.var(head[i])
        with k.while_(lambda: at.get() >= 0):
            source, then = x.at(at.get() * width), after[at.get()]
            ahead = x.at(then * width)
            with k.vector(lo, hi, unroll=4) as c:
                ahead.prefetch(c, level=2, lines=4)
                row[c] = source[c] if put == "set" else combine(row[c], source[c], put)
            at.set(then)


@kernel
def take_columns(k, y: Ptr, x: Ptr, off: Ptr, count: Int, n: Int, outer: Int):
    """y[o, j, i] = x[o * outer + off[j] + i] for `count` offsets and n dense elements each; the launch counts (o, j)."""
    with k.parallel() as t:
        o = t // count
        source, row = x.at(o * outer + off[t - o * count]), y.at(t * n)
        with k.vector(n, unroll=4) as i:
            row[i] = source[i]


@kernel
def take_picked(k, y: Ptr, x: Ptr, off: Ptr, count: Int, outer: Int):
    """y[o, j] = x[o * outer + off[j]]; the launch counts o."""
    with k.parallel() as o:
        source, row = x.at(o * outer), y.at(o * count)
        with k.vector(count) as j:
            row[j] = source[off[j]]


BLOCK = 4096


def _positions(k, ptr, ints, dtypes, *, wrap: bool, take: bool):
    """y[j] = the sum of index[j] * stride over the index tensors, or with `take` the element of x at that offset.

    Each index is checked; negative ones count from the end if wrap.
    """
    y, x = ptr("y", dtypes[0]), ptr("x", dtypes[0])
    indices = [ptr(f"i{d}", t) for d, t in enumerate(dtypes[1:])]
    flag, n = ptr("flag", dt.int64), ints("n")
    sizes, strides = ints("size", len(indices)), ints("stride", len(indices))
    with k.parallel() as b:
        worst = k.acc("max", dt.int64, init=Flag.NONE)
        with k.vector(b * BLOCK, E.minimum((b + 1) * BLOCK, n)) as j:
            off = E.const(0, dt.int64)
            for index, size, stride in zip(indices, sizes, strides, strict=True):
                i = E.cast(index[j], dt.int64)
                safe, bad = checked(k, i, size, flag, wrap)
                worst.update(E.where(bad, told(i), E.const(Flag.NONE, dt.int64)))
                off = off + safe * stride
            y[j] = x[off] if take else off
        with k.if_(worst.value != Flag.NONE):
            flag[0] = worst.value


def _unravel(k, ptr, ints, dtypes, *, dims: int):
    """y[j, d] = the coordinates of flat position flat[j]; quotients in float64, exact below 2^53."""
    y, flat = ptr("y", dt.int64), ptr("flat", dt.int64)
    row, column = ints("row"), ints("column")  # y's strides
    sizes = ints("m", dims)
    with k.parallel(vector=True) as j:
        rest = flat[j]
        for d in range(dims - 1, 0, -1):
            q = E.cast(E.cast(rest, dt.float64) / E.cast(sizes[d], dt.float64), dt.int64)  # rounded: perhaps one too many
            q = E.where(q * sizes[d] > rest, q - 1, q)
            y[j * row + d * column] = rest - q * sizes[d]
            rest = q
        y[j * row] = rest


gather_nest = Nest("gather", _gather)
scatter_nest = Nest("scatter", _scatter)
take_rows = Nest("take_rows", _take_rows)
put_rows = Nest("put_rows", _put_rows)
positions = Nest("positions", _positions)
unravel = Nest("unravel", _unravel)


PIECE = 1024


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
    """out[starts[b] ...] = flat positions of non-zero elements of block b, in order.

    Without a branch: every position is written, and the place moves on where the element is not zero; hence the buffer.
    """
    found = k.local(PIECE + 1, dt.int64)
    with k.parallel() as b:
        at = k.var(starts[b])
        end = E.minimum((b + 1) * block, n)
        with k.seq(b * block, end, PIECE) as lo:
            count = k.var(0)
            with k.seq(lo, E.minimum(lo + PIECE, end)) as i:
                v = x[i]
                hit = ((v.re != 0) | (v.im != 0)) if isinstance(v, E.Complex) else (v != 0)
                found[count.get()] = i
                count.set(count.get() + E.cast(hit, dt.int64))
            target = out.at(at.get())
            with k.vector(count.get()) as j:
                target[j] = found[j]
            at.set(at.get() + count.get())
