"""torch.sparse: tensors that keep their nonzero elements only, of layout torch.sparse_coo.

Compressed layouts (CSR, CSC, BSR, BSC) and semi-structured tensors are not here: what asks for them says so.
"""

from __future__ import annotations

from flambeau.core import dtypes as _dt
from flambeau.ops.matmul import addmm as _addmm
from flambeau.ops.matmul import mm as _mm
from flambeau.sparse import forms as _forms  # noqa: F401 - gives the ops their sparse forms
from flambeau.sparse.create import old_type as _old_type
from flambeau.sparse.create import sparse_coo_tensor
from flambeau.sparse.sums import log_softmax, softmax, sum  # noqa: A004

BFloat16Tensor, ByteTensor, CharTensor, DoubleTensor, FloatTensor, HalfTensor, IntTensor, LongTensor, ShortTensor = (
    _old_type(name, dtype)
    for name, dtype in (
        ("BFloat16Tensor", _dt.bfloat16), ("ByteTensor", _dt.uint8), ("CharTensor", _dt.int8), ("DoubleTensor", _dt.float64),
        ("FloatTensor", _dt.float32), ("HalfTensor", _dt.float16), ("IntTensor", _dt.int32), ("LongTensor", _dt.int64),
        ("ShortTensor", _dt.int16),
    )
)  # fmt: skip


def mm(mat1, mat2, reduce=None):
    """mat1 @ mat2 with a sparse factor; gradients of the sparse one are at its own places.

    Shapes:   (m, k), (k, n) -> (m, n), dense unless both are sparse
    Errors:   NotImplementedError for reduce, which PyTorch has for compressed rows only
    Source:   torch.sparse.mm
    """
    if reduce is not None:
        raise NotImplementedError("sparse.mm(reduce): reductions are for layout torch.sparse_csr, which is not implemented")
    return _mm(mat1, mat2)


def addmm(mat, mat1, mat2, *, beta=1.0, alpha=1.0):
    """beta * mat + alpha * (mat1 @ mat2), mat1 sparse.

    Source:   torch.sparse.addmm
    """
    return _addmm(mat, mat1, mat2, beta=beta, alpha=alpha)


def __getattr__(name: str):
    raise AttributeError(f"module 'flambeau.sparse' has no attribute {name!r}: it is not implemented (yet)")


__all__ = [
    "BFloat16Tensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor",
    "ShortTensor", "addmm", "log_softmax", "mm", "softmax", "sparse_coo_tensor", "sum",
]  # fmt: skip
