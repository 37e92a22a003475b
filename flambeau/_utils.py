"""torch._utils: what programs take from there, tensors put one behind another."""

from __future__ import annotations

from flambeau.ops.join import cat
from flambeau.ops.record import hooks


def _flatten_dense_tensors(tensors):
    """One vector of all the tensors' elements."""
    return cat([t.contiguous().view(-1) for t in tensors], 0)


def _unflatten_dense_tensors(flat, tensors):
    """The pieces of a vector, in the shapes of the tensors that _flatten_dense_tensors made it of: views."""
    out, at = [], 0
    for t in tensors:
        n = t.numel()
        out.append(flat.new_empty(t.shape) if n == 0 else flat.narrow(0, at, n).view(t.shape))
        at += n
    return tuple(out)


def _take_tensors(tensors, size_limit: int):
    """The tensors in groups of one dtype, of at most size_limit bytes or of one tensor."""
    open_groups: dict = {}
    for t in tensors:
        size = t.numel() * t.element_size()
        group, bytes_ = open_groups.get(t.dtype, ([], 0))
        if group and bytes_ + size > size_limit:
            yield group
            group, bytes_ = [], 0
        open_groups[t.dtype] = (group + [t], bytes_ + size)
    for group, _ in open_groups.values():
        yield group


def _element_size(dtype) -> int:
    """Bytes of an element."""
    if not hasattr(dtype, "itemsize"):
        raise RuntimeError(f"expected torch.dtype, but got {type(dtype)}")
    return dtype.itemsize


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    """The tensor over a storage, as pickled ones are described."""
    kind = storage._all
    if not isinstance(kind, hooks.Tensor):
        raise TypeError(f"_rebuild_tensor_v2(storage): expected a storage, got {type(storage).__name__}")
    t = kind.as_strided(size, stride, storage_offset)
    return t.requires_grad_() if requires_grad else t
