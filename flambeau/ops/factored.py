"""LU and QR in their packed forms, under PyTorch's older names; low-rank approximations. Loaded when first named."""

from __future__ import annotations

from flambeau.ops.decompositions import (
    check_pivoted,
    householder_product,
    lu_compact,
    permutation,
    qr,
    reflections,
    row_order,
    svd,
)
from flambeau.ops.decompositions import lu_solve as solve_factored
from flambeau.ops.linear_algebra import check, dagger
from flambeau.ops.random import randn
from flambeau.ops.reduce import named


# LU -----------------------------------------------------------------------------------------------
def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True, *, out=None):  # noqa: N803 - PyTorch's names
    """(P, L, U) of lu_factor's results; what is not unpacked is an empty tensor.

    Shapes:   (*, m, n), (*, k) -> (*, m, m), (*, m, k), (*, k, n), k the smaller of m and n
    Source:   torch.lu_unpack
    """
    m, n = LU_data._shape[-2:]
    k, nothing = min(m, n), LU_data.new_empty(0)
    P, L, U = nothing, nothing, nothing
    if unpack_pivots:
        P = permutation(row_order(LU_pivots, m), LU_data)
    if unpack_data:
        L = LU_data[..., :k].tril(-1) + LU_data.new_zeros(m, k).fill_diagonal_(1)
        U = LU_data[..., :k, :].triu()
    return named("lu_unpack", (P, L, U))


def lu_factor_ex(A, *, pivot=True, check_errors=False, out=None):
    """(L and U in one matrix, pivots from 1, info): info is the first zero on U's diagonal, counted from 1, or 0.

    Errors:   RuntimeError for a zero there, if check_errors
    Source:   torch.linalg.lu_factor_ex
    """
    check_pivoted("linalg.lu_factor_ex", pivot)
    check("linalg.lu_factor_ex", A, square=False)
    packed, pivots, _ = lu_compact(A)
    zero = packed.detach().diagonal(0, -2, -1) == 0
    info = (zero.int().argmax(-1) + 1).where(zero.any(-1), 0).int() if zero.numel() else zero.any(-1).int()
    if check_errors and bool(info.any()):
        raise RuntimeError(f"linalg.lu_factor_ex: U[{info.max().item()},{info.max().item()}] is zero and using it on lu_solve would result in a division by zero.")
    return named("linalg_lu_factor_ex", (packed, pivots, info))


def lu(A, pivot=True, get_infos=False, out=None):
    """(L and U in one matrix, pivots), and info if get_infos.

    Source:   torch.lu
    """
    packed, pivots, info = lu_factor_ex(A, pivot=pivot)
    return (packed, pivots, info) if get_infos else (packed, pivots)


def lu_solve(b, LU_data, LU_pivots, *, out=None):  # noqa: N803
    """X with A X = b from lu_factor's results.

    Source:   torch.lu_solve
    """
    return solve_factored(LU_data, LU_pivots, b)


# QR -----------------------------------------------------------------------------------------------
def orgqr(input, tau):
    """The first columns of Q from geqrf's results.

    Source:   torch.orgqr
    """
    return householder_product(input, tau)


def ormqr(input, tau, other, left=True, transpose=False, *, out=None):
    """Q other (or other Q, or by Q^H if transpose), Q the whole product of geqrf's reflections.

    Source:   torch.ormqr
    """
    q = reflections(input, tau)
    q = dagger(q) if transpose else q
    rows = other._shape[-2 if left else -1]
    if rows != q._shape[-1]:
        raise RuntimeError(f"torch.ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2], got {rows} and {q._shape[-1]}")
    return q @ other if left else other @ q


# low rank -----------------------------------------------------------------------------------------
def get_approximate_basis(A, q, niter=2, M=None):  # noqa: N803
    """(*, m, q): an orthonormal basis of nearly all of A's (or A - M's) range, from random vectors and `niter` power iterations.

    Source:   Halko, Martinsson and Tropp, Finding structure with randomness, 2009, algorithm 4.4
    """
    A = A if M is None else A - M
    found = qr(A @ randn(A._shape[-1], q, dtype=A._dtype))[0]
    for _ in range(niter):
        found = qr(A @ qr(dagger(A) @ found)[0])[0]
    return found


def svd_lowrank(A, q=6, niter=2, M=None):  # noqa: N803
    """(U, S, V) with A (or A - M) nearly U diag(S) V^H, of rank q, from random vectors (of the default generator).

    Shapes:   (*, m, n) -> (*, m, q), (*, q), (*, n, q)
    Source:   Halko, Martinsson and Tropp, 2009, algorithm 5.1; torch.svd_lowrank
    """
    A = A if M is None else A - M.expand(A._shape)
    wide = A._shape[-2] < A._shape[-1]
    A = dagger(A) if wide else A
    basis = get_approximate_basis(A, 6 if q is None else q, niter)
    U, S, Vh = svd(dagger(basis) @ A, full_matrices=False)
    U, V = basis @ U, dagger(Vh)
    return (V, S, U) if wide else (U, S, V)


def pca_lowrank(A, q=None, center=True, niter=2):
    """svd_lowrank of A, whose columns' means are taken off first if center: V's columns are the principal directions.

    Shapes:   (*, m, n) -> (*, m, q), (*, q), (*, n, q); q is at most 6 by default
    Errors:   ValueError for q or niter out of range
    Source:   torch.pca_lowrank
    """
    m, n = A._shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


__all__ = ["get_approximate_basis", "lu", "lu_solve", "lu_unpack", "orgqr", "ormqr", "pca_lowrank", "svd_lowrank"]
