"""What ops do with sparse tensors: FORMS, by the op's name. An op without an entry says that it has none.

A form gets the op's arguments and is written in ops of the indices and values, whose derivatives serve.
"""

from __future__ import annotations

import builtins
import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import join, record
from flambeau.ops.create import arange
from flambeau.ops.record import TABLE, SparseOperand, hooks
from flambeau.ops.sort import searchsorted
from flambeau.sparse import products
from flambeau.sparse.coo import SparseTensor, build, keys_of, like, parts, sparse_of, taken
from flambeau.sparse.sums import sum_form


def is_sparse(x) -> bool:
    return isinstance(x, SparseTensor)


# arithmetic ---------------------------------------------------------------------------------------
def add(input, other, alpha=1):
    """dense + sparse is dense, sparse + sparse sparse."""
    if not is_sparse(other):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if input._shape != other._shape:
        raise RuntimeError(f"add: expected sizes of 'self' and 'other' to match, but {list(input._shape)} != {list(other._shape)}")
    d = dt.result_type([(input._dtype, "tensor"), (other._dtype, "tensor")])
    input, other = input.to(d), other.to(d)
    other = other if builtins.type(alpha) is int and alpha == 1 else mul(other, alpha)
    return merged(input, other) if is_sparse(input) else onto(input, other)


def onto(input, other):
    """A dense tensor plus a sparse one."""
    places, values, _ = parts(other)
    n = places._shape[0]
    if n == 1:
        return input.index_add(0, places[0], values)
    flat = input.reshape((math.prod(input._shape[:n]), *input._shape[n:]))
    return flat.index_add(0, keys_of(places, input._shape), values).reshape(input._shape)


def merged(a, b):
    """A sparse tensor plus another: equal indices are added at once if both are coalesced."""
    (here, x, _), (there, y, _) = parts(a), parts(b)
    if here is there or here._shape == there._shape and bool((here == there).all()):
        return sparse_of(here, x + y, a._shape, a._coalesced)
    both = a._coalesced and b._coalesced
    if a.sparse_dim() != b.sparse_dim():
        raise RuntimeError("add: expected 'self' and 'other' to have same number of sparse dimensions")
    total = sparse_of(join.cat([here, there], 1), join.cat([x, y], 0), a._shape, False)
    return total.coalesce() if both else total


def sub(input, other, alpha=1):
    return add(input, other, -alpha)


def rsub(input, other, alpha=1):
    return add(other, input, -alpha)


def mul(input, other):
    """By a number; by a dense tensor, where the values are; by a sparse one, where both have values."""
    if not is_sparse(input):
        input, other = other, input
    if not isinstance(other, hooks.Tensor) or not other._shape:
        places, values, in_order = parts(input)
        return sparse_of(places, values * other, input._shape, in_order)
    if not is_sparse(other):
        other = other if other._shape == input._shape else other.expand(input._shape)
        places, values, in_order = parts(input)
        return sparse_of(places, values * taken(other, places), input._shape, in_order)
    if input._shape != other._shape or input.sparse_dim() != other.sparse_dim():
        raise RuntimeError(f"mul: sparse tensors must have one shape and sparse dimensions, got {list(input._shape)} and {list(other._shape)}")
    return both(input, other)


def both(a, b):
    """The product of two sparse tensors: at the places of a that b keeps as well (of all of a if b is not coalesced)."""
    places, values, in_order = parts(a)
    product = values * taken(b, places)
    if b._coalesced and places is not b._places:
        kept = isin_places(places, b).nonzero().reshape(-1)
        places, product = places.index_select(1, kept), product.index_select(0, kept)
    return sparse_of(places, product, a._shape, in_order)


def isin_places(places, other):
    """For each coordinate, whether a coalesced sparse tensor keeps it."""
    return taken(build(other._places, hooks.empty((other._nnz(),), dt.bool).fill_(True), other._shape[: other.sparse_dim()], True), places)


def div(input, other, rounding_mode=None):
    if not is_sparse(input) or isinstance(other, hooks.Tensor) and other._shape:
        raise RuntimeError(
            f"Sparse division requires a scalar or zero-dim dense tensor divisor (got shape {list(getattr(other, '_shape', ()))} for divisor)"
        )
    x = input if rounding_mode is None else input.coalesce()
    places, values, in_order = parts(x)
    return sparse_of(places, values.div(other, rounding_mode=rounding_mode), x._shape, in_order)


def neg(input):
    places, values, in_order = parts(input)
    return sparse_of(places, -values, input._shape, in_order)


def of_values(name: str):
    """An op that keeps 0 at 0, of the coalesced tensor's values."""
    call = TABLE[name].call

    def form(input, *args):
        x = input.coalesce()
        return like(x, call(parts(x)[1], *args))

    return form


KEEPS_ZERO = (
    "abs", "asin", "asinh", "atan", "atanh", "ceil", "conj", "deg2rad", "erf", "erfinv", "expm1", "floor", "frac", "isinf", "isnan", "isneginf",
    "isposinf", "log1p", "rad2deg", "relu", "round", "sgn", "sign", "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
)  # fmt: skip


def pow_(input, exponent):
    if not is_sparse(input) or isinstance(exponent, hooks.Tensor) or not exponent > 0:
        raise RuntimeError("pow(sparse): the exponent must be a positive number, since zeros must stay zeros")
    x = input.coalesce()
    return like(x, parts(x)[1] ** exponent)


# geometry -----------------------------------------------------------------------------------------
def permute(input, dims):
    """Sparse dimensions among themselves, dense ones among themselves."""
    places, values, in_order = parts(input)
    n = places._shape[0]
    if sorted(dims[:n]) != list(range(n)):
        raise RuntimeError("transpose of a sparse tensor: sparse and dense dimensions cannot be exchanged")
    order = list(dims)
    if order[:n] != list(range(n)):
        places, in_order = places.index_select(0, index_of(order[:n])), False
    if order[n:] != list(range(n, len(order))):
        values = values.permute(0, *[d - n + 1 for d in order[n:]])
    return sparse_of(places, values, tuple([input._shape[d] for d in order]), in_order)


def index_of(numbers):
    """A vector of indices."""
    from flambeau.tensor.interop import tensor

    return tensor(list(numbers), dtype=dt.int64)


def transpose(input, dim0, dim1):
    order = list(range(len(input._shape)))
    a, b = S.wrap_dim(dim0, len(order)), S.wrap_dim(dim1, len(order))
    order[a], order[b] = b, a
    return permute(input, tuple(order))


def t(input):
    if input.sparse_dim() > 2 or input.dense_dim():
        raise RuntimeError(
            f"t() expects a tensor with <= 2 sparse and 0 dense dimensions, but got {input.sparse_dim()} sparse and "
            f"{input.dense_dim()} dense dimensions"
        )
    return transpose(input, 0, -1)


def unsqueeze(input, dim):
    ndim = len(input._shape)
    d = S.wrap_dim(dim, ndim + 1)
    places, values, in_order = parts(input)
    n = places._shape[0]
    shape = (*input._shape[:d], 1, *input._shape[d:])
    if d > n:
        return sparse_of(places, values.unsqueeze(d - n + 1), shape, in_order)
    row = places.new_zeros((1, places._shape[1]))
    return sparse_of(join.cat([places[:d], row, places[d:]], 0), values, shape, False)


def select(input, dim, index):
    """One slice; dense if no sparse dimension is left."""
    ndim = len(input._shape)
    d = S.wrap_dim(dim, ndim)
    size = input._shape[d]
    if not -size <= index < size:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input._shape)} at dimension {d}")
    index += size * (index < 0)
    places, values, in_order = parts(input)
    n = places._shape[0]
    shape = (*input._shape[:d], *input._shape[d + 1 :])
    if d >= n:
        return sparse_of(places, values.select(d - n + 1, index), shape, in_order)
    kept = (places[d] == index).nonzero().reshape(-1)
    values = values.index_select(0, kept)
    if n == 1:
        return values.sum(0)
    return sparse_of(join.cat([places[:d], places[d + 1 :]], 0).index_select(1, kept), values, shape, in_order)


def at(input, index):
    """input[index] for integers and full slices."""
    parts_ = index if isinstance(index, tuple) else (index,)
    if builtins.any(x is not Ellipsis and not isinstance(x, (int, slice)) or isinstance(x, bool) for x in parts_):
        raise NotImplementedError("square brackets of a sparse tensor take integers and full slices: use index_select or to_dense()")
    if Ellipsis in parts_:
        gap = parts_.index(Ellipsis)
        full = (slice(None),) * (len(input._shape) - len(parts_) + 1)
        parts_ = parts_[:gap] + full + parts_[gap + 1 :]
    if len(parts_) > len(input._shape):
        raise IndexError(f"too many indices for tensor of dimension {len(input._shape)}")
    dim = 0
    for x in parts_:
        if isinstance(x, slice):
            if x != slice(None):
                raise NotImplementedError("a slice of a sparse tensor is not implemented: use index_select or to_dense()")
            dim += 1
        else:
            input = input.select(dim, x)
    return input


def unbind(input, dim=0):
    return tuple([select(input, dim, i) for i in range(input._shape[S.wrap_dim(dim, len(input._shape))])])


def index_select(input, dim, index):
    """Slices in the order of index."""
    d = S.wrap_dim(dim, len(input._shape))
    places, values, in_order = parts(input)
    n = places._shape[0]
    shape = (*input._shape[:d], index._numel, *input._shape[d + 1 :])
    if d >= n:
        return sparse_of(places, values.index_select(d - n + 1, index), shape, in_order)
    size = input._shape[d]
    index = index.to(dt.int64).reshape(-1)
    if index._numel and not 0 <= index.min().item() <= index.max().item() < size:
        raise IndexError(f"index_select(): index out of range for tensor of size {list(input._shape)} at dimension {d}")
    row, order = places[d].sort(stable=True)
    first = searchsorted(row, index)
    count = searchsorted(row, index, right=True) - first
    target = arange(index._numel).repeat_interleave(count)
    before = count.cumsum(0) - count
    steps = arange(target._numel)
    found = order.index_select(0, first.index_select(0, target) + steps - before.index_select(0, target))
    rows = places.index_select(1, found)
    moved = join.cat([rows[:d], target.unsqueeze(0), rows[d + 1 :]], 0)
    out = sparse_of(moved, values.index_select(0, found), shape, False)
    return out.coalesce() if in_order else out


def cat(tensors, dim=0):
    """Sparse tensors one after the other."""
    tensors = list(tensors)
    if not builtins.all(map(is_sparse, tensors)):
        raise RuntimeError("Concatenating sparse tensors, but a dense tensor was found: use to_sparse() or to_dense() first")
    first = tensors[0]
    d, n, start, rows, kept = S.wrap_dim(dim, len(first._shape)), first.sparse_dim(), 0, [], []
    if d >= n:
        raise NotImplementedError("cat: sparse tensors along a dense dimension are not implemented; use to_dense() first")
    for x in tensors:
        others = [s for i, s in enumerate(x._shape) if i != d]
        if x.sparse_dim() != n or others != [s for i, s in enumerate(first._shape) if i != d]:
            raise RuntimeError(f"cat: sparse tensors must agree but for dimension {d}, got {list(first._shape)} and {list(x._shape)}")
        places, values, _ = parts(x)
        rows.append(places if not start else join.cat([places[:d], (places[d] + start).unsqueeze(0), places[d + 1 :]], 0))
        kept.append(values)
        start += x._shape[d]
    return sparse_of(join.cat(rows, 1), join.cat(kept, 0), (*first._shape[:d], start, *first._shape[d + 1 :]), False)


def stack(tensors, dim=0):
    return cat([unsqueeze(x, dim) for x in tensors], dim)


# copies -------------------------------------------------------------------------------------------
def clone(input, memory_format=None):
    places, values, in_order = parts(input)
    return sparse_of(places.clone(), values.clone(), input._shape, in_order)


def to_copy(input, dtype, memory_format=None):
    places, values, in_order = parts(input)
    return sparse_of(places, values.to(dtype), input._shape, in_order)


def to_dense(input, dtype=None):
    """The dense tensor of the same elements."""
    places, values, _ = parts(input)
    out = values.new_zeros(input._shape).index_put_(tuple(places.unbind(0)), values, accumulate=True) if places._shape[0] else values.sum(0)
    return out if dtype is None else out.to(dtype)


# reductions ---------------------------------------------------------------------------------------
def norm(input, p="fro", dim=None, keepdim=False, dtype=None):
    if dim is not None or keepdim:
        raise RuntimeError("norm_sparse currently only supports full reductions")
    return parts(input.coalesce())[1].norm(2 if p == "fro" else p, dtype=dtype)


def any_(input, dim=None, keepdim=False):
    if dim is not None:
        raise SparseOperand("any(dim) is not implemented for tensors of layout torch.sparse_coo: use to_dense() first")
    return parts(input.coalesce())[1].any()


FORMS = {
    "add": add, "sub": sub, "rsub": rsub, "mul": mul, "div": div, "neg": neg, "pow": pow_, "any": any_, "norm": norm,
    "floor_divide": lambda input, other: div(input, other, "floor"),
    "permute_to": permute, "transpose": transpose, "t": t, "unsqueeze": unsqueeze, "select": select, "unbind": unbind,
    "index_select": index_select, "cat": cat, "stack": stack, "clone": clone, "to_copy": to_copy,
    "mm": products.mm, "mv": products.mv, "matmul": products.matmul, "addmm": products.addmm, "linear": products.linear,
    "sum": sum_form,
} | {name: of_values(name) for name in KEEPS_ZERO if name in TABLE}  # fmt: skip
INPLACE = ("add", "sub", "mul", "div", "neg")


def sparse_form(op: record.Op, args: tuple, kwargs: dict):
    """The op of its arguments, some of them sparse; a rule of a derivative is just computed."""
    form = FORMS.get(op.name)
    if TABLE.get(op.name) is not op:
        return op.invoke(op.bind(args, kwargs))
    if form is None:
        raise SparseOperand(
            f"{op.name}() is not implemented for tensors of layout torch.sparse_coo: use to_dense() first"
        ) from None
    return form(*args, **kwargs)


def sparse_inplace(op: record.Op, values: tuple):
    """name_ of such an op: a dense tensor takes a sparse one's values, or a sparse tensor becomes the result."""
    x = values[0]
    if op.name not in INPLACE:
        raise SparseOperand(f"{op.name}_() is not implemented for tensors of layout torch.sparse_coo") from None
    if is_sparse(x):
        result = FORMS[op.name](*values)
        if not dt.can_cast(result._dtype, x._dtype):
            raise RuntimeError(f"result type {result._dtype} can't be cast to the desired output type {x._dtype}")
        return x._become(result.to(x._dtype))
    other = values[1]
    if op.name not in ("add", "sub") or not dt.can_cast(other._dtype, x._dtype) or x._shape != other._shape:
        return x.copy_(FORMS[op.name](*values))  # which says what is wrong
    alpha = values[2] if op.name == "add" else -values[2]
    places, held, _ = parts(other)
    held = held.to(x._dtype)
    if builtins.type(alpha) is not int or alpha != 1:
        held = held * alpha
    return x.index_put_(tuple(places.unbind(0)), held, accumulate=True)


hooks.sparse_form, hooks.sparse_inplace = sparse_form, sparse_inplace
SparseTensor.to_dense = to_dense  # type: ignore[method-assign]
