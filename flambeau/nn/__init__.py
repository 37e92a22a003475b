"""Networks: modules, parameters, initialisation, functionals and utilities, under torch.nn's names."""

from flambeau.nn import attention, common_types, functional, grad, init, modules, parallel, parameter, utils
from flambeau.nn.modules import *
from flambeau.nn.parallel import DataParallel
from flambeau.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)

__all__ = [
    "Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter",
    "attention", "common_types", "factory_kwargs", "functional", "grad", "init", "modules",
    "parallel", "parameter", "utils",
]  # fmt: skip
__all__ += modules.__all__


def factory_kwargs(kwargs):
    """Only ``device``, ``dtype`` and ``memory_format`` of ``kwargs``; what is under "factory_kwargs" counts too."""
    if kwargs is None:
        return {}
    known = {"device", "dtype", "memory_format"}
    unknown = kwargs.keys() - known - {"factory_kwargs"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    r = dict(kwargs.get("factory_kwargs", {}))
    for key in known & kwargs.keys():
        if key in r:
            raise TypeError(f"{key} specified twice, in **kwargs and in factory_kwargs")
        r[key] = kwargs[key]
    return r
