"""Tiles in a thread's scratch: products and copies that other loop nests trace inline.

Everything here works on rows padded to whole register tiles, so that the products have one shape and no edges.
"""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.codegen.target import host
from flambeau.core import dtypes as dt
from flambeau.ir import expr as E

LINE = 64  # bytes of a cache line
GAP = 4096  # bytes between the scratch of two threads: what one core fetches ahead of its reads, the other must not write


@dataclass(frozen=True)
class Tile:
    """The register tile of the products: mr rows of nr columns."""

    mr: int
    nr: int


def tile_for(acc, rows: int = 8) -> Tile:
    """Two vectors of columns, and as many rows as leave registers for operands; a single row takes more columns."""
    target = host()
    lanes = max(1, target.vector_bytes // acc.itemsize)
    return Tile(1, 4 * lanes) if rows == 1 else Tile(8 if target.vector_bytes != 32 else 4, 2 * lanes)


def per_thread(count: int, d) -> int:
    """How many elements of dtype d lie from one thread's scratch of `count` to the next one's: whole lines, and a gap."""
    return rounded(count, max(1, LINE // d.itemsize)) + GAP // d.itemsize


def rounded(n: int, to: int) -> int:
    """The least multiple of `to` not below n."""
    return -(-n // to) * to


def product(k, out, a, b, rows, cols, depth, tile: Tile, a_st, b_st, out_step, add: bool = False, fade=None, tall=None,
            span=None):  # fmt: skip
    """out[i, j] (+)= sum_p a[i, p] b[p, j]; rows and cols are rounded up to whole register tiles.

    a_st: a's steps along i and p; b_st: b's along p, and along j from one register tile to the next (inside it is 1);
    fade: what row i of out is multiplied by before (then it adds); tall(j): how many rows are wanted in the register tile at column j;
    span(i): the range of p in the one at row i, outside which a is 0.
    """
    d = out.dtype
    with k.seq(0, cols, tile.nr) as j0, k.seq(0, rows if tall is None else tall(j0), tile.mr) as i0:
        corner, left, right = out.at(i0 * out_step + j0), a.at(i0 * a_st[0]), b.at(j0 * b_st[1])
        with k.lanes(tile.nr) as j:
            sums = [k.var(E.const(0, d), d) for _ in range(tile.mr)]
            with k.seq(*((0, depth) if span is None else span(i0))) as p:
                bv = right[p * b_st[0] + j]
                for i, s in enumerate(sums):
                    s.set(E.fma(left[i * a_st[0] + p * a_st[1]], bv, s.get()))
            for i, s in enumerate(sums):
                at, total = i * out_step + j, s.get()
                if fade is not None:
                    total = E.fma(corner[at], fade[i0 + i], total)
                elif add:
                    total = corner[at] + total
                corner[at] = total


def by_lanes(k, rows, n, end, tile: Tile, move) -> None:
    """move(i, p, where) of all rows i, for every register tile's width of lanes p up to end; where: those below n, if not all."""
    with k.seq(0, end, tile.nr) as p0:
        with k.if_(n - p0 >= tile.nr), k.seq(rows) as i, k.lanes(tile.nr) as p:
            move(i, p0 + p, None)
        with k.else_(), k.seq(rows) as i, k.lanes(tile.nr) as p:
            move(i, p0 + p, p < n - p0)


def copied(k, out, src, rows, n, padded, row_step, step, tile: Tile, factor=None):
    """out[i, p] = src[i, p] (* factor) for `rows` rows of n, each padded with zeros to whole register tiles."""
    d, step = out.dtype, E.wrap(step, dt.int64)

    def put(at, v):
        out[at] = E.cast(v, d) if factor is None else E.cast(v, d) * factor

    with k.if_(step == 1):
        by_lanes(k, rows, n, padded, tile, lambda i, p, where: put(i * padded + p, src.load(i * row_step + p, where)))
    with k.else_(), k.seq(rows) as i:
        row = src.at(i * row_step)
        with k.vector(n) as p:
            put(i * padded + p, row[p * step])
        with k.vector(n, padded) as p:
            out[i * padded + p] = E.const(0, d)


def turned(k, out, src, rows, n, high, row_step, step, w, dense, read, ahead: int = 0) -> None:
    """out[p, i] = read(src[i, p]) for `rows` rows of n, as (n, high), 0 beyond; w x w elements are turned in registers.

    The latter where rows are dense: True, False, or a condition; ahead: vectors of each row to ask for beforehand.
    """
    with k.seq(0, high, w) as i0:
        whole = k.var(E.const(0, dt.int64))
        if dense is not False:
            full = rows - i0 >= w
            with k.if_(full if dense is True else dense & full):
                whole.set(n // w * w)
            with k.seq(0, whole.get(), w) as p, k.lanes(w) as l:
                for i in range(w if ahead else 0):
                    src.prefetch((i0 + i) * row_step + p + ahead * w)
                values = [read(src[(i0 + i) * row_step + p + l]) for i in range(w)]
                for i, v in enumerate(k.transpose(values)):
                    out[(p + i) * high + i0 + l] = v
        real = E.minimum(E.maximum(rows - i0, 0), w)
        with k.seq(whole.get(), n) as p:
            with k.seq(real) as i:
                out[p * high + i0 + i] = read(src[(i0 + i) * row_step + p * step])
            with k.seq(real, w) as i:
                out[p * high + i0 + i] = E.const(0, out.compute)


def filled(k, out, count, value) -> None:
    """out[0..count) = value."""
    with k.vector(count) as i:
        out[i] = E.const(value, out.dtype)


def written(k, out, row_step, src, rows, n, padded, tile: Tile, factors=None) -> None:
    """Padded rows out of scratch (times their factors)."""

    def move(i, p, where):
        v = src[i * padded + p]
        out.store(i * row_step + p, v if factors is None else v * factors[i], where)

    by_lanes(k, rows, n, n, tile, move)
