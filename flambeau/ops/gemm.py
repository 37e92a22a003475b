"""Matrix products of strided memory: which kernel, in what blocks, on how many threads. The loop nests: gemm_kernels.py.

C[m, n] = A[m, k] B[k, n] for any strides. A product is planned once per geometry, and the plan kept: it names the
kernel and all its arguments but the addresses. C^T = B^T A^T is planned instead where C's columns are dense or C is narrow.

    few rows of C       `rows`: B's dense rows pass by once, nothing is packed
                        `dots`: dense rows of A against dense columns of B
    up to two panels    `strips`: the register tile on B's dense rows as they lie
    otherwise           `tiles`: packed panels and the register tile
    long k              parts of k side by side, then their sum
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

from flambeau.codegen.target import host, l2_bytes
from flambeau.ops import gemm_kernels as K
from flambeau.ops.gemm_kernels import Tile, accumulator
from flambeau.ops.tiles import per_thread, rounded
from flambeau.runtime import memory
from flambeau.runtime.threads import get_num_threads, within

ALONE = 64**3  # multiply-adds that are done before a second thread would have woken
NEAR = 44 << 10  # bytes of two panels, of which A's stays in the first-level cache while B's streams through it
FAR = 16  # what a row of A costs that another core's cache may hold, in the costs of `regions`
PART = 2048  # steps of k that are worth a part of their own
SHARE = 256  # and in products that have work for every thread anyway


class Layout(NamedTuple):
    """A product's geometry: sizes, strides of (rows, columns) in elements, strides of the batch."""

    m: int
    n: int
    k: int
    a: tuple[int, int]
    b: tuple[int, int]
    c: tuple[int, int]
    batch: int
    steps: tuple[int, int, int]

    def flipped(self) -> Layout:
        """C^T = B^T A^T."""
        sa, sb, sc = self.steps
        return Layout(self.n, self.m, self.k, self.b[::-1], self.a[::-1], self.c[::-1], self.batch, (sb, sa, sc))


class Plan(NamedTuple):
    """A launch but for its addresses; swap: A and B change places. partial: bytes of partial products that `gather` adds."""

    kernel: object
    extent: int
    grain: int
    args: tuple
    scratch: int = 0
    swap: bool = False
    partial: int = 0
    gather: object = None
    gather_args: tuple = ()


@functools.cache
def tile_for(acc) -> Tile:
    """MR x NR sums fill the vector registers; a panel of A and one of B, KC deep, fit the first-level cache."""
    target = host()
    lanes = max(1, target.vector_bytes // acc.itemsize)
    mr, nr = 6 if target.vector_bytes == 32 else 12, 2 * lanes  # AVX-512 and NEON have 32 registers, AVX2 16
    deep = rounded(NEAR // (12 * acc.itemsize + 128) - 15, 16)  # of the largest tile, so that all processors add in one order
    return Tile(mr, nr, deep, lanes, target.masks)


def product(c, a, b, m: int, n: int, kk: int, a_st, b_st, c_st, dtypes, batch=1, batch_strides=(0, 0, 0),
            bias: int = 0, epilogue: str = "", accumulate: bool = False) -> None:  # fmt: skip
    """c[batch, m, n] (+)= a[batch, m, k] b[batch, k, n]; addresses, strides in elements, dtypes (c, a, b).

    epilogue: "", or words of "column"/"row" (bias per column or row) and "relu"; accumulate adds to c. Half precision
    in c is rounded after every `tile_for(float32).kc` steps of k: callers give a float32 c when k is longer.
    """
    p = plan(m, n, kk, a_st, b_st, c_st, dtypes, batch, batch_strides, epilogue, accumulate, get_num_threads())
    held = []

    def room(count: int) -> int:
        held.append(memory.allocate(count))
        return held[-1].ptr

    for kernel, extent, grain, args in launches(p, c, a, b, bias or c, room):
        kernel(extent, grain, *args)


def launches(p: Plan, c, a, b, bias, room) -> list:
    """(kernel, extent, grain, arguments) of each launch of a plan; room(bytes) is where scratch memory lies."""
    if p.swap:
        a, b = b, a
    out = room(p.partial) if p.partial else c
    scratch = (room(1 << (p.scratch - 1).bit_length()),) if p.scratch else ()  # so that other products use the same memory
    first = (p.kernel, p.extent, p.grain, (out, a, b, *scratch, out if p.partial else bias, *p.args))
    if not p.partial:
        return [first]
    n, *_, parts, size = p.gather_args
    return [first, (p.gather, size // n, 1 + 16384 // (n * parts), (c, out, bias, *p.gather_args))]


@functools.lru_cache(maxsize=4096)
def plan(m, n, kk, a_st, b_st, c_st, dtypes, batch, batch_strides, epilogue, accumulate, threads) -> Plan:
    """The cheapest way to this product on so many threads."""
    one = Layout(m, n, kk, a_st, b_st, c_st, batch, batch_strides)
    words = epilogue + (" keep" if accumulate else "")
    parts = parts_of(one, threads)
    if parts < 2:
        return whole(one, dtypes, words, threads)
    dc, da, db = dtypes
    acc, depth = accumulator(da), -(-kk // parts)
    parts = -(-kk // depth)
    part = Layout(m, n, depth, one.a, one.b, (n, 1), parts, (depth * one.a[1], depth * one.b[0], m * n))
    inner = whole(part, (acc, da, db), "", threads, total=kk)
    return inner._replace(partial=parts * m * n * acc.itemsize, gather=K.gather((dc, acc, dc), epilogue=words),
                          gather_args=(n, *one.c, parts, m * n))  # fmt: skip


def parts_of(g: Layout, threads: int) -> int:
    """In how many parts k is cut: so that every thread has work where C is small and k long, or reads rows that it wrote.

    The latter where A and B are rows of k, as in gradients of weights, and adding up parts of C is a small matter.
    """
    if g.batch > 1:
        return 1
    areas = -(-g.m // 8) * -(-g.n // 32)
    if areas < threads:
        return min(threads // areas, g.k // PART)
    if g.a[0] != 1 or g.b[1] != 1 or g.k < SHARE * threads:
        return 1
    return min(threads, g.k * (g.m + g.n) // (2 * g.m * g.n))


def whole(g: Layout, dtypes, words: str, threads: int, total: int = 0) -> Plan:
    """A plan in one launch; total: what all parts of k together are long, if the batch is parts."""
    tile = tile_for(accumulator(dtypes[1]))
    along = g.a[1] == 1 and g.b[0] == 1  # both dense along k
    swap = g.n < g.m if min(g.m, g.n) <= few(along) else g.c[0] == 1 and g.c[1] != 1
    if swap:
        g = g.flipped()
        words = " ".join({"row": "column", "column": "row"}.get(w, w) for w in words.split())
        dtypes = (dtypes[0], dtypes[2], dtypes[1])
    if g.m * g.n * g.k * g.batch <= ALONE:
        threads = 1
    shape = (g.n, g.k, *g.a, *g.b, *g.c, *g.steps, total or g.k, g.k if total else 0)
    if g.m <= few(False) and g.b[1] == 1:
        found = plan_rows(g, dtypes, words, threads, shape)
    elif g.m <= few(along) and along:
        found = plan_dots(g, dtypes, words, threads, shape)
    elif g.m <= 2 * tile.mr and g.b[1] == 1 and tile.masks:
        found = plan_strips(g, dtypes, words, threads, shape)
    else:
        found = plan_tiles(g, dtypes, words, threads, shape)
    return found._replace(swap=swap)


def few(along: bool) -> int:
    """Rows that are not worth a register tile: twice as many where B would have to be transposed for it."""
    return 16 if along else 4


def plan_rows(g: Layout, dtypes, words, threads, shape) -> Plan:
    """Columns of C spread over the threads, in whole vectors."""
    dc, da, db = dtypes
    lanes = tile_for(accumulator(da)).lanes
    vectors = 8 if g.m == 1 else 4
    blocks = max(1, min(g.n // lanes, -(-threads // g.batch)))
    width = -(-g.n // blocks // lanes) * lanes
    blocks = -(-g.n // width)
    kernel = K.rows((dc, da, db, dc), m=g.m, vectors=vectors, unit=g.c[1] == 1, epilogue=words)
    n, k, a0, a1, b0, _, *rest = shape
    return Plan(kernel, g.batch * blocks, grain(g.batch * blocks, threads), (n, k, a0, a1, b0, *rest, blocks, width))


def plan_dots(g: Layout, dtypes, words, threads, shape) -> Plan:
    """Columns of C in narrow tiles spread over the threads: as many sums as registers hold."""
    dc, da, db = dtypes
    many = tile_for(accumulator(da)).mr == 12
    height = 1 if g.m == 1 else 8 if many and rounded(g.m, 8) == rounded(g.m, 4) else 4
    width = min(8, 24 // height) if many else 2
    count = -(-g.n // width)
    kernel = K.dots((dc, da, db, dc), height=height, width=width, epilogue=words)
    n, k, a0, _, _, b1, *rest = shape
    return Plan(kernel, g.batch * count, grain(g.batch * count, threads), (g.m, n, k, a0, b1, *rest, count))


def plan_strips(g: Layout, dtypes, words, threads, shape) -> Plan:
    """Columns of C spread over the threads, in whole register tiles; all of A's panels, of about equal heights, packed."""
    dc, da, db = dtypes
    acc = accumulator(da)
    tile = tile_for(acc)
    panels = -(-g.m // tile.mr)
    if -(-g.m // panels) <= 2 * tile.mr // 3:
        tile = dataclasses.replace(tile, mr=2 * tile.mr // 3)
    kc = depth_of(g.k, tile)
    blocks = max(1, min(-(-g.n // tile.nr), -(-threads // g.batch)))
    nb = rounded(-(-g.n // blocks), tile.nr)
    across = -(-g.n // nb)
    size = per_thread(-(-g.m // tile.mr) * tile.panel_size, acc)
    kernel = K.strips((dc, da, db, acc, dc), tile=tile, a_unit=g.a[1] == 1, unit=g.c[1] == 1, epilogue=words.replace(" keep", ""))
    args = (g.m, *shape, across, nb, kc, size, int("keep" in words))
    return Plan(kernel, g.batch * across, grain(g.batch * across, threads), args, size * acc.itemsize * max(1, threads))


def depth_of(k: int, tile: Tile) -> int:
    """How deep panels are: about equal depths, whatever the vectors."""
    return rounded(-(-k // -(-k // tile.kc)), 16)


def grain(extent: int, threads: int) -> int:
    """The least a thread is given, all of it if there is one; scratch memory is for no more threads than these."""
    return within(extent if threads == 1 else 1, threads)


def layout_of(dense_row: bool, dense_column: bool) -> str:
    return "row" if dense_row else "column" if dense_column else "any"


def plan_tiles(g: Layout, dtypes, words, threads, shape) -> Plan:
    """Regions of C spread over the threads; blocks of k and n by the caches."""
    dc, da, db = dtypes
    acc = accumulator(da)
    tile = tile_for(acc)
    kc = depth_of(g.k, tile)
    a_layout = layout_of(g.a[1] == 1, g.a[0] == 1)
    b_layout = layout_of(g.b[1] == 1, g.b[0] == 1 and tile.lanes <= 16)
    room = max(1, l2_bytes() * 6 // 10 // (kc * acc.itemsize * tile.nr)) * tile.nr
    mb, nb = regions(g, threads, tile, room, b_layout)
    nc = rounded(-(-nb // -(-nb // room)), tile.nr)
    down, across = -(-g.m // mb), -(-g.n // nb)
    size = per_thread(tile.panel_size + kc * nc + tile.nr, acc)
    kernel = K.tiles((dc, da, db, acc, dc), tile=tile, a_layout=a_layout, b_layout=b_layout, unit=g.c[1] == 1,
                     epilogue=words.replace(" keep", ""))  # fmt: skip
    extent = g.batch * down * across
    args = (g.m, *shape, down, across, mb, nb, kc, nc, size, int("keep" in words))
    return Plan(kernel, extent, grain(extent, threads), args, size * acc.itemsize * max(1, threads))


def regions(g: Layout, threads: int, tile: Tile, room: int, b_layout: str) -> tuple[int, int]:
    """Rows and columns of C that one task computes: equal shares at the least packing, rows where that costs little more.

    Costs are in steps of the register tile over one row of a panel of B: packing an element of B takes about a
    twelfth of that per NR, one that must be transposed four times as long. Who shares columns reads rows of A that
    another core wrote, and writes rows of C that another core will read: the threads of most ops share rows.
    """
    pack_b = {"row": 2, "column": 8, "any": 40}[b_layout]
    best, found = None, (rounded(g.m, tile.mr), rounded(g.n, tile.nr))
    for down in range(1, min(threads, -(-g.m // tile.mr)) + 1):
        mb = rounded(-(-g.m // down), tile.mr)
        for across in range(1, min(2 * threads, -(-g.n // tile.nr)) + 1):
            nb = rounded(-(-g.n // across), tile.nr)
            tasks = g.batch * -(-g.m // mb) * -(-g.n // nb)
            rounds = -(-tasks // threads)
            own = 1.5 * tile.nr / tile.lanes * -(-nb // room)
            cost = rounds * (mb * nb + pack_b * nb + (own if across == 1 else own + FAR) * mb)
            if best is None or cost < best * 0.999:
                best, found = cost, (mb, nb)
    return found
