"""Rearranging by copying: flip, roll, rot90, meshgrid, tril, diag, trace, diff, ..."""

from __future__ import annotations

import builtins
import functools
import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.by_geometry import by_geometry
from flambeau.ops.calling import result_strides
from flambeau.ops.copying import copies, copy_elements
from flambeau.ops.create import zeroed
from flambeau.ops.join import WORK, cat, stack
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.runtime import calls


@op(KERNEL)
@by_geometry
def flip(input, dims):
    """The order of elements reversed along dims.

    Source:   torch.flip
    """
    shape, strides = input._shape, result_strides(input._shape, [input])
    back = turned(tuple(shape), strides, dims if dims.__class__ is int else tuple(dims))
    return copies(shape, strides, input._dtype, [(tuple(shape), back, (0, input._strides))])


@functools.lru_cache(maxsize=1024)
def turned(shape, strides, dims) -> tuple:
    """(offset, strides) from the last element along dims."""
    offset, steps = 0, list(strides)
    for d in S.wrap_dims(dims, len(shape), "flip") if shape else ():
        offset += max(0, shape[d] - 1) * steps[d]
        steps[d] = -steps[d]
    return offset, tuple(steps)


flip.derivative(input=lambda g, dims: flip(g, dims))


def flip_many(input, *dims):
    """flip with dims one by one or as a sequence.

    Source:   torch.Tensor.flip
    """
    from flambeau.ops.view import ints

    return flip(input, ints(dims, "flip"))


@op(COMPOSITE)
def fliplr(input):
    """Columns reversed.

    Source:   torch.fliplr
    """
    if len(input._shape) < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, (1,))


@op(COMPOSITE)
def flipud(input):
    """Rows reversed.

    Source:   torch.flipud
    """
    if len(input._shape) < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, (0,))


@kernel
def turned_rows(k, y: Ptr, x: Ptr, n: Int, shift: Int):
    """Rows of n elements, each moved by shift, the last ones coming in at the front."""
    with k.parallel() as row:
        source, out = x.at(row * n), y.at(row * n)
        for first, last, move in ((0, n - shift, shift), (n - shift, n, shift - n)):
            with k.vector(first, last) as i:
                out[i + move] = source[i]


@op(KERNEL)
@by_geometry
def roll(input, shifts, dims=None):
    """Elements moved along dims by shifts, those pushed out coming in at the other end.

    Source:   torch.roll
    """
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    shape, strides = tuple(input._shape), S.contiguous_strides(input._shape)
    if dims is None or dims == ():
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        if not input._dense:
            return lambda x: roll.record.fn(x.contiguous(), shifts)
        n = input._numel
        return copies(shape, strides, input._dtype, rolled((n,), {0: shifts[0]}, (1,), (1,)))
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(dims) != len(shifts):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    by: dict = {}
    for shift, d in zip(shifts, dims, strict=True):
        d = S.wrap_dim(d, len(shape))
        by[d] = by.get(d, 0) + shift
    if len(by) == 1 and input._dense and input._numel:
        length = math.prod(shape[d:])
        if length <= WORK:
            run, rows = turned_rows((input._dtype, input._dtype)), input._numel // length
            places = calls.out(), calls.operand(0), length, by[d] % shape[d] * strides[d]
            return calls.bind((hooks.geometry(input._shape, strides, input._dtype),), 1, 0, [(run, rows, max(1, WORK // length), places)])
    return copies(input._shape, strides, input._dtype, rolled(shape, by, strides, input._strides))


def rolled(shape, by: dict, to, of) -> list:
    """The pieces of `copies` that move elements along each dim d by by[d], in turn."""
    pieces = [(shape, (0, to), (0, of))] if 0 not in shape else []
    for d, shift in by.items():
        n = shape[d]
        shift %= n or 1
        pieces = [
            ((*sizes[:d], count, *sizes[d + 1 :]), (at + target * to[d], to), (start + source * of[d], of))
            for sizes, (at, _), (start, _) in pieces
            for source, target, count in ((0, shift, n - shift), (n - shift, 0, shift)) if count
        ]  # fmt: skip
    return pieces


roll.derivative(
    input=lambda g, shifts, dims: roll(g, -shifts if isinstance(shifts, int) else tuple(-s for s in shifts), dims)
)


@op(COMPOSITE)
def rot90(input, k=1, dims=(0, 1)):
    """The plane of two dims turned by k quarter turns from the first towards the second.

    Source:   torch.rot90
    """
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if len(input._shape) < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {len(input._shape)}")
    a, b = (S.wrap_dim(d, len(input._shape)) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 1:
        return flip(input, (b,)).transpose(a, b).contiguous()
    if k == 2:
        return flip(input, (a, b))
    if k == 3:
        return flip(input, (a,)).transpose(a, b).contiguous()
    return input.clone()


def meshgrid(*tensors, indexing=None):
    """Coordinate grids of vectors.

    Source:   torch.meshgrid
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing is None:
        import warnings

        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.", stacklevel=2
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in tensors:
        if len(t._shape) > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {list(t._shape)}")
    swap = indexing == "xy" and len(tensors) >= 2
    if swap:
        tensors = (tensors[1], tensors[0], *tensors[2:])
    shape = tuple(t._numel for t in tensors)
    grids = []
    for i, t in enumerate(tensors):
        grids.append(t.reshape((1,) * i + (-1,) + (1,) * (len(shape) - i - 1)).expand(shape))
    if swap:
        grids = [grids[1], grids[0], *grids[2:]]
    return tuple(grids)


def cartesian_prod(*tensors):
    """All combinations of one element of each vector, as rows.

    Source:   torch.cartesian_prod
    """
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(*tensors, indexing="ij")
    return stack([g.reshape(-1) for g in grids], 1)


@op(COMPOSITE, method=False)
def combinations(input, r=2, with_replacement=False):
    """All r-element combinations of a vector's elements, as rows.

    Source:   torch.combinations
    """
    import itertools

    if len(input._shape) != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input._shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(pick(range(input._numel), r))
    if not rows or r == 0:
        return hooks.empty((0,) if r == 0 else (0, r), input._dtype)
    return input[hooks.tensor(rows)]


# triangles and diagonals --------------------------------------------------------------------------
@kernel
def triangle(k, y: Ptr, x: Ptr, rows: Int, cols: Int, offset: Int, *, lower: bool):
    """Rows of matrices with what lies outside the triangle set to 0."""
    with k.parallel() as r:
        i = r % rows
        row, out = x.at(r * cols), y.at(r * cols)
        with k.vector(cols) as j:
            inside = j - i <= offset if lower else j - i >= offset
            v = row[j]
            if isinstance(v, E.Complex):
                zero = E.const(0, v.re.dtype)
                v = E.where(inside, v, E.Complex(zero, zero))
            else:
                v = E.where(inside, v, E.const(0, v.dtype))
            out[j] = v


def triangular(input, offset: int, lower: bool):
    name = "tril" if lower else "triu"
    if len(input._shape) < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions, got {len(input._shape)}")
    x = input.contiguous()
    out = hooks.empty(x._shape, x._dtype)
    rows, cols = x._shape[-2:]
    if x._numel:
        triangle((x._dtype, x._dtype), lower=lower)(
            x._numel // cols, builtins.max(1, WORK // cols), out._ptr, x._ptr, rows, cols, int(offset)
        )
    return out


@op(KERNEL, inplace=True)
def tril(input, diagonal=0):
    """The lower triangle of matrices, zeros above `diagonal`.

    Source:   torch.tril
    """
    return triangular(input, diagonal, True)


@op(KERNEL, inplace=True)
def triu(input, diagonal=0):
    """The upper triangle of matrices, zeros below `diagonal`.

    Source:   torch.triu
    """
    return triangular(input, diagonal, False)


tril.derivative(input=lambda g, diagonal: tril(g, diagonal))
triu.derivative(input=lambda g, diagonal: triu(g, diagonal))


@op(COMPOSITE)
def diag(input, diagonal=0):
    """A matrix's diagonal, or the matrix with a vector as its diagonal.

    Source:   torch.diag
    """
    if len(input._shape) == 1:
        return diag_embed(input, diagonal)
    if len(input._shape) != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {len(input._shape)}D")
    return input.diagonal(diagonal).clone()


@op(KERNEL)
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """Matrices (in dims dim1, dim2) whose diagonals are the last dimension of input.

    Source:   torch.diag_embed
    """
    ndim = len(input._shape) + 1
    a, b = S.wrap_dim(dim1, ndim), S.wrap_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input._shape[-1] + builtins.abs(offset)
    shape = list(input._shape[:-1])
    for d in sorted((a, b)):
        shape.insert(d, n)
    out = zeroed(shape, input._dtype)
    copy_elements(out.diagonal(offset, a, b), input)
    return out


diag_embed.derivative(input=lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2))


@op(COMPOSITE)
def diagflat(input, offset=0):
    """A matrix with input's elements as its diagonal.

    Source:   torch.diagflat
    """
    return diag_embed(input.reshape(-1), offset)


@op(COMPOSITE)
def trace(input):
    """The sum of a matrix's diagonal.

    Source:   torch.trace
    """
    if len(input._shape) != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {len(input._shape)}")
    return input.diagonal().sum()


@op(COMPOSITE)
def diff(input, n=1, dim=-1, prepend=None, append=None):
    """The n-th differences of neighbours along dim.

    Source:   torch.diff
    """
    if not input._shape:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    parts = [t for t in (prepend, input, append) if t is not None]
    x = cat(parts, dim) if len(parts) > 1 else input
    dim = S.wrap_dim(dim, len(x._shape))
    if n == 0:
        return x.clone()
    for _ in range(builtins.min(n, x._shape[dim])):
        size = builtins.max(0, x._shape[dim] - 1)
        high, low = x.narrow(dim, x._shape[dim] - size, size), x.narrow(dim, 0, size)
        x = high ^ low if x._dtype is dt.bool else high - low
    return x


METHODS = {"flip": flip_many}
__all__ = ["cartesian_prod", "meshgrid"]
