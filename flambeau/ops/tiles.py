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


def product(k, out, a, b, rows, cols, depth, tile: Tile, a_st, b_st, out_step, add: bool = False, fade=None):
    """out[i, j] (+)= sum_p a[i, p] b[p, j]; rows and cols are rounded up to whole register tiles.

    a_st: a's steps along i and p; b_st: b's along p, and along j from one register tile to the next (inside it is 1);
    fade: what row i of out is multiplied by before.
    """
    d = out.dtype
    with k.seq(0, cols, tile.nr) as j0, k.seq(0, rows, tile.mr) as i0:
        corner, left, right = out.at(i0 * out_step + j0), a.at(i0 * a_st[0]), b.at(j0 * b_st[1])
        with k.lanes(tile.nr) as j:
            sums = [k.var(corner[i * out_step + j] if add else E.const(0, d), d) for i in range(tile.mr)]
            if fade is not None:
                for i, s in enumerate(sums):
                    s.set(s.get() * fade[i0 + i])
            with k.seq(depth) as p:
                bv = right[p * b_st[0] + j]
                for i, s in enumerate(sums):
                    s.set(E.fma(left[i * a_st[0] + p * a_st[1]], bv, s.get()))
            for i, s in enumerate(sums):
                corner[i * out_step + j] = s.get()


def copied(k, out, src, rows, n, padded, row_step, step, factor=None):
    """out[i, p] = src[i, p] (* factor) for `rows` rows of n, each padded with zeros."""
    d, step = out.dtype, E.wrap(step, dt.int64)
    with k.seq(rows) as i:
        row, to = src.at(i * row_step), out.at(i * padded)
        for unit in (True, False):
            with k.if_((step == 1) if unit else (step != 1)), k.vector(n) as p:
                v = E.cast(row[p if unit else p * step], d)
                to[p] = v if factor is None else v * factor
        with k.vector(n, padded) as p:
            to[p] = E.const(0, d)


def filled(k, out, count, value) -> None:
    """out[0..count) = value."""
    with k.vector(count) as i:
        out[i] = E.const(value, out.dtype)


def written(k, out, row_step, src, rows, n, padded) -> None:
    """Padded rows out of scratch."""
    with k.seq(rows) as i:
        to, row = out.at(i * row_step), src.at(i * padded)
        with k.vector(n) as j:
            to[j] = row[j]
