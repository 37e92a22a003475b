"""Views between complex numbers and pairs of real ones."""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ops.record import VIEW, hooks, op


# complex parts ------------------------------------------------------------------------------------
@op(VIEW)
def view_as_real(input):
    """Complex numbers as pairs in a new last dimension.

    Source:   torch.view_as_real
    """
    if not input._dtype.is_complex:
        raise RuntimeError(f"view_as_real is only supported for complex tensors, got {input._dtype}")
    st = (*[s * 2 for s in input._strides], 1)
    return hooks.make(input._storage, input._offset * 2, hooks.Size((*input._shape, 2)), st, input._dtype.to_real(), input._vc)


view_as_real.derivative(input=lambda g: view_as_complex(g.contiguous()))


@op(VIEW)
def view_as_complex(input):
    """Pairs in the last dimension as complex numbers.

    Source:   torch.view_as_complex
    """
    if input._dtype not in (dt.float32, dt.float64):
        raise RuntimeError(f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: {input._dtype}")
    if not input._shape or input._shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if input._strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if input._offset % 2 or any(s % 2 for s in input._strides[:-1]):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    st = tuple(s // 2 for s in input._strides[:-1])
    return hooks.make(input._storage, input._offset // 2, input._shape[:-1], st, input._dtype.to_complex(), input._vc)


view_as_complex.derivative(input=lambda g: view_as_real(g))


@op(VIEW, function=False, method=False, node="SelectBackward0")
def part(input, which):
    """The real (0) or imaginary (1) parts of a complex tensor."""
    d = input._dtype.to_real()
    st = tuple(s * 2 for s in input._strides)
    return hooks.make(input._storage, input._offset * 2 + which, input._shape, st, d, input._vc)


part.derivative(input=lambda g, which: to_complex(g, which))


def to_complex(g, which: int):
    """g as real or imaginary part, the other being 0."""
    zero = g * 0
    from flambeau.ops.join import stack

    return view_as_complex(stack([g, zero] if which == 0 else [zero, g], -1).contiguous())


def real(input):
    """The real part (a view), or input itself if it is real.

    Source:   torch.real
    """
    return part(input, 0) if input._dtype.is_complex else input


def imag(input):
    """The imaginary part (a view).

    Source:   torch.imag
    """
    if not input._dtype.is_complex:
        raise RuntimeError(f"imag is not implemented for tensors with non-complex dtypes (got {input._dtype}).")
    return part(input, 1)


PROPERTIES = {"real": real, "imag": imag}

__all__ = ["imag", "real"]
