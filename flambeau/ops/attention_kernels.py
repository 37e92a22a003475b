"""Loop nests of attention: tiles of queries against tiles of keys, so that no L x S matrix reaches memory.

A task takes some queries of one head. It copies the head's keys and values into its thread's scratch, rows padded to whole
vectors, and works in tiles of BR queries and BC keys that stay in the first-level cache. A tile of scores is kept
transposed, (keys, queries) with lanes along queries, so that softmax needs no reduction across lanes: maxima and sums of
the queries run along as the keys pass by. All products of tiles are register-tiled.

Source: T. Dao et al., FlashAttention, NeurIPS 2022; M. Milakov, N. Gimelshein, Online normalizer calculation for
softmax, 2018.
"""

from __future__ import annotations

import math
from contextlib import contextmanager

from flambeau.codegen.target import LANE_BYTES
from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel
from flambeau.ops.tiles import Tile, copied, filled, product, turned, written

BR = BC = 64  # queries and keys in a tile: multiples of every register tile


# parts, traced inline -----------------------------------------------------------------------------
def columns_of(k, out, src, rows, n, row_step, step, tile: Tile, read=None):
    """out[p, i] = src[i, p] for `rows` <= BR rows of n, as (n, BR), 0 beyond; read: what is made of an element."""
    step = E.wrap(step, dt.int64)
    turned(k, out, src, rows, n, BR, row_step, step, tile.nr // 2, step == 1, read or (lambda v: E.cast(v, out.dtype)))


def hidden(k, s, rows, cols, first_query, first_key, mask, steps, spare, tile: Tile, causal: bool, how: str):
    """Scores (keys, queries) with the mask: "bool" (true takes part), "add", or "" (none); -inf after a causal query.

    Register tiles in which no causal query sees a key are left as they are.
    """
    d = s.dtype
    low = E.const(-math.inf, d)
    if how:
        columns_of(k, spare, mask.at(first_query * steps[0] + first_key * steps[1]), rows, cols, *steps, tile,
               read=lambda v: E.where(v, E.const(0, d), low) if how == "bool" else E.cast(v, d))  # fmt: skip
        with k.seq(cols) as j, k.vector(rows, unroll=4) as i:
            s[j * BR + i] = s[j * BR + i] + spare[j * BR + i]
    if causal:
        with k.seq(E.maximum(first_query - first_key + 1, 0), cols) as j:
            blind = first_key + j - first_query  # so many queries do not see key j
            side = max(tile.mr, tile.nr)
            at = blind // side * side
            with k.lanes(side) as i:
                s.store(j * BR + at + i, low, where=i < blind - at)


def limits(rows, cols, past, tile: Tile) -> tuple:
    """Of causal scores: the keys that a register tile of queries sees; the same as a span; a tile of keys' span of queries."""
    return (lambda i: E.minimum(cols, past + i + tile.nr), lambda i: (0, E.minimum(cols, past + i + tile.mr)),
            lambda j: (E.maximum(j - past, 0), rows))  # fmt: skip


@contextmanager
def lanes_of_queries(k, rows, cols, past, vectors: int, tile: Tile, causal: bool):
    """(queries of a tile, in lanes; how many of its keys they look at), so many vectors at once where they differ in that.

    past: keys before the tile's queries that all of them see. Register tiles may hold any of the keys that their first
    query's group looks at: groups are no smaller.
    """
    lanes = tile.nr // 2
    group = max(tile.mr, lanes * vectors) if causal else BR
    unroll = group // lanes if causal else 4
    with k.seq(0, rows, group) as i0, k.vector(i0, E.minimum(i0 + group, rows), unroll=unroll) as i:
        yield i, E.minimum(cols, past + i0 + group) if causal else cols


def row_dots(k, out, a, b, rows, n, padded, row_step):
    """out[i] = sum_p a[i, p] b[i, p] for `rows` <= BR rows of n, a's padded with zeros: a register of sums for each row."""
    d = out.dtype
    w = LANE_BYTES // d.itemsize
    with k.seq(0, rows, w) as i0, k.lanes(w) as l:
        at = [E.minimum(i0 + i, rows - 1) for i in range(w)]
        sums = [k.var(E.const(0, d), d) for _ in range(w)]
        with k.seq(0, n, w) as p:
            for i, s in zip(at, sums, strict=True):
                s.set(E.fma(a[i * padded + p + l], E.cast(b.load(i * row_step + p + l, where=l < n - p), d), s.get()))
        parts = k.transpose([s.get() for s in sums])
        while len(parts) > 1:
            parts = [x + y for x, y in zip(parts[::2], parts[1::2], strict=True)]
        out[i0 + l] = parts[0]


def left(x, words, j, i, queries):
    """x if dropout keeps key j's weight for query i, else 0: a bit of a word of 32 keys (see attention_keep.py)."""
    bit = words[(j >> 5) * queries + i] & (E.const(1, dt.int32) << (E.cast(j, dt.int32) & 31))
    return E.where(bit != 0, x, E.const(0, x.dtype))


# forward ------------------------------------------------------------------------------------------
@kernel
def attention(k, y: Ptr, lse: Ptr, q: Ptr, key: Ptr, v: Ptr, mask: Ptr, kept: Ptr, scratch: Ptr, heads: Int, group: Int,
              queries: Int, keys: Int, n: Int, nv: Int, padded_n: Int, padded: Int, scale: Float, rise: Float, chunks: Int,
              chunk: Int, scratch_size: Int, wb: Int, wh: Int, yb: Int, yh: Int, yl: Int, qb: Int, qh: Int, ql: Int, qd: Int, kb: Int, kh: Int, kl: Int,
              kd: Int, vb: Int, vh: Int, vl: Int, vd: Int, mb: Int, mh: Int, ml: Int, ms: Int, *,
              causal: bool, how: str, drop: bool, tile: Tile):  # fmt: skip
    """y = softmax(q key^T scale + mask) v, and the logarithm of each row's sum; a task is `chunk` queries of one head.

    drop: of the softmax only what `kept` says, times `rise`.
    """
    d = lse.dtype
    with k.parallel() as task:
        bh = task // chunks
        b, h = bh // heads, E.mod(bh, heads)
        first = (task - bh * chunks) * chunk
        last = E.minimum(first + chunk, queries)
        seen = E.minimum(keys, last) if causal else keys  # no query here looks further
        s = scratch.at(k.worker * scratch_size)
        top, total, fade = (s.at(BR * BC + i * BR) for i in range(3))
        qt = s.at(BR * BC + 3 * BR)
        spare = qt.at(n * BR)
        o = spare.at(BR * BC if how else 0)
        rows_k = o.at(BR * padded)
        rows_v = rows_k.at(seen * padded_n)
        copied(k, rows_k, key.at(b * kb + (h // group) * kh), seen, n, padded_n, kl, kd, tile, E.cast(scale, d))
        copied(k, rows_v, v.at(b * vb + (h // group) * vh), seen, nv, padded, vl, vd, tile)
        bits = kept.at(b * wb + h * wh)
        with k.seq(first, last, BR) as r:
            rows = E.minimum(last - r, BR)
            columns_of(k, qt, q.at(b * qb + h * qh + r * ql), rows, n, ql, qd, tile)
            filled(k, top, BR, -math.inf)
            filled(k, total, BR, 0)
            filled(k, o, BR * padded, 0)
            with k.seq(0, E.minimum(seen, r + rows) if causal else seen, BC) as c:
                cols = E.minimum(seen - c, BC)
                past = r - c
                tall, span, _ = limits(rows, cols, past, tile) if causal else (None, None, None)
                product(k, s, rows_k.at(c * padded_n), qt, cols, rows, n, tile, (padded_n, 1), (BR, 1), BR, tall=tall)
                hidden(k, s, rows, cols, r, c, mask.at(b * mb + h * mh), (ml, ms), spare, tile, causal, how)
                with lanes_of_queries(k, rows, cols, past, 2, tile, causal) as (i, some):
                    exponentials(k, s, top, total, fade, i, some, bits.at((c >> 5) * queries + r) if drop else None, queries)
                product(k, o, s, rows_v.at(c * padded), rows, padded, cols, tile, (1, BR), (padded, 1), padded, fade=fade, span=span)
            with k.vector(rows) as i:
                sums = total[i]
                empty = sums == 0  # a query that sees nothing gives 0
                fade[i] = E.where(empty, E.const(0, d), (E.cast(rise, d) if drop else 1) / sums)
                lse[bh * queries + r + i] = E.where(empty, E.const(0, d), top[i] + E.log(sums))
            written(k, y.at(b * yb + h * yh + r * yl), yl, o, rows, nv, padded, tile, fade)


def exponentials(k, s, top, total, fade, i, cols, kept, queries):
    """exp(score - top) of the queries in lanes i, their running tops and sums, and how earlier sums fade.

    The sums are of all keys; what stays in s is 0 where `kept` (if any) has no bit.
    """
    d = s.dtype
    old = top[i]
    high, sums = k.var(old, d), k.var(E.const(0, d), d)
    with k.seq(cols) as j:
        x = s[j * BR + i]
        high.set(E.where(x > high.get(), x, high.get()))  # a NaN is left to the sum
    new = high.get()
    base = E.where(new == -math.inf, E.const(0, d), new)
    with k.seq(cols) as j:
        e = E.exp(s[j * BR + i] - base)
        s[j * BR + i] = e if kept is None else left(e, kept, j, i, queries)
        sums.set(sums.get() + e)
    less = E.exp(old - base)
    fade[i] = less
    top[i] = new
    total[i] = total[i] * less + sums.get()


# backward -----------------------------------------------------------------------------------------
@kernel
def attention_backward(k, gq: Ptr, gk: Ptr, gv: Ptr, g: Ptr, y: Ptr, lse: Ptr, q: Ptr, key: Ptr, v: Ptr, mask: Ptr,
                       kept: Ptr, scratch: Ptr, heads: Int, group: Int, queries: Int, keys: Int, n: Int, nv: Int,
                       padded_n: Int, padded: Int, high: Int, scale: Float, rise: Float, chunks: Int, chunk: Int,
                       scratch_size: Int, wb: Int, wh: Int, ob: Int, oh: Int, ol: Int, okb: Int, okh: Int, okl: Int, ovb: Int, ovh: Int, ovl: Int, gb: Int, gh: Int, gl: Int, gd: Int, yb: Int, yh: Int, yl: Int, qb: Int, qh: Int, ql: Int,
                       qd: Int, kb: Int, kh: Int, kl: Int, kd: Int, vb: Int, vh: Int, vl: Int, vd: Int, mb: Int, mh: Int,
                       ml: Int, ms: Int, *, causal: bool, how: str, drop: bool, tile: Tile, whole: bool):  # fmt: skip
    """The gradient of q, and a task's share (`chunk` queries of one head) of those of key and v.

    P = exp(S - lse) is computed again, tile by tile; gv = P^T g, dS = P (g v^T - sum(g y)), gq = dS key scale,
    gk = dS^T q scale. With `whole` a task's share is all there is; else gk and gv hold `high` rows of padded width per
    task, to be summed by attention_gather. Dropout (`drop`) multiplies P, but not dS's, and g v^T by `rise` or 0.
    """
    d = lse.dtype
    factor, rise = E.cast(scale, d), E.cast(rise, d)
    with k.parallel() as task:
        bh = task // chunks
        b, h = bh // heads, E.mod(bh, heads)
        first = (task - bh * chunks) * chunk
        last = E.minimum(first + chunk, queries)
        seen = E.minimum(keys, first + chunk) if causal else keys  # in whole tiles, or all
        p = scratch.at(k.worker * scratch_size)
        s, spare = p.at(BR * BC), p.at(2 * BR * BC)
        shift, dots = p.at(3 * BR * BC), p.at(3 * BR * BC + BR)
        qt = dots.at(BR)
        gt = qt.at(n * BR)
        rows_q, sum_q = gt.at(nv * BR), gt.at(nv * BR + BR * padded_n)
        rows_g = sum_q.at(BR * padded_n)
        rows_k = rows_g.at(BR * padded)
        rows_v = rows_k.at(keys * padded_n)
        copied(k, rows_k, key.at(b * kb + (h // group) * kh), seen, n, padded_n, kl, kd, tile, factor)
        copied(k, rows_v, v.at(b * vb + (h // group) * vh), seen, nv, padded, vl, vd, tile)
        if whole:
            sum_k = rows_v.at(keys * padded)
            sum_v = sum_k.at(high * padded_n)
        else:
            sum_k, sum_v = gk.at(task * high * padded_n), gv.at(task * high * padded)
        filled(k, sum_k, high * padded_n, 0)
        filled(k, sum_v, high * padded, 0)
        bits = kept.at(b * wb + h * wh)
        with k.seq(first, last, BR) as r:
            rows = E.minimum(last - r, BR)
            src_q, src_g, src_y = (t.at(b * tb + h * th + r * tl) for t, tb, th, tl in
                                   ((q, qb, qh, ql), (g, gb, gh, gl), (y, yb, yh, yl)))  # fmt: skip
            copied(k, rows_q, src_q, rows, n, padded_n, ql, qd, tile, factor)
            copied(k, rows_g, src_g, rows, nv, padded, gl, gd, tile)
            columns_of(k, qt, src_q, rows, n, ql, qd, tile)
            columns_of(k, gt, src_g, rows, nv, gl, gd, tile)
            filled(k, sum_q, BR * padded_n, 0)
            row_dots(k, dots, rows_g, src_y, rows, nv, padded, yl)
            with k.vector(rows) as i:
                shift[i] = lse[bh * queries + r + i]
            with k.seq(0, E.minimum(seen, r + rows) if causal else seen, BC) as c:
                cols = E.minimum(seen - c, BC)
                past = r - c
                tall, span, rest = limits(rows, cols, past, tile) if causal else (None, None, None)
                product(k, p, rows_k.at(c * padded_n), qt, cols, rows, n, tile, (padded_n, 1), (BR, 1), BR, tall=tall)
                product(k, s, rows_v.at(c * padded), gt, cols, rows, nv, tile, (padded, 1), (BR, 1), BR, tall=tall)
                hidden(k, p, rows, cols, r, c, mask.at(b * mb + h * mh), (ml, ms), spare, tile, causal, how)
                words = bits.at((c >> 5) * queries + r)
                with lanes_of_queries(k, rows, cols, past, 1, tile, causal) as (i, some):
                    low, dot = shift[i], dots[i]
                    with k.seq(some) as j:
                        w, x = E.exp(p[j * BR + i] - low), s[j * BR + i]
                        s[j * BR + i] = w * ((left(x * rise, words, j, i, queries) if drop else x) - dot)
                        p[j * BR + i] = left(w * rise, words, j, i, queries) if drop else w
                product(k, sum_v.at(c * padded), p, rows_g, cols, padded, rows, tile, (BR, 1), (padded, 1), padded, True, span=rest)
                product(k, sum_k.at(c * padded_n), s, rows_q, cols, padded_n, rows, tile, (BR, 1), (padded_n, 1), padded_n, True, span=rest)
                product(k, sum_q, s, rows_k.at(c * padded_n), rows, padded_n, cols, tile, (1, BR), (padded_n, 1), padded_n, True, span=span)
            written(k, gq.at(b * ob + h * oh + r * ol), ol, sum_q, rows, n, padded_n, tile)
        if whole:
            written(k, gk.at(b * okb + h * okh), okl, sum_k, keys, n, padded_n, tile)
            written(k, gv.at(b * ovb + h * ovh), ovl, sum_v, keys, nv, padded, tile)


@kernel
def attention_gather(k, out: Ptr, parts: Ptr, heads: Int, keys: Int, n: Int, padded: Int, high: Int, count: Int, ob: Int,
                     oh: Int, ol: Int):  # fmt: skip
    """out[b, h, i] = the sum of the `count` shares that attention_backward left for key i of that head."""
    d = parts.dtype
    with k.parallel() as row:
        bh = row // keys
        b, h, i = bh // heads, E.mod(bh, heads), E.mod(row, keys)
        to = out.at(b * ob + h * oh + i * ol)
        src = parts.at((bh * count * high + i) * padded)
        with k.vector(n) as j:
            total = k.var(E.const(0, d), d)
            with k.seq(count) as c:
                total.set(total.get() + src[c * high * padded + j])
            to[j] = total.get()
