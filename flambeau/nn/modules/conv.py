"""Convolution layers: 1, 2 and 3 dimensions, plain and transposed. (The lazy ones: conv_lazy.py.)"""

import math

from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._base import ops
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import (  # noqa: F401  (_pair and _triple are looked for here)
    _ntuple,
    _pair,
    _reverse_repeat_tuple,
    _single,
    _triple,
)
from flambeau.nn.parameter import Parameter

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
]  # fmt: skip

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolution layers share: sizes, checks, weight and bias, and their initial values."""

    _nd = None  # spatial dimensions
    _convolve = None  # the functional's name

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed,
        output_padding, groups, bias, padding_mode, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        _check_channels(in_channels, out_channels, groups)
        _check_padding(padding, stride, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._pad_amounts()
        kw = {"device": device, "dtype": dtype}
        self.weight = Parameter(ops.empty(self._weight_shape(), **kw))
        if bias:
            self.bias = Parameter(ops.empty(out_channels, **kw))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _pad_amounts(self):
        """Per-side amounts, last dimension first, for the modes that ``pad`` does beforehand."""
        if not isinstance(self.padding, str):
            return _reverse_repeat_tuple(self.padding, 2)
        amounts = []
        for d, k in zip(reversed(self.dilation), reversed(self.kernel_size), strict=True):
            total = d * (k - 1) if self.padding == "same" else 0
            amounts += [total // 2, total - total // 2]
        return amounts

    def _weight_shape(self):
        first, second = self.out_channels, self.in_channels
        if self.transposed:
            first, second = second, first
        return (first, second // self.groups, *self.kernel_size)

    def reset_parameters(self):
        """Draw weight and bias from U(-k, k), k = 1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self):
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        n = len(self.kernel_size)
        if self.padding != (0,) * n:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * n:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * n:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")


def _check_channels(in_channels, out_channels, groups):
    if groups <= 0:
        raise ValueError("groups must be a positive integer")
    if in_channels % groups != 0:
        raise ValueError("in_channels must be divisible by groups")
    if out_channels % groups != 0:
        raise ValueError("out_channels must be divisible by groups")


def _check_padding(padding, stride, padding_mode):
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            valid = {"same", "valid"}
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of {valid}"
            )
        if padding == "same" and any(s != 1 for s in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if padding_mode not in _PADDING_MODES:
        valid = set(_PADDING_MODES)
        raise ValueError(
            f"padding_mode must be one of {valid}, but got padding_mode='{padding_mode}'"
        )


class _PlainConv(_ConvNd):
    """A convolution that is not transposed, of ``_nd`` spatial dimensions."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1,
        bias=True, padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        spread = _ntuple(self._nd)
        super().__init__(
            in_channels, out_channels, spread(kernel_size), spread(stride),
            padding if isinstance(padding, str) else spread(padding), spread(dilation),
            False, spread(0), groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _conv_forward(self, input, weight, bias):
        padding = self.padding
        if self.padding_mode != "zeros":
            amounts = self._reversed_padding_repeated_twice
            input = F.pad(input, amounts, mode=self.padding_mode)
            padding = (0,) * self._nd
        convolve = getattr(F, self._convolve)
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_PlainConv):
    """y[n, o] = b[o] + sum_c w[o, c] * x[n, c] along one dimension (cross-correlation).

    Shapes: (n, in, l) or (in, l) -> (n, out, l') or (out, l');
    l' = (l + 2 padding - dilation (k - 1) - 1) / stride + 1, rounded down.
    """

    _nd, _convolve = 1, "conv1d"


class Conv2d(_PlainConv):
    """y[n, o] = b[o] + sum_c w[o, c] * x[n, c] over images (cross-correlation).

    Shapes: (n, in, h, w) or (in, h, w) -> (n, out, h', w') or (out, h', w').
    """

    _nd, _convolve = 2, "conv2d"


class Conv3d(_PlainConv):
    """y[n, o] = b[o] + sum_c w[o, c] * x[n, c] over volumes (cross-correlation).

    Shapes: (n, in, d, h, w) or (in, d, h, w) -> (n, out, d', h', w') or (out, d', h', w').
    """

    _nd, _convolve = 3, "conv3d"


class _ConvTransposeNd(_ConvNd):
    """The adjoint of a convolution: what its gradient with respect to its input computes."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0,
        groups=1, bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None,
    ):  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}'
            )
        spread = _ntuple(self._nd)
        super().__init__(
            in_channels, out_channels, spread(kernel_size), spread(stride), spread(padding),
            spread(dilation), True, spread(output_padding), groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def _output_padding(
        self, input, output_size, stride, padding, kernel_size, num_spatial_dims, dilation=None
    ):
        """The output padding that makes the output ``output_size`` (the layer's own when it is None)."""
        if output_size is None:
            return _single(self.output_padding)
        batched = 2 if input.dim() == num_spatial_dims + 2 else 1
        if len(output_size) == batched + num_spatial_dims:
            output_size = output_size[batched:]
        if len(output_size) != num_spatial_dims:
            raise ValueError(
                f"ConvTranspose{num_spatial_dims}D: for {input.dim()}D input, output_size must "
                f"have {num_spatial_dims} or {batched + num_spatial_dims} elements "
                f"(got {len(output_size)})"
            )
        dilation = (1,) * num_spatial_dims if dilation is None else dilation
        lowest = [
            (input.size(d + batched) - 1) * stride[d] - 2 * padding[d]
            + dilation[d] * (kernel_size[d] - 1) + 1
            for d in range(num_spatial_dims)
        ]  # fmt: skip
        highest = [low + stride[d] - 1 for d, low in enumerate(lowest)]
        for size, low, high in zip(output_size, lowest, highest, strict=True):
            if not low <= size <= high:
                raise ValueError(
                    f"requested an output size of {output_size}, but valid sizes range "
                    f"from {lowest} to {highest} (for an input of {input.size()[2:]})"
                )
        return [size - low for size, low in zip(output_size, lowest, strict=True)]

    def forward(self, input, output_size=None):
        if self.padding_mode != "zeros":
            raise ValueError(
                f"Only `zeros` padding mode is supported for {type(self).__name__}"
            )
        extra = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, self._nd,
            self.dilation,
        )  # fmt: skip
        convolve = getattr(F, self._convolve)
        return convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip


class ConvTranspose1d(_ConvTransposeNd):
    """The adjoint of Conv1d.

    Shapes: (n, in, l) -> (n, out, (l - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1).
    """

    _nd, _convolve = 1, "conv_transpose1d"


class ConvTranspose2d(_ConvTransposeNd):
    """The adjoint of Conv2d. Shapes: (n, in, h, w) -> (n, out, h', w')."""

    _nd, _convolve = 2, "conv_transpose2d"


class ConvTranspose3d(_ConvTransposeNd):
    """The adjoint of Conv3d. Shapes: (n, in, d, h, w) -> (n, out, d', h', w')."""

    _nd, _convolve = 3, "conv_transpose3d"

