"""Questions about tensors, and the namespace's small functions that are no kernels."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ops.record import COMPOSITE, hooks, op


def is_tensor(obj) -> bool:
    """True for tensors.

    Source:   torch.is_tensor
    """
    return isinstance(obj, hooks.Tensor)


def is_storage(obj) -> bool:
    """True for storages (torch.UntypedStorage and the typed ones).

    Source:   torch.is_storage
    """
    return type(obj).__name__.endswith("Storage")


def is_floating_point(input) -> bool:
    """True if input's dtype is a float.

    Source:   torch.is_floating_point
    """
    return input._dtype.is_floating_point


def is_complex(input) -> bool:
    """True if input's dtype is complex.

    Source:   torch.is_complex
    """
    return input._dtype.is_complex


def is_nonzero(input) -> bool:
    """The truth of a one-element tensor.

    Source:   torch.is_nonzero
    """
    if input._numel != 1:
        raise RuntimeError(f"Boolean value of Tensor with {'no values' if not input._numel else 'more than one value'} is ambiguous")
    return bool(input.item())


def is_conj(input) -> bool:
    """False: conjugates are computed at once here.

    Source:   torch.is_conj
    """
    return False


def is_neg(input) -> bool:
    """False: negation is computed at once here.

    Source:   torch.is_neg
    """
    return False


def numel(input) -> int:
    """The number of elements.

    Source:   torch.numel
    """
    return input._numel


def is_same_size(input, other) -> bool:
    """True if the shapes are equal.

    Source:   torch.is_same_size
    """
    return input._shape == other._shape


def result_type(tensor1, tensor2):
    """The dtype that arithmetic on the two would have.

    Source:   torch.result_type
    """
    return dt.result_type([entry(tensor1), entry(tensor2)])


def entry(x):
    """(dtype, category) of a tensor or number."""
    if isinstance(x, hooks.Tensor):
        return x._dtype, "tensor" if x._shape else "zero"
    from flambeau.ops.elementwise import python_dtype

    return python_dtype(type(x)), "number"


def typename(obj) -> str:
    """The type's name as PyTorch spells it.

    Source:   torch.typename
    """
    if isinstance(obj, hooks.Tensor):
        return obj.type()
    cls = obj if isinstance(obj, type) else type(obj)
    return cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


# scatters of views --------------------------------------------------------------------------------
@op(COMPOSITE)
def select_scatter(input, src, dim, index):
    """input with src at `index` of dim.

    Source:   torch.select_scatter
    """
    return written(input, src, lambda t: t.select(dim, index))


@op(COMPOSITE)
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """input with src at start:end:step of dim.

    Source:   torch.slice_scatter
    """
    return written(input, src, lambda t: t.movedim(dim, 0)[start:end:step].movedim(0, dim))


@op(COMPOSITE)
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """input with src on a diagonal.

    Source:   torch.diagonal_scatter
    """
    return written(input, src, lambda t: t.diagonal(offset, dim1, dim2))


@op(COMPOSITE)
def as_strided_scatter(input, src, size, stride, storage_offset=0):
    """input with src at the elements as_strided would show.

    Source:   torch.as_strided_scatter
    """
    return written(input, src, lambda t: t.as_strided(size, stride, storage_offset))


def written(input, src, part):
    out = input.clone(memory_format="contiguous_format")
    view = part(out)
    if tuple(view._shape) != tuple(src._shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src._shape)}, slice size = {list(view._shape)}")
    view.copy_(src)
    return out


def resolve_conj(input):
    """input itself: conjugates are computed at once here, so that none is pending.

    Source:   torch.resolve_conj
    """
    return input


def resolve_neg(input):
    """input itself: negations are computed at once here, so that none is pending.

    Source:   torch.resolve_neg
    """
    return input


def get_device(input) -> int:
    """-1, the CPU's number.

    Source:   torch.Tensor.get_device
    """
    return -1


def pin_memory(input):
    """A copy: without a GPU there is nothing to pin memory for.

    Source:   torch.Tensor.pin_memory
    """
    return input.clone()


def is_shared(input) -> bool:
    """True once share_memory_ has put the elements where forked processes see them.

    Source:   torch.Tensor.is_shared
    """
    return bool(input.__dict__.get("_shared"))


# layouts: what a dense tensor says; sparse.coo.SparseTensor has its own answers -------------------
def dense_dim(input) -> int:
    """The number of dimensions that are kept whole: all of a dense tensor's.

    Source:   torch.Tensor.dense_dim
    """
    return len(input._shape)


def sparse_dim(input) -> int:
    """The number of dimensions that indices name: 0 for a dense tensor.

    Source:   torch.Tensor.sparse_dim
    """
    return 0


def to_dense(input, dtype=None, *, masked_grad=None):
    """The dense tensor of the same elements: a dense tensor itself (as dtype).

    Source:   torch.Tensor.to_dense
    """
    return input if dtype is None else input.to(dtype)


def to_sparse(input, sparse_dim=None, *, layout=None):
    """The elements that are not 0, as a tensor of layout torch.sparse_coo.

    Args:     sparse_dim: how many leading dimensions are indexed; slices of the others that are not all 0 are kept whole
    Errors:   NotImplementedError for layouts other than torch.sparse_coo
    Source:   torch.Tensor.to_sparse
    """
    return hooks.sparse().to_sparse(input, sparse_dim, layout)


def to_sparse_coo(input):
    """to_sparse().

    Source:   torch.Tensor.to_sparse_coo
    """
    return to_sparse(input)


def sparse_mask(input, mask):
    """The elements at the places that a sparse tensor keeps, as a sparse tensor.

    Source:   torch.Tensor.sparse_mask
    """
    return hooks.sparse().sparse_mask(input, mask)


def of_sparse(name: str, doc: str):
    """A method that only sparse tensors have."""

    error = NotImplementedError if name.startswith("_") else RuntimeError

    def method(input):
        raise error(f"{name} expected sparse coordinate tensor layout but got Strided: use to_sparse() first")

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"{doc}\n\n    Errors:   RuntimeError for a dense tensor\n    Source:   torch.Tensor.{name}\n    "
    return method


OF_SPARSE = {
    "coalesce": "A sparse tensor with indices in order, each once.", "indices": "The indices of a coalesced sparse tensor.",
    "values": "The values of a coalesced sparse tensor.", "is_coalesced": "True if the indices are in order and none comes twice.",
    "_indices": "The indices of a sparse tensor as they are kept.", "_values": "The values of a sparse tensor as they are kept.",
    "_nnz": "The number of values that a sparse tensor keeps.",
}  # fmt: skip


def names(input) -> tuple:
    """None for each dimension: names of dimensions are not kept.

    Source:   torch.Tensor.names
    """
    return (None,) * len(input._shape)


def answer(value, doc: str):
    """A predicate with one answer for all tensors there are."""

    def always(input):
        return value

    always.__doc__ = doc
    return always


NO = {
    "is_cuda": "is on a CUDA device", "is_mps": "is on Apple's GPU", "is_xpu": "is on Intel's GPU", "is_meta": "has no memory",
    "is_sparse": "keeps its nonzero elements only", "is_sparse_csr": "is sparse in rows", "is_quantized": "holds quantized numbers",
    "is_mkldnn": "is in MKL-DNN's layout", "is_nested": "is a nested tensor",
}  # fmt: skip
pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None
METHODS = {
    "is_nonzero": is_nonzero, "is_conj": is_conj, "is_neg": is_neg, "resolve_neg": resolve_neg, "resolve_conj": resolve_conj,
    "get_device": get_device, "pin_memory": pin_memory, "is_shared": is_shared, "dense_dim": dense_dim, "to_dense": to_dense,
    "sparse_dim": sparse_dim, "to_sparse": to_sparse, "to_sparse_coo": to_sparse_coo, "sparse_mask": sparse_mask,
    "is_pinned": answer(False, "False: memory is never pinned."),
}  # fmt: skip
METHODS |= {name: of_sparse(name, doc) for name, doc in OF_SPARSE.items()}
PROPERTIES = {
    **{name: answer(False, f"True if the tensor {what}: never here.") for name, what in NO.items()},
    "is_cpu": answer(True, "True: tensors are in the CPU's memory."), "name": answer(None, "None."), "names": names,
}  # fmt: skip
__all__ = [
    "e", "inf", "is_complex", "is_conj", "is_floating_point", "is_neg", "is_nonzero", "is_same_size", "is_storage",
    "is_tensor", "nan", "newaxis", "numel", "pi", "resolve_conj", "resolve_neg", "result_type", "typename",
]  # fmt: skip
