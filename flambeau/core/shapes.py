"""Shape and stride arithmetic: pure functions on tuples, no memory.

Strides count elements. What is here: contiguous strides, broadcasting, merging of dimensions for kernels,
dimension wrapping, view geometry.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence


@functools.lru_cache(maxsize=8192)
def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides; size-0 dims count as 1, as in PyTorch."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


@functools.lru_cache(maxsize=8192)
def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """True if elements lie in row-major order without gaps (strides of size-1 dims do not matter)."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n == 0:
            return True
        if n != 1:
            if s != step:
                return 0 in shape
            step *= n
    return True


@functools.lru_cache(maxsize=8192)
def extent_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, bool]:
    """(number of elements, is_contiguous).

    Errors: RuntimeError if 64 bits cannot count the elements.
    """
    n = math.prod(shape)
    if n >= 1 << 63:
        raise RuntimeError("numel: integer multiplication overflow")
    return n, is_contiguous(shape, strides)


def channels_last_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of NHWC (4 dims) or NDHWC (5 dims) memory for a shape written N, C, ..."""
    n = len(shape)
    strides, step = [0] * n, 1
    for d in (1, *range(n - 1, 1, -1), 0):
        strides[d] = step
        step *= max(shape[d], 1)
    return tuple(strides)


def is_channels_last(shape: Sequence[int], strides: Sequence[int], dims: int = 4) -> bool:
    """True if the strides are those of channels-last memory for `dims` (4 or 5) dimensions."""
    if len(shape) != dims:
        return False
    step = 1
    for d in (1, *range(dims - 1, 1, -1), 0):
        if shape[d] != 1:
            if strides[d] != step:
                return False
            step *= shape[d]
    return True


@functools.lru_cache(maxsize=4096)
def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """True if the elements fill one block of memory, each once, in any order of dimensions."""
    dims = sorted((s, n) for n, s in zip(shape, strides, strict=True) if n != 1)
    step = 1
    for s, n in dims:
        if n == 0:
            return True
        if s != step:
            return False
        step *= n
    return True


def numel(shape: Iterable[int]) -> int:
    """Number of elements."""
    return math.prod(shape)


@functools.lru_cache(maxsize=8192)
def broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape, or ValueError(dim, size a, size b)."""
    if a == b:
        return a
    if len(a) < len(b):
        a = (1,) * (len(b) - len(a)) + a
    elif len(b) < len(a):
        b = (1,) * (len(a) - len(b)) + b
    out = []
    for i, (m, n) in enumerate(zip(a, b, strict=True)):
        if m == n or n == 1:
            out.append(m)
        elif m == 1:
            out.append(n)
        else:
            raise ValueError(i, m, n)
    return tuple(out)


def broadcast_shapes(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of several, with PyTorch's error."""
    out: tuple[int, ...] = ()
    for s in shapes:
        try:
            out = broadcast(tuple(out), tuple(s))
        except ValueError as e:
            dim, m, n = e.args
            raise RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton "
                f"dimension {dim}: {op} got shapes {', '.join(str(list(x)) for x in shapes)}, which do not "
                "broadcast (sizes must be equal, or 1, counted from the last dimension)"
            ) from None
    return out


def expand_strides(shape, strides, to) -> tuple[int, ...]:
    """Strides that read `shape` as the broadcast shape `to`: 0 where a dimension is repeated."""
    lead = len(to) - len(shape)
    return (0,) * lead + tuple(
        0 if n == 1 and m != 1 else s for n, s, m in zip(shape, strides, to[lead:], strict=True)
    )


def coalesce(shape: tuple[int, ...], operands: tuple[tuple[int, ...], ...]):
    """Reorder and merge dimensions for a kernel: (shape, strides per operand), fewest dims, fastest last.

    Dimensions are ordered by the first operand's strides (then the others'), size-1 dimensions go, and
    neighbours that every operand walks evenly become one.
    """
    return _coalesce(shape, operands)


@functools.lru_cache(maxsize=8192)
def _coalesce(shape, operands):
    dims = [d for d, n in enumerate(shape) if n != 1]
    dims = _stable_order(dims, operands)
    merged: list[list] = []
    for d in dims:
        strides = [st[d] for st in operands]
        if merged:
            n, prev = merged[-1]
            if all(p == s * shape[d] for p, s in zip(prev, strides, strict=True)):
                merged[-1] = [n * shape[d], strides]
                continue
        merged.append([shape[d], strides])
    if not merged:
        merged = [[1, [1] * len(operands)]]
    sizes = tuple(n for n, _ in merged)
    return sizes, tuple(tuple(m[1][i] for m in merged) for i in range(len(operands)))


def _stable_order(dims, operands):
    """Insertion sort: a dimension moves inwards past another if its strides are smaller in the first operand that tells."""
    out: list[int] = []
    for d in dims:
        i = len(out)
        while i and _faster(out[i - 1], d, operands):
            i -= 1
        out.insert(i, d)
    return out


def _faster(a: int, b: int, operands) -> bool:
    """True if dimension a (now outside b) has the smaller steps and should be inside."""
    for st in operands:
        x, y = abs(st[a]), abs(st[b])
        if x and y and x != y:
            return x < y
    return False


def wrap_dim(dim: int, ndim: int, op: str = "") -> int:
    """A dimension index in [0, ndim); IndexError in PyTorch's words otherwise."""
    n = ndim or 1
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim + n if dim < 0 else dim


def wrap_dims(dims, ndim: int, op: str = "") -> tuple[int, ...]:
    """Several dimensions, each once; None means all."""
    if dims is None:
        return tuple(range(ndim))
    if isinstance(dims, int):
        return (wrap_dim(dims, ndim, op),)
    out = tuple(wrap_dim(int(d), ndim, op) for d in dims)
    if len(set(out)) != len(out):
        raise RuntimeError(f"{op}: dim {sorted(out)[0]} appears multiple times in the list of dims {tuple(dims)}")
    return out


def per_dim(v, dims: int) -> tuple[int, ...] | None:
    """An int, or a sequence of one or `dims` ints, as `dims` ints; None for another number of them."""
    if isinstance(v, int):
        return (v,) * dims
    v = tuple(int(a) for a in v)
    return v * dims if len(v) == 1 else v if len(v) == dims else None


def infer_size(shape: Sequence[int], count: int, op: str = "view") -> tuple[int, ...]:
    """Fill in a -1 so that the sizes multiply to `count`."""
    known, hole = 1, None
    for i, n in enumerate(shape):
        if n == -1:
            if hole is not None:
                raise RuntimeError(f"{op}: only one dimension can be inferred, got {list(shape)}")
            hole = i
        elif n < 0:
            raise RuntimeError(f"{op}: invalid shape dimension {n} in {list(shape)}")
        else:
            known *= n
    if hole is None:
        if known != count:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
        return tuple(shape)
    if known == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
            "dimension size -1 can be any value and is ambiguous"
        )
    if count % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    out = list(shape)
    out[hole] = count // known
    return tuple(out)


def view_strides(shape, strides, new) -> tuple[int, ...] | None:
    """Strides that show the same elements in the new shape without a copy, or None."""
    if 0 in shape:
        return contiguous_strides(tuple(new)) if tuple(shape) != tuple(new) else tuple(strides)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    chunks: list[list[int]] = []  # [size, stride of last] of evenly walked runs
    for n, s in old:
        if chunks and chunks[-1][1] == n * s:
            chunks[-1] = [chunks[-1][0] * n, s]
        else:
            chunks.append([n, s])
    out: list[int] = []
    pos, left = 0, 0
    step = 1
    for n in reversed(new):
        if n == 1:
            out.append(step)
            continue
        if left <= 1:
            if pos >= len(chunks):
                return None
            left, step = chunks[len(chunks) - 1 - pos]
            pos += 1
        if left % n:
            return None
        out.append(step)
        step *= n
        left //= n
    return tuple(reversed(out))


def extent(shape, strides) -> tuple[int, int]:
    """(lowest, highest) element offset touched, relative to element 0; (0, -1) if empty."""
    if 0 in shape:
        return 0, -1
    low = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s < 0)
    high = sum((n - 1) * s for n, s in zip(shape, strides, strict=True) if s > 0)
    return low, high


def overlaps_itself(shape, strides) -> bool:
    """True if two indices certainly reach one element (an expanded dimension); False if dense or unknown."""
    return any(n > 1 and s == 0 for n, s in zip(shape, strides, strict=True))
