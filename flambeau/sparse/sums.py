"""Sums of sparse tensors over some or all dimensions, and softmax over the elements that are kept."""

from __future__ import annotations

from flambeau.core import shapes as S
from flambeau.ops.record import state
from flambeau.sparse.coo import SparseTensor, keys_of, parts, sparse_of


def dims_of(name: str, dim, ndim: int) -> tuple[int, ...]:
    """The dimensions to go over, from 0 and in order: all if dim is None or empty."""
    given = (dim,) if isinstance(dim, int) else dim
    if given is None or not len(given):
        return tuple(range(ndim))
    dims = tuple(sorted(S.wrap_dim(d, ndim) for d in given))
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"{name}: dim appears multiple times in the list of dims: {list(given)}")
    return dims


def sum_form(input, dim=None, keepdim=False, dtype=None):
    """Dense if no sparse dimension is left, else sparse and coalesced."""
    x = input if dtype is None else input.to(dtype)
    ndim = len(x._shape)
    dims = dims_of("sum", dim, ndim)
    if keepdim:
        raise RuntimeError("sum(keepdim=True) is not supported for sparse tensors: use unsqueeze() or to_dense()")
    places, values, in_order = parts(x.coalesce())
    n = places._shape[0]
    if len(dims) == ndim:
        return values.sum()
    inner = tuple([d - n + 1 for d in dims if d >= n])
    values = values.sum(inner) if inner else values
    kept = [d for d in range(n) if d not in dims]
    if not kept:
        return values.sum(0)
    shape = tuple([s for d, s in enumerate(x._shape) if d not in dims])
    if len(kept) == n:
        return sparse_of(places, values, shape, in_order)
    from flambeau.sparse.forms import index_of

    return sparse_of(places.index_select(0, index_of(kept)), values, shape, False).coalesce()


def sum(input, dim=None, dtype=None):  # noqa: A001
    """The sum of a sparse tensor over dimensions: dense if all sparse ones are among them, else sparse.

    Args:     dim: an int, a tuple, or None for all; dtype: that of the result
    Source:   torch.sparse.sum
    """
    require(input, "sum")
    return sum_form(input, dim, False, dtype)


def require(input, name: str) -> None:
    if not isinstance(input, SparseTensor):
        raise RuntimeError(f"torch.sparse.{name}(input): expected a tensor of layout torch.sparse_coo, got {getattr(input, 'layout', type(input).__name__)}")


def shifted(input, dim: int, dtype):
    """(coalesced input, exp of its values less the greatest of their group, values less that, sums by group, group)."""
    x = (input if dtype is None else input.to(dtype)).coalesce()
    places, values, _ = parts(x)
    d = S.wrap_dim(dim, len(x._shape))
    n = places._shape[0]
    if d >= n:
        return x, None, values, d - n + 1, None
    others = [i for i in range(n) if i != d]
    from flambeau.sparse.forms import index_of

    keys = keys_of(places.index_select(0, index_of(others)), [x._shape[i] for i in others]) if others else places[0] * 0
    group, where = keys.unique(return_inverse=True)
    shape = (group._numel, *values._shape[1:])
    before, state.grad = state.grad, False
    try:
        spread = where.reshape((-1,) + (1,) * (len(values._shape) - 1)).expand(values._shape)
        most = values.new_zeros(shape).scatter_reduce(0, spread, values, "amax", include_self=False)
    finally:
        state.grad = before
    less = values - most.index_select(0, where)
    powers = less.exp()
    return x, powers, less, powers.new_zeros(shape).index_add(0, where, powers), where


def softmax(input, dim, *, dtype=None):
    """exp(x) / sum of exp over the elements of dim that are kept; the others count as -inf.

    Source:   torch.sparse.softmax
    """
    require(input, "softmax")
    x, powers, less, total, where = shifted(input, dim, dtype)
    values = less.softmax(total) if where is None else powers / total.index_select(0, where)
    return sparse_of(x._places, values, x._shape, True)


def log_softmax(input, dim, *, dtype=None):
    """x less the logarithm of the sum of exp over the elements of dim that are kept.

    Source:   torch.sparse.log_softmax
    """
    require(input, "log_softmax")
    x, _, less, total, where = shifted(input, dim, dtype)
    values = less.log_softmax(total) if where is None else less - total.index_select(0, where).log()
    return sparse_of(x._places, values, x._shape, True)
