"""Linear algebra on LAPACK through NumPy, batched, with derivatives of our own.

Forward computations leave for NumPy and come back; every derivative is written in tensor ops, so it can be
differentiated again. Formulas: Giles, An extended collection of matrix derivative results, 2008; Walter and Lehmann, 2010
(QR); Boeddeker et al., On the computation of complex-valued gradients, 2017.
"""

from __future__ import annotations

import math

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.record import KERNEL, hooks, op
from flambeau.ops.reduce import named, vector_norm

N = {"function": False, "method": False}


class LinAlgError(RuntimeError):
    """A matrix has not the property that an operation needs."""


def array(t):
    """NumPy's view of a tensor's elements."""
    return hooks.view_array(t)


def tensor(a, d):
    """A tensor of dtype d with an array's elements."""
    return hooks.from_array(np.asarray(a, d.np))


def check(name: str, *tensors, square: bool = True) -> None:
    """Floating (or complex) matrices of one dtype, square if asked."""
    for t in tensors:
        if not isinstance(t, hooks.Tensor):
            raise TypeError(f"{name}(): argument 'A' (position 1) must be Tensor, not {type(t).__name__}")
        if t._dtype not in (dt.float32, dt.float64, dt.complex64, dt.complex128):
            raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {t._dtype}")
        if t._dtype is not tensors[0]._dtype:
            raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found {tensors[0]._dtype} and {t._dtype}")
        if len(t._shape) < 2:
            raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if square and tensors[0]._shape[-1] != tensors[0]._shape[-2]:
        a, b = tensors[0]._shape[-2:]
        raise RuntimeError(f"{name}: A must be batches of square matrices, but they are {a} by {b} matrices")


def dagger(x):
    """The conjugate transpose."""
    return x.mH


def phi(x):
    """The lower triangle, half of its diagonal."""
    return x.tril() - x.diagonal(0, -2, -1).diag_embed() * 0.5


# solving ------------------------------------------------------------------------------------------
@op(KERNEL, **N, node="LinalgInvExBackward0")
def inverse_of(A):
    """A^-1."""
    try:
        return tensor(np.linalg.inv(array(A)), A._dtype)
    except np.linalg.LinAlgError:
        raise LinAlgError("linalg.inv: The diagonal element is zero, the inversion could not be completed because the input matrix is singular.") from None


inverse_of.derivative(A=lambda g, result: -(dagger(result) @ g @ dagger(result)))


def inv(A, *, out=None):
    """A^-1.

    Errors:   LinAlgError if A is singular
    Source:   torch.linalg.inv
    """
    check("linalg.inv", A)
    return inverse_of(A)


@op(KERNEL, **N, node="LinalgSolveExBackward0")
def solve_matrices(A, B):
    """A^-1 B for matrices B."""
    try:
        return tensor(np.linalg.solve(array(A), array(B)), A._dtype)
    except np.linalg.LinAlgError:
        raise LinAlgError("torch.linalg.solve: The solver failed because the input matrix is singular.") from None


solve_matrices.derivative(
    A=lambda g, A, result: -(solve_matrices(dagger(A), g) @ dagger(result)),
    B=lambda g, A: solve_matrices(dagger(A), g),
)


def solve(A, B, *, left=True, out=None):
    """X with A X = B (X A = B if not left); B may be a (batch of) vectors.

    Errors:   LinAlgError if A is singular
    Source:   torch.linalg.solve
    """
    check("linalg.solve", A)
    vector = len(B._shape) == 1 or len(A._shape) - 1 == len(B._shape) and B._shape == A._shape[:-1]
    if not left:
        return solve(A.mT, B.mT if not vector else B).mT if not vector else solve(A.mT, B)
    if vector:
        return solve(A, B.unsqueeze(-1)).squeeze(-1)
    check("linalg.solve", A, B)
    if B._shape[-2] != A._shape[-1]:
        raise RuntimeError(f"linalg.solve: Incompatible shapes of A and B for the equation AX = B ({A._shape[-2]}x{A._shape[-1]} and {B._shape[-2]}x{B._shape[-1]})")
    lead = S.broadcast_shapes("linalg.solve", tuple(A._shape[:-2]), tuple(B._shape[:-2]))
    return solve_matrices(A.expand(*lead, *A._shape[-2:]), B.expand(*lead, *B._shape[-2:]))


def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None):
    """X with A X = B for a triangular A.

    Source:   torch.linalg.solve_triangular
    """
    check("linalg.solve_triangular", A)
    T = A.triu() if upper else A.tril()
    if unitriangular:
        eye = T.new_ones(T._shape[-1]).diag()
        T = (T.triu(1) if upper else T.tril(-1)) + eye
    return solve(T, B, left=left)


def inv_ex(A, *, check_errors=False, out=None):
    """(A^-1, info): info is 0 where it exists.

    Source:   torch.linalg.inv_ex
    """
    return named("linalg_inv_ex", (inv(A), A.new_zeros(A._shape[:-2], dtype=dt.int32)))


def solve_ex(A, B, *, left=True, check_errors=False, out=None):
    """(X, info) as solve's.

    Source:   torch.linalg.solve_ex
    """
    return named("linalg_solve_ex", (solve(A, B, left=left), A.new_zeros(A._shape[:-2], dtype=dt.int32)))


@op(KERNEL, **N, node="LinalgCholeskyExBackward0")
def cholesky_lower(A):
    """L with L L^H = A."""
    try:
        return tensor(np.linalg.cholesky(array(A)), A._dtype)
    except np.linalg.LinAlgError:
        raise LinAlgError("linalg.cholesky: The factorization could not be completed because the input is not positive-definite (a leading minor is not positive-definite).") from None


def cholesky_grad(g, result):
    """L^-H phi(L^H g) L^-1, made Hermitian."""
    lh = dagger(result)
    p = phi(lh @ g.tril())
    s = solve_matrices(lh, dagger(solve_matrices(lh, dagger(p))))
    return (s + dagger(s)) * 0.5


cholesky_lower.derivative(A=cholesky_grad)


def cholesky(A, *, upper=False, out=None):
    """L with L L^H = A (or U = L^H).

    Errors:   LinAlgError if A is not positive definite
    Source:   torch.linalg.cholesky
    """
    check("linalg.cholesky", A)
    L = cholesky_lower(A)
    return dagger(L) if upper else L


def cholesky_ex(A, *, upper=False, check_errors=False, out=None):
    """(L, info).

    Source:   torch.linalg.cholesky_ex
    """
    return named("linalg_cholesky_ex", (cholesky(A, upper=upper), A.new_zeros(A._shape[:-2], dtype=dt.int32)))


def cholesky_solve(B, L, upper=False):
    """X with A X = B, given A's Cholesky factor.

    Source:   torch.cholesky_solve
    """
    L = dagger(L.triu()) if upper else L.tril()
    return solve(dagger(L), solve(L, B))


def cholesky_inverse(L, upper=False):
    """A^-1 from A's Cholesky factor.

    Source:   torch.cholesky_inverse
    """
    return cholesky_solve(L.new_ones(L._shape[-1]).diag(), L, upper)


# determinants -------------------------------------------------------------------------------------
@op(KERNEL, **N, node="LinalgDetBackward0")
def det_of(A):
    """det A."""
    return tensor(np.linalg.det(array(A)), A._dtype)


def det_grad(g, A, result):
    """g det(A) A^-H; by singular values where A is singular."""
    if bool((result == 0).any()):
        u, s, vh = svd(A, full_matrices=False)
        n = s._shape[-1]
        others = []
        from flambeau.ops.join import cat

        for i in range(n):
            others.append(cat([s[..., :i], s[..., i + 1 :]], -1).prod(-1, True))
        sign = det_of(u) * det_of(vh)
        inner = cat(others, -1) * sign.unsqueeze(-1).conj()
        return g[..., None, None] * ((u * inner.unsqueeze(-2)) @ vh)
    return (g * result.conj())[..., None, None] * dagger(inverse_of(A))


det_of.derivative(A=det_grad)


def det(A, *, out=None):
    """The determinant.

    Source:   torch.linalg.det
    """
    check("linalg.det", A)
    return det_of(A)


@op(KERNEL, **N, node="LinalgSlogdetBackward0")
def slogdet_of(A):
    """(sign, log |det|)."""
    s, v = np.linalg.slogdet(array(A))
    return tensor(s, A._dtype), tensor(v, A._dtype.to_real() if A._dtype.is_complex else A._dtype)


slogdet_of.derivative(
    A=lambda gs, A: A * 0 if gs[1] is None else gs[1][..., None, None] * dagger(inverse_of(A))
)


def slogdet(A, *, out=None):
    """(sign, log |det A|).

    Source:   torch.linalg.slogdet
    """
    check("linalg.slogdet", A)
    return named("linalg_slogdet", slogdet_of(A))


def logdet(A):
    """log det A; NaN where it is negative.

    Source:   torch.logdet
    """
    sign, value = slogdet(A)
    return value.masked_fill(sign < 0, math.nan).masked_fill(sign == 0, -math.inf)


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


def lu_factor(A, *, pivot=True, out=None):
    """(L and U in one matrix, pivots from 1).

    Source:   torch.linalg.lu_factor
    """
    check("linalg.lu_factor", A, square=False)
    packed, pivots, _ = lu_compact(A)
    return named("linalg_lu_factor", (packed, pivots))


def lu(A, *, pivot=True, out=None):
    """(P, L, U) with A = P L U.

    Source:   torch.linalg.lu
    """
    check("linalg.lu", A, square=False)
    packed, _, order = lu_compact(A)
    m, n = A._shape[-2:]
    k = min(m, n)
    eye = A.new_zeros(m, k).fill_diagonal_(1)
    return named("linalg_lu", (permutation(order, A), packed[..., :k].tril(-1) + eye, packed[..., :k, :].triu()))


def lu_solve(LU, pivots, B, *, left=True, adjoint=False, out=None):  # noqa: N803
    """X with A X = B from lu_factor's results.

    Source:   torch.linalg.lu_solve
    """
    n = LU._shape[-1]
    order = np.tile(np.arange(n), (*pivots._shape[:-1], 1))
    flat = order.reshape(-1, n)
    for row, piv in zip(flat, array(pivots).reshape(-1, n), strict=True):
        for k, p in enumerate(piv):
            row[[k, p - 1]] = row[[p - 1, k]]
    P = permutation(hooks.from_array(order.astype(np.int64)), LU)
    A = P @ (LU.tril(-1) + LU.new_ones(n).diag()) @ LU.triu()
    return solve(dagger(A) if adjoint else A, B, left=left)


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


def householder_product(A, tau, *, out=None):
    """The first columns of the product of reflections I - tau v v^H.

    Source:   torch.linalg.householder_product
    """
    m, n = A._shape[-2:]
    q = A.new_zeros(m, m).fill_diagonal_(1).expand(*A._shape[:-2], m, m)
    for i in range(tau._shape[-1]):
        v = A[..., i]
        keep = A.new_zeros(m)
        keep[i + 1 :] = 1
        unit = A.new_zeros(m)
        unit[i] = 1
        v = (v * keep + unit).unsqueeze(-1)
        q = q - tau[..., i, None, None] * (q @ v) @ dagger(v)
    return q[..., :n]


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


METHODS = {
    "geqrf": geqrf, "inverse": inv, "det": det, "logdet": logdet, "slogdet": slogdet, "cholesky": torch_cholesky, "qr": torch_qr,
    "svd": torch_svd, "pinverse": lambda self, rcond=1e-15: pinv(self, rcond=rcond), "matrix_power": matrix_power,
    "matrix_exp": matrix_exp, "cross": cross, "cholesky_solve": cholesky_solve, "cholesky_inverse": cholesky_inverse,
    "triangular_solve": triangular_solve,
}  # fmt: skip
OLD_NAMES = {"svd": torch_svd, "qr": torch_qr, "cholesky": torch_cholesky}  # torch.svd is not torch.linalg.svd
inverse, pinverse = inv, METHODS["pinverse"]

__all__ = ["geqrf", "householder_product", "cholesky_inverse", "cholesky_solve", "cross", "inverse", "logdet", "matrix_exp", "matrix_power", "pinverse",
           "slogdet", "det", "triangular_solve"]  # fmt: skip
