"""torch.linalg."""

from flambeau.ops.create import powers_of
from flambeau.ops.decompositions import (
    eig,
    eigh,
    eigvals,
    eigvalsh,
    householder_product,
    lu,
    lu_factor,
    lu_solve,
    qr,
    svd,
    svdvals,
)
from flambeau.ops.factored import lu_factor_ex
from flambeau.ops.linear_algebra import (
    LinAlgError,
    cholesky,
    cholesky_ex,
    det,
    inv,
    inv_ex,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
)
from flambeau.ops.matmul import matmul
from flambeau.ops.matrix_functions import (
    cond,
    lstsq,
    matrix_exp,
    matrix_norm,
    matrix_power,
    matrix_rank,
    multi_dot,
    pinv,
    tensorinv,
    tensorsolve,
    vecdot,
)
from flambeau.ops.matrix_functions import (
    linalg_cross as cross,
)
from flambeau.ops.matrix_functions import (
    linalg_norm as norm,
)
from flambeau.ops.reduce import vector_norm


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):  # noqa: N803 - PyTorch's name
    """The diagonal of the last two dims.

    Source:   torch.linalg.diagonal
    """
    return A.diagonal(offset, dim1, dim2)


def vander(x, *, N=None):  # noqa: N803 - PyTorch's name
    """Powers 0, 1, ... of each element along a new last dim.

    Source:   torch.linalg.vander
    """
    return powers_of(x, x.shape[-1] if N is None else N, True)


__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh",
    "householder_product", "inv", "inv_ex", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular",
    "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip
