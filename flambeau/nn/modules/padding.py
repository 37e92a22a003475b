"""Padding layers: constant, zero, reflection, replication and circular, over 1 to 3 dimensions."""

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """Adds ``padding`` (left, right, top, bottom, ...) around the last ``_nd`` dimensions."""

    _nd, _mode = None, None

    def __init__(self, padding):
        super().__init__()
        self.padding = _ntuple(2 * self._nd)(padding)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class _CircularPadNd(_Pad):
    _mode = "circular"

    def _check_input_dim(self, input):
        low, high = self._nd + 1, self._nd + 2
        if input.dim() not in (low, high):
            raise ValueError(f"expected {low}D or {high}D input (got {input.dim()}D input)")

    def forward(self, input):
        self._check_input_dim(input)
        return F.pad(input, self.padding, self._mode)


class CircularPad1d(_CircularPadNd):
    """Pads with the values from the other end, along one dimension."""

    _nd = 1


class CircularPad2d(_CircularPadNd):
    """Pads with the values from the other side, over images."""

    _nd = 2


class CircularPad3d(_CircularPadNd):
    """Pads with the values from the other side, over volumes."""

    _nd = 3


class _ConstantPadNd(_Pad):
    _mode = "constant"

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Pads with ``value`` along one dimension."""

    _nd = 1


class ConstantPad2d(_ConstantPadNd):
    """Pads with ``value`` over images."""

    _nd = 2


class ConstantPad3d(_ConstantPadNd):
    """Pads with ``value`` over volumes."""

    _nd = 3


class _ReflectionPadNd(_Pad):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Pads with the reflection of the input in its edge (the edge not repeated), in 1 dimension."""

    _nd = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Pads with the reflection of the input in its edges, over images."""

    _nd = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Pads with the reflection of the input in its edges, over volumes."""

    _nd = 3


class _ReplicationPadNd(_Pad):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Pads with the edge value, along one dimension."""

    _nd = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Pads with the edge values, over images."""

    _nd = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Pads with the edge values, over volumes."""

    _nd = 3


class _ZeroPadMixin:
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadMixin, ConstantPad1d):
    """Pads with zeros along one dimension."""


class ZeroPad2d(_ZeroPadMixin, ConstantPad2d):
    """Pads with zeros over images."""


class ZeroPad3d(_ZeroPadMixin, ConstantPad3d):
    """Pads with zeros over volumes."""
