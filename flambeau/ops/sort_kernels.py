"""Loop nests of sorting and searching: radix sort of rows, selection of few, binary search, counting.

Sorting is by key: a number whose unsigned order is the wanted order (`order_key`), so that one stable radix sort
serves every dtype, both directions, and puts NaN last (first when descending), as PyTorch does.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel

UNSIGNED = {1: dt.uint8, 2: dt.uint16, 4: dt.uint32, 8: dt.uint64}
SIGNED = {1: dt.int8, 2: dt.int16, 4: dt.int32, 8: dt.int64}


def key_dtype(d):
    """The unsigned dtype of d's keys (half precisions are keyed as float32)."""
    return UNSIGNED[4 if d.is_floating_point and d.itemsize == 2 else d.itemsize]


def order_key(v, descending: bool):
    """An unsigned number ordered as v; equal values (0.0 and -0.0, all NaNs) have equal keys."""
    d = v.dtype
    if d is dt.bool:
        key = E.cast(v, dt.uint8)
    elif d.is_floating_point:
        bits, size = UNSIGNED[d.itemsize], 8 * d.itemsize
        top = E.const(1 << (size - 1), bits)
        raw = E.bitcast(E.where(v == 0, E.const(0, d), v), bits)
        key = E.where(raw >= top, ~raw, raw | top)
        key = E.where(v != v, E.const((1 << size) - 1, bits), key)
    elif d.is_signed:
        bits = UNSIGNED[d.itemsize]
        key = E.bitcast(v, bits) ^ E.const(1 << (8 * d.itemsize - 1), bits)
    else:
        key = v
    return ~key if descending else key


@kernel
def radix_rows(k, values: Ptr, indices: Ptr, x: Ptr, keys: Ptr, spare: Ptr, at: Ptr, spare_at: Ptr, n: Int, *,
               descending: bool):  # fmt: skip
    """Stable sort of contiguous rows of n: least significant byte first.

    keys, spare (keys' dtype) and at, spare_at (int64) are scratch of n elements per worker.
    """
    bits = keys.dtype
    passes = bits.itemsize
    count = k.local(256 * passes, dt.int64)
    zero = E.const(0, dt.int64)
    with k.parallel() as r:
        row = x.at(r * n)
        room = k.worker * n
        ka, kb, ia, ib = keys.at(room), spare.at(room), at.at(room), spare_at.at(room)
        with k.vector(256 * passes) as i:
            count[i] = zero
        with k.vector(n) as i:
            ka[i] = order_key(row[i], descending)
            ia[i] = i
        with k.seq(n) as i:
            key = ka[i]
            for p in range(passes):
                slot = digit(key, p) + 256 * p
                count[slot] = count[slot] + 1
        for p in range(passes):
            total = k.var(zero)
            with k.seq(256) as b:
                here = count[256 * p + b]
                count[256 * p + b] = total.get()
                total.set(total.get() + here)
            with k.seq(n) as i:
                key = ka[i]
                slot = digit(key, p) + 256 * p
                to = count[slot]
                count[slot] = to + 1
                kb[to] = key
                ib[to] = ia[i]
            ka, kb, ia, ib = kb, ka, ib, ia
        with k.seq(n) as i:
            source = ia[i]
            values[r * n + i] = row[source]
            indices[r * n + i] = source


def digit(key, p: int):
    """Byte p of a key as an index."""
    return E.cast((key >> (8 * p)) & 255 if key.dtype.itemsize > 1 else key, dt.int64)


@kernel
def insertion_rows(k, values: Ptr, indices: Ptr, x: Ptr, keys: Ptr, n: Int, *, descending: bool):
    """Stable insertion sort of short contiguous rows; keys is scratch of n elements per worker."""
    with k.parallel() as r:
        row, order, ks = x.at(r * n), indices.at(r * n), keys.at(k.worker * n)
        with k.seq(n) as i:
            key = order_key(row[i], descending)
            j = k.var(i)
            # Reading ks[j - 1] at j = 0 is avoided by reading slot 0 instead; the first test ends the loop.
            with k.while_(lambda: (j.get() > 0) & (ks[E.maximum(j.get() - 1, 0)] > key)):
                ks[j.get()] = ks[j.get() - 1]
                order[j.get()] = order[j.get() - 1]
                j.set(j.get() - 1)
            ks[j.get()] = key
            order[j.get()] = i
        with k.seq(n) as i:
            values[r * n + i] = row[order[i]]


@kernel
def top_rows(k, values: Ptr, indices: Ptr, x: Ptr, keys: Ptr, n: Int, count: Int, *, largest: bool):
    """The first `count` (at least 1) of each contiguous row in sorted order, by insertion into a short list."""
    with k.parallel() as r:
        row, order, ks = x.at(r * n), indices.at(r * count), keys.at(k.worker * count)
        with k.seq(n) as i:
            key = order_key(row[i], largest)
            full = E.minimum(i, count)
            worst = ks[E.maximum(full - 1, 0)]
            with k.if_((i < count) | (key < worst)):
                j = k.var(E.where(i < count, i, count - 1))
                with k.while_(lambda: (j.get() > 0) & (ks[E.maximum(j.get() - 1, 0)] > key)):
                    ks[j.get()] = ks[j.get() - 1]
                    order[j.get()] = order[j.get() - 1]
                    j.set(j.get() - 1)
                ks[j.get()] = key
                order[j.get()] = i
        with k.seq(count) as i:
            values[r * count + i] = row[order[i]]


@kernel
def runs(k, starts: Ptr, inverse: Ptr, total: Ptr, x: Ptr, order: Ptr, n: Int, *, use_order: bool):
    """starts: where runs of equal neighbours of x begin; inverse[order[i]]: the run of i; total: how many."""
    with k.parallel() as _:
        run = k.var(-1)
        with k.seq(n) as i:
            v, before = x[i], x[E.maximum(i - 1, 0)]
            same = (v == before) & (i > 0)
            with k.if_(~same):
                run.set(run.get() + 1)
                starts[run.get()] = i
            inverse[order[i] if use_order else i] = run.get()
        total[0] = run.get() + 1


@kernel
def search_rows(k, out: Ptr, edges: Ptr, x: Ptr, sorter: Ptr, n: Int, per_row: Int, row_stride: Int, *, right: bool,
                use_sorter: bool):  # fmt: skip
    """out[i] = where x[i] would go into its sorted row of n edges (before equals, or after with right)."""
    with k.parallel() as i:
        base = (i // per_row) * row_stride
        v = x[i]
        lo, hi = k.var(0), k.var(n)
        with k.while_(lambda: lo.get() < hi.get()):
            mid = (lo.get() + hi.get()) >> 1
            at = base + (sorter[base + mid] if use_sorter else mid)
            e = edges[at]
            goes_on = ~(e > v) if right else ~((e >= v) | (v != v) & (e != e))
            if right and v.dtype.is_floating_point:
                goes_on = ~(e > v) & ~((e != e) & ~(v != v))
            elif v.dtype.is_floating_point:
                goes_on = (e < v) | ((v != v) & ~(e != e))
            with k.if_(goes_on):
                lo.set(mid + 1)
            with k.else_():
                hi.set(mid)
        out[i] = lo.get()


@kernel
def count_into(k, out: Ptr, bins: Ptr, weights: Ptr, n: Int, *, weighted: bool):
    """out[bins[i]] += weights[i] (or 1) for bins already known to be in range."""
    with k.parallel() as _, k.seq(n) as i:
        b = E.cast(bins[i], dt.int64)
        out[b] = out[b] + (weights[i] if weighted else 1)
