"""Loop nests of matrix products: packing, the register tile, rows and dot products without packing.

`tiles` is the blocked algorithm of Goto and Van Zee, with the roles of its caches turned round: a block of B lies packed in
the second-level cache of the core that packed it, one panel of A (MR rows) in the first, and the register tile of MR x NR
sums walks along the panel with each panel of B in turn. One step of k is MR broadcasts, NR / lanes loads and MR * NR /
lanes fused multiply-adds. A panel of A is kept as rows a fixed distance apart where A's rows are dense (a plain copy; every
broadcast then has a constant displacement); where its columns are, it is read as it lies, each step of k a line. Whoever
multiplies packs what it needs, so that a product is one launch.

Every kernel takes a batch, which may also be parts of one long sum: part t then has min(kk, total - t * taken) steps.

Source: K. Goto, R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008;
F. Van Zee, R. van de Geijn, BLIS, ACM TOMS 41(3), 2015.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, compute_dtype, kernel
from flambeau.ops.tiles import LINE, turned

ROW_GAP = 16  # elements between the rows of a packed panel of A beyond its deepest: rows fall into different cache sets


@dataclass(frozen=True)
class Tile:
    """The register tile for one accumulator dtype on this machine, and how deep panels may be."""

    mr: int
    nr: int
    kc: int
    lanes: int  # of one register
    masks: bool  # lane-masked memory access is cheap

    @property
    def low(self) -> int:
        """Rows of the tile that takes what is left at the lower edge."""
        return self.mr // 3

    @property
    def row(self) -> int:
        """Distance of the rows of a packed panel of A."""
        return self.kc + ROW_GAP

    @property
    def reach(self) -> int:
        """Lanes of one copy that covers a column of MR."""
        return 1 << (self.mr - 1).bit_length()

    @property
    def panel_size(self) -> int:
        """Elements of a packed panel of A, either way."""
        return self.mr * self.row + self.reach


def accumulator(dtype):
    """The dtype products are summed in: float32 for half precisions, the dtype itself otherwise."""
    return compute_dtype(dtype) if dtype.is_floating_point else dtype


def finish(v, epilogue: str, bias, column, row):
    """What is done to a finished element: bias per column or row, then relu."""
    if "column" in epilogue:
        v = v + E.cast(bias[column], v.dtype)
    if "row" in epilogue:
        v = v + E.cast(bias[row], v.dtype)
    if "relu" in epilogue:
        v = E.maximum(v, E.const(0, v.dtype))
    return v


# packing ------------------------------------------------------------------------------------------
def pack_rows(k, dst, a, tall, depth, a0, a1, tile: Tile, unit: bool) -> None:
    """dst[i * row + p] = a[i, p]; rows past the end repeat the last (their sums are not stored)."""
    sources = [E.minimum(i, tall - 1) * a0 for i in range(tile.mr)]
    with k.vector(depth) if unit else k.seq(depth) as p:
        for i, row in enumerate(sources):
            dst[i * tile.row + p] = E.cast(a[row + (p if unit else p * a1)], dst.compute)


def pack_columns(k, dst, a, tall, depth, a1, tile: Tile) -> None:
    """dst[p * mr + i] = a[i, p] for the rows there are, where a's columns are dense."""
    with k.seq(depth) as p, k.lanes(tile.reach) as i:
        dst[p * tile.mr + i] = E.cast(a.load(p * a1 + i, where=i < tall), dst.compute)


def pack_panel(k, dst, b, cols, depth, b0, b1, tile: Tile, layout: str) -> None:
    """dst[p * nr + j] = b[p, j], zero beyond cols."""
    nr, w = tile.nr, tile.lanes
    if layout == "row":
        # Step by step of k, so that b is read as it lies.
        with k.seq(depth) as p:
            row, out = b.at(p * b0), dst.at(p * nr)
            with k.seq(0, cols - (nr - 1), nr) as q, k.lanes(nr) as j:
                out[q * depth + j] = E.cast(row[q + j], dst.compute)
            with k.seq(cols // nr * nr, cols, nr) as q, k.lanes(nr) as j:
                out[q * depth + j] = E.cast(row.load(q + j, where=j < cols - q), dst.compute)
        return
    turned(k, dst, b, cols, depth, nr, b1, b0, w, layout == "column", lambda v: E.cast(v, dst.compute), ahead=4)


def fetch_panel(a, a0, a1, which, depth, tile: Tile, layout: str, t) -> None:
    """In round t of a panel's tile number `which`, two lines of the next panel of A, at a, come nearer.

    Of rows, eight in each tile; of columns, half of the steps of k in each, the line that the panel's last row reaches.
    """
    line = LINE // a.dtype.itemsize
    lines = 1 << (tile.kc // line - 1).bit_length()
    for u in range(2):
        if layout == "row":
            row = which * 8 + (t >> lines.bit_length() - 1) * 2 + u
            a.prefetch(E.minimum(row, tile.mr - 1) * a0 + (t & lines - 1) * line, 2)
        else:
            a.prefetch(E.minimum(which * (depth >> 1) + t * 2 + u, depth - 1) * a1 + tile.mr - 1, 2)


# the register tile --------------------------------------------------------------------------------
def register_tile(k, corner, a, a_row, a_step, b, b_step, depth, tall, cols, c0, c1, keep, last, bias, column, row, *,
                  height: int, width: int, tile: Tile, unit: bool, epilogue: str, direct: bool = False, ahead=None):  # fmt: skip
    """height x width sums along depth, then C's tall x cols corner.

    a_row, a_step: distances of A's rows and steps of k; an a_step that is no number: A is not packed. direct: nor is B.
    The largest tile is all there is in long products: it takes four steps a round, calling ahead(round), and its rows
    are all real unless B is not packed.
    """
    acc = a.compute
    with k.lanes(width) as j:
        sums = [k.var(E.const(0, acc), acc) for _ in range(height)]

        def step(p):
            if not isinstance(a_step, int):
                a.prefetch((p + 8) * a_step + height - 1)
            for at in range(0, width, LINE // b.dtype.itemsize):
                b.prefetch((p + (16 if direct else 8)) * b_step + at)
            bv = E.cast(b.load(p * b_step + j, where=j < cols), acc) if direct else b[p * b_step + j]
            for i in range(height):
                av = a[i * a_row + p * a_step]
                sums[i].set(E.fma(av, bv, sums[i].get()))

        main = (height, width) == (tile.mr, tile.nr)
        start = depth // 4 * 4 if main else E.const(0, dt.int64)
        if main:
            line = LINE // corner.dtype.itemsize
            lines = max(1, width // line)
            with k.seq(depth // 4) as t:
                if unit:  # C comes nearer a line at a time: all at once they would hold up the loads of B
                    at = E.minimum(t, height * lines - 1)
                    corner.prefetch(at // lines * c0 + (at - at // lines * lines) * line, write=True)
                if ahead is not None:
                    ahead(t)
                for u in range(4):
                    step(t * 4 + u)
        with k.seq(start, depth) as p:
            step(p)
        places = [i * c0 + (j if unit else j * c1) for i in range(height)]
        whole = not tile.masks and unit
        write = functools.partial(store_rows, k, corner, j, cols, keep, last, bias, column, whole=whole, width=width,
                                  epilogue=epilogue)  # fmt: skip
        if height == tile.mr and not direct:
            write(sums, places, row)
        else:
            for i in range(height):
                with k.if_(tall > i):
                    write(sums[i : i + 1], places[i : i + 1], row + i)


def store_rows(k, out, j, cols, keep, last, bias, column, sums, places, row, *, whole: bool, width: int, epilogue: str):
    """Rows of a tile into C: adds what is there, finishes, writes the first `cols` lanes."""
    inside = j < cols
    with k.if_(keep):
        for total, at in zip(sums, places, strict=True):
            total.set(total.get() + E.cast(out.load(at, where=inside), total.dtype))
    if epilogue:
        with k.if_(last):
            for i, total in enumerate(sums):
                v = total.get()
                if "column" in epilogue:
                    v = v + E.cast(bias.load(column + j, where=inside), v.dtype)
                total.set(finish(v, epilogue.replace("column", ""), bias, column, row + i))

    def masked():
        for total, at in zip(sums, places, strict=True):
            out.store(at, total.get(), where=inside)

    if not whole:
        masked()
        return
    with k.if_(cols >= width):  # masks cost much here, and are seldom needed
        for total, at in zip(sums, places, strict=True):
            out[at] = total.get()
    with k.else_():
        masked()


@kernel
def tiles(k, c: Ptr, a: Ptr, b: Ptr, scratch: Ptr, bias: Ptr, m: Int, n: Int, kk: Int, a0: Int, a1: Int, b0: Int, b1: Int,
          c0: Int, c1: Int, a_batch: Int, b_batch: Int, c_batch: Int, total: Int, taken: Int, down: Int, across: Int, mb: Int,
          nb: Int, kc: Int, nc: Int, room: Int, accumulate: Int, *, tile: Tile, a_layout: str, b_layout: str, unit: bool,
          epilogue: str):  # fmt: skip
    """C's mb x nb region of one of the `down` x `across` regions of one of the batch, per task; see the module.

    a_layout, b_layout: "row" (dense rows), "column" (dense columns) or "any".
    """
    mr, nr = tile.mr, tile.nr
    with k.parallel() as task:
        batch = task // (down * across)
        kk = E.minimum(kk, total - batch * taken)
        region = task - batch * (down * across)
        i_lo = (region // across) * mb
        j_lo = (region - region // across * across) * nb
        i_hi, j_hi = E.minimum(i_lo + mb, m), E.minimum(j_lo + nb, n)
        panel = scratch.at(k.worker * room)
        block = panel.at(tile.panel_size)
        src_a, src_b, out = a.at(batch * a_batch), b.at(batch * b_batch), c.at(batch * c_batch)
        with k.seq(j_lo, j_hi, nc) as jc, k.seq(0, kk, kc) as p0:
            depth = E.minimum(kk - p0, kc)
            width = E.minimum(j_hi - jc, nc)
            keep, last = (p0 > 0) | (accumulate != 0), p0 + depth >= kk
            corner_b = src_b.at(p0 * b0 + jc * b1)
            if b_layout == "row":
                pack_panel(k, block, corner_b, width, depth, b0, b1, tile, b_layout)
            else:
                with k.seq(0, width, nr) as j:
                    pack_panel(k, block.at(j * depth), corner_b.at(j * b1), width - j, depth, b0, b1, tile, b_layout)
            with k.seq(i_lo, i_hi, mr) as r:
                tall, place = E.minimum(i_hi - r, mr), src_a.at(r * a0 + p0 * a1)

                def walk(a, a_row, a_step, height, i=0, r=r, tall=tall, place=place):
                    """Along the block's panels of B; a last one at most half full takes the narrow tile."""
                    half = nr // 2
                    wide = E.maximum(width - half, 0)
                    for lanes, lo, hi in ((nr, 0, wide), (half, (wide + (nr - 1)) // nr * nr, width)):
                        with k.seq(lo, hi, nr) as j:
                            ahead = functools.partial(fetch_panel, place.at(mr * a0), a0, a1, j // nr, depth, tile, a_layout)
                            register_tile(k, out.at((r + i) * c0 + (jc + j) * c1), a.at(i * a_row), a_row, a_step,
                                          block.at(j * depth), E.const(nr, dt.int64), depth, tall - i, width - j, c0, c1, keep,
                                          last, bias, jc + j, r + i, height=height, width=lanes, tile=tile, unit=unit,
                                          epilogue=epilogue, ahead=None if a_layout == "any" else ahead)  # fmt: skip

                if a_layout == "column":
                    with k.if_(tall == mr):
                        walk(place, 1, a1, mr)
                    with k.else_():
                        pack_columns(k, panel, place, tall, depth, a1, tile)
                        with k.seq(0, tall, tile.low) as i:
                            walk(panel, 1, mr, tile.low, i)
                else:
                    pack_rows(k, panel, place, tall, depth, a0, a1, tile, a_layout == "row")
                    with k.if_(tall == mr):
                        walk(panel, tile.row, 1, mr)
                    with k.else_(), k.seq(0, tall, tile.low) as i:
                        walk(panel, tile.row, 1, tile.low, i)


# little or no packing -------------------------------------------------------------------------------
@kernel
def strips(k, c: Ptr, a: Ptr, b: Ptr, scratch: Ptr, bias: Ptr, m: Int, n: Int, kk: Int, a0: Int, a1: Int, b0: Int, b1: Int,
           c0: Int, c1: Int, a_batch: Int, b_batch: Int, c_batch: Int, total: Int, taken: Int, across: Int, nb: Int, kc: Int,
           room: Int, accumulate: Int, *, tile: Tile, a_unit: bool, unit: bool, epilogue: str):  # fmt: skip
    """C from a few panels of A, all packed, and the dense rows of B as they lie: `nb` columns of one of the batch per task."""
    mr, nr = tile.mr, tile.nr
    with k.parallel() as task:
        batch = task // across
        kk = E.minimum(kk, total - batch * taken)
        lo = (task - batch * across) * nb
        hi = E.minimum(lo + nb, n)
        panels = scratch.at(k.worker * room)
        src_a, src_b, out = a.at(batch * a_batch), b.at(batch * b_batch), c.at(batch * c_batch)
        with k.seq(0, kk, kc) as p0:
            depth = E.minimum(kk - p0, kc)
            keep, last = (p0 > 0) | (accumulate != 0), p0 + depth >= kk
            with k.seq(0, m, mr) as r:
                pack_rows(k, panels.at(r // mr * tile.panel_size), src_a.at(r * a0 + p0 * a1), m - r, depth, a0, a1, tile, a_unit)
            with k.seq(lo, hi, nr) as j, k.seq(0, m, mr) as r:
                register_tile(k, out.at(r * c0 + j * c1), panels.at(r // mr * tile.panel_size), tile.row, 1,
                              src_b.at(p0 * b0 + j * b1), b0, depth, m - r, hi - j, c0, c1, keep, last, bias, j, r,
                              height=mr, width=nr, tile=tile, direct=True, unit=unit, epilogue=epilogue)  # fmt: skip


@kernel
def rows(k, c: Ptr, a: Ptr, b: Ptr, bias: Ptr, n: Int, kk: Int, a0: Int, a1: Int, b0: Int, c0: Int, c1: Int, a_batch: Int,
         b_batch: Int, c_batch: Int, total: Int, taken: Int, blocks: Int, width: Int, *, m: int, vectors: int, unit: bool,
         epilogue: str):  # fmt: skip
    """A few rows of C from the dense rows of B, columns in lanes: `width` columns of one of the batch per task."""
    acc = accumulator(a.dtype)
    with k.parallel() as task:
        batch = task // blocks
        kk = E.minimum(kk, total - batch * taken)
        lo = (task - batch * blocks) * width
        src, mat, out = a.at(batch * a_batch), b.at(batch * b_batch), c.at(batch * c_batch)
        with k.vector(lo, E.minimum(lo + width, n), unroll=vectors) as j:
            sums = [k.var(E.const(0, acc), acc) for _ in range(m)]
            with k.seq(kk) as p:
                bv = E.cast(mat[p * b0 + j], acc)
                for i in range(m):
                    sums[i].set(E.fma(E.cast(src[i * a0 + p * a1], acc), bv, sums[i].get()))
            for i in range(m):
                at = i * c0 + (j if unit else j * c1)
                v = sums[i].get()
                if "keep" in epilogue:
                    v = v + E.cast(out[at], acc)
                out[at] = finish(v, epilogue, bias, j, E.const(i, dt.int64))


@kernel
def dots(k, c: Ptr, a: Ptr, b: Ptr, bias: Ptr, m: Int, n: Int, kk: Int, a0: Int, b1: Int, c0: Int, c1: Int, a_batch: Int,
         b_batch: Int, c_batch: Int, total: Int, taken: Int, tiles: Int, *, height: int, width: int, epilogue: str):  # fmt: skip
    """Tiles of C from dense rows of A and dense columns of B, the sums in lanes; `width` columns per task."""
    acc = accumulator(a.dtype)
    with k.parallel() as task:
        batch = task // tiles
        kk = E.minimum(kk, total - batch * taken)
        j0 = (task - batch * tiles) * width
        src, out = a.at(batch * a_batch), c.at(batch * c_batch + j0 * c1)
        columns = [b.at(batch * b_batch + E.minimum(j0 + j, n - 1) * b1) for j in range(width)]
        found = k.local(width, acc)
        with k.seq(0, m, height) as i0:
            lines = [src.at(E.minimum(i0 + i, m - 1) * a0) for i in range(height)]
            sums = [[k.acc("add", acc) for _ in range(width)] for _ in range(height)]
            with k.vector(kk) as p:
                for column in columns:  # what the next tile reads
                    column.prefetch(width * b1 + p)
                bv = [E.cast(column[p], acc) for column in columns]
                for line, row in zip(lines, sums, strict=True):
                    av = E.cast(line[p], acc)
                    for v, total in zip(bv, row, strict=True):
                        total.update(av * v)
            for i, row in enumerate(sums):
                for j, total in enumerate(row):
                    found[j] = total.value
                with k.if_(i0 + i < m), k.seq(E.minimum(n - j0, width)) as j:
                    at = (i0 + i) * c0 + j * c1
                    v = found[j]
                    if "keep" in epilogue:
                        v = v + E.cast(out[at], acc)
                    out[at] = finish(v, epilogue, bias, j0 + j, i0 + i)


@kernel
def gather(k, c: Ptr, parts: Ptr, bias: Ptr, n: Int, c0: Int, c1: Int, count: Int, size: Int, *, epilogue: str):
    """C = the sum of `count` dense partial products."""
    with k.parallel() as i, k.vector(n) as j:
        total = k.var(E.const(0, parts.dtype), parts.dtype)
        with k.seq(count) as p:
            total.set(total.get() + parts[p * size + i * n + j])
        v = total.get()
        at = i * c0 + j * c1
        if "keep" in epilogue:
            v = v + E.cast(c[at], v.dtype)
        c[at] = finish(v, epilogue, bias, j, i)
