"""QR, singular values, eigenvalues and LU, on LAPACK through NumPy; derivatives as in linear_algebra."""

from __future__ import annotations

import numpy as np

from flambeau.ops.linear_algebra import N, array, check, dagger, solve_batch, solve_matrices, tensor
from flambeau.ops.record import KERNEL, hooks, op
from flambeau.ops.reduce import named


# factorisations -----------------------------------------------------------------------------------
@op(KERNEL, **N, node="LinalgQrBackward0")
def qr_of(A, mode):
    """(Q, R)."""
    q, r = np.linalg.qr(array(A), "complete" if mode == "complete" else "reduced")
    return tensor(q, A._dtype), tensor(r, A._dtype)


def qr_grad(gs, A, mode, result0, result1):
    """Walter and Lehmann's rule for rows >= columns; wide matrices by their square part."""
    q, r = result0, result1
    m, n = A._shape[-2:]
    if mode == "complete" and m > n:
        raise RuntimeError("The derivative of linalg.qr depends on Q: mode='complete' with more rows than columns has none")
    gq = gs[0] if gs[0] is not None else q * 0
    gr = gs[1] if gs[1] is not None else r * 0

    def square(gq, gr, r):
        w = r @ dagger(gr) - dagger(gq) @ q
        low = w.tril(-1)
        sym = low + dagger(low) + (w.diagonal(0, -2, -1)).diag_embed()
        return dagger(solve_matrices(r, dagger(gq + q @ sym)))

    if m >= n:
        return square(gq, gr, r)
    left, right = r[..., :m], gr[..., m:]
    rest = A[..., m:]
    g = square(gq + rest @ dagger(right), gr[..., :m], left)
    from flambeau.ops.join import cat

    return cat([g, q @ right], -1)


qr_of.derivative(A=qr_grad)


def qr(A, mode="reduced", *, out=None):
    """(Q, R) with A = Q R.

    Source:   torch.linalg.qr
    """
    check("linalg.qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    q, r = qr_of(A, "complete" if mode == "complete" else "reduced")
    if mode == "r":
        q = q.new_zeros((0,))
    return named("linalg_qr", (q, r))


@op(KERNEL, **N, node="LinalgSvdBackward0")
def svd_of(A, full):
    """(U, S, Vh)."""
    u, s, vh = np.linalg.svd(array(A), full)
    real = A._dtype.to_real() if A._dtype.is_complex else A._dtype
    return tensor(u, A._dtype), tensor(s, real), tensor(vh, A._dtype)


def svd_grad(gs, A, full, result0, result1, result2):
    """U ((skew(U^H gU) / E) S + S (skew(V^H gV) / E) + gS) V^H and what lies outside the singular vectors' spans."""
    u, s, vh = result0, result1, result2
    k = s._shape[-1]
    u, vh = u[..., :k], vh[..., :k, :]
    gu = None if gs[0] is None else gs[0][..., :k]
    gv = None if gs[2] is None else dagger(gs[2][..., :k, :])
    v = dagger(vh)
    inner = s.new_zeros(s._shape).diag_embed() * 1.0 if gs[1] is None else gs[1].diag_embed()
    inner = inner.to(A._dtype)
    square = s * s
    e = square.unsqueeze(-2) - square.unsqueeze(-1)
    e = e + s.new_ones(k).diag()
    mask = 1 - s.new_ones(k).diag()
    row = s.unsqueeze(-2)
    out = None
    if gu is not None:
        w = dagger(u) @ gu
        inner = inner + (w - dagger(w)) * (mask / e) * row
    if gv is not None:
        w = dagger(v) @ gv
        inner = inner + s.unsqueeze(-1) * ((w - dagger(w)) * (mask / e))
    out = u @ inner @ vh
    if gu is not None and A._shape[-2] > k:
        rest = gu / row
        out = out + (rest - u @ (dagger(u) @ rest)) @ vh
    if gv is not None and A._shape[-1] > k:
        rest = gv / row
        out = out + u @ dagger(rest - v @ (vh @ rest))
    return out


svd_of.derivative(A=svd_grad)


def svd(A, full_matrices=True, *, driver=None, out=None):
    """(U, S, Vh) with A = U diag(S) Vh.

    Source:   torch.linalg.svd
    """
    check("linalg.svd", A, square=False)
    return named("linalg_svd", svd_of(A, full_matrices))


def svdvals(A, *, driver=None, out=None):
    """Singular values, descending.

    Source:   torch.linalg.svdvals
    """
    check("linalg.svdvals", A, square=False)
    return svd_of(A, False)[1]


@op(KERNEL, **N, node="LinalgEighBackward0")
def eigh_of(A, uplo):
    """(eigenvalues, eigenvectors) of a Hermitian matrix."""
    w, v = np.linalg.eigh(array(A), uplo)
    real = A._dtype.to_real() if A._dtype.is_complex else A._dtype
    return tensor(w, real), tensor(v, A._dtype)


def eigh_grad(gs, A, result0, result1):
    """V (diag(gL) + (V^H gV) / E) V^H."""
    w, v = result0, result1
    inner = w.new_zeros(w._shape).diag_embed() if gs[0] is None else gs[0].diag_embed()
    inner = inner.to(A._dtype)
    if gs[1] is not None:
        e = w.unsqueeze(-2) - w.unsqueeze(-1)
        eye = w.new_ones(w._shape[-1]).diag()
        inner = inner + (dagger(v) @ gs[1]) * ((1 - eye) / (e + eye))
    out = v @ inner @ dagger(v)
    return (out + dagger(out)) * 0.5


eigh_of.derivative(A=eigh_grad)


def eigh(A, UPLO="L", *, out=None):  # noqa: N803 - PyTorch's name
    """(eigenvalues ascending, eigenvectors) of Hermitian matrices, from one triangle.

    Source:   torch.linalg.eigh
    """
    check("linalg.eigh", A)
    return named("linalg_eigh", eigh_of(A, UPLO.upper()))


def eigvalsh(A, UPLO="L", *, out=None):  # noqa: N803
    """Eigenvalues of Hermitian matrices, ascending.

    Source:   torch.linalg.eigvalsh
    """
    check("linalg.eigvalsh", A)
    return eigh_of(A, UPLO.upper())[0]


@op(KERNEL, **N, node="LinalgEigBackward0")
def eig_of(A):
    """(eigenvalues, eigenvectors), complex."""
    w, v = np.linalg.eig(array(A))
    d = A._dtype if A._dtype.is_complex else A._dtype.to_complex()
    return tensor(w, d), tensor(v, d)


def eig_grad(gs, A, result0, result1):
    """V^-H (diag(gL) + (V^H gV - V^H V diag(re V^H gV)) / conj E) V^H."""
    w, v = result0, result1
    vh = dagger(v)
    inner = w.new_zeros(w._shape).diag_embed() if gs[0] is None else gs[0].diag_embed()
    if gs[1] is not None:
        vg = vh @ gs[1]
        e = (w.unsqueeze(-2) - w.unsqueeze(-1)).conj()
        eye = w.real.new_ones(w._shape[-1]).diag()
        diag = vg.diagonal(0, -2, -1).real.diag_embed().to(v._dtype)
        inner = inner + (vg - vh @ v @ diag) * ((1 - eye) / (e + eye))
    g = solve_matrices(vh, inner @ vh)
    return g if A._dtype.is_complex else g.real


eig_of.derivative(A=eig_grad)


def eig(A, *, out=None):
    """(eigenvalues, eigenvectors), complex.

    Source:   torch.linalg.eig
    """
    check("linalg.eig", A)
    return named("linalg_eig", eig_of(A))


def eigvals(A, *, out=None):
    """Eigenvalues, complex.

    Source:   torch.linalg.eigvals
    """
    check("linalg.eigvals", A)
    return eig_of(A)[0]


def lu_factors(A):
    """(P, L, U) as arrays, by elimination with partial pivoting over the batch."""
    a = np.array(array(A), copy=True)
    m, n = a.shape[-2:]
    flat = a.reshape(-1, m, n)
    pivots = np.zeros((len(flat), min(m, n)), np.int32)
    order = np.tile(np.arange(m), (len(flat), 1))
    for b, x in enumerate(flat):
        for k in range(min(m, n)):
            p = k + int(np.argmax(np.abs(x[k:, k])))
            pivots[b, k] = p + 1
            if p != k:
                x[[k, p]] = x[[p, k]]
                order[b, [k, p]] = order[b, [p, k]]
            if x[k, k] != 0:
                x[k + 1 :, k] /= x[k, k]
                x[k + 1 :, k + 1 :] -= np.outer(x[k + 1 :, k], x[k, k + 1 :])
    return flat.reshape(a.shape), pivots.reshape(*a.shape[:-2], -1), order.reshape(*a.shape[:-1])


@op(KERNEL, **N, node="LinalgLuFactorExBackward0")
def lu_compact(A):
    """(L and U in one matrix, pivots, row order)."""
    packed, pivots, order = lu_factors(A)
    return tensor(packed, A._dtype), hooks.from_array(pivots), hooks.from_array(order.astype(np.int64))


def lu_grad(gs, A, result0, result2):
    """P L^-H (tril(L^H gL, -1) + triu(gU U^H)) U^-H for square matrices."""
    if A._shape[-1] != A._shape[-2]:
        raise NotImplementedError("linalg.lu: the derivative of matrices that are not square is not implemented")
    eye = A.new_ones(A._shape[-1]).diag()
    lower, upper = result0.tril(-1) + eye, result0.triu()
    g = gs[0]
    inner = (dagger(lower) @ g.tril(-1)).tril(-1) + (g.triu() @ dagger(upper)).triu()
    out = solve_matrices(dagger(lower), inner)
    out = dagger(solve_matrices(upper, dagger(out)))
    return permutation(result2, A) @ out


lu_compact.derivative(A=lu_grad)


def permutation(order, A):
    """P with A = P L U, from the order of A's rows."""
    m = A._shape[-2]
    rows = order.unsqueeze(-1) == hooks.from_array(np.arange(m))
    return rows.to(A._dtype).mT


def check_pivoted(name: str, pivot: bool) -> None:
    """Rows are always exchanged."""
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")


def lu_factor(A, *, pivot=True, out=None):
    """(L and U in one matrix, pivots from 1).

    Source:   torch.linalg.lu_factor
    """
    check_pivoted("linalg.lu_factor", pivot)
    check("linalg.lu_factor", A, square=False)
    packed, pivots, _ = lu_compact(A)
    return named("linalg_lu_factor", (packed, pivots))


def lu(A, *, pivot=True, out=None):
    """(P, L, U) with A = P L U.

    Source:   torch.linalg.lu
    """
    check_pivoted("linalg.lu", pivot)
    check("linalg.lu", A, square=False)
    packed, _, order = lu_compact(A)
    m, n = A._shape[-2:]
    k = min(m, n)
    eye = A.new_zeros(m, k).fill_diagonal_(1)
    return named("linalg_lu", (permutation(order, A), packed[..., :k].tril(-1) + eye, packed[..., :k, :].triu()))


def row_order(pivots, m: int):
    """The order of A's m rows in L U, from lu_factor's pivots."""
    order = np.tile(np.arange(m), (*pivots._shape[:-1], 1))
    flat = order.reshape(-1, m)
    for row, piv in zip(flat, array(pivots).reshape(len(flat), -1), strict=True):
        for k, p in enumerate(piv):
            if not 1 <= p <= m:
                raise RuntimeError(f"LU_pivots: expected row numbers from 1 to {m}, as lu_factor gives them, got {p}")
            row[[k, p - 1]] = row[[p - 1, k]]
    return hooks.from_array(order.astype(np.int64))


def lu_solve(LU, pivots, B, *, left=True, adjoint=False, out=None):  # noqa: N803
    """X with A X = B from lu_factor's results.

    Source:   torch.linalg.lu_solve
    """
    P = permutation(row_order(pivots, LU._shape[-1]), LU)
    A = P @ (LU.tril(-1) + LU.new_ones(LU._shape[-1]).diag()) @ LU.triu()
    A = dagger(A) if adjoint else A
    return solve_batch("linalg.lu_solve", A, B) if left else solve_batch("linalg.lu_solve", A.mT, B.mT).mT


def reflections(A, tau):
    """The product of reflections I - tau v v^H, v below A's diagonal, as a square matrix."""
    m = A._shape[-2]
    q = A.new_zeros(m, m).fill_diagonal_(1).expand(*A._shape[:-2], m, m)
    for i in range(tau._shape[-1]):
        v = A[..., i]
        keep = A.new_zeros(m)
        keep[i + 1 :] = 1
        unit = A.new_zeros(m)
        unit[i] = 1
        v = (v * keep + unit).unsqueeze(-1)
        q = q - tau[..., i, None, None] * (q @ v) @ dagger(v)
    return q


def householder_product(A, tau, *, out=None):
    """The first columns of the product of reflections I - tau v v^H.

    Source:   torch.linalg.householder_product
    """
    return reflections(A, tau)[..., : A._shape[-1]]


__all__ = ["householder_product"]
