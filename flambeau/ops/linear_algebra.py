"""Systems, inverses, determinants and Cholesky, on LAPACK through NumPy, batched, with derivatives of our own.

Forward computations leave for NumPy and come back; every derivative is written in tensor ops, so it can be
differentiated again. Formulas: Giles, An extended collection of matrix derivative results, 2008; Walter and Lehmann, 2010
(QR); Boeddeker et al., On the computation of complex-valued gradients, 2017.
"""

from __future__ import annotations

import math

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import factor_failures as why
from flambeau.ops.compare import where
from flambeau.ops.record import KERNEL, hooks, op
from flambeau.ops.reduce import named

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
        raise singular("linalg.inv", array(A)) from None


def singular(name: str, a) -> LinAlgError:
    """The error for a matrix without an inverse."""
    which, k = why.element(why.each(a, why.zero_pivot))
    return LinAlgError(
        f"{name}: {which}The diagonal element {k} is zero, the inversion could not be completed because the input matrix is singular."
    )


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
        return solve(A.mT, B) if vector else solve_batch("linalg.solve", A.mT, B.mT).mT
    if vector:
        return solve(A, B.unsqueeze(-1)).squeeze(-1)
    return solve_batch("linalg.solve", A, B)


def solve_batch(name: str, A, B):
    """A^-1 B for batches of matrices B that broadcast with A."""
    check(name, A, B)
    if B._shape[-2] != A._shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation AX = B ({A._shape[-2]}x{A._shape[-1]} and {B._shape[-2]}x{B._shape[-1]})")
    lead = S.broadcast_shapes(name, tuple(A._shape[:-2]), tuple(B._shape[:-2]))
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
    return solve_batch("linalg.solve_triangular", T, B) if left else solve_batch("linalg.solve_triangular", T.mT, B.mT).mT


def inv_ex(A, *, check_errors=False, out=None):
    """(A^-1, info): info is 0 where it exists, else which pivot is 0 (and the inverse NaN).

    Source:   torch.linalg.inv_ex
    """
    check("linalg.inv_ex", A)
    info = why.each(array(A), why.zero_pivot)
    if check_errors and info.any():
        raise singular("linalg.inv_ex", array(A))
    return named("linalg_inv_ex", (despite(info, A, inverse_of), tensor(info, dt.int32)))


def despite(info, A, fn):
    """fn of the matrices that info says nothing of; NaN for the others."""
    if not info.any():
        return fn(A)
    bad = info != 0
    y = fn(where(tensor(bad[..., None, None], dt.bool), A.new_ones(A._shape[-1]).diag(), A))
    return y.masked_fill(tensor(bad.reshape(bad.shape + (1,) * (len(y._shape) - bad.ndim)), dt.bool), math.nan)


def solve_ex(A, B, *, left=True, check_errors=False, out=None):
    """(X, info) as solve's: info is 0 where A has an inverse, else which pivot is 0 (and X NaN).

    Source:   torch.linalg.solve_ex
    """
    check("linalg.solve_ex", A)
    info = why.each(array(A), why.zero_pivot)
    if check_errors and info.any():
        raise LinAlgError("torch.linalg.solve_ex: The solver failed because the input matrix is singular.")
    return named("linalg_solve_ex", (despite(info, A, lambda a: solve(a, B, left=left)), tensor(info, dt.int32)))


@op(KERNEL, **N, node="LinalgCholeskyExBackward0")
def cholesky_lower(A):
    """L with L L^H = A."""
    try:
        return tensor(np.linalg.cholesky(array(A)), A._dtype)
    except np.linalg.LinAlgError:
        raise indefinite("linalg.cholesky", array(A)) from None


def indefinite(name: str, a) -> LinAlgError:
    """The error for a matrix without a Cholesky factor."""
    which, k = why.element(why.each(a, why.bad_minor))
    return LinAlgError(
        f"{name}: {which}The factorization could not be completed because the input is not positive-definite (the leading minor "
        f"of order {k} is not positive-definite)."
    )


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
    """(L, info): info is 0 where L exists, else which leading minor is not positive definite (and L NaN).

    Source:   torch.linalg.cholesky_ex
    """
    check("linalg.cholesky_ex", A)
    info = why.each(array(A), why.bad_minor)
    if check_errors and info.any():
        raise indefinite("linalg.cholesky_ex", array(A))
    return named("linalg_cholesky_ex", (despite(info, A, lambda a: cholesky(a, upper=upper)), tensor(info, dt.int32)))


def cholesky_solve(B, L, upper=False):
    """X with A X = B, given A's Cholesky factor.

    Source:   torch.cholesky_solve
    """
    L = dagger(L.triu()) if upper else L.tril()
    return solve_batch("cholesky_solve", dagger(L), solve_batch("cholesky_solve", L, B))


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
        from flambeau.ops.decompositions import svd

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


METHODS = {
    "inverse": inv, "det": det, "logdet": logdet, "slogdet": slogdet, "cholesky_solve": cholesky_solve,
    "cholesky_inverse": cholesky_inverse,
}  # fmt: skip
inverse = inv

__all__ = ["cholesky_inverse", "cholesky_solve", "det", "inverse", "logdet", "slogdet"]
