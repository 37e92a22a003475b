"""How a reduction is run: `fold` brings any tensor to the kernels' form (reduce_kernels.py), once per geometry."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flambeau.core import dtypes as dt
from flambeau.ops import reduce_kernels as K
from flambeau.ops.record import hooks
from flambeau.runtime import calls

WORK = 32768  # elements a thread, or one part of a split reduction, should at least have
WIDTH = 64  # columns per task
MANY = 64  # parallel tasks that are enough
FEW = 8  # elements of a row that lanes had better walk down, a lane a row


def reduced_shape(shape, dims, keepdim: bool) -> tuple:
    """The shape that is left."""
    gone = frozenset(dims)
    if keepdim:
        return tuple([1 if d in gone else n for d, n in enumerate(shape)])
    return tuple([n for d, n in enumerate(shape) if d not in gone])


def merged(axes: list) -> list:
    """(size, stride) pairs with neighbours that make one run joined; sizes of 1 left out."""
    out: list = []
    for n, s in axes:
        if n == 1:
            continue
        if out and out[-1][1] == n * s:
            out[-1] = (out[-1][0] * n, s)
        else:
            out.append((n, s))
    return out


@dataclass(frozen=True, slots=True)
class Plan:
    """The launches of one reduction: over x (rearranged by `order` if given), then over the parts if there are several."""

    shape: Any
    order: tuple | None
    kernel: Any
    extent: int
    grain: int
    sizes: tuple
    partial: tuple = ()  # the shape of the parts' results
    last: Any = None
    last_sizes: tuple = ()


def axes_of(shape, strides, dims, ordered: bool):
    """(order, kept axes, reduced axes): at most two of each, after a copy in `order` where that takes one."""
    gone = frozenset(dims)
    axes = list(zip(shape, strides, strict=True))
    kept = merged([a for d, a in enumerate(axes) if d not in gone])
    reduced = [a for d, a in enumerate(axes) if d in gone]
    if not ordered:
        reduced.sort(key=lambda a: -a[1])
    reduced = merged(reduced)
    if len(kept) <= 2 and len(reduced) <= 2:
        return None, kept, reduced
    order = tuple([d for d in range(len(axes)) if d not in gone] + sorted(gone))
    n = math.prod([shape[d] for d in gone])
    return order, [(math.prod(shape) // max(n, 1), n)], [(n, 1)]


def split(n1: int, n2: int, tasks: int, each: int) -> tuple[int, int, int]:
    """(parts, how much of n1, of n2 a part covers): several where there are few tasks and much to do; 0: all."""
    if tasks >= MANY or tasks * each < 2 * WORK:
        return 1, 0, 0
    parts = min(tasks * each // WORK, MANY // tasks)
    if n1 >= parts:
        part = -(-n1 // parts)
        parts = -(-n1 // part)
        return (parts, part, 0) if parts > 1 else (1, 0, 0)
    part = -(-n2 // parts)
    part += -part % 64
    parts = -(-n2 // part)
    return (parts, 0, part) if parts > 1 else (1, 0, 0)


@functools.lru_cache(4096)
def planned(shape, strides, dims, keepdim, dtype, known, how, prepare, finish, acc, out, ordered) -> Plan:
    """The plan for a tensor's geometry; `known` is the dtype of the values per output, or None."""
    left = hooks.Size(reduced_shape(shape, dims, keepdim))
    if math.prod([shape[d] for d in dims]) == 0:
        order, kept, reduced = None, [(math.prod(left), 0)], [(0, 0)]
    else:
        order, kept, reduced = axes_of(shape, strides, dims, ordered)
    (n1, s1), (n2, s2) = [(1, 0)] * (2 - len(reduced)) + reduced
    (no, so), (ni, si) = [(1, 0)] * (2 - len(kept)) + kept
    columns = ni > 1 and (si == 1 and (s2 != 1 or n2 < 8) or n2 < FEW and ni >= 16)
    blocks = -(-ni // WIDTH) if columns else ni
    tasks, each = no * blocks, n1 * n2 * (WIDTH if columns else 1)
    parts, part1, part2 = split(n1, n2, tasks, each)
    dtypes = (acc if parts > 1 else out, dtype, known or dtype)
    static = {
        "fold": how, "prepare": prepare, "finish": "plain" if parts > 1 else finish, "acc": acc,
        "unit": (si if columns else s2) == 1, "extra": known is not None,
    }  # fmt: skip
    sizes: tuple = (no, ni, n1, n2, so, si, s1, s2, part1, part2, 0)
    if columns:
        kernel, sizes = K.reduce_columns(dtypes, **static), (*sizes, blocks, WIDTH)
    elif no == n1 == parts == 1 and K.SHORT <= n2 <= K.BLOCK:
        kernel, sizes = K.reduce_short(dtypes, **static, unroll=1 if n2 < 256 else 4), (n2, si, s2)
    else:
        kernel = K.reduce_rows(dtypes, **static)
    first = (left, order, kernel, tasks * parts, max(1, WORK // max(each, 1)), sizes)
    if parts == 1:
        return Plan(*first)
    n = no * ni
    last = K.reduce_columns((out, acc, acc), fold=how, prepare="plain", finish=finish, acc=acc, unit=True, extra=False)
    blocks = -(-n // WIDTH)
    return Plan(*first, (parts, n), last, (1, n, 1, parts, 0, 1, 0, n, 0, 0, 0, blocks, WIDTH))


def fold(x, dims, keepdim, how: str, *, prepare="plain", finish="plain", acc=None, out=None, p=0.0, scale=1.0,
         known=None, ordered=False):  # fmt: skip
    """Reduce x over dims: combine `how`, each element prepared, the total finished (names in reduce_kernels).

    acc, out: dtypes of the running total and of the result; known: a value per output that `prepare` looks at.
    """
    acc = acc or accumulator(x._dtype)
    out = out or acc
    plan = planned(x._shape, x._strides, tuple(dims), keepdim, x._dtype, None if known is None else known._dtype, how, prepare, finish, acc, out, ordered)
    y = hooks.empty(plan.shape, out)
    if y._numel == 0:
        return y
    if plan.order is not None:
        x = x.permute(plan.order).clone(memory_format="contiguous_format")
    m = x if known is None else known
    total = y if plan.last is None else hooks.empty(plan.partial, acc)
    plan.kernel(plan.extent, plan.grain, total._ptr, x._ptr, m._ptr, p, scale, *plan.sizes)
    if plan.last is not None:
        plan.last(plan.last_sizes[-2], 8, y._ptr, total._ptr, total._ptr, p, scale, *plan.last_sizes)
    return y


def fold_call(x, dims, keepdim, how: str, *, prepare="plain", finish="plain", acc=None, out=None, p=0.0, scale=1.0) -> Callable:
    """call(x): `fold` for tensors of x's geometry."""
    acc = acc or accumulator(x._dtype)
    out = out or acc
    plan = planned(x._shape, x._strides, tuple(dims), keepdim, x._dtype, None, how, prepare, finish, acc, out, False)
    if plan.order is not None or 0 in plan.shape:
        return lambda x: fold(x, dims, keepdim, how, prepare=prepare, finish=finish, acc=acc, out=out, p=p, scale=scale)
    y, m = calls.out(), calls.operand(0)
    total, rooms, launches = y, (), []
    if plan.last is not None:
        total, rooms = calls.room(), (math.prod(plan.partial) * acc.itemsize,)
        launches = [(plan.last, plan.last_sizes[-2], 8, (y, total, total, p, scale, *plan.last_sizes))]
    launches.insert(0, (plan.kernel, plan.extent, plan.grain, (total, m, m, p, scale, *plan.sizes)))
    return calls.bind((hooks.dense(plan.shape, out),), 1, 0, launches, rooms)


def accumulator(d):
    """What sums and products are kept in: float32 for halves, int64 for integers."""
    if d.is_floating_point:
        return dt.float32 if d.itemsize < 4 else d
    return dt.int64

