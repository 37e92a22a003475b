"""Sizes of a convolution and the checks of its arguments."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from flambeau.core import shapes as S
from flambeau.ops.record import TENSORS, hooks


@dataclass(frozen=True)
class Shape:
    """All sizes of one convolution, as 3-d (leading sizes 1 for fewer dimensions)."""

    n: int
    ci: int
    co: int
    groups: int
    size: tuple  # input
    taps: tuple
    out: tuple
    stride: tuple
    pad: tuple
    dilation: tuple
    dims: int

    @property
    def k(self) -> int:
        """Products per output element."""
        return self.ci // self.groups * math.prod(self.taps)

    @property
    def depthwise(self) -> bool:
        return self.groups == self.ci and self.groups > 1


def triple(v, dims: int, fill: int) -> tuple:
    """A per-dimension argument as three numbers."""
    return (fill,) * (3 - dims) + tuple(v)


def strides5(x, dims: int) -> tuple:
    """(image, channel, depth, height, width) strides."""
    st = x._strides
    return (st[0], st[1], *((0,) * (3 - dims)), *st[2:])


# checks -------------------------------------------------------------------------------------------
def per_dim(name: str, what: str, v, dims: int) -> tuple:
    """An int or a sequence of one or `dims` ints."""
    found = S.per_dim(v, dims)
    if found is None:
        raise RuntimeError(
            f"expected {what} to be a single integer value or a list of {dims} values to match the convolution dimensions, "
            f"but got {what}={list(v)} ({name})"
        )
    return found


def shape_of(name: str, input, weight, bias, stride, padding, dilation, groups: int) -> Shape:
    """Check everything and work out the sizes (inputs are batched here)."""
    bias_shape = None if bias is None else tuple(bias._shape)
    return checked(name, tuple(input._shape), tuple(weight._shape), bias_shape, stride, padding, dilation, groups)


@functools.lru_cache(maxsize=1024)
def checked(name: str, shape: tuple, weight: tuple, bias: tuple | None, stride, padding, dilation, groups: int) -> Shape:
    """shape_of, by the shapes."""
    dims = len(weight) - 2
    for what, v, low in (("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0)):
        if any(a < low for a in v):
            sign = "non-positive" if low else "negative"
            raise RuntimeError(f"{sign} {what} is not supported ({name}: {what}={list(v)})")
    if groups < 1:
        raise RuntimeError(f"non-positive groups is not supported ({name}: groups={groups})")
    co, cg = weight[:2]
    n, ci = shape[:2]
    if co % groups or co < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0 and divisible by it, but "
            f"got weight of size {list(weight)} instead"
        )
    if ci != cg * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight)}, expected input{list(shape)} to have "
            f"{cg * groups} channels, but got {ci} channels instead"
        )
    if bias is not None and bias != (co,):
        raise RuntimeError(
            f"Given weight of size {list(weight)}, expected bias to be 1-dimensional with {co} elements, but "
            f"got bias of size {list(bias)} instead"
        )
    size, taps = shape[2:], weight[2:]
    out = []
    for i, t, st, p, d in zip(size, taps, stride, padding, dilation, strict=True):
        reach = d * (t - 1) + 1
        if i + 2 * p < reach:
            per = " x ".join(str(a + 2 * b) for a, b in zip(size, padding, strict=True))
            need = " x ".join(str(b * (a - 1) + 1) for a, b in zip(taps, dilation, strict=True))
            raise RuntimeError(
                f"Calculated padded input size per channel: ({per}). Kernel size: ({need}). Kernel size can't be "
                "greater than actual input size"
            )
        out.append((i + 2 * p - reach) // st + 1)
    return Shape(n, ci, co, groups, triple(size, dims, 1), triple(taps, dims, 1), triple(out, dims, 1),
                 triple(stride, dims, 1), triple(padding, dims, 0), triple(dilation, dims, 1), dims)  # fmt: skip


def check_types(name: str, input, weight, bias) -> None:
    """Tensors of one floating dtype."""
    if input.__class__ in TENSORS and weight.__class__ in TENSORS and input._dtype is weight._dtype and (
            bias is None or bias.__class__ in TENSORS and bias._dtype is input._dtype):  # fmt: skip
        return
    for what, t in (("input", input), ("weight", weight), *((("bias", bias),) if bias is not None else ())):
        if not isinstance(t, hooks.Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(t).__name__}")
        if t._dtype is not input._dtype:
            raise RuntimeError(
                f"Input type ({input._dtype}) and {what} type ({t._dtype}) should be the same ({name})"
            )
