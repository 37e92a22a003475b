"""Tensor methods and functions that are no ops of their own: Python functions over elements, older names."""

from __future__ import annotations

import importlib

from flambeau.ops.record import hooks
from flambeau.ops.splitting import chunk, split, split_with_sizes
from flambeau.ops.unary import polygamma


# Python functions over elements -------------------------------------------------------------------
def elementwise(name: str, self, others, fn):
    """self = fn(elements of self and others), one after another in Python."""
    if self._requires_grad:
        raise RuntimeError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")
    for other in others:
        if other._dtype is not self._dtype:
            raise TypeError(f"{name}: expected a tensor of {self._dtype} (got {other._dtype})")
    columns = [t.expand(self._shape).reshape(-1).tolist() for t in (self, *others)]
    values = [fn(*v) for v in zip(*columns, strict=True)]
    return self.copy_(hooks.tensor(values).to(self._dtype).reshape(self._shape)) if values else self


def apply_(self, callable):  # noqa: A002 - PyTorch's name
    """Every element replaced by callable(element): slow, for tests and tables.

    Source:   torch.Tensor.apply_
    """
    return elementwise("apply_", self, (), callable)


def map_(self, tensor, callable):  # noqa: A002
    """Every element a replaced by callable(a, b), b the element of tensor there.

    Source:   torch.Tensor.map_
    """
    return elementwise("map_", self, (tensor,), callable)


def map2_(self, x, y, callable):  # noqa: A002
    """Every element a replaced by callable(a, b, c), b and c the elements of x and y there."""
    return elementwise("map2_", self, (x, y), callable)


# questions ----------------------------------------------------------------------------------------
def is_set_to(self, tensor) -> bool:
    """True if both are the same view of the same memory.

    Source:   torch.Tensor.is_set_to
    """
    same = self._storage is tensor._storage and self._offset == tensor._offset
    return same and tuple(self._shape) == tuple(tensor._shape) and tuple(self._strides) == tuple(tensor._strides)


def dim_order(self, ambiguity_check=False) -> tuple[int, ...]:
    """Dims from the largest stride to the smallest.

    Source:   torch.Tensor.dim_order
    """
    return tuple(sorted(range(self.dim()), key=lambda d: (-self._strides[d], d)))


def is_distributed(input) -> bool:
    """False.

    Source:   torch.is_distributed
    """
    return False


def record_stream(self, stream) -> None:
    """Streams are CUDA's: RuntimeError for tensors of the CPU, as in PyTorch."""
    raise RuntimeError(f"record_stream: tensors on {self.device} belong to no stream; only CUDA tensors do")


# older names --------------------------------------------------------------------------------------
def unsafe(name: str, fn):
    """split's relatives under their names from before views were checked."""

    def call(*args, **kwargs):
        return fn(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{fn.__name__}.\n\n    Source:   torch.{name}\n    "
    return call


UNSAFE = {f"unsafe_{f.__name__}": unsafe(f"unsafe_{f.__name__}", f) for f in (chunk, split, split_with_sizes)}
globals().update(UNSAFE)


def factored(name: str):
    """A method that is a function of ops.factored, which is loaded then."""

    def call(self, *args, **kwargs):
        return getattr(importlib.import_module("flambeau.ops.factored"), name)(self, *args, **kwargs)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"torch.{name} of this tensor."
    return call


def inplace(name: str, fn):
    """name_ of a function of self."""

    def call(self, *args):
        return self.copy_(fn(self.clone(), *args))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"In-place version of `{name[:-1]}`."
    return call


def i0(self):
    """The modified Bessel function I0.

    Source:   torch.Tensor.i0
    """
    from flambeau.ops.unary import special_i0

    return special_i0(self)


def polygamma_method(self, n: int):
    """The n-th derivative of digamma.

    Source:   torch.Tensor.polygamma
    """
    return polygamma(n, self)


METHODS = UNSAFE | {
    "apply_": apply_, "map_": map_, "map2_": map2_, "is_set_to": is_set_to, "dim_order": dim_order, "is_distributed": is_distributed,
    "record_stream": record_stream, "i0": i0, "i0_": inplace("i0_", i0), "polygamma": polygamma_method,
    "polygamma_": inplace("polygamma_", polygamma_method),
} | {n: factored(n) for n in ("lu", "lu_solve", "orgqr", "ormqr")}  # fmt: skip

__all__ = ["is_distributed", *UNSAFE]
