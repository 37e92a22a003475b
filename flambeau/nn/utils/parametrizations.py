"""Parametrisations ready made: orthogonal, weight norm, spectral norm."""

import enum

from flambeau.core.limits import finfo
from flambeau.nn import functional as F
from flambeau.nn._base import no_grad, ops
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import parametrize
from flambeau.nn.utils.weight_norm import norm_except_dim, scaled_to

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _is_orthogonal(q, eps=None):
    n, k = q.size(-2), q.size(-1)
    identity = ops.eye(k, dtype=q.dtype, device=q.device)
    eps = 10.0 * n * finfo(q.dtype).eps if eps is None else eps
    return ops.allclose(q.mT.conj() @ q, identity, atol=eps)


def _make_orthogonal(a):
    """The nearest thing by QR: Q with the signs that make R's diagonal positive."""
    from flambeau import linalg

    q, r = linalg.qr(a)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _OrthMaps(enum.Enum):
    matrix_exp = enum.auto()
    cayley = enum.auto()
    householder = enum.auto()


class _Orthogonal(Module):
    """W = base * map(A), A skew-symmetric (or the reflectors of a QR decomposition)."""

    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        if weight.is_complex() and orthogonal_map == _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X):
        n, k = X.size(-2), X.size(-1)
        wide = n < k
        if wide:
            X = X.mT
            n, k = k, n
        if self.orthogonal_map == _OrthMaps.householder:
            q = self._from_reflectors(X)
        else:
            q = self._from_skew(X, n, k)
        if hasattr(self, "base") and self.base is not None:
            q = self.base @ q
        return q.mT if wide else q

    def _from_reflectors(self, X):
        from flambeau import linalg

        a = X.tril(diagonal=-1)
        tau = 2.0 / (1.0 + (a * a).sum(dim=-2))
        q = linalg.householder_product(a, tau)
        # The diagonal of X says which columns are reflected.
        return q * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)

    def _from_skew(self, X, n, k):
        a = X.tril()
        if n != k:
            # A non-square matrix is the first columns of a square one.
            filler = X.new_zeros(n, n - k).expand(*X.shape[:-2], -1, -1)
            a = ops.cat([a, filler], dim=-1)
        a = a - a.mT.conj()
        q = self._exp_or_cayley(a, n)
        return q[..., :k]

    def _exp_or_cayley(self, a, n):
        from flambeau import linalg

        if self.orthogonal_map == _OrthMaps.matrix_exp:
            return linalg.matrix_exp(a)
        identity = ops.eye(n, dtype=a.dtype, device=a.device)
        return linalg.solve(identity + a * -0.5, identity + a * 0.5)

    def right_inverse(self, Q):
        """The X that maps to Q; without trivialisation only the householder map has one."""
        if tuple(Q.shape) != tuple(self.shape):
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. "
                f"Got a tensor of shape {Q.shape}."
            )
        wide = Q.size(-2) < Q.size(-1)
        q = Q.mT if wide else Q
        n, k = q.size(-2), q.size(-1)
        if not hasattr(self, "base"):
            if self.orthogonal_map != _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential "
                    "or the Cayley parametrizations when use_trivialization=False."
                )
            return self._reflectors_of(q, wide)
        # With a base W = base Q: keep W in the base, and start at the identity.
        if n == k:
            q = q.clone() if _is_orthogonal(q) else _make_orthogonal(q)
        else:
            random = ops.randn(
                *(q.size()[:-2] + (n, n - k)), dtype=q.dtype, device=q.device
            )
            q = _make_orthogonal(ops.cat([q, random], dim=-1))
        self.base = q
        neg_identity = ops.zeros_like(Q)
        neg_identity.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return neg_identity

    def _reflectors_of(self, q, wide):
        a, tau = ops.geqrf(q)
        signs = a.diagonal(dim1=-2, dim2=-1)
        signs.sign_()
        # tau is exactly 0 where LAPACK left a column unreflected: its sign is the other one.
        signs[tau == 0.0] *= -1
        return a.mT if wide else a


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Keep a matrix orthogonal (W^T W = I, or its rows orthonormal when it is wide).

    Args: orthogonal_map: matrix_exp, cayley or householder (by default matrix_exp for square and complex
    matrices, else householder); use_trivialization: start from a base, which makes assignment possible.
    """
    weight = getattr(module, name, None)
    if not hasattr(weight, "dim"):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1) or weight.is_complex()
        orthogonal_map = "matrix_exp" if square else "householder"
    chosen = getattr(_OrthMaps, orthogonal_map, None)
    if chosen is None:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    made = _Orthogonal(weight, chosen, use_trivialization=use_trivialization)
    parametrize.register_parametrization(module, name, made, unsafe=True)
    return module


class _WeightNorm(Module):
    """w = g v / ||v||, from original0 = g and original1 = v."""

    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return scaled_to(weight_v, weight_g, self.dim)

    def right_inverse(self, weight):
        """(||weight||, weight)."""
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Learn magnitude (per slice along ``dim``) and direction of a weight apart. The module."""
    made = _WeightNorm(dim)
    parametrize.register_parametrization(module, name, made, unsafe=True)

    def rename_old_keys(
        state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        # Checkpoints of the older hook call the two parts name_g and name_v.
        old = [f"{prefix}{name}_{part}" for part in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                new = f"{prefix}parametrizations.{name}.original{i}"
                state_dict[new] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename_old_keys)
    return module


class _SpectralNorm(Module):
    """w / sigma(w), sigma by power iteration in training."""

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but "
                f"got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._reshape_weight_to_matrix(weight)
            height, width = matrix.size()
            u = matrix.new_empty(height).normal_(0, 1)
            v = matrix.new_empty(width).normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=self.eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=self.eps))
            # Fifteen steps from a random start: sigma is close from the first forward on.
            self._power_method(matrix, 15)

    def _reshape_weight_to_matrix(self, weight):
        if self.dim != 0:
            rest = [d for d in range(weight.dim()) if d != self.dim]
            weight = weight.permute(self.dim, *rest)
        return weight.flatten(1)

    def _power_method(self, matrix, n_power_iterations):
        with no_grad():
            for _ in range(n_power_iterations):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight):
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._reshape_weight_to_matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # Clones, because the next forward changes the buffers in place.
        u, v = self._u.clone(), self._v.clone()
        return weight / ops.vdot(u, matrix.mv(v))

    def right_inverse(self, value):
        """The value itself: it is taken to be the unnormalised weight."""
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divide a weight by its largest singular value whenever it is read. The module.

    Args: dim: the output dimension (1 for transposed convolutions, else 0).
    """
    weight = getattr(module, name, None)
    if not hasattr(weight, "dim"):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    parametrize.register_parametrization(module, name, made)
    return module


