"""Loop nests of sorting and searching: radix sort of rows, selection of few, binary search, counting.

Sorting is by key: a number whose unsigned order is the wanted order (`order_key`), so that one stable radix sort
serves every dtype, both directions, and puts NaN last (first when descending), as PyTorch does.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel

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


def number_of(key, d, descending: bool):
    """The integer of dtype d whose `order_key` this is."""
    key = ~key if descending else key
    return E.bitcast(key ^ E.const(1 << (8 * d.itemsize - 1), key.dtype), d) if d.is_signed else key


@kernel
def radix_rows(k, values: Ptr, indices: Ptr, x: Ptr, keys: Ptr, at: Ptr, room: Int, n: Int, *, descending: bool):
    """Stable sort of contiguous rows of n. keys, at (int64): scratch of 2 n elements, `room` apart, per worker."""
    count = k.local(256 * keys.dtype.itemsize, dt.int64)
    with k.parallel() as r:
        row, ks, order = x.at(r * n), keys.at(k.worker * room), at.at(k.worker * room)
        with k.vector(n) as i:
            ks[i] = order_key(row[i], descending)
            order[i] = i
        sorted_ = radix_passes(k, ks, order, count, n, n)
        with k.seq(n) as i:
            source = order[sorted_ + i]
            if row.dtype.kind in "iu":  # the key tells the number
                values[r * n + i] = number_of(ks[sorted_ + i], row.dtype, descending)
            else:
                values[r * n + i] = row[source]
            indices[r * n + i] = source


def radix_passes(k, ks, order, count, m, n):
    """Sort m keys and their positions, least significant byte first; a byte that all share takes no pass.

    Both arrays have a second half, n elements on; the result is where the sorted ones begin.
    """
    passes = ks.dtype.itemsize
    zero = E.const(0, dt.int64)
    with k.vector(256 * passes) as i:
        count[i] = zero
    with k.seq(m) as i:
        key = ks[i]
        for p in range(passes):
            slot = digit(key, p) + 256 * p
            count[slot] = count[slot] + 1
    here = k.var(zero)
    with k.if_(m > 0):
        for p in range(passes):
            some = digit(ks[here.get()], p) + 256 * p
            with k.if_(count[some] != m):
                total = k.var(zero)
                with k.seq(256) as b:
                    c = count[256 * p + b]
                    count[256 * p + b] = total.get()
                    total.set(total.get() + c)
                source, target = here.get(), n - here.get()
                with k.seq(m) as i:
                    key = ks[source + i]
                    slot = digit(key, p) + 256 * p
                    to = count[slot]
                    count[slot] = to + 1
                    ks[target + to] = key
                    order[target + to] = order[source + i]
                here.set(target)
    return here.get()


WIDE = 11  # bits of the digit that selection counts by


@kernel
def select_rows(k, values: Ptr, indices: Ptr, x: Ptr, keys: Ptr, at: Ptr, room: Int, n: Int, rank: Int, *, descending: bool,
                one: bool):  # fmt: skip
    """Of each contiguous row of n in sorted order, the first `rank` elements, or only (one) the last of those.

    Counting the keys by their first digit tells which of them can be among those; they alone are sorted.
    keys, at (int64): scratch of 2 n + 2 elements, `room` apart, per worker.
    """
    bits = min(WIDE, 8 * keys.dtype.itemsize)
    shift = 8 * keys.dtype.itemsize - bits
    count = k.local(1 << bits, dt.int64)
    small = k.local(256 * keys.dtype.itemsize, dt.int64)
    zero = E.const(0, dt.int64)

    def first_digit(v):
        key = order_key(v, descending)
        return key, E.cast(key >> shift if shift else key, dt.int64)

    with k.parallel() as r:
        row, ks, order = x.at(r * n), keys.at(k.worker * room), at.at(k.worker * room)
        with k.vector(1 << bits) as i:
            count[i] = zero
        with k.seq(n) as i:
            _, slot = first_digit(row[i])
            count[slot] = count[slot] + 1
        below, edge = k.var(zero), k.var(zero)
        with k.while_(lambda: below.get() + count[edge.get()] < rank):
            below.set(below.get() + count[edge.get()])
            edge.set(edge.get() + 1)
        m = k.var(zero)
        with k.seq(n) as i:  # each is written, and the place moves on if it was wanted
            key, slot = first_digit(row[i])
            ks[m.get()] = key
            order[m.get()] = i
            wanted = slot == edge.get() if one else slot <= edge.get()
            m.set(m.get() + E.cast(wanted, dt.int64))
        sorted_ = radix_passes(k, ks, order, small, m.get(), n + 1)
        if one:
            source = order[sorted_ + (rank - 1 - below.get())]
            values[r] = row[source]
            indices[r] = source
        else:
            with k.seq(rank) as i:
                source = order[sorted_ + i]
                values[r * rank + i] = row[source]
                indices[r * rank + i] = source


def digit(key, p: int):
    """Byte p of a key as an index."""
    return E.cast((key >> (8 * p)) & 255 if key.dtype.itemsize > 1 else key, dt.int64)


@kernel
def insertion_rows(k, values: Ptr, indices: Ptr, x: Ptr, keys: Ptr, room: Int, n: Int, *, descending: bool):
    """Stable insertion sort of short contiguous rows; keys is scratch of n elements, `room` apart, per worker."""
    with k.parallel() as r:
        row, order, ks = x.at(r * n), indices.at(r * n), keys.at(k.worker * room)
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


GROUPS = 64


@kernel
def top_rows(k, values: Ptr, indices: Ptr, x: Ptr, keys: Ptr, room: Int, n: Int, count: Int, *, largest: bool, long: bool):
    """The first `count` (at least 1) of each contiguous row in sorted order, by insertion into a short list.

    long (count at most GROUPS, n at least GROUPS): the best of each of GROUPS groups are sorted first; the count-th of
    them bounds what can be wanted, and sixteen elements at a time are passed over if none is below it.
    keys: scratch of count elements, `room` apart, per worker.
    """
    bests = k.local(GROUPS, keys.dtype)
    with k.parallel() as r:
        row, order, ks = x.at(r * n), indices.at(r * count), keys.at(k.worker * room)

        def insert(key, found, at):
            """Keep key among the first `count` of the `found` so far; at: its position, or None."""
            worst = ks[E.maximum(E.minimum(found, count) - 1, 0)]
            with k.if_((found < count) | (key < worst)):
                j = k.var(E.where(found < count, found, count - 1))
                with k.while_(lambda: (j.get() > 0) & (ks[E.maximum(j.get() - 1, 0)] > key)):
                    ks[j.get()] = ks[j.get() - 1]
                    if at is not None:
                        order[j.get()] = order[j.get() - 1]
                    j.set(j.get() - 1)
                ks[j.get()] = key
                if at is not None:
                    order[j.get()] = at

        if not long:
            with k.seq(n) as i:
                insert(order_key(row[i], largest), i, i)
        else:
            with k.vector(GROUPS) as i:
                best = k.var(order_key(row[i], largest))
                with k.seq(GROUPS, n - (GROUPS - 1), GROUPS) as lo:
                    best.set(E.minimum(best.get(), order_key(row[lo + i], largest)))
                bests[i] = best.get()
            with k.seq(GROUPS) as i:
                insert(bests[i], i, None)
            bound = ks[count - 1]
            found = k.var(0)
            least = k.acc("min", keys.dtype)
            with k.seq(0, n, 16) as lo:
                hi = E.minimum(lo + 16, n)
                least.reset()
                with k.vector(lo, hi) as i:
                    least.update(order_key(row[i], largest))
                with k.if_(least.value <= bound), k.seq(lo, hi) as i:
                    key = order_key(row[i], largest)
                    with k.if_(key <= bound):
                        insert(key, found.get(), i)
                        found.set(found.get() + 1)
        with k.seq(count) as i:
            values[r * count + i] = row[order[i]]


@kernel
def runs(k, starts: Ptr, inverse: Ptr, total: Ptr, x: Ptr, order: Ptr, n: Int, *, use_order: bool, invert: bool):
    """starts: where runs of equal neighbours of x begin; inverse[order[i]] (if invert): the run of i; total: how many."""
    with k.parallel() as _:
        run = k.var(-1)
        with k.seq(n) as i:
            v, before = x[i], x[E.maximum(i - 1, 0)]
            same = (v == before) & (i > 0)
            with k.if_(~same):
                run.set(run.get() + 1)
                starts[run.get()] = i
            if invert:
                inverse[order[i] if use_order else i] = run.get()
        total[0] = run.get() + 1


@kernel
def search_rows(k, out: Ptr, edges: Ptr, x: Ptr, sorter: Ptr, n: Int, steps: Int, per_row: Int, row_stride: Int, *, right: bool,
                use_sorter: bool, one: bool):  # fmt: skip
    """out[i] = where x[i] would go into its sorted row of n edges (before equals, or after with right).

    The answer's bits are found from the highest of `steps` down, in lanes; one: there is one row for all.
    """
    with k.parallel(vector=True) as i:
        base = E.const(0, dt.int64) if one else (i // per_row) * row_stride
        v = x[i]
        found = k.var(E.const(0, dt.int64), dt.int64)
        with k.seq(steps) as s:
            to = found.get() + (E.const(1, dt.int64) << (steps - 1 - s))
            inside = to <= n
            at = base + E.where(inside, to, n) - 1
            e = edges[sorter[at] + base if use_sorter else at]
            if not v.dtype.is_floating_point:
                passed = ~(e > v) if right else e < v
            else:  # NaN is the largest
                passed = ~(e > v) & ((e == e) | (v != v)) if right else (e < v) | ((v != v) & (e == e))
            found.set(E.where(inside & passed, to, found.get()))
        out[i] = found.get()


@kernel
def count_into(k, out: Ptr, bins: Ptr, n: Int, low: Int, part: Int, size: Int):
    """out[p, bins[i] - low] += 1 for the i of part p; bins are known to be in range."""
    with k.parallel() as p:
        row = out.at(p * size)
        with k.seq(p * part, E.minimum((p + 1) * part, n)) as i:
            b = E.cast(bins[i], dt.int64) - low
            row[b] = row[b] + 1


@kernel
def weigh_into(k, out: Ptr, bins: Ptr, weights: Ptr, n: Int):
    """out[bins[i]] += weights[i], in order, for bins known to be in range."""
    with k.parallel() as _, k.seq(n) as i:
        b = E.cast(bins[i], dt.int64)
        out[b] = out[b] + weights[i]


PIECE = 1024


@kernel
def count_between(k, out: Ptr, x: Ptr, n: Int, bins: Int, low: Float, high: Float, *, d):
    """out[b] += 1 for each x in the b-th of equal intervals of [low, high]; out has one more bin, for what is outside."""
    places = k.local(PIECE, dt.int64)
    with k.parallel() as _, k.seq(0, n, PIECE) as lo:
        count = E.minimum(n - lo, PIECE)
        with k.vector(count) as i:
            v = E.cast(x[lo + i], d)
            inside = (v >= E.cast(low, d)) & (v <= E.cast(high, d))
            scaled = (v - E.cast(low, d)) * E.cast(E.cast(bins, dt.float64) / (high - low), d)
            last = E.cast(bins - 1, d)
            place = E.floor(E.where(scaled < last, scaled, last))
            places[i] = E.cast(E.where(inside, place, E.cast(bins, d)), dt.int64)
        with k.seq(count) as i:
            at = places[i]
            out[at] = out[at] + 1
