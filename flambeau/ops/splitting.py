"""Several views at once: split, chunk, unbind and their like."""

from __future__ import annotations

import builtins

from flambeau.core import shapes as S
from flambeau.ops.record import VIEW, hooks, op
from flambeau.ops.slicing import slice
from flambeau.ops.view import same


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


METHODS = {f.__name__: f for f in (split, split_with_sizes, chunk, tensor_split, hsplit, vsplit, dsplit)}

__all__ = ["chunk", "dsplit", "hsplit", "split", "split_with_sizes", "tensor_split", "vsplit"]
