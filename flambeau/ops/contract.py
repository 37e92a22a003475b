"""Sums of products over named or counted dimensions: einsum, tensordot, kron, bilinear; and distances between rows."""

from __future__ import annotations

import math
import string

from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

ELLIPSIS_LABELS = [chr(0x1000 + i) for i in range(64)]  # labels of dims that ... stands for


# einsum -------------------------------------------------------------------------------------------
def einsum(equation, *operands):
    """Sums of products by Einstein's convention: "ij,jk->ik".

    Pairs are contracted in the order that keeps intermediate results smallest, each as one (batched) matrix product.
    Args:     equation, tensors; or tensor, [dims], tensor, [dims], ..., [output dims]
    Errors:   RuntimeError for labels that do not fit the tensors
    Source:   torch.einsum
    """
    if not isinstance(equation, str):
        equation, operands = from_lists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    labels, output = parse(equation, operands)
    terms = [diagonals(x, names) for x, names in zip(operands, labels, strict=True)]
    sizes = check_sizes(terms)
    while len(terms) > 1:
        i, j = cheapest_pair(terms, output, sizes)
        b, a = terms.pop(j), terms.pop(i)
        needed = set(output).union(*[names for _, names in terms]) if terms else set(output)
        terms.append(contract(a, b, needed))
    x, names = terms[0]
    gone = tuple(d for d, n in enumerate(names) if n not in output)
    if gone:
        x, names = x.sum(gone), [n for n in names if n in output]
    return x.permute([names.index(n) for n in output]) if list(output) != names else x


def from_lists(args: tuple):
    """The (tensor, dims, ...) form as an equation."""
    operands, parts = args[0::2], args[1::2]
    output = None
    if len(args) % 2:
        output, operands = operands[-1], operands[:-1]

    def text(dims):
        return "".join("..." if d is Ellipsis else string.ascii_letters[d] for d in dims)

    equation = ",".join(map(text, parts))
    return (equation if output is None else f"{equation}->{text(output)}"), tuple(operands)


def parse(equation: str, operands):
    """(labels of each operand, labels of the output), ... replaced by labels of its own."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise RuntimeError(
            f"einsum(): {'more' if len(operands) > len(parts) else 'fewer'} operands were provided than specified in the "
            f"equation ({len(operands)} for {len(parts)} in {equation!r})"
        )
    labels, widest = [], 0
    for k, (part, x) in enumerate(zip(parts, operands, strict=True)):
        head, dots, tail = part.partition("...")
        for c in head + tail:
            if c not in string.ascii_letters:
                raise RuntimeError(f"einsum(): invalid subscript given at index {equation.find(c)} in the equation string, subscripts must be in [a-zA-Z]")
        n = len(x._shape) - len(head) - len(tail)
        if n < 0 or n and not dots:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(head) + len(tail)}) does not match the number of "
                f"dimensions ({len(x._shape)}) for operand {k}{'' if dots else ' and no ellipsis was given'}"
            )
        widest = max(widest, n)
        labels.append([*head, *(ELLIPSIS_LABELS[64 - n :] if n else []), *tail])
    dotted = ELLIPSIS_LABELS[64 - widest :] if widest else []
    if arrow:
        head, dots, tail = right.partition("...")
        output = [*head, *(dotted if dots else []), *tail]
        known = {n for names in labels for n in names}
        for n in output:
            if n not in known:
                raise RuntimeError(f"einsum(): output subscript {n} does not appear in the equation for any input operand")
        if len(set(output)) != len(output):
            raise RuntimeError("einsum(): output subscript appears more than once in the output")
    else:
        every = [n for names in labels for n in names]
        output = dotted + sorted(n for n in set(every) if every.count(n) == 1 and n not in dotted)
    return labels, output


def diagonals(x, names: list):
    """x with repeated labels reduced to their diagonal."""
    names = list(names)
    for n in set(names):
        while names.count(n) > 1:
            a = names.index(n)
            b = names.index(n, a + 1)
            if x._shape[a] != x._shape[b]:
                raise RuntimeError(f"einsum(): subscript {n} is repeated for operand but the sizes don't match, {x._shape[b]} != {x._shape[a]}")
            x = x.diagonal(0, a, b)
            names = [m for d, m in enumerate(names) if d not in (a, b)] + [n]
    return x, names


def check_sizes(terms) -> dict:
    """The size of every label; 1 broadcasts."""
    sizes: dict = {}
    for k, (x, names) in enumerate(terms):
        for n, size in zip(names, x._shape, strict=True):
            old = sizes.get(n, 1)
            if size != old and size != 1 and old != 1:
                raise RuntimeError(
                    f"einsum(): subscript {n} has size {size} for operand {k} which does not broadcast with previously "
                    f"seen size {old}"
                )
            sizes[n] = max(size, old) if size and old else 0
    return sizes


def cheapest_pair(terms, output, sizes) -> tuple[int, int]:
    """The two terms whose product is smallest."""
    if len(terms) == 2:
        return 0, 1
    best = None
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            others = set(output).union(*[n for k, (_, n) in enumerate(terms) if k not in (i, j)])
            kept = (set(terms[i][1]) | set(terms[j][1])) & others
            cost = math.prod(sizes[n] for n in kept)
            if best is None or cost < best[0]:
                best = (cost, i, j)
    return best[1], best[2]


def contract(a, b, needed: set):
    """The product of two terms summed over labels nobody else needs."""
    (x, xn), (y, yn) = drop(a, b, needed), drop(b, a, needed)
    shared = [n for n in xn if n in yn]
    # a size of 1 against a larger one broadcasts: such labels are left to multiplication
    size = dict(zip(xn, x._shape, strict=True)), dict(zip(yn, y._shape, strict=True))
    even = all(size[0][n] == size[1][n] for n in shared)
    summed = [n for n in shared if n not in needed]
    if not summed or not even:
        names = xn + [n for n in yn if n not in xn]
        out = spread_to(x, xn, names) * spread_to(y, yn, names)
        gone = tuple(names.index(n) for n in summed)
        return (out.sum(gone) if gone else out), [n for n in names if n not in summed]
    batch = [n for n in shared if n in needed]
    left, right = [n for n in xn if n not in shared], [n for n in yn if n not in shared]
    x = x.permute([xn.index(n) for n in batch + left + summed])
    y = y.permute([yn.index(n) for n in batch + summed + right])
    nb, nl, ns = len(batch), len(left), len(summed)
    bs, ls, rs = x._shape[:nb], x._shape[nb : nb + nl], y._shape[nb + ns :]
    k = math.prod(x._shape[nb + nl :])
    if batch:
        out = x.reshape(math.prod(bs), math.prod(ls), k).bmm(y.reshape(math.prod(bs), k, math.prod(rs)))
    else:
        out = x.reshape(math.prod(ls), k).mm(y.reshape(k, math.prod(rs)))
    return out.reshape(*bs, *ls, *rs), batch + left + right


def drop(term, other, needed: set):
    """A term summed over labels that only it has and nobody needs."""
    x, names = term
    gone = [n for n in names if n not in other[1] and n not in needed]
    if not gone:
        return x, names
    return x.sum(tuple(names.index(n) for n in gone)), [n for n in names if n not in gone]


def spread_to(x, names: list, order: list):
    """x with a dim (of size 1 if it has no such label) for every label of `order`."""
    x = x.permute([names.index(n) for n in order if n in names])
    for d, n in enumerate(order):
        if n not in names:
            x = x.unsqueeze(d)
    return x


# products over counted dims -----------------------------------------------------------------------
@op(COMPOSITE, method=False)
def tensordot(a, b, dims=2):
    """Sums of products over the last `dims` dims of a and the first of b, or over given pairs of dims.

    Source:   torch.tensordot
    """
    if isinstance(dims, hooks.Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(len(a._shape), len(b._shape)):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        da, db = list(range(len(a._shape) - dims, len(a._shape))), list(range(dims))
    else:
        da, db = ([d] if isinstance(d, int) else list(d) for d in dims)
    if len(da) != len(db):
        raise RuntimeError("both dimension lists should have same length")
    da = [S.wrap_dim(d, len(a._shape)) for d in da]
    db = [S.wrap_dim(d, len(b._shape)) for d in db]
    for i, j in zip(da, db, strict=True):
        if a._shape[i] != b._shape[j] and 1 not in (a._shape[i], b._shape[j]):
            raise RuntimeError(f"contracted dimensions need to match, but first has size {a._shape[i]} in dim {i} and second has size {b._shape[j]} in dim {j}")
    la = [d for d in range(len(a._shape)) if d not in da]
    lb = [d for d in range(len(b._shape)) if d not in db]
    k = math.prod(a._shape[d] for d in da)
    x = a.permute(la + da).reshape(-1 if a._numel else math.prod(a._shape[d] for d in la), k)
    y = b.permute(db + lb).reshape(k, -1 if b._numel else math.prod(b._shape[d] for d in lb))
    return (x @ y).reshape([a._shape[d] for d in la] + [b._shape[d] for d in lb])


@op(COMPOSITE)
def kron(input, other):
    """The Kronecker product.

    Source:   torch.kron
    """
    n = max(len(input._shape), len(other._shape))
    a = input.reshape((1,) * (n - len(input._shape)) + tuple(input._shape))
    b = other.reshape((1,) * (n - len(other._shape)) + tuple(other._shape))
    wide_a = a.reshape([s for d in a._shape for s in (d, 1)])
    wide_b = b.reshape([s for d in b._shape for s in (1, d)])
    return (wide_a * wide_b).reshape([x * y for x, y in zip(a._shape, b._shape, strict=True)])


def chain_matmul(*matrices):
    """The product of matrices, in the order that needs fewest multiplications.

    Source:   torch.chain_matmul
    """
    if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)):
        matrices = tuple(matrices[0])
    n = len(matrices)
    if n == 0:
        raise RuntimeError("chain_matmul: Expected one or more matrices")
    for m in matrices:
        if len(m._shape) != 2:
            raise RuntimeError(f"chain_matmul: expected matrices, got a tensor with {len(m._shape)} dimensions")
    sizes = [m._shape[0] for m in matrices] + [matrices[-1]._shape[1]]
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )

    return product_of(matrices, split, 0, n - 1)


def product_of(matrices, split, i: int, j: int):
    """The product of matrices i to j, the first product of which ends at split[i][j]."""
    if i == j:
        return matrices[i]
    return product_of(matrices, split, i, split[i][j]) @ product_of(matrices, split, split[i][j] + 1, j)


@op(COMPOSITE, function=False, method=False, functional=True)
def bilinear(input1, input2, weight, bias=None):
    """y_o = input1_i weight_oij input2_j + bias_o.

    Source:   torch.nn.functional.bilinear
    """
    if input1._shape[:-1] != input2._shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: {list(input1._shape[:-1])} and {list(input2._shape[:-1])}"
        )
    if input1._shape[-1] != weight._shape[1] or input2._shape[-1] != weight._shape[2]:
        raise RuntimeError(
            f"bilinear(): input sizes {input1._shape[-1]}, {input2._shape[-1]} do not match weight of shape {list(weight._shape)}"
        )
    lead = tuple(input1._shape[:-1])
    x1, x2 = (x.reshape(math.prod(x._shape[:-1]), x._shape[-1]) for x in (input1, input2))
    out = einsum("ni,oij,nj->no", x1, weight, x2)
    out = out if bias is None else out + bias
    return out.reshape(*lead, weight._shape[0])


# distances ----------------------------------------------------------------------------------------
POWERS = {0: lambda d: E.cast(d != 0, d.dtype), 1: abs, 2: lambda d: d * d}


@kernel
def distances(k, y: Ptr, a: Ptr, b: Ptr, p: Float, rows: Int, cols: Int, n: Int, *, kind: str):
    """y[batch, i, j] = |a[batch, i] - b[batch, j]|_p. The launch counts (batch, i)."""
    d = y.compute
    with k.parallel() as t:
        batch = t // rows
        x, others, out = a.at(t * n), b.at(batch * cols * n), y.at(t * cols)
        acc = k.acc("max" if kind == "max" else "add", d)
        with k.seq(cols) as j:
            row = others.at(j * n)
            acc.reset(0)
            with k.vector(n) as i:
                diff = x[i] - row[i]
                acc.update({
                    "zero": lambda v: E.cast(v != 0, d), "one": abs, "two": lambda v: v * v, "max": abs,
                    "any": lambda v: E.power(abs(v), E.cast(p, d)),
                }[kind](diff))  # fmt: skip
            total = acc.value
            out[j] = E.sqrt(total) if kind == "two" else E.power(total, E.cast(1 / p, d)) if kind == "any" else total


KINDS = {0: "zero", 1: "one", 2: "two", math.inf: "max"}


@op(KERNEL, function=False, method=False, node="CdistBackward0")
def cdist_batched(x1, x2, p):
    """Distances of all pairs of rows of (batch, rows, n) tensors."""
    batch, rows, n = x1._shape
    cols = x2._shape[1]
    out = hooks.empty((batch, rows, cols), x1._dtype)
    if out._numel:
        a, b = x1.contiguous(), x2.contiguous()
        kernel_ = distances((out._dtype, a._dtype, b._dtype), kind=KINDS.get(p, "any"))
        kernel_(batch * rows, max(1, 16384 // max(1, cols * n)), out._ptr, a._ptr, b._ptr, float(p) or 1.0, rows, cols, n)
    return out


def cdist_grad(g, x1, x2, result, p):
    """The gradient for x1: a matrix product for p = 2, differences of all pairs otherwise."""
    if p == 0:
        return x1 * 0
    if p == 2:
        w = (g / result).masked_fill(result == 0, 0)
        return x1 * w.sum(-1, True) - w @ x2
    diff = x1.unsqueeze(2) - x2.unsqueeze(1)
    g, r = g.unsqueeze(-1), result.unsqueeze(-1)
    if p == math.inf:
        return (g * diff.sign() * (diff.abs() == r)).sum(2)
    if p == 1:
        return (g * diff.sign()).sum(2)
    w = (diff.sign() * diff.abs().pow(p - 1) / r.pow(p - 1)).masked_fill((r == 0) | (diff == 0), 0)
    return (g * w).sum(2)


cdist_batched.derivative(
    x1=lambda g, x1, x2, result, p: cdist_grad(g, x1, x2, result, p),
    x2=lambda g, x1, x2, result, p: cdist_grad(g.mT, x2, x1, result.mT, p),
)


@op(COMPOSITE, method=False)
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """The p-norm distances of all pairs of rows; x1 (..., P, M), x2 (..., R, M) -> (..., P, R).

    Numerics: always from differences, never by expanding the square (compute_mode is accepted)
    Source:   torch.cdist
    """
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if x1._shape[-1:] != x2._shape[-1:]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1._shape[-1] if x1._shape else 0} X2: "
            f"{x2._shape[-1] if x2._shape else 0}"
        )
    lead = S.broadcast_shapes("cdist", tuple(x1._shape[:-2]), tuple(x2._shape[:-2]))
    a = x1.expand(*lead, *x1._shape[-2:]).reshape(math.prod(lead), *x1._shape[-2:])
    b = x2.expand(*lead, *x2._shape[-2:]).reshape(math.prod(lead), *x2._shape[-2:])
    return cdist_batched(a, b, float(p)).reshape(*lead, x1._shape[-2], x2._shape[-2])


@op(COMPOSITE, functional=True, method=False)
def pdist(input, p=2.0):
    """The distances of every pair of rows i < j, as a vector.

    Source:   torch.nn.functional.pdist
    """
    if len(input._shape) != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {len(input._shape)}D")
    from flambeau.ops.create import triu_indices

    n = input._shape[0]
    rows, cols = triu_indices(n, n, 1).unbind(0)
    return cdist(input, input, p).reshape(-1).index_select(0, rows * n + cols)


# integers -----------------------------------------------------------------------------------------
@kernel
def euclid(k, y: Ptr, a: Ptr, b: Ptr):
    """The greatest common divisor, element by element."""
    with k.parallel() as i:
        x, z = k.var(E.cast(abs(a[i]), y.dtype)), k.var(E.cast(abs(b[i]), y.dtype))
        with k.while_(lambda: z.get() != 0):
            rest = E.mod(x.get(), z.get())
            x.set(z.get())
            z.set(rest)
        y[i] = x.get()


@op(KERNEL, inplace=True)
def gcd(input, other):
    """The greatest common divisor of integers.

    Source:   torch.gcd
    """
    from flambeau.ops.predicates import result_type

    d = result_type(input, other)
    if d.kind not in "iu":
        raise NotImplementedError(f"gcd(): takes integers, got {d}")
    shape = S.broadcast_shapes("gcd", tuple(input._shape), tuple(other._shape))
    a, b = (t.to(d).expand(shape).contiguous() for t in (input, other))
    y = hooks.empty(shape, d)
    euclid((d, d, d))(y._numel, 2048, y._ptr, a._ptr, b._ptr)
    return y


@op(COMPOSITE, inplace=True)
def lcm(input, other):
    """The least common multiple of integers.

    Source:   torch.lcm
    """
    g = gcd(input, other)
    return (input.div(g.masked_fill(g == 0, 1), rounding_mode="floor") * other).abs()


__all__ = ["chain_matmul", "einsum"]
