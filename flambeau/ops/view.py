"""Views: other geometries of the same memory. Nothing is copied here, except where `reshape` must.

A VIEW op's body works out shape, strides and offset; `tensor.bind` ties the result to its base.
"""

from __future__ import annotations

import builtins
import math
import operator

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.record import COMPOSITE, VIEW, hooks, op


def ints(args: tuple, name: str) -> tuple[int, ...]:
    """Sizes or dims given one by one or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], int) and hasattr(args[0], "__iter__") and not hasattr(args[0], "_ptr"):
        args = tuple(args[0])
    try:
        return tuple([a if a.__class__ is int else operator.index(a) for a in args])
    except TypeError:
        bad = next(a for a in args if not hasattr(a, "__index__"))
        raise TypeError(f"{name}(): argument 'size' must be tuple of ints, but found element of type {type(bad).__name__}") from None


def same(x, shape, strides, offset=None):
    """Another geometry of x."""
    return hooks.view_of(x, shape, strides, x._offset if offset is None else offset)


# shape --------------------------------------------------------------------------------------------
@op(VIEW, function=False, method=False, node="ViewBackward0")
def view_as_shape(input, shape):
    """input with another shape over the same memory; see `view`."""
    shape = S.infer_size(shape, input._numel)
    if input._dense:
        return same(input, shape, S.contiguous_strides(shape))
    strides = S.view_strides(tuple(input._shape), input._strides, shape)
    if strides is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return same(input, shape, strides)


view_as_shape.derivative(input=lambda g, input_shape: g.reshape(input_shape))


def view(input, *shape, dtype=None):
    """input with another shape (or element dtype) over the same memory.

    Errors:   RuntimeError if the strides do not allow it (use reshape)
    Source:   torch.Tensor.view
    """
    if dtype is None and len(shape) == 1 and isinstance(shape[0], dt.dtype):
        dtype = shape[0]
    if dtype is not None:
        return view_dtype(input, dtype)
    return view_as_shape(input, ints(shape, "view"))


@op(VIEW, function=False, method=False)
def view_dtype(input, dtype):
    """The memory of input read as another dtype."""
    old, new = input._dtype.itemsize, dtype.itemsize
    if old == new:
        out = same(input, input._shape, input._strides)
    elif not input._shape:
        raise RuntimeError(f"self.dim() cannot be 0 to view {input._dtype} as {dtype} (different element sizes)")
    elif old > new:
        r = old // new
        check_unit(input, dtype)
        shape = (*input._shape[:-1], input._shape[-1] * r)
        out = same(input, shape, (*(s * r for s in input._strides[:-1]), 1), input._offset * r)
    else:
        r = new // old
        check_unit(input, dtype)
        if input._shape[-1] % r or input._offset % r or any(s % r for s in input._strides[:-1]):
            raise RuntimeError(
                f"self.size(-1) must be divisible by {r} to view {input._dtype} as {dtype} (different element sizes), but "
                f"got {input._shape[-1]}"
            )
        shape = (*input._shape[:-1], input._shape[-1] // r)
        out = same(input, shape, (*(s // r for s in input._strides[:-1]), 1), input._offset // r)
    made = hooks.make(input._storage, out._offset, out._shape, out._strides, dtype, input._vc)
    return made


def check_unit(input, dtype) -> None:
    if input._strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 to view {input._dtype} as {dtype} (different element sizes), but got {input._strides[-1]}")


view_dtype.derivative(input=lambda g, input_dtype: g.view(input_dtype))


@op(VIEW, function=False, method=True)
def alias(input):
    """input itself as another tensor."""
    return same(input, input._shape, input._strides)


alias.derivative(input=lambda g: g)


def view_as(input, other):
    """input viewed in other's shape.

    Source:   torch.Tensor.view_as
    """
    return view_as_shape(input, tuple(other._shape))


@op(COMPOSITE, function=False, method=False)
def reshape_to(input, shape):
    """input in another shape: a view where strides allow, else a copy."""
    shape = S.infer_size(shape, input._numel, "reshape")
    if input._dense or S.view_strides(tuple(input._shape), input._strides, shape) is not None:
        return view_as_shape(input, shape)
    return unsafe_view(input.clone(memory_format=CONTIGUOUS), shape)


class _Contiguous:
    name = "contiguous_format"


CONTIGUOUS = _Contiguous()


@op(VIEW, function=False, method=False, node="UnsafeViewBackward0")
def unsafe_view(input, shape):
    """A fresh copy in another shape."""
    return hooks.make(input._storage, input._offset, hooks.Size(shape), S.contiguous_strides(tuple(shape)), input._dtype)


unsafe_view.derivative(input=lambda g, input_shape: g.reshape(input_shape))


def reshape(input, *shape, **kwargs):
    """input in another shape: a view where the strides allow it, else a copy.

    Source:   torch.reshape
    """
    if "shape" in kwargs:
        shape = (kwargs["shape"],)
    return reshape_to(input, ints(shape, "reshape"))


def reshape_as(input, other):
    """input in other's shape.

    Source:   torch.Tensor.reshape_as
    """
    return reshape_to(input, tuple(other._shape))


@op(COMPOSITE)
def flatten(input, start_dim=0, end_dim=-1):
    """Dimensions start_dim to end_dim as one.

    Source:   torch.flatten
    """
    n = len(input._shape)
    a, b = S.wrap_dim(start_dim, n), S.wrap_dim(end_dim, n)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not n:
        return reshape_to(input, (1,))
    if a == b:
        return input
    shape = tuple(input._shape)
    return reshape_to(input, (*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]))


@op(COMPOSITE)
def ravel(input):
    """input as one dimension.

    Source:   torch.ravel
    """
    return reshape_to(input, (-1,)) if input._numel else reshape_to(input, (0,))


@op(COMPOSITE)
def unflatten(input, dim, sizes):
    """One dimension as several.

    Source:   torch.unflatten
    """
    dim = S.wrap_dim(dim, len(input._shape))
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    n = input._shape[dim]
    try:
        sizes = S.infer_size(sizes, n, "unflatten")
    except RuntimeError:
        raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({n}) in the input tensor") from None
    shape = tuple(input._shape)
    return view_as_shape(input, (*shape[:dim], *sizes, *shape[dim + 1 :]))


# order of dimensions ------------------------------------------------------------------------------
@op(VIEW, function=False, method=False, node="PermuteBackward0")
def permute_to(input, dims):
    """Dimensions in another order; see `permute`."""
    return same(input, tuple([input._shape[d] for d in dims]), tuple([input._strides[d] for d in dims]))


def inverse(dims) -> tuple:
    """The permutation that undoes dims."""
    out = [0] * len(dims)
    for i, d in enumerate(dims):
        out[d] = i
    return tuple(out)


permute_to.derivative(input=lambda g, dims: permute_to(g, inverse(dims)))


def permute(input, *dims, **kwargs):
    """Dimensions in the given order.

    Errors:   RuntimeError if dims is no permutation
    Source:   torch.permute
    """
    dims = ints((kwargs["dims"],) if "dims" in kwargs else dims, "permute")
    n = len(input._shape)
    if len(dims) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(dims)}"
        )
    wrapped = tuple([S.wrap_dim(d, n) for d in dims])
    if len(set(wrapped)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return permute_to(input, wrapped)


@op(VIEW, aliases=("swapaxes", "swapdims"))
def transpose(input, dim0, dim1):
    """Two dimensions exchanged.

    Source:   torch.transpose
    """
    n = len(input._shape)
    a, b = S.wrap_dim(dim0, n), S.wrap_dim(dim1, n)
    if a == b:
        return same(input, input._shape, input._strides)
    shape, strides = list(input._shape), list(input._strides)
    shape[a], shape[b] = shape[b], shape[a]
    strides[a], strides[b] = strides[b], strides[a]
    return same(input, tuple(shape), tuple(strides))


transpose.derivative(input=lambda g, dim0, dim1: transpose(g, dim0, dim1))


@op(VIEW)
def t(input):
    """The transpose of a matrix (vectors stay).

    Source:   torch.t
    """
    n = len(input._shape)
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {n}D")
    return same(input, tuple(reversed(input._shape)), tuple(reversed(input._strides)))


t.derivative(input=lambda g: t(g))


@op(COMPOSITE, aliases=("moveaxis",))
def movedim(input, source, destination):
    """Dimensions moved to other places, the rest staying in order.

    Source:   torch.movedim
    """
    n = len(input._shape)
    src = [S.wrap_dim(d, n) for d in ((source,) if isinstance(source, int) else source)]
    dst = [S.wrap_dim(d, n) for d in ((destination,) if isinstance(destination, int) else destination)]
    if len(src) != len(dst):
        raise RuntimeError(f"movedim: Invalid source or destination dims: source ({src} dims) should contain the same number of dims as destination ({dst} dims)")
    if len(set(src)) != len(src) or len(set(dst)) != len(dst):
        raise RuntimeError(f"movedim: repeated dim in `{'source' if len(set(src)) != len(src) else 'destination'}` ({src}, {dst})")
    if not n:
        return permute_to(input, ())
    order: list = [None] * n
    for a, b in zip(src, dst, strict=True):
        order[b] = a
    rest = iter(d for d in range(n) if d not in src)
    return permute_to(input, tuple(next(rest) if d is None else d for d in order))


@op(COMPOSITE)
def adjoint(input):
    """The conjugate transpose of the last two dimensions.

    Source:   torch.adjoint
    """
    if len(input._shape) < 2:
        raise RuntimeError(f"tensor.adjoint() is only supported on matrices or batches of matrices. Got {len(input._shape)}-D tensor.")
    out = transpose(input, -2, -1)
    return out.conj() if input._dtype.is_complex else out


# expansion ----------------------------------------------------------------------------------------
@op(VIEW, function=False, method=False, node="ExpandBackward0")
def expand_to(input, shape):
    """Size-1 dimensions repeated without copying; see `expand`."""
    lead = len(shape) - len(input._shape)
    if lead < 0:
        raise RuntimeError(
            f"expand({input.type()}{{{list(input._shape)}}}, size={list(shape)}): the number of sizes provided "
            f"({len(shape)}) must be greater or equal to the number of dimensions in the tensor ({len(input._shape)})"
        )
    out, strides = [], []
    for d, n in enumerate(shape):
        have = input._shape[d - lead] if d >= lead else 1
        step = input._strides[d - lead] if d >= lead else 0
        if n == -1:
            if d < lead:
                raise RuntimeError(
                    f"expand({input.type()}{{{list(input._shape)}}}, size={list(shape)}): the expanded size of the tensor "
                    f"(-1) isn't allowed in a leading, non-existing dimension {d}"
                )
            n = have
        if n < 0:
            raise RuntimeError(f"expand: negative size {n} in {list(shape)}")
        if have != n:
            if have != 1:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton "
                    f"dimension {d}.  Target sizes: {list(shape)}.  Tensor sizes: {list(input._shape)}"
                )
            step = 0
        out.append(n)
        strides.append(step)
    return same(input, tuple(out), tuple(strides))


expand_to.derivative(input=lambda g, input_shape: g.sum_to_size(input_shape))


def expand(input, *sizes, **kwargs):
    """Size-1 (and new leading) dimensions repeated without copying; -1 keeps a size.

    Source:   torch.Tensor.expand
    """
    sizes = (kwargs["size"],) if "size" in kwargs else sizes
    return expand_to(input, ints(sizes, "expand"))


def expand_as(input, other):
    """expand to other's shape.

    Source:   torch.Tensor.expand_as
    """
    return expand_to(input, tuple(other._shape))


@op(COMPOSITE)
def broadcast_to(input, size):
    """expand to `size`.

    Source:   torch.broadcast_to
    """
    return expand_to(input, tuple(size))


def broadcast_tensors(*tensors):
    """All tensors expanded to their common shape.

    Source:   torch.broadcast_tensors
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    shape = S.broadcast_shapes("broadcast_tensors", *[tuple(x._shape) for x in tensors])
    return [expand_to(x, shape) for x in tensors]


def broadcast_shapes(*shapes):
    """The shape that the given shapes broadcast to.

    Source:   torch.broadcast_shapes
    """
    shapes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    try:
        return hooks.Size(S.broadcast_shapes("broadcast_shapes", *shapes))
    except RuntimeError:
        raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape") from None


# sizes of 1 ---------------------------------------------------------------------------------------
@op(VIEW)
def unsqueeze(input, dim):
    """A new dimension of size 1 before dim.

    Source:   torch.unsqueeze
    """
    n = len(input._shape)
    dim = S.wrap_dim(dim, n + 1)
    shape, strides = list(input._shape), list(input._strides)
    step = shape[dim] * strides[dim] if dim < n else 1
    shape.insert(dim, 1)
    strides.insert(dim, step)
    return same(input, tuple(shape), tuple(strides))


unsqueeze.derivative(input=lambda g, dim: squeeze_dims(g, (dim,)))


@op(VIEW, function=False, method=False, node="SqueezeBackward1")
def squeeze_dims(input, dims):
    """Dimensions of size 1 among dims left out; see `squeeze`."""
    n = len(input._shape)
    gone = {S.wrap_dim(d, n) for d in dims}
    keep = [d for d in range(n) if d not in gone or input._shape[d] != 1]
    return same(input, tuple([input._shape[d] for d in keep]), tuple([input._strides[d] for d in keep]))


squeeze_dims.derivative(input=lambda g, input_shape: g.reshape(input_shape))


@op(VIEW, function=False, method=False, node="SqueezeBackward0")
def squeeze_all(input):
    """All dimensions of size 1 left out; see `squeeze`."""
    keep = [d for d, n in enumerate(input._shape) if n != 1]
    return same(input, tuple([input._shape[d] for d in keep]), tuple([input._strides[d] for d in keep]))


squeeze_all.derivative(input=lambda g, input_shape: g.reshape(input_shape))


def squeeze(input, dim=None):
    """Dimensions of size 1 left out (all, or those named).

    Source:   torch.squeeze
    """
    if dim is None:
        return squeeze_all(input)
    return squeeze_dims(input, (dim,) if isinstance(dim, int) else tuple(dim))


# parts --------------------------------------------------------------------------------------------
@op(VIEW)
def select(input, dim, index):
    """The slice at `index` of one dimension.

    Source:   torch.select
    """
    n = len(input._shape)
    if not n:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = S.wrap_dim(dim, n)
    size = input._shape[dim]
    index = index.item() if isinstance(index, hooks.Tensor) else index
    if not -size <= index < size:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input._shape)} at dimension {dim}")
    index += size if index < 0 else 0
    shape, st = input._shape, input._strides
    return same(input, shape[:dim] + shape[dim + 1 :], st[:dim] + st[dim + 1 :], input._offset + index * st[dim])


select.derivative(input=lambda g, input_shape, dim, index: put_select(g, input_shape, dim, index))


def put_select(g, shape, dim, index):
    """Zeros of the input's shape with g at the selected slice."""
    return place(g, shape, lambda t: select(t, dim, index))


def place(g, shape, part):
    """Zeros of `shape` with g written to the view part(zeros); differentiable in g."""
    return scatter_into(g, shape, part)


@op(COMPOSITE, function=False, method=False)
def scatter_into(g, shape, part):
    """A zero tensor with one view filled by g."""
    out = g.new_zeros(shape)
    part(out).copy_(g)
    return out


@op(VIEW, function=False, method=False, node="SliceBackward0")
def slice(input, dim, start, end, step):  # noqa: A001
    """input[start:end:step] of one dimension, bounds already within range."""
    shape, st = list(input._shape), list(input._strides)
    shape[dim] = builtins.max(0, -(-(end - start) // step))
    st[dim] *= step
    return same(input, tuple(shape), tuple(st), input._offset + start * input._strides[dim])


slice.derivative(input=lambda g, input_shape, dim, start, end, step: place(
    g, input_shape, lambda x: slice(x, dim, start, end, step)))  # fmt: skip


@op(COMPOSITE)
def narrow(input, dim, start, length):
    """`length` slices of one dimension from `start` on.

    Source:   torch.narrow
    """
    n = len(input._shape)
    if not n:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim = S.wrap_dim(dim, n)
    size = input._shape[dim]
    start = int(start.item()) if isinstance(start, hooks.Tensor) else start
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -size <= start <= size:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-size}, {size}], but got {start})")
    start += size if start < 0 else 0
    if start + length > size:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return slice(input, dim, start, start + length, 1)


def narrow_copy(input, dim, start, length):
    """narrow as a copy.

    Source:   torch.narrow_copy
    """
    return narrow(input, dim, start, length).clone()


@op(VIEW)
def diagonal(input, offset=0, dim1=0, dim2=1):
    """The diagonal of two dimensions, as the last one.

    Source:   torch.diagonal
    """
    n = len(input._shape)
    a, b = S.wrap_dim(dim1, n), S.wrap_dim(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    rows, cols = input._shape[a], input._shape[b]
    size = builtins.max(0, builtins.min(rows, cols - offset) if offset >= 0 else builtins.min(rows + offset, cols))
    at = input._offset
    if size:
        at += offset * input._strides[b] if offset >= 0 else -offset * input._strides[a]
    keep = [d for d in range(n) if d not in (a, b)]
    shape = (*[input._shape[d] for d in keep], size)
    return same(input, shape, (*[input._strides[d] for d in keep], input._strides[a] + input._strides[b]), at)


diagonal.derivative(input=lambda g, input_shape, offset, dim1, dim2: place(
    g, input_shape, lambda x: diagonal(x, offset, dim1, dim2)))  # fmt: skip


@op(VIEW, node="UnfoldBackward0", function=False)
def unfold(input, dimension, size, step):
    """Windows of `size`, `step` apart, of one dimension, as a new last dimension.

    Source:   torch.Tensor.unfold
    """
    n = len(input._shape)
    d = S.wrap_dim(dimension, n)
    have = input._shape[d] if n else 1
    if size > have:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {have} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if not n:
        return same(input, (size,), (1,))
    shape, st = list(input._shape), list(input._strides)
    inner = st[d]
    shape[d] = (have - size) // step + 1
    st[d] *= step
    return same(input, (*shape, size), (*st, inner))


unfold.derivative(input=lambda g, input_shape, dimension, size, step: fold_windows(g, input_shape, dimension, size, step))


def fold_windows(g, shape, dimension: int, size: int, step: int):
    """Sum overlapping windows back into place."""
    if not shape:
        return g.sum()
    d = S.wrap_dim(dimension, len(shape))
    out = g.new_zeros(shape)
    count = g._shape[d]
    for i in range(size):
        stop = i + (count - 1) * step + 1
        part = g.select(-1, i)
        out = out + place(part, shape, lambda x, i=i, stop=stop: slice(x, d, i, stop, step))
    return out


@op(VIEW)
def as_strided(input, size, stride, storage_offset=None):
    """Any geometry over input's storage.

    Errors:   RuntimeError if it would reach outside the storage, or for negative strides
    Source:   torch.as_strided
    """
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    if any(n < 0 for n in size):
        raise RuntimeError(f"as_strided: negative size in {list(size)}")
    offset = input._offset if storage_offset is None else storage_offset
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    _, high = S.extent(size, stride)
    need = (offset + high + 1) * input._dtype.itemsize
    if high >= 0 and need > input._storage.nbytes:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize "
            f"{input._dtype.itemsize} requiring a storage size of {need} are out of bounds for storage of size "
            f"{input._storage.nbytes}"
        )
    return same(input, size, stride, offset)


as_strided.derivative(input=lambda g, input, size, stride, storage_offset: gather_strided(g, input, size, stride, storage_offset))


def gather_strided(g, input, size, stride, storage_offset):
    """Add g where the strided view lies in the input's own elements."""
    offset = input._offset if storage_offset is None else storage_offset
    _, high = S.extent(size, stride)
    low_in, high_in = S.extent(input._shape, input._strides)
    base = builtins.min(offset, input._offset)
    n = builtins.max(offset + high, input._offset + high_in) + 1 - base
    flat = g.new_zeros((n,))
    if g._numel:
        from flambeau.ops.index import outer_offsets

        at = outer_offsets(size, stride)
        at = (at + (offset - base)).reshape(-1) if at is not None else g.new_zeros((1,), dtype=dt.int64) + (offset - base)
        flat = flat.index_add(0, at, g.reshape(-1))
    return as_strided(flat, tuple(input._shape), input._strides, input._offset - base)


# splitting ----------------------------------------------------------------------------------------
@op(VIEW, function=False, method=False, node="SplitWithSizesBackward0")
def split_sizes(input, sizes, dim):
    """Parts of the given sizes along dim; see `split`."""
    dim = S.wrap_dim(dim, len(input._shape))
    out, at = [], 0
    for n in sizes:
        shape = list(input._shape)
        shape[dim] = n
        out.append(same(input, tuple(shape), input._strides, input._offset + at * input._strides[dim]))
        at += n
    return tuple(out)


split_sizes.derivative(input=lambda gs, input_shape, input_dtype, sizes, dim: join_parts(gs, input_shape, sizes, dim))


@op(VIEW, function=False, method=False, node="SplitBackward0")
def split_even(input, split_size, sizes, dim):
    """Parts of one size (the last may be smaller); see `split`."""
    return split_sizes.record.fn(input, sizes, dim)


split_even.derivative(input=lambda gs, input_shape, input_dtype, sizes, dim: join_parts(gs, input_shape, sizes, dim))


def join_parts(gs, shape, sizes, dim: int):
    """cat of the parts' gradients, zeros where there is none."""
    from flambeau.ops.join import cat

    some = next(g for g in gs if g is not None)
    d = S.wrap_dim(dim, len(shape))
    parts = []
    for g, n in zip(gs, sizes, strict=True):
        if g is None:
            part = list(shape)
            part[d] = n
            g = some.new_zeros(part)
        parts.append(g)
    return cat(parts, d)


def split(input, split_size_or_sections, dim=0, **kwargs):
    """Consecutive parts of a size (the last may be smaller), or of the given sizes.

    Source:   torch.split
    """
    n = len(input._shape)
    if not n:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = S.wrap_dim(dim, n)
    size = input._shape[d]
    if isinstance(split_size_or_sections, int):
        k = split_size_or_sections
        if k < 0:
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={k}")
        if k == 0:
            if size:
                raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {size}")
            return split_even(input, 0, (0,), d)
        sizes = tuple([k] * (size // k) + ([size % k] if size % k or not size else []))
        return split_even(input, k, sizes, d)
    sizes = tuple(int(s) for s in split_size_or_sections)
    if any(s < 0 for s in sizes) or sum(sizes) != size:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's size at dimension {d}), but "
            f"got split_sizes={list(sizes)}"
        )
    return split_sizes(input, sizes, d)


def split_with_sizes(input, split_sizes, dim=0):
    """split by a list of sizes.

    Source:   torch.split_with_sizes
    """
    return split(input, list(split_sizes), dim)


def chunk(input, chunks, dim=0):
    """At most `chunks` parts of equal size (the last may be smaller).

    Source:   torch.chunk
    """
    if not input._shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._shape[S.wrap_dim(dim, len(input._shape))]
    size = -(-n // chunks)
    if not size:
        return split(input, [0] * chunks, dim)
    return split(input, size, dim)


def tensor_split(input, indices_or_sections, dim=0, **kwargs):
    """Parts as even as possible, or cut at the given indices.

    Source:   torch.tensor_split
    """
    indices_or_sections = kwargs.get("indices", kwargs.get("sections", indices_or_sections))
    if not input._shape:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = S.wrap_dim(dim, len(input._shape))
    n = input._shape[d]
    if isinstance(indices_or_sections, hooks.Tensor):
        v = indices_or_sections
        indices_or_sections = v.tolist()
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        if k <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {k}")
        small, extra = divmod(n, k)
        sizes = [small + 1] * extra + [small] * (k - extra)
        return split(input, sizes, d)
    cuts = [0, *indices_or_sections, n]
    cuts = [builtins.min(n, c + n if c < 0 else c) for c in cuts]
    return tuple(slice(input, d, a, builtins.max(a, b), 1) for a, b in zip(cuts, cuts[1:], strict=False))


def _axis_split(name: str, dim: int, least: int):
    def fn(input, indices_or_sections):
        n = len(input._shape)
        if n < least:
            raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension{'s' if least > 1 else ''}, but got a tensor with {n} dimensions!")
        d = 0 if name == "hsplit" and n == 1 else dim
        if isinstance(indices_or_sections, int) and (indices_or_sections <= 0 or input._shape[d] % indices_or_sections):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {d}, but the size of the dimension {input._shape[d]} is "
                f"not divisible by the split_size {indices_or_sections}!"
            )
        return tensor_split(input, indices_or_sections, d)

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"tensor_split along dimension {dim}.\n\n    Source:   torch.{name}\n    "
    return fn


hsplit, vsplit, dsplit = _axis_split("hsplit", 1, 1), _axis_split("vsplit", 0, 2), _axis_split("dsplit", 2, 3)


@op(VIEW)
def unbind(input, dim=0):
    """The slices of one dimension, as a tuple.

    Source:   torch.unbind
    """
    n = len(input._shape)
    if not n:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = S.wrap_dim(dim, n)
    shape = input._shape[:d] + input._shape[d + 1 :]
    st = input._strides[:d] + input._strides[d + 1 :]
    step = input._strides[d]
    return tuple([same(input, shape, st, input._offset + i * step) for i in range(input._shape[d])])


unbind.derivative(input=lambda gs, input_shape, dim: stack_parts(gs, dim))


def stack_parts(gs, dim: int):
    """stack of the slices' gradients, zeros where there is none."""
    from flambeau.ops.join import stack

    some = next(g for g in gs if g is not None)
    return stack([some.new_zeros(some._shape) if g is None else g for g in gs], dim)


# complex parts ------------------------------------------------------------------------------------
@op(VIEW)
def view_as_real(input):
    """Complex numbers as pairs in a new last dimension.

    Source:   torch.view_as_real
    """
    if not input._dtype.is_complex:
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {input._dtype}")
    st = (*[s * 2 for s in input._strides], 1)
    return hooks.make(input._storage, input._offset * 2, hooks.Size((*input._shape, 2)), st, input._dtype.to_real(), input._vc)


view_as_real.derivative(input=lambda g: view_as_complex(g.contiguous()))


@op(VIEW)
def view_as_complex(input):
    """Pairs in the last dimension as complex numbers.

    Source:   torch.view_as_complex
    """
    if input._dtype not in (dt.float32, dt.float64):
        raise RuntimeError(f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: {input._dtype}")
    if not input._shape or input._shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if input._strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if input._offset % 2 or any(s % 2 for s in input._strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    st = tuple(s // 2 for s in input._strides[:-1])
    return hooks.make(input._storage, input._offset // 2, input._shape[:-1], st, input._dtype.to_complex(), input._vc)


view_as_complex.derivative(input=lambda g: view_as_real(g))


@op(VIEW, function=False, method=False, node="SelectBackward0")
def part(input, which):
    """The real (0) or imaginary (1) parts of a complex tensor."""
    d = input._dtype.to_real()
    st = tuple(s * 2 for s in input._strides)
    return hooks.make(input._storage, input._offset * 2 + which, input._shape, st, d, input._vc)


part.derivative(input=lambda g, which: to_complex(g, which))


def to_complex(g, which: int):
    """g as real or imaginary part, the other being 0."""
    zero = g * 0
    from flambeau.ops.join import stack

    return view_as_complex(stack([g, zero] if which == 0 else [zero, g], -1).contiguous())


def real(input):
    """The real part (a view), or input itself if it is real.

    Source:   torch.real
    """
    return part(input, 0) if input._dtype.is_complex else input


def imag(input):
    """The imaginary part (a view).

    Source:   torch.imag
    """
    if not input._dtype.is_complex:
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes (got {input._dtype}).")
    return part(input, 1)


# in-place changes of geometry ---------------------------------------------------------------------
def geometry_inplace(name: str, fn):
    """name_: the view takes this tensor's place."""

    def call(self, *args, **kwargs):
        if self._grad_fn is None and self._requires_grad and hooks.recording():
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        if self._requires_grad and hooks.recording():
            old = self._alias()
            old._requires_grad, old._grad_fn, old._output_nr = True, self._grad_fn, self._output_nr
            new = fn(old, *args, **kwargs)
            self._grad_fn, self._output_nr = new._grad_fn, new._output_nr
        else:
            new = fn(self._alias(), *args, **kwargs)
        self._shape, self._strides, self._offset = new._shape, new._strides, new._offset
        self._ptr, self._numel, self._dense = new._ptr, new._numel, new._dense
        hooks.note_change(self)
        return self

    call.__name__ = call.__qualname__ = name + "_"
    call.__doc__ = f"In-place version of `{name}`."
    return call


METHODS = {
    f.__name__: f for f in (
        view, view_as, reshape, reshape_as, permute, expand, expand_as, squeeze, narrow_copy, split, split_with_sizes,
        chunk, tensor_split, hsplit, vsplit, dsplit,
    )
} | {
    n + "_": geometry_inplace(n, f) for n, f in {
        "t": t, "transpose": transpose, "swapaxes": transpose, "swapdims": transpose, "squeeze": squeeze,
        "unsqueeze": unsqueeze, "as_strided": as_strided,
    }.items()
}  # fmt: skip
PROPERTIES = {
    "T": lambda x: permute_to(x, tuple(range(len(x._shape) - 1, -1, -1))),
    "mT": lambda x: transpose(x, -2, -1), "mH": adjoint,
    "H": lambda x: adjoint(x) if len(x._shape) == 2 else x, "real": real, "imag": imag,
}  # fmt: skip

__all__ = [
    "broadcast_shapes", "broadcast_tensors", "chunk", "dsplit", "hsplit", "imag", "narrow_copy", "permute", "real",
    "reshape", "split", "split_with_sizes", "squeeze", "tensor_split", "vsplit",
]  # fmt: skip
