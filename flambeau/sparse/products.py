"""Products with sparse matrices: a row of the result is a sum of rows of the dense factor, in the order of the indices."""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.create import arange
from flambeau.ops.index_kernels import Flag, told
from flambeau.ops.record import KERNEL, TABLE, hooks, op
from flambeau.ops.sort import searchsorted
from flambeau.sparse.coo import HIDDEN, SparseTensor, parts, sparse_of

WORK = 16384  # multiplications that make another thread worth waking


@kernel
def rows_of_products(k, y: Ptr, v: Ptr, x: Ptr, column: Ptr, start: Ptr, bad: Ptr, size: Int, width: Int):
    """y[r] = sum of v[e] x[column[e]] over e in [start[r], start[r + 1]); a column outside x is flagged."""
    with k.parallel() as r:
        out = y.at(r * width)
        with k.vector(width) as j:
            out[j] = E.const(0, y.compute)
        with k.seq(start[r], start[r + 1]) as e:
            c = column[e]
            inside = (c >= 0) & (c < size)
            with k.if_(~inside):
                bad[0] = told(c)
            row, a = x.at(E.where(inside, c, E.const(0, dt.int64)) * width), v[e]
            with k.vector(width) as j:
                out[j] = out[j] + a * row[j]


def rows_of(places, side: int, count: int) -> tuple:
    """(start, order, columns): the values of row r are order[start[r]:start[r + 1]] (None: as they are), in these columns.

    Kept with the indices until those change, since the same matrix is a factor many times.
    """
    kept = places.__dict__.setdefault("_rows", {})
    found = kept.get((side, count))
    if found is not None and found[0] == places._vc.version:
        return found[1:]
    rows, columns, order = places[side], places[1 - side], None
    if not bool((rows[1:] >= rows[:-1]).all()):
        rows, order = rows.sort(stable=True)
        columns = columns.index_select(0, order)
    rows = rows.contiguous()
    if rows._numel and not 0 <= rows[0].item() <= rows[-1].item() < count:
        bad = rows[0].item() if rows[0].item() < 0 else rows[-1].item()
        raise IndexError(f"sparse mm: index {bad} is out of bounds for dimension {side} with size {count}")
    kept[side, count] = found = places._vc.version, searchsorted(rows, arange(count + 1)), order, columns.contiguous()
    return found[1:]


@op(KERNEL, **HIDDEN, node="SparseAddmmBackward0")
def product(values, dense, places, side, count):
    """The matrix of `count` rows whose row r is the sum of values[e] dense[places[1 - side, e]] where places[side, e] = r."""
    size, width = dense._shape
    d = values._dtype
    if d.is_complex:
        return join(values, dense, lambda a, b: product.record.fn(a, b, places, side, count))
    if d in (dt.float16, dt.bfloat16, dt.bool):
        wide = dt.int32 if d is dt.bool else dt.float32
        return product.record.fn(values.to(wide), dense.to(wide), places, side, count).to(d)
    out = hooks.empty((count, width), d)
    if not out._numel:
        return out
    if not values._numel or not size:
        return out.zero_()
    start, order, columns = rows_of(places, side, count)
    values = values.contiguous() if order is None else values.index_select(0, order)
    dense, flag = dense.contiguous(), Flag()
    run = rows_of_products((d, d, d, dt.int64, dt.int64, dt.int64))
    grain = max(1, WORK * count // max(1, values._numel * width))
    run(count, grain, out._ptr, values._ptr, dense._ptr, columns._ptr, start._ptr, flag.ptr, size, width)
    flag.check("sparse mm", 1 - side, size)
    return out


def join(a, b, multiply):
    """A complex product of four real ones."""
    a_re, a_im, b_re, b_im = a.real.contiguous(), a.imag.contiguous(), b.real.contiguous(), b.imag.contiguous()
    return TABLE["complex"].call(multiply(a_re, b_re) - multiply(a_im, b_im), multiply(a_re, b_im) + multiply(a_im, b_re))


def conjugate(x):
    return x.conj() if x._dtype.is_complex else x


product.derivative(
    values=lambda g, dense, places, side: (
        g.index_select(0, places[side]) * conjugate(dense).index_select(0, places[1 - side])).sum(1),
    dense=lambda g, values, places, side, dense_shape: product(conjugate(values), g, places, 1 - side, dense_shape[0]),
)  # fmt: skip


def check_matrix(x, which: str) -> None:
    if len(x._shape) != 2 or isinstance(x, SparseTensor) and x.dense_dim():
        raise RuntimeError(f"sparse mm({which}): expected a matrix with 2 sparse and 0 dense dimensions, got shape {list(x._shape)}")


def mm(input, mat2):
    """input @ mat2 where one or both are sparse; sparse if both are.

    Shapes:   (m, k), (k, n) -> (m, n)
    """
    check_matrix(input, "input")
    check_matrix(mat2, "mat2")
    if input._dtype is not mat2._dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {input._dtype} != {mat2._dtype} (mm)")
    (m, k), (k2, n) = input._shape, mat2._shape
    if k != k2:
        raise RuntimeError(f"mm: mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    if not isinstance(mat2, SparseTensor):
        places, values, _ = parts(input)
        return product(values, mat2, places, 0, m)
    if not isinstance(input, SparseTensor):
        places, values, _ = parts(mat2)
        return product(values, input.t(), places, 1, n).t()
    return both_sparse(input, mat2)


def both_sparse(a, b):
    """Every value of a times the row of b that its column names; coalesced."""
    (left, x, _), (right, y, _) = parts(a.coalesce()), parts(b.coalesce())
    start = searchsorted(right[0].contiguous(), arange(b._shape[0] + 1))
    first, count = start.index_select(0, left[1]), (start[1:] - start[:-1]).index_select(0, left[1])
    of_a = arange(x._numel).repeat_interleave(count)
    before = count.cumsum(0) - count
    of_b = arange(of_a._numel) - before.index_select(0, of_a) + first.index_select(0, of_a)
    from flambeau.ops.join import stack

    places = stack([left[0].index_select(0, of_a), right[1].index_select(0, of_b)])
    return sparse_of(places, x.index_select(0, of_a) * y.index_select(0, of_b), (a._shape[0], b._shape[1]), False).coalesce()


def mv(input, vec):
    """A sparse matrix times a vector."""
    return mm(input, vec.unsqueeze(1)).squeeze(1)


def matmul(input, other):
    """input @ other for matrices and vectors."""
    if len(other._shape) == 1:
        return mv(input, other)
    if len(input._shape) == 1:
        return mm(input.unsqueeze(0), other).squeeze(0)
    return mm(input, other)


def addmm(input, mat1, mat2, beta=1, alpha=1):
    """beta * input + alpha * (mat1 @ mat2)."""
    y = mm(mat1, mat2)
    y = y if alpha == 1 else y * alpha
    return y + (input if beta == 1 else input * beta)


def linear(input, weight, bias=None):
    """input @ weight.t() + bias."""
    y = mm(input, weight.t())
    return y if bias is None else y + bias
