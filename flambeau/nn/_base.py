"""What nn needs from the layers below, in one place: Tensor, ops, grad modes, and small helpers on them."""

from flambeau import ops
from flambeau.autograd.function import Function
from flambeau.autograd.modes import is_grad_enabled, no_grad
from flambeau.core import dtypes as dt
from flambeau.core.device import device as Device
from flambeau.core.dtypes import dtype as DType
from flambeau.tensor.interop import tensor
from flambeau.tensor.tensor import Tensor

__all__ = [
    "DType", "Device", "Function", "Tensor", "dt", "is_grad_enabled", "no_grad", "ops", "parse_to", "tensor", "typename",
]  # fmt: skip


def typename(x):
    """Qualified type name of ``x``, as error texts show it: ``torch.FloatTensor`` for tensors, ``int`` for 3."""
    if isinstance(x, Tensor):
        return x.type()
    cls = x if isinstance(x, type) else type(x)
    if cls.__module__ in ("builtins", "__builtin__", None):
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def parse_to(
    *args, device=None, dtype=None, non_blocking=False, copy=False, memory_format=None, **unknown
):
    """(device, dtype, non_blocking, memory_format) from the arguments of ``.to``.

    The forms are ``to(device, dtype, non_blocking)``, ``to(dtype, non_blocking)`` and ``to(tensor, non_blocking)``.
    """
    if unknown:
        raise TypeError(f"to() received an invalid keyword argument '{next(iter(unknown))}'")
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        device, dtype = rest[0].device, rest.pop(0).dtype
    else:
        if rest and (rest[0] is None or isinstance(rest[0], (str, int, Device))):
            device = rest.pop(0)
        if rest and isinstance(rest[0], DType):
            dtype = rest.pop(0)
    if rest and isinstance(rest[0], bool):
        non_blocking = rest.pop(0)
    if rest and isinstance(rest[0], bool):
        rest.pop(0)
    if rest:
        given = ", ".join(typename(a) for a in args)
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({given}); expected "
            "(device, dtype, non_blocking), (dtype, non_blocking) or (tensor, non_blocking)"
        )
    if device is not None and not isinstance(device, Device):
        device = Device(device)
    return device, dtype, non_blocking, memory_format
