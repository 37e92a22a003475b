"""Views of all elements: other shapes and orders of the same memory. Nothing is copied, except where `reshape` must.

A VIEW op's body works out shape, strides and offset; `tensor.bind` ties the result to its base.
"""

from __future__ import annotations

import functools
import math
import operator

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.record import COMPOSITE, TENSORS, VIEW, hooks, op


def ints(args: tuple, name: str) -> tuple[int, ...]:
    """Sizes or dims given one by one or as one sequence."""
    for a in args:
        if a.__class__ is not int:
            break
    else:
        return args
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
VIEW_AS_SHAPE = view_as_shape.record


def view(input, *shape, dtype=None):
    """input with another shape (or element dtype) over the same memory.

    Errors:   RuntimeError if the strides do not allow it (use reshape)
    Source:   torch.Tensor.view
    """
    if dtype is None:
        for n in shape:
            if n.__class__ is not int:
                break
        else:
            return VIEW_AS_SHAPE.quick(input, shape)
        if len(shape) != 1 or not isinstance(shape[0], dt.dtype):
            return view_as_shape(input, ints(shape, "view"))
        dtype = shape[0]
    return view_dtype(input, dtype)


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
    if input.__class__ in TENSORS and (input._dtype, input._shape, input._strides, tuple, shape, None) in view_as_shape.known:
        return VIEW_AS_SHAPE.quick(input, shape)
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
    return permute_to(input, order_of(dims, len(input._shape)))


@functools.lru_cache(maxsize=1024)
def order_of(dims: tuple, n: int) -> tuple:
    """dims as non-negative numbers, checked to be a permutation of n."""
    if len(dims) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(dims)}"
        )
    wrapped = tuple([S.wrap_dim(d, n) for d in dims])
    if len(set(wrapped)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return wrapped


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


METHODS = {f.__name__: f for f in (view, view_as, reshape, reshape_as, permute, expand, expand_as, squeeze)} | {
    n + "_": geometry_inplace(n, f) for n, f in {
        "t": t, "transpose": transpose, "swapaxes": transpose, "swapdims": transpose, "squeeze": squeeze,
        "unsqueeze": unsqueeze,
    }.items()
}  # fmt: skip


def reversed_dims(input):
    """A view with the dimensions in reverse order.

    Source:   torch.Tensor.T
    """
    return permute_to(input, tuple(range(len(input._shape) - 1, -1, -1)))


def matrix_transpose(input):
    """A view with the last two dimensions swapped.

    Source:   torch.Tensor.mT
    """
    return transpose(input, -2, -1)


def conjugate_transpose(input):
    """A matrix, transposed and conjugated; other tensors as they are.

    Source:   torch.Tensor.H
    """
    return adjoint(input) if len(input._shape) == 2 else input


PROPERTIES = {"T": reversed_dims, "mT": matrix_transpose, "mH": adjoint, "H": conjugate_transpose}

__all__ = ["broadcast_shapes", "broadcast_tensors", "permute", "reshape", "squeeze"]
