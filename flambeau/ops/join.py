"""Joining, repeating and padding by copying: cat, stack, block_diag, repeat, tile, constant_pad_nd, ..."""

from __future__ import annotations

import builtins
import functools

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Ptr, kernel
from flambeau.ops.calling import check_device
from flambeau.ops.copying import copy_elements
from flambeau.ops.create import arange, fill, zeroed
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

WORK = 32768


def tensor_list(name: str, tensors) -> list:
    """A non-empty sequence of tensors as a list."""
    if isinstance(tensors, hooks.Tensor):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    tensors = list(tensors)
    if not tensors:
        error = ValueError if name == "cat" else RuntimeError
        raise error(f"torch.{name}(): expected a non-empty list of Tensors")
    for i, t in enumerate(tensors):
        if not isinstance(t, hooks.Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
    return tensors


def common_dtype(tensors):
    """The dtype all can be promoted to."""
    d = tensors[0]._dtype
    for t in tensors[1:]:
        if t._dtype is not d:
            return dt.result_type([(x._dtype, "tensor" if x._shape else "zero") for x in tensors])
    return d


# cat, stack ---------------------------------------------------------------------------------------
@op(KERNEL, method=False, aliases=("concat", "concatenate"))
def cat(tensors, dim=0):
    """Tensors one after another along dim.

    Errors:   RuntimeError if sizes differ elsewhere than in dim
    Source:   torch.cat
    """
    tensors = tensor_list("cat", tensors)
    d = common_dtype(tensors)
    if len(tensors) > 1:
        check_device(cat.record, tensors)
    dim, shape, starts = joined(tuple([t._shape for t in tensors]), dim)
    if dim == 1 and all_channels_last([t for t, at in zip(tensors, starts, strict=True) if at is not None]):
        out = hooks.empty_strided(shape, S.channels_last_strides(shape), d)
    else:
        out = hooks.empty(shape, d)
    if interleaved(out, tensors, d):
        return out
    step = out._strides[dim]
    for t, at in zip(tensors, starts, strict=True):
        if at is not None:
            copy_elements(hooks.make(out._storage, at * step, t._shape, out._strides, d), t)
    return out


PAIRS = {4: (dt.complex64, dt.float32), 8: (dt.complex128, dt.float64)}  # moved as numbers of that size: the bits stay


@kernel
def interleave(k, y: Ptr, a: Ptr, b: Ptr):
    """y[i] = (a[i], b[i])."""
    with k.parallel(vector=True) as i:
        y[i] = E.Complex(a[i], b[i])


def interleaved(out, tensors, d) -> bool:
    """Join two dense tensors of one dtype whose last dim, the joined one, is 1, in one pass; False if they are not such."""
    if len(tensors) != 2 or out._shape[-1] != 2 or not out._dense or d.itemsize not in PAIRS or d.is_complex:
        return False
    a, b = tensors
    if not (a._dense and b._dense and a._dtype is b._dtype and a._shape == b._shape and a._shape[-1] == 1):
        return False
    both, one = PAIRS[d.itemsize]
    interleave((both, one, one))(a._numel, WORK, out._ptr, a._ptr, b._ptr)
    return True


@functools.lru_cache(maxsize=1024)
def joined(shapes: tuple, dim: int) -> tuple:
    """(dim, the result's shape, where each tensor starts along dim, or None for those left out)."""
    for i, s in enumerate(shapes):
        if not s:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    real = [s for s in shapes if s != (0,)]  # PyTorch's old rule: an empty vector joins anything
    if not real:
        return S.wrap_dim(dim, 1), (0,), (None,) * len(shapes)
    first = real[0]
    dim = S.wrap_dim(dim, len(first))
    for i, s in enumerate(real):
        if len(s) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(s)}")
        for k, (a, b) in enumerate(zip(first, s, strict=True)):
            if k != dim and a != b:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {a} but got size {b} for "
                    f"tensor number {i} in the list."
                )
    starts: list = []
    at = 0
    for s in shapes:
        starts.append(None if s == (0,) else at)
        at += s[dim] if s != (0,) else 0
    return dim, (*first[:dim], at, *first[dim + 1 :]), tuple(starts)


def all_channels_last(tensors) -> bool:
    n = len(tensors[0]._shape) if tensors else 0
    return n in (4, 5) and builtins.all(
        not t._dense and S.is_channels_last(t._shape, t._strides, n) for t in tensors
    )


@cat.vjp("tensors")
def cat_grad(g, tensors, dim):
    """Each tensor's part of g."""
    out, at = [], 0
    for t in tensors:
        if tuple(t._shape) == (0,) and len(g._shape) != 1:
            out.append(g.new_zeros((0,)))
            continue
        n = t._shape[S.wrap_dim(dim, len(t._shape))]
        out.append(g.narrow(dim, at, n))
        at += n
    return (out,)


@op(COMPOSITE, method=False)
def stack(tensors, dim=0):
    """Tensors of one shape along a new dim.

    Source:   torch.stack
    """
    tensors = tensor_list("stack", tensors)
    shape = tensors[0]._shape
    for i, t in enumerate(tensors):
        if t._shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and {list(t._shape)} at "
                f"entry {i}"
            )
    return stack_same(tensors, S.wrap_dim(dim, len(shape) + 1))


@op(KERNEL, function=False, method=False, node="StackBackward0")
def stack_same(tensors, dim):
    """stack of checked tensors."""
    return cat.record.fn([t.unsqueeze(dim) for t in tensors], dim)


@stack_same.vjp("tensors")
def stack_grad(g, dim):
    return (list(g.unbind(dim)),)


def atleast(n: int, x):
    """x with at least n dims (leading ones, as NumPy does; see atleast_3d)."""
    have = len(x._shape)
    if have >= n:
        return x
    if n == 3:
        return x.reshape(1, 1, 1) if have == 0 else x.reshape(1, -1, 1) if have == 1 else x.unsqueeze(-1)
    return x.reshape((1,) * (n - have) + tuple(x._shape))


def atleast_form(n: int):
    def form(*tensors):
        if len(tensors) == 1 and not isinstance(tensors[0], (tuple, list)):
            return atleast(n, tensors[0])
        if len(tensors) == 1:
            tensors = tensors[0]
        return tuple([atleast(n, t) for t in tensors])

    form.__name__ = form.__qualname__ = f"atleast_{n}d"
    form.__doc__ = f"Tensors with at least {n} dimensions.\n\n    Source:   torch.atleast_{n}d\n    "
    return form


atleast_1d, atleast_2d, atleast_3d = atleast_form(1), atleast_form(2), atleast_form(3)


@op(COMPOSITE, method=False)
def hstack(tensors):
    """Tensors side by side: along dim 1, or 0 for vectors.

    Source:   torch.hstack
    """
    tensors = [atleast(1, t) for t in tensor_list("hstack", tensors)]
    return cat(tensors, 0 if len(tensors[0]._shape) == 1 else 1)


@op(COMPOSITE, method=False, aliases=("row_stack",))
def vstack(tensors):
    """Tensors on top of each other, vectors as rows.

    Source:   torch.vstack
    """
    return cat([atleast(2, t) for t in tensor_list("vstack", tensors)], 0)


@op(COMPOSITE, method=False)
def dstack(tensors):
    """Tensors along dim 2.

    Source:   torch.dstack
    """
    return cat([atleast(3, t) for t in tensor_list("dstack", tensors)], 2)


@op(COMPOSITE, method=False)
def column_stack(tensors):
    """Vectors as columns, matrices side by side.

    Source:   torch.column_stack
    """
    tensors = [t.reshape(-1, 1) if len(t._shape) <= 1 else t for t in tensor_list("column_stack", tensors)]
    return cat(tensors, 1)


def block_diag(*tensors):
    """Matrices along the diagonal of one, zeros elsewhere.

    Source:   torch.block_diag
    """
    tensors = [atleast(2, t) for t in tensors]
    for i, t in enumerate(tensors):
        if len(t._shape) != 2:
            raise RuntimeError(f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {len(t._shape)} dimensions")
    width = builtins.sum(t._shape[1] for t in tensors)
    rows, at = [], 0
    for t in tensors:
        rows.append(constant_pad_nd(t, (at, width - at - t._shape[1])))
        at += t._shape[1]
    return cat(rows, 0) if rows else hooks.empty((1, 0), dt.get_default_dtype())


# repeating ----------------------------------------------------------------------------------------
def repeat(input, *sizes, **kwargs):
    """input repeated sizes[d] times along each dim d.

    Source:   torch.Tensor.repeat
    """
    from flambeau.ops.view import ints

    if not sizes and "repeats" not in kwargs:
        raise TypeError('repeat() missing 1 required positional arguments: "repeats"')
    return repeat_by(input, ints((kwargs["repeats"],) if "repeats" in kwargs else sizes, "repeat"))


@op(COMPOSITE, function=False, method=False)
def repeat_by(input, times):
    """See `repeat`."""
    lead = len(times) - len(input._shape)
    if lead < 0:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
        )
    if builtins.any(t < 0 for t in times):
        raise RuntimeError(f"Trying to create tensor with negative dimension: repeats {list(times)}")
    return repeat_kernel(input, times)


@op(KERNEL, function=False, method=False, node="RepeatBackward0")
def repeat_kernel(input, times):
    """Copies input into every tile of the result."""
    lead = len(times) - len(input._shape)
    have = (1,) * lead + tuple(input._shape)
    out = hooks.empty([n * t for n, t in zip(have, times, strict=True)], input._dtype)
    split, source, strides = [], [], []
    for t, n, s in zip(times, have, out._strides, strict=True):
        split += [t, n]
        source += [1, n]
        strides += [n * s, s]
    tiles = hooks.make(out._storage, 0, hooks.Size(split), tuple(strides), out._dtype)
    copy_elements(tiles, input.reshape(source))
    return out


def repeat_grad(g, input_shape, times):
    """The sum over all tiles."""
    lead = len(times) - len(input_shape)
    have = (1,) * lead + tuple(input_shape)
    split = [x for t, n in zip(times, have, strict=True) for x in (t, n)]
    return g.reshape(split).sum(tuple(range(0, len(split), 2))).reshape(input_shape) if split else g


repeat_kernel.derivative(input=repeat_grad)


def tile(input, *dims, **kwargs):
    """repeat, with missing leading repeats taken as 1.

    Source:   torch.tile
    """
    from flambeau.ops.view import ints

    times = ints((kwargs["dims"],) if "dims" in kwargs else dims, "tile")
    times = (1,) * (len(input._shape) - len(times)) + times
    return repeat_by(input, times)


@op(COMPOSITE)
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each slice along dim repeated (all the same number of times, or by a vector).

    Source:   torch.repeat_interleave
    """
    if repeats is None:
        return arange(input._numel).repeat_interleave(input, 0)
    if dim is None:
        input, dim = input.reshape(-1), 0
    dim = S.wrap_dim(dim, len(input._shape))
    n = input._shape[dim] if input._shape else 1
    if isinstance(repeats, hooks.Tensor) and repeats._numel == 1:
        repeats = int(repeats.item())
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        shape = list(input._shape)
        wide = input.unsqueeze(dim + 1).expand(*shape[: dim + 1], repeats, *shape[dim + 1 :])
        shape[dim] *= repeats
        return wide.reshape(shape)
    if repeats._dtype not in (dt.int64, dt.int32):
        raise RuntimeError("repeats has to be Long or Int tensor")
    if len(repeats._shape) > 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    if repeats._numel != n:
        raise RuntimeError(f"repeats must have the same size as input along dim, but got repeats.size(0) = {repeats._numel} and input.size({dim}) = {n}")
    if bool((repeats < 0).any()):
        raise RuntimeError("repeats can not be negative")
    ends = repeats.cumsum(0)
    total = int(ends[-1].item()) if n else 0
    if output_size is not None and output_size != total:
        raise RuntimeError(f"repeat_interleave: allocated size {output_size} does not match required size {total}")
    from flambeau.ops.sort import searchsorted

    index = searchsorted(ends, arange(total), right=True)
    return input.index_select(dim, index)


# padding ------------------------------------------------------------------------------------------
@op(KERNEL, method=False, node="ConstantPadNdBackward0")
def constant_pad_nd(input, pad, value=0):
    """input with `value` around it: pad = (left, right) of the last dim, then of the one before, ...; negative cuts.

    Source:   torch.constant_pad_nd
    """
    shape, ndim = list(input._shape), len(input._shape)
    if len(pad) % 2 or len(pad) > 2 * ndim:
        raise RuntimeError(
            f"Length of pad must be even and no more than twice the number of dimensions of the input; pad has "
            f"{len(pad)} elements, input {ndim} dimensions"
        )
    source, target = input, []
    for i in range(len(pad) // 2):
        d = ndim - 1 - i
        low, high = pad[2 * i], pad[2 * i + 1]
        new = shape[d] + low + high
        if new < 0:
            raise RuntimeError(
                f"The input size {shape[d]}, plus negative padding {low} and {high}, resulted in a negative output "
                f"size, which is invalid. Check dimension {d} of your input."
            )
        start, stop = builtins.max(0, -low), shape[d] - builtins.max(0, -high)
        source = source.narrow(d, builtins.min(start, shape[d]), builtins.max(0, stop - start))
        target.append((d, builtins.max(0, low), builtins.max(0, stop - start)))
        shape[d] = new
    if value == 0:
        out = zeroed(shape, input._dtype)
    else:
        out = hooks.empty(shape, input._dtype)
        fill(out, value)
    inside = out
    for d, at, n in target:
        inside = inside.narrow(d, at, n)
    copy_elements(inside, source)
    return out


constant_pad_nd.derivative(input=lambda g, pad: constant_pad_nd(g, [-p for p in pad]))


METHODS = {"repeat": repeat, "tile": tile}
__all__ = ["atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "tile"]
