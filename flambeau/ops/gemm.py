"""Matrix product kernels: packed panels and a register-tiled microkernel (after Goto and BLIS).

C[m, n] = A[m, k] B[k, n] for any strides. B is packed once into panels of NR columns, A block by block into
panels of MR rows; the microkernel keeps an MR x NR tile of C in registers and adds one rank-1 update per step of
k: MR broadcasts, NR/W vector loads, MR * NR/W fused multiply-adds. Edges are packed with zeros, so the
microkernel has one shape; tiles at the edge go through a small buffer.

Source: K. Goto, R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008;
F. Van Zee, R. van de Geijn, BLIS, ACM TOMS 41(3), 2015.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from flambeau.codegen.target import host
from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, compute_dtype, kernel
from flambeau.runtime import memory
from flambeau.runtime.threads import get_num_threads


@dataclass(frozen=True)
class Tile:
    """Block sizes for one accumulator dtype on this machine."""

    mr: int
    nr: int
    kc: int
    mc: int


@functools.cache
def tile_for(acc) -> Tile:
    """MR x NR fills the vector registers; an NR panel of depth KC fits L1, an MC x KC block L2."""
    target = host()
    lanes = max(1, target.vector_bytes // acc.itemsize)
    many = target.vector_bytes != 32  # AVX-512 and NEON have 32 registers, AVX2 16
    mr = 12 if many else 6
    nr = 2 * lanes
    kc = 256 if acc.itemsize == 4 else 192
    return Tile(mr, nr, kc, mr * (16 if many else 24))


def accumulator(dtype):
    """The dtype products are summed in: float32 for half precisions, int32 for small integers."""
    if dtype.is_floating_point:
        return compute_dtype(dtype)
    return dtype


@kernel
def pack_b(k, out: Ptr, b: Ptr, kk: Int, n: Int, s0: Int, s1: Int, panels: Int, batch_stride: Int,
           out_stride: Int, *, nr: int, unit: bool):  # fmt: skip
    """out[batch][panel][p][0..nr) = b[p, panel * nr + j], zero beyond n."""
    zero = E.const(0, out.compute)
    with k.parallel() as task:
        batch = task // panels
        panel = task - batch * panels
        src = b.at(batch * batch_stride)
        j0 = panel * nr
        dst = out.at(batch * out_stride + panel * (kk * nr))
        left = n - j0
        with k.if_(left >= nr):
            if unit:
                with k.seq(kk) as p, k.lanes(nr) as j:
                    dst[p * nr + j] = E.cast(src[p * s0 + (j0 + j)], out.compute)
            else:  # a transposition, one element at a time: gathers take several times as long
                with k.seq(0, nr, 8) as j:
                    columns = [src.at((j0 + j + i) * s1) for i in range(8)]
                    with k.seq(kk) as p:
                        for i in range(8):
                            dst[p * nr + j + i] = E.cast(columns[i][p * s0], out.compute)
        with k.else_(), k.seq(kk) as p:
            with k.seq(left, nr) as j:
                dst[p * nr + j] = zero
            with k.seq(left) as j:
                dst[p * nr + j] = E.cast(src[p * s0 + (j0 + j) * s1], out.compute)


def pack_a(k, dst, a, i0, rows, p0, depth, s0, s1, mr: int, unit: bool):
    """dst[panel][p][0..mr) = a[i0 + panel * mr + i, p0 + p] for `rows` rows, zero beyond (traced inline)."""
    with k.seq(0, rows, mr) as r:
        panel = dst.at(r * depth)
        left = E.minimum(rows - r, mr)
        row0 = (i0 + r) * s0 + p0 * s1
        with k.seq(left) as i:
            row = row0 + i * s0
            with k.vector(depth) as p:
                panel[p * mr + i] = E.cast(a[row + (p if unit else p * s1)], dst.compute)
        with k.seq(left, mr) as i, k.vector(depth) as p:
            panel[p * mr + i] = E.const(0, dst.compute)


def micro(k, corner, rows, step, bp, depth, c0, c1, keep, last, cols, tall, bias, j0, row0, acc, mr, nr, epilogue):
    """The register tile: mr x nr multiply-adds per step, then C is written. rows: where each row of A is; step: along k."""
    buffer = k.local(mr * nr, acc)
    with k.lanes(nr) as j:
        sums = [k.var(E.const(0, acc), acc) for _ in range(mr)]
        with k.seq(depth) as p:
            bv = bp[p * nr + j]
            for i in range(mr):
                sums[i].set(E.fma(E.cast(rows[i][p * step], acc), bv, sums[i].get()))
        with k.if_((cols == nr) & (tall == mr) & (c1 == 1)):
            with k.if_(keep):
                for i in range(mr):
                    sums[i].set(sums[i].get() + E.cast(corner[i * c0 + j], acc))
            if epilogue:
                with k.if_(last):
                    for i in range(mr):
                        sums[i].set(finish(sums[i].get(), epilogue, bias, j0 + j, row0 + i))
            for i in range(mr):
                corner[i * c0 + j] = sums[i].get()
        with k.else_():
            for i in range(mr):
                buffer[i * nr + j] = sums[i].get()
    with k.if_(((cols == nr) & (tall == mr) & (c1 == 1)) == False):  # noqa: E712 - an expression, not a bool
        with k.seq(tall) as i, k.seq(cols) as j:
            at = i * c0 + j * c1
            v = k.var(buffer[i * nr + j])
            with k.if_(keep):
                v.set(v.get() + E.cast(corner[at], acc))
            if epilogue:
                with k.if_(last):
                    v.set(finish(v.get(), epilogue, bias, j0 + j, row0 + i))
            corner[at] = v.get()


def finish(v, epilogue: str, bias, column, row):
    """What is done to a finished element: bias per column or row, then relu."""
    if "column" in epilogue:
        v = v + E.cast(bias[column], v.dtype)
    if "row" in epilogue:
        v = v + E.cast(bias[row], v.dtype)
    if "relu" in epilogue:
        v = E.maximum(v, E.const(0, v.dtype))
    return v


@kernel
def turn(k, out: Ptr, b: Ptr, kk: Int, n: Int, s0: Int, s1: Int, groups: Int, batch_stride: Int):
    """out[batch][p, j] = b[p, j], row-major, from a matrix whose columns are contiguous; 8 columns a task."""
    with k.parallel() as task:
        batch = task // groups
        j0 = (task - batch * groups) * 8
        src, dst = b.at(batch * batch_stride), out.at(batch * kk * n + j0)
        with k.if_(j0 + 8 <= n):
            columns = [src.at((j0 + i) * s1) for i in range(8)]
            with k.seq(kk) as p:
                for i in range(8):
                    dst[p * n + i] = columns[i][p * s0]
        with k.else_(), k.seq(j0, n) as j, k.seq(kk) as p:
            dst[p * n + (j - j0)] = src[p * s0 + j * s1]


@kernel
def gemm_blocks(k, c: Ptr, a: Ptr, bp: Ptr, scratch: Ptr, bias: Ptr, m: Int, n: Int, kk: Int, a0: Int, a1: Int,
                c0: Int, c1: Int, blocks: Int, a_batch: Int, b_batch: Int, c_batch: Int, scratch_size: Int,
                mc: Int, accumulate: Int, *, tile: Tile, unit: bool, direct: bool, epilogue: str):  # fmt: skip
    """One block of mc rows per task: pack A (unless direct), multiply by every panel of B; see the module."""
    mr, nr, kc = tile.mr, tile.nr, tile.kc
    with k.parallel() as task:
        batch = task // blocks
        i0 = (task - batch * blocks) * mc
        rows = E.minimum(m - i0, mc)
        ap = scratch.at(k.worker * scratch_size)
        src, out = a.at(batch * a_batch), c.at(batch * c_batch)
        panels_b = bp.at(batch * b_batch)
        with k.seq(0, kk, kc) as p0:
            depth = E.minimum(kk - p0, kc)
            if not direct:
                pack_a(k, ap, src, i0, rows, p0, depth, a0, a1, mr, unit)
            keep = (p0 > 0) | (accumulate != 0)
            last = p0 + depth >= kk
            with k.seq(0, n, nr) as j0:
                bpanel = panels_b.at(j0 * kk + p0 * nr)
                cols = E.minimum(n - j0, nr)
                with k.seq(0, rows, mr) as r:
                    tall = E.minimum(rows - r, mr)
                    corner = out.at((i0 + r) * c0 + j0 * c1)
                    if direct:  # rows past the end repeat the last; what they give is not stored
                        at = [src.at((i0 + E.minimum(r + i, rows - 1)) * a0 + p0 * a1) for i in range(mr)]
                        step = E.const(1, dt.int64) if unit else a1
                    else:
                        panel = ap.at(r * depth)
                        at, step = [panel.at(i) for i in range(mr)], mr
                    micro(k, corner, at, step, bpanel, depth, c0, c1, keep, last, cols, tall, bias, j0, i0 + r,
                          bp.dtype, mr, nr, epilogue)  # fmt: skip


@kernel
def gemm_small(k, c: Ptr, a: Ptr, b: Ptr, bias: Ptr, m: Int, n: Int, kk: Int, a0: Int, a1: Int, b0: Int, b1: Int,
               c0: Int, c1: Int, tiles: Int, a_batch: Int, b_batch: Int, c_batch: Int, blocks: Int, width: Int, *,
               rows: int, unit: bool, epilogue: str):  # fmt: skip
    """`rows` rows of C at a time straight from A and B, columns in lanes; nothing is packed.

    One task computes `rows` rows of `width` columns.
    """
    acc = accumulator(a.dtype)
    with k.parallel() as job:
        task = job // blocks
        lo = (job - task * blocks) * width
        batch = task // tiles
        i0 = (task - batch * tiles) * rows
        src, mat, out = a.at(batch * a_batch), b.at(batch * b_batch), c.at(batch * c_batch)
        # Rows past the end repeat the last one: same value written twice, no branches inside.
        at = [E.minimum(i0 + i, m - 1) for i in range(rows)]
        with k.vector(lo, E.minimum(lo + width, n), unroll=2 if unit else 1) as j:
            sums = [k.var(E.const(0, acc), acc) for _ in range(rows)]
            column = j if unit else j * b1
            with k.seq(kk) as p:
                bv = E.cast(mat[p * b0 + column], acc)
                for i in range(rows):
                    sums[i].set(E.fma(E.cast(src[at[i] * a0 + p * a1], acc), bv, sums[i].get()))
            where = [at[i] * c0 + (j if unit else j * c1) for i in range(rows)]
            values = [s.get() for s in sums]
            if "keep" in epilogue:  # all read before one is written: the last row may occur twice
                values = [v + E.cast(out[w], acc) for v, w in zip(values, where, strict=True)]
            for i in range(rows):
                out[where[i]] = finish(values[i], epilogue, bias, j, at[i])


@kernel
def dot_rows(k, y: Ptr, a: Ptr, x: Ptr, bias: Ptr, n: Int, a0: Int, a1: Int, x1: Int, y0: Int, *, unit: bool,
             epilogue: str):  # fmt: skip
    """y[i] = sum_j a[i, j] x[j]: one row per task, lanes along the row."""
    acc = accumulator(a.dtype)
    with k.parallel() as i:
        total = k.acc("add", acc)
        row = a.at(i * a0)
        with k.vector(n, unroll=4) as j:
            total.update(E.cast(row[j if unit else j * a1], acc) * E.cast(x[j if unit else j * x1], acc))
        y[i * y0] = finish(total.value, epilogue, bias, E.const(0, dt.int64), i)


SMALL = 64**3
NEAR = 768 * 1024  # bytes of B that stay in the second-level cache while rows of A pass by
HEIGHTS = ((12, 1.0), (8, 0.95), (6, 0.88), (4, 0.7), (2, 0.4), (1, 0.25))  # rows at a time, and how well they use the core


@functools.cache
def height_for(m: int, registers: int) -> int:
    """How many rows to take at a time: few left over, many in registers."""
    usable = [(r, e) for r, e in HEIGHTS if r <= max(1, m) and 2 * r + 4 <= registers] or [(1, 1.0)]
    return max(usable, key=lambda h: m / (-(-m // h[0]) * h[0]) * h[1])[0]


def conflicting(stride: int, itemsize: int, depth: int) -> bool:
    """True if rows so far apart fall into the same few sets of the first-level cache."""
    return depth > 64 and stride * itemsize % 4096 == 0


def product(c, a, b, m: int, n: int, kk: int, a_st, b_st, c_st, dtypes, batch=1, batch_strides=(0, 0, 0),
            bias: int = 0, epilogue: str = "", accumulate: bool = False) -> None:  # fmt: skip
    """c[batch, m, n] (+)= a[batch, m, k] b[batch, k, n]; addresses, strides in elements, dtypes (c, a, b).

    epilogue: "", or words of "column"/"row" (bias per column or row) and "relu"; accumulate adds to c.
    Only c's dtype float32/float64/integer may accumulate over several blocks of k: callers give half
    precisions a float32 c when k is long.
    """
    dc, da, db = dtypes
    acc = accumulator(da)
    work = m * n * kk
    if n == 1 and not accumulate and batch == 1:
        k = dot_rows((dc, da, db, dc), unit=a_st[1] == 1 and b_st[0] == 1, epilogue=epilogue)
        k(m, max(1, 32768 // max(1, kk)), c, a, b, bias or c, kk, a_st[0], a_st[1], b_st[0], c_st[0])
        return
    if b_st[0] == 1 and b_st[1] != 1 and c_st[1] == 1 and m >= 8 and kk * n * db.itemsize <= NEAR:
        count = 1 if batch_strides[1] == 0 else batch
        turned = memory.allocate(count * kk * n * db.itemsize)
        groups = -(-n // 8)
        turn((db, db))(count * groups, max(1, 16384 // (8 * kk)), turned.ptr, b, kk, n, *b_st, groups, batch_strides[1])
        b, b_st = turned.ptr, (n, 1)
        batch_strides = (batch_strides[0], 0 if count == 1 else kk * n, batch_strides[2])
    unit_b = b_st[1] == 1 and c_st[1] == 1
    near = unit_b and (kk * n * db.itemsize <= NEAR or m <= 48) and not conflicting(a_st[0], da.itemsize, kk)
    if work <= SMALL or m <= 4 and unit_b or near:
        rows = height_for(min(m, 256), 32 if host().vector_bytes != 32 else 16) if unit_b else min(4, 1 << (min(m, 4).bit_length() - 1))
        tiles = -(-m // rows)
        words = epilogue + ("keep" if accumulate else "")
        lanes = 2 * max(1, host().vector_bytes // acc.itemsize)
        blocks = 1
        if unit_b and batch * tiles < 2 * get_num_threads():
            blocks = max(1, min(n // lanes, 2 * get_num_threads() // (batch * tiles)))
        width = -(-n // blocks)
        width += -width % lanes
        blocks = -(-n // width)
        k = gemm_small((dc, da, db, dc), rows=rows, unit=unit_b, epilogue=words)
        k(batch * tiles * blocks, max(1, 65536 // max(1, rows * width * kk)), c, a, b, bias or c, m, n, kk, *a_st, *b_st,
          *c_st, tiles, *batch_strides, blocks, width)  # fmt: skip
        return
    packed(c, a, b, m, n, kk, a_st, b_st, c_st, dtypes, acc, batch, batch_strides, bias, epilogue, accumulate)


def packed(c, a, b, m, n, kk, a_st, b_st, c_st, dtypes, acc, batch, batch_strides, bias, epilogue, accumulate):
    """The blocked algorithm: pack B (all batches at once unless that is large), then blocks of rows."""
    dc, da, db = dtypes
    tile = tile_for(acc)
    panels = -(-n // tile.nr)
    size = panels * tile.nr * kk
    shared_b = batch_strides[1] == 0
    group = batch if shared_b else max(1, min(batch, (64 << 20) // max(1, size * acc.itemsize)))
    count = 1 if shared_b else group
    room = memory.allocate(size * count * acc.itemsize)
    threads = get_num_threads()
    mc = tile.mc
    total_rows = -(-m // tile.mr) * tile.mr
    if batch * -(-m // mc) < 2 * threads:  # smaller blocks so that every thread has work
        mc = max(tile.mr, -(-total_rows // (2 * threads) // tile.mr) * tile.mr)
    blocks = -(-m // mc)
    ap_size = -(-mc // tile.mr) * tile.mr * tile.kc + 64
    ap = memory.allocate(ap_size * acc.itemsize * max(1, threads))
    pack = pack_b((acc, db), nr=tile.nr, unit=b_st[1] == 1)
    direct = not conflicting(a_st[0], da.itemsize, kk) and da is acc
    k = gemm_blocks((dc, da, acc, acc, dc), tile=tile, unit=a_st[1] == 1, direct=direct, epilogue=epilogue)
    for start in range(0, batch, group):
        these = min(group, batch - start)
        if start == 0 or not shared_b:
            pack((1 if shared_b else these) * panels, max(1, 16384 // (kk * tile.nr)), room.ptr,
                 b + start * batch_strides[1] * db.itemsize, kk, n, b_st[0], b_st[1], panels, batch_strides[1],
                 size)  # fmt: skip
        k(these * blocks, 1 if m * n * kk > 1 << 16 else blocks, c + start * batch_strides[2] * dc.itemsize,
          a + start * batch_strides[0] * da.itemsize, room.ptr, ap.ptr, bias or c, m, n, kk, *a_st, *c_st, blocks,
          batch_strides[0], 0 if shared_b else size, batch_strides[2], ap_size, mc, int(accumulate))  # fmt: skip
