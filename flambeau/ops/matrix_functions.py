"""Least squares, powers, exponentials, norms and products of matrices; torch.svd and its like under their old names."""

from __future__ import annotations

import math

import numpy as np

from flambeau.core import shapes as S
from flambeau.ops.decompositions import qr, qr_of, svd, svd_of, svdvals
from flambeau.ops.linear_algebra import (
    array,
    check,
    cholesky,
    dagger,
    inv,
    solve,
    solve_triangular,
    tensor,
)
from flambeau.ops.reduce import named, vector_norm


# least squares, inverses --------------------------------------------------------------------------
def pinv(A, *, atol=None, rtol=None, hermitian=False, out=None, rcond=None):
    """The Moore-Penrose inverse, small singular values left out.

    Source:   torch.linalg.pinv
    """
    check("linalg.pinv", A, square=False)
    if A._numel == 0:
        return A.mT.contiguous()
    rtol = rcond if rtol is None else rtol
    u, s, vh = svd_of(A, False)
    limit = cutoff(A, s, atol, rtol)
    inverse = (1 / s).masked_fill(s <= limit, 0)
    return (dagger(vh) * inverse.unsqueeze(-2)) @ dagger(u)


def cutoff(A, s, atol, rtol):
    """Below this a singular value counts as 0."""
    top = s.amax(-1, True).detach()
    if rtol is None:
        rtol = 0.0 if atol is not None and float(atol) > 0 else max(A._shape[-2:]) * float(np.finfo(s._dtype.np).eps)
    return (top * rtol).clamp(min=0.0 if atol is None else float(atol))


def matrix_rank(A, *, atol=None, rtol=None, hermitian=False, out=None, tol=None):
    """The number of singular values that do not count as 0.

    Source:   torch.linalg.matrix_rank
    """
    check("linalg.matrix_rank", A, square=False)
    s = svdvals(A)
    return (s > cutoff(A, s, tol if atol is None else atol, rtol)).sum(-1)


def lstsq(A, B, rcond=None, *, driver=None):
    """(solution, residuals, rank, singular values) of min |A X - B|.

    Source:   torch.linalg.lstsq
    """
    check("linalg.lstsq", A, square=False)
    vector = len(B._shape) == len(A._shape) - 1
    b = B.unsqueeze(-1) if vector else B
    m, n = A._shape[-2:]
    rank = matrix_rank(A)
    if m >= n and bool((rank == n).all()):
        q, r = qr_of(A, "reduced")
        x = solve(r, dagger(q) @ b)
    else:
        x = pinv(A, rcond=rcond) @ b
    residual = A.new_zeros((0,))
    if m > n and bool((rank == n).all()):
        residual = ((A @ x - b).abs() ** 2).sum(-2)
    x, residual = (x.squeeze(-1), residual) if vector else (x, residual)
    return named("linalg_lstsq", (x, residual, rank, A.new_zeros((0,))))


# powers, norms ------------------------------------------------------------------------------------
def matrix_power(A, n, *, out=None):
    """A^n by squaring; negative n by the inverse.

    Source:   torch.linalg.matrix_power
    """
    check("linalg.matrix_power", A)
    if n == 0:
        return A.new_ones(A._shape[-1]).diag().expand(A._shape).clone()
    if n < 0:
        return matrix_power(inv(A), -n)
    out, base = None, A
    while n:
        if n & 1:
            out = base if out is None else out @ base
        n >>= 1
        base = base @ base if n else base
    return out


def matrix_exp(A):
    """e^A by scaling and squaring of a Taylor polynomial of degree 18 (Bader, Blanes and Casas, 2019).

    Source:   torch.linalg.matrix_exp
    """
    check("linalg.matrix_exp", A)
    if A._numel == 0:
        return A.clone()
    size = float(A.detach().abs().sum(-1).max())
    halvings = max(0, math.ceil(math.log2(max(size, 1e-300))) + 1) if math.isfinite(size) else 0
    x = A / 2.0**halvings
    eye = A.new_ones(A._shape[-1]).diag()
    out = eye + x / 18
    for k in range(17, 0, -1):
        out = eye + (x @ out) / k
    for _ in range(halvings):
        out = out @ out
    return out


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """Norms of matrices: fro, nuc, inf, -inf, 1, -1, 2, -2.

    Source:   torch.linalg.matrix_norm
    """
    if dtype is not None:
        A = A.to(dtype)
    a, b = (S.wrap_dim(d, len(A._shape)) for d in dim)
    if ord == "fro":
        return vector_norm(A, 2, (a, b), keepdim)
    if ord in ("nuc", 2, -2):
        s = svdvals(A.movedim((a, b), (-2, -1)))
        y = s.sum(-1) if ord == "nuc" else s.amax(-1) if ord == 2 else s.amin(-1)
        if keepdim:
            for d in sorted((a, b)):
                y = y.unsqueeze(d)
        return y
    if ord not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    first, second = (a, b) if abs(ord) == 1 else (b, a)
    sums = A.abs().sum(first, True)
    y = sums.amax(second, True) if ord > 0 else sums.amin(second, True)
    return y if keepdim else y.squeeze((a, b))


def linalg_norm(A, ord=None, dim=None, keepdim=False, *, out=None, dtype=None):
    """The vector norm of order `ord`, or the matrix norm where two dims (or a matrix and an order) are given.

    Source:   torch.linalg.norm
    """
    if dim is None and ord is not None and len(A._shape) == 2:
        return matrix_norm(A, ord, (-2, -1), keepdim, dtype=dtype)
    if dim is not None and not isinstance(dim, int) and len(dim) == 2 and ord is not None:
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} is for matrices")
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


def cond(A, p=None, *, out=None):
    """The condition number |A| |A^-1|.

    Source:   torch.linalg.cond
    """
    if p in (None, 2, -2):
        s = svdvals(A)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


def multi_dot(tensors, *, out=None):
    """The product of several matrices in the cheapest order; the first and last may be vectors.

    Source:   torch.linalg.multi_dot
    """
    from flambeau.ops.contract import chain_matmul

    tensors = list(tensors)
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    head, tail = len(tensors[0]._shape) == 1, len(tensors[-1]._shape) == 1
    if head:
        tensors[0] = tensors[0].unsqueeze(0)
    if tail:
        tensors[-1] = tensors[-1].unsqueeze(1)
    y = chain_matmul(*tensors)
    y = y.squeeze(0) if head else y
    return y.squeeze(-1) if tail else y


def linalg_cross(input, other, *, dim=-1, out=None):
    """The vector product along dim (of size 3).

    Source:   torch.linalg.cross
    """
    shape = S.broadcast_shapes("linalg.cross", tuple(input._shape), tuple(other._shape))
    a, b = input.expand(shape), other.expand(shape)
    d = S.wrap_dim(dim, len(shape))
    if shape[d] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input._shape[d]} and {other._shape[d]}")
    return a.roll(-1, d) * b.roll(-2, d) - a.roll(-2, d) * b.roll(-1, d)


def cross(input, other, dim=None, *, out=None):
    """The vector product along dim, the first of size 3 by default.

    Source:   torch.cross
    """
    if dim is None:
        dim = next((d for d, n in enumerate(input._shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return linalg_cross(input, other, dim=dim)


def vecdot(x, y, *, dim=-1, out=None):
    """sum conj(x) y along dim.

    Source:   torch.linalg.vecdot
    """
    return (x.conj() * y).sum(dim)


def tensorinv(A, ind=2, *, out=None):
    """The inverse of tensordot with A.

    Source:   torch.linalg.tensorinv
    """
    n = math.prod(A._shape[:ind])
    return inv(A.reshape(n, -1)).reshape([*A._shape[ind:], *A._shape[:ind]])


def tensorsolve(A, B, dims=None, *, out=None):
    """X with tensordot(A, X) = B.

    Source:   torch.linalg.tensorsolve
    """
    if dims is not None:
        A = A.movedim(dims, tuple(range(len(A._shape) - len(dims), len(A._shape))))
    n = B._numel
    return solve(A.reshape(n, -1), B.reshape(n)).reshape(A._shape[len(B._shape) :])


def torch_svd(input, some=True, compute_uv=True, *, out=None):
    """(U, S, V) with input = U diag(S) V^H.

    Source:   torch.svd
    """
    u, s, vh = svd(input, full_matrices=not some)
    return named("svd", (u, s, vh.mH))


def torch_qr(input, some=True, *, out=None):
    """(Q, R).

    Source:   torch.qr
    """
    return named("qr", qr(input, "reduced" if some else "complete"))


def torch_cholesky(input, upper=False, *, out=None):
    """The Cholesky factor.

    Source:   torch.cholesky
    """
    return cholesky(input, upper=upper)


def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False, *, out=None):
    """(X, A) with A X = b for a triangular A.

    Source:   torch.triangular_solve
    """
    T = A.mT if transpose else A
    x = solve_triangular(T, b, upper=upper != transpose, unitriangular=unitriangular)
    return named("triangular_solve", (x, A.clone()))


def geqrf(input, *, out=None):
    """(a, tau): QR's reflections below R's triangle, and their factors.

    Source:   torch.geqrf
    """
    check("geqrf", input, square=False)
    h, tau = np.linalg.qr(array(input), "raw")
    return named("geqrf", (tensor(np.swapaxes(h, -1, -2), input._dtype), tensor(tau, input._dtype)))


def pinverse(input, rcond=1e-15):
    """The Moore-Penrose inverse; singular values below rcond times the largest count as 0.

    Source:   torch.pinverse
    """
    return pinv(input, rcond=rcond)


METHODS = {
    "geqrf": geqrf, "cholesky": torch_cholesky, "qr": torch_qr, "svd": torch_svd, "matrix_power": matrix_power,
    "pinverse": pinverse, "matrix_exp": matrix_exp, "cross": cross,
    "triangular_solve": triangular_solve,
}  # fmt: skip
OLD_NAMES = {"svd": torch_svd, "qr": torch_qr, "cholesky": torch_cholesky}  # torch.svd is not torch.linalg.svd

__all__ = ["cross", "geqrf", "matrix_exp", "matrix_power", "pinverse", "triangular_solve"]
