"""Moving elements: copies, clones, dtype conversion, contiguity, resizing."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.elementwise import dispatcher
from flambeau.ops.record import KERNEL, POINTWISE, Op, hooks, op


def _identity(x):
    return x


_move = Op(_identity, POINTWISE, {})
_move.name = "copy"
dispatcher(_move)
_run = _move.elementwise.run


class _Casting:
    """Runs the identity kernel into a tensor of any dtype."""


def copy_elements(dst, src) -> None:
    """dst[...] = src for broadcastable shapes and any dtypes; nothing is recorded."""
    if dst._numel == 0:
        return
    ew = _move.elementwise
    plan, tensors, numbers = ew.plan((src,))
    ew.launch(plan, dst._shape, (dst,), (dst._dtype,), tensors, numbers)


def resize(t, shape) -> None:
    """Give t a contiguous shape in place, growing its storage if needed."""
    shape = hooks.Size(shape)
    n = math.prod(shape)
    fresh = t
    if (t._offset + n) * t._dtype.itemsize > t._storage.nbytes:
        fresh = hooks.empty(shape, t._dtype)
        keep = min(t._numel, n)
        if keep and t._dense:
            head = hooks.make(fresh._storage, 0, hooks.Size((keep,)), (1,), t._dtype)
            copy_elements(head, hooks.make(t._storage, t._offset, hooks.Size((keep,)), (1,), t._dtype))
    t._storage, t._offset, t._ptr = fresh._storage, fresh._offset, fresh._ptr
    t._shape, t._strides, t._numel = shape, S.contiguous_strides(shape), n
    t._dense = True
    t._vc = t._storage if t._vc.__class__ is not hooks.Version else t._vc


@op(KERNEL)
def clone(input, *, memory_format=None):
    """A copy with its own memory.

    Source:   torch.clone
    """
    strides = layout_for(input, memory_format)
    out = hooks.empty_strided(input._shape, strides, input._dtype)
    copy_elements(out, input)
    return out


clone.derivative(input=lambda g: g)


def layout_for(t, memory_format) -> tuple:
    """Strides of a copy of t in a memory format (preserved by default)."""
    name = getattr(memory_format, "name", str(memory_format)).rpartition(".")[2]
    if name == "channels_last" or name == "channels_last_3d":
        return S.channels_last_strides(t._shape)
    if name == "contiguous_format":
        return S.contiguous_strides(t._shape)
    if t._dense or S.is_dense(tuple(t._shape), t._strides):
        return t._strides
    from flambeau.ops.elementwise import result_strides

    return result_strides(t._shape, [t])


__all__ = ["copy_elements", "dt", "resize"]
