"""Which weights of attention dropout keeps: PyTorch's stream of draws, a bit each.

The draws go over (..., queries, keys) in that order. The bits of one query's 32 keys are a word, and the words of
neighbouring queries lie beside each other, as the lanes of attention's tiles read them.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel
from flambeau.ops.random_fill import by_blocks, limit_of
from flambeau.ops.random_kernels import unit_below
from flambeau.ops.record import hooks

KEYS = 32  # in a word


@kernel
def pack(k, words: Ptr, pairs: Ptr, limit: Int, first: Int, queries: Int, keys: Int):
    """Rows `first` and on of keys, kept with probability 2^-53 limit, into words (head, block of keys, query)."""
    with k.parallel() as row:
        head = (first + row) // queries
        out, draws = words.at(head * ((keys + 31) >> 5) * queries + E.mod(first + row, queries)), pairs.at(row * keys)
        with k.seq(0, keys, KEYS) as j:
            kept = k.acc("or", dt.int64)
            with k.lanes(KEYS, keys - j) as i:
                kept.update(E.where(unit_below(draws.at(j), i, limit), E.const(1, dt.int64) << i, E.const(0, dt.int64)))
            out[(j >> 5) * queries] = E.cast(kept.value, dt.int32)


@kernel
def unpack(k, y: Ptr, words: Ptr, queries: Int, keys: Int, value: Float):
    """y (head, query, key) = value where kept, else 0; a task is a row."""
    with k.parallel() as row:
        head = row // queries
        source, out = words.at(head * ((keys + 31) >> 5) * queries + E.mod(row, queries)), y.at(row * keys)
        with k.seq(0, keys, KEYS) as j:
            word = E.cast(source[(j >> 5) * queries], dt.int64)
            with k.vector(E.minimum(keys - j, KEYS)) as i:
                out[j + i] = E.where((word >> i) & 1 != 0, E.cast(value, y.compute), E.const(0, y.compute))


def drawn(lead, queries: int, keys: int, p: float):
    """Bits that are set with probability p: int32 (*lead, ceil(keys / 32), queries)."""
    words = hooks.empty((*lead, -(-keys // KEYS), queries), dt.int32)
    limit, launch = limit_of(p), pack((dt.int32, dt.uint64))
    by_blocks(None, math.prod(lead) * queries, 2 * keys,
              lambda first, rows, raw: launch(rows, rows, words._ptr, raw, limit, first, queries, keys))  # fmt: skip
    return words


def noise(words, keys: int, p: float, dtype):
    """(*lead, queries, keys): 1 / p where kept, 0 elsewhere, as `dropout` multiplies by."""
    *lead, _, queries = words._shape
    y = hooks.empty((*lead, queries, keys), dtype)
    unpack((dtype, dt.int32))(math.prod(lead) * queries, 1 + 8192 // keys, y._ptr, words.contiguous()._ptr, queries, keys, 1 / p)
    return y
