"""Convolutions of 1, 2 and 3 dimensions, their transposes, and all their gradients.

Sizes and checks: conv_shape.py. How they are computed: conv_direct.py, conv_planar.py, winograd.py; how that is remembered: conv_plan.py.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

from flambeau.core import dtypes as dt
from flambeau.ops import conv_direct as direct
from flambeau.ops import conv_planar as planar
from flambeau.ops import gemm, winograd
from flambeau.ops.by_geometry import Lying, by_geometry
from flambeau.ops.conv_plan import BIAS, FIRST, OUT, SECOND, Address, Operand, Plan
from flambeau.ops.conv_shape import Shape, check_types, per_dim, shape_of
from flambeau.ops.matmul import product_steps
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.reduce import sum_pair
from flambeau.runtime import calls
from flambeau.runtime.threads import get_num_threads


def computed(fn, tensors, out):
    """Run fn over tensors in a dtype the kernels compute in (half precisions as float32)."""
    d = tensors[0]._dtype
    if d in (dt.float32, dt.float64):
        fn(tensors, out)
        return out
    if d in (dt.float16, dt.bfloat16) or d.kind in "iu":
        wide = dt.float32 if d.is_floating_point else dt.float64
        big = hooks.empty(out._shape, wide)
        fn([None if t is None else t.to(wide) for t in tensors], big)
        return big.to(d)
    raise RuntimeError(f"convolution of {d} is not supported: use float or float64 (complex: convolve the parts)")


@functools.lru_cache(maxsize=512)
def planned(what: str, s: Shape, d, first: tuple, second: tuple | None, bias: bool, threads: int) -> Plan:
    """The launches of a pass ("forward", "grad_input", "grad_weight") over operands of these strides (None: contiguous)."""
    spatial, taps, size = (v[3 - s.dims :] for v in (s.out, s.taps, s.size))
    x, y, w = (s.n, s.ci, *size), (s.n, s.co, *spatial), (s.co, s.ci // s.groups, *taps)
    shapes = {"forward": (y, x, w), "grad_input": (x, y, w), "grad_weight": (w, y, x)}[what]
    out, a, b = (Operand(i, v, d, st) for i, v, st in zip((OUT, FIRST, SECOND), shapes, (None, first, second), strict=True))
    plan = Plan(threads)
    way = way_of(what, s, d)
    if what == "forward":
        way.forward(plan, a, b, Address(BIAS) if bias else None, s, out)
    else:
        getattr(way, what)(plan, a, b, s, out)
    return plan


def way_of(what: str, s: Shape, d):
    """The module that computes a pass: by fewer products, with outputs in the lanes, or with channels there."""
    if (winograd.fits_weight if what == "grad_weight" else winograd.fits)(s):
        return winograd
    fits = planar.fits_weight(s, d) if what == "grad_weight" else planar.fits(s, what == "grad_input", d)
    return planar if fits else direct


def is_pointwise(s: Shape) -> bool:
    """1x1, stride 1, no padding: a plain matrix product."""
    return math.prod(s.taps) == 1 and s.stride == (1, 1, 1) and s.pad == (0, 0, 0) and s.groups == 1


def forward(tensors, s: Shape, y) -> None:
    """y = conv(x, w) + bias."""
    x, w, bias = tensors
    b = 0 if bias is None else (bias if bias._dense else (bias := bias.contiguous()))._ptr
    if is_pointwise(s) and x._dense:
        hw = math.prod(s.size)
        gemm.product(y._ptr, w._ptr, x._ptr, s.co, hw, s.ci, w._strides[:2], (hw, 1), (hw, 1),
                     (y._dtype, w._dtype, x._dtype), s.n, (0, s.ci * hw, s.co * hw), b, "row" if b else "")  # fmt: skip
        return
    w = w if w._dense else w.contiguous()
    plan = planned("forward", s, x._dtype, x._strides, None, b != 0, get_num_threads())
    plan.run(y._ptr, x._ptr, w._ptr, b)


def grad_input(tensors, s: Shape, gx) -> None:
    """gx = d loss / d x from g = d loss / d y and w."""
    g, w = tensors
    if is_pointwise(s) and g._dense:
        hw = math.prod(s.size)
        gemm.product(gx._ptr, w._ptr, g._ptr, s.ci, hw, s.co, (w._strides[1], w._strides[0]), (hw, 1), (hw, 1),
                     (gx._dtype, w._dtype, g._dtype), s.n, (0, s.co * hw, s.ci * hw))  # fmt: skip
        return
    if direct.has_gaps(s):
        gx.zero_()
    w = w if w._dense else w.contiguous()
    planned("grad_input", s, g._dtype, g._strides, None, False, get_num_threads()).run(gx._ptr, g._ptr, w._ptr, 0)


def grad_weight(tensors, s: Shape, gw) -> None:
    """gw = d loss / d w from g = d loss / d y and x; some images at a time where there are too many."""
    g, x = tensors
    step = direct.weight_images(s, x._dtype) if way_of("grad_weight", s, x._dtype) is direct else s.n
    for first in range(0, s.n, step):
        now = s if step >= s.n else replace(s, n=min(step, s.n - first))
        part = gw if first == 0 else hooks.empty(gw._shape, gw._dtype)
        starts = [t._ptr + first * t._strides[0] * t._dtype.itemsize for t in (g, x)]
        planned("grad_weight", now, x._dtype, g._strides, x._strides, False, get_num_threads()).run(part._ptr, *starts, 0)
        if first:
            gw.add_(part)


# ops ----------------------------------------------------------------------------------------------
def plain(shape: tuple, *tensors) -> bool:
    """True if the kernels take all as they are: float32 or float64, dense, not empty."""
    d = tensors[0]._dtype
    return 0 not in shape and (d is dt.float32 or d is dt.float64) and all(t is None or t._numel for t in tensors)


@op(KERNEL, function=False, method=False, node="ConvolutionBackward0")
@by_geometry
def convolution_forward(input, weight, bias, stride, padding, dilation, groups):
    """A batched convolution with all arguments given per dimension; see `conv2d`."""
    s = shape_of("conv", input, weight, bias, stride, padding, dilation, groups)
    shape = (s.n, s.co, *s.out[3 - s.dims :])
    if plain(shape, input, weight, bias) and weight._dense and (bias is None or bias._dense):
        if is_pointwise(s) and input._dense:
            return pointwise_call(input, weight, bias, s, shape)
        plan = planned("forward", s, input._dtype, input._strides, None, bias is not None, get_num_threads())
        return plan.call(hooks.dense(shape, input._dtype), 2 if bias is None else 3)

    def call(input, weight, bias=None):
        out = hooks.empty(shape, input._dtype)
        if out._numel == 0:
            return out
        if s.k == 0:
            out.zero_()
            return out if bias is None else out + bias.reshape([1, -1] + [1] * s.dims)
        return computed(lambda ts, y: forward(ts, s, y), [input, weight, bias], out)

    return call


def pointwise_call(x, w, bias, s: Shape, shape: tuple):
    """The call of a convolution that is a matrix product: w @ x for every image."""
    hw, d = math.prod(s.size), x._dtype
    p = gemm.plan(s.co, hw, s.ci, w._strides[:2], (hw, 1), (hw, 1), (d, d, d), s.n, (0, s.ci * hw, s.co * hw),
                  "" if bias is None else "row", False, get_num_threads())  # fmt: skip
    out, image, weight = calls.out(), calls.operand(0), calls.operand(1)
    launches, rooms = product_steps(p, out, weight, image, None if bias is None else calls.operand(2))
    return calls.bind((hooks.dense(shape, d),), 2 if bias is None else 3, 0, launches, rooms)


@convolution_forward.vjp("input", "weight", "bias")
def _(g, input, weight, bias_shape, stride, padding, dilation, groups, needs):
    gx = gw = gb = None
    if needs["input"]:
        gx = convolution_input_grad(g, weight, tuple(input._shape), stride, padding, dilation, groups)
    if needs["weight"]:
        gw = convolution_weight_grad(g, input, tuple(weight._shape), stride, padding, dilation, groups)
    if needs["bias"]:
        gb = sum_pair[1](g, (0, *range(2, len(g._shape))), False, None)
    return gx, gw, gb


@op(KERNEL, function=False, method=False, node="ConvolutionBackward0")
@by_geometry
def convolution_input_grad(grad, weight, input_shape, stride, padding, dilation, groups):
    """The gradient of a convolution's input (also the transposed convolution)."""
    like = Lying(input_shape)
    s = shape_of("conv", like, weight, None, stride, padding, dilation, groups)
    if plain(like._shape, grad, weight) and weight._dense and not is_pointwise(s) and not direct.has_gaps(s):
        plan = planned("grad_input", s, grad._dtype, grad._strides, None, False, get_num_threads())
        return plan.call(hooks.dense(like._shape, grad._dtype), 2)
    return gradient_by(grad_input, input_shape, s)


def gradient_by(fn, shape, s):
    """call(grad, other) -> what fn makes of them, in a tensor of that shape; zeros where there is nothing to add."""

    def call(grad, other):
        out = hooks.empty(shape, grad._dtype)
        if out._numel == 0 or grad._numel == 0 or other._numel == 0:
            out.zero_()
            return out
        return computed(lambda ts, y: fn(ts, s, y), [grad, other], out)

    return call


@convolution_input_grad.vjp("grad", "weight")
def _(g, grad, weight, stride, padding, dilation, groups, needs):
    gg = gw = None
    if needs["grad"]:
        gg = convolution_forward(g, weight, None, stride, padding, dilation, groups)
    if needs["weight"]:
        gw = convolution_weight_grad(grad, g, tuple(weight._shape), stride, padding, dilation, groups)
    return gg, gw


@op(KERNEL, function=False, method=False, node="ConvolutionBackward0")
@by_geometry
def convolution_weight_grad(grad, input, weight_shape, stride, padding, dilation, groups):
    """The gradient of a convolution's weight."""
    s = shape_of("conv", input, Lying(weight_shape), None, stride, padding, dilation, groups)
    if plain(tuple(weight_shape), grad, input) and direct.weight_images(s, input._dtype) >= s.n:
        plan = planned("grad_weight", s, input._dtype, grad._strides, input._strides, False, get_num_threads())
        return plan.call(hooks.dense(tuple(weight_shape), grad._dtype), 2)
    return gradient_by(grad_weight, weight_shape, s)


@convolution_weight_grad.vjp("grad", "input")
def _(g, grad, input, stride, padding, dilation, groups, needs):
    gg = gx = None
    if needs["grad"]:
        gg = convolution_forward(input, g, None, stride, padding, dilation, groups)
    if needs["input"]:
        gx = convolution_input_grad(grad, g, tuple(input._shape), stride, padding, dilation, groups)
    return gg, gx


def convolve(name: str, dims: int, input, weight, bias, stride, padding, dilation, groups: int):
    """conv1d/2d/3d: argument forms, string paddings, inputs without a batch dimension."""
    check_types(name, input, weight, bias)
    if len(weight._shape) != dims + 2:
        raise RuntimeError(
            f"{name}(weight): expected {dims + 2} dims (out, in/groups, {', '.join('kernel' for _ in range(dims))}), got "
            f"{list(weight._shape)}"
        )
    if len(input._shape) not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {name}, but got input of size: "
            f"{list(input._shape)}"
        )
    if not (input._dtype.is_floating_point or input._dtype.is_complex or input._dtype.kind in "iu"):
        raise RuntimeError(f"{name}: dtype {input._dtype} is not supported")
    if isinstance(padding, str):
        stride, dilation = per_dim(name, "stride", stride, dims), per_dim(name, "dilation", dilation, dims)
        input, padding = string_padding(name, dims, input, weight, padding, stride, dilation)
    else:
        given = (stride, dilation, padding)
        if list in map(type, given):
            given = tuple([tuple(v) if v.__class__ is list else v for v in given])
        stride, dilation, padding = settled(name, dims, *given)
    single = len(input._shape) == dims + 1
    x = input.unsqueeze(0) if single else input
    y = convolution_forward(x, weight, bias, stride, padding, dilation, groups)
    return y.squeeze(0) if single else y


@functools.lru_cache(maxsize=1024, typed=True)
def settled(name: str, dims: int, stride, dilation, padding) -> tuple:
    """Each of these as a tuple of one number per dimension."""
    return tuple([per_dim(name, w, v, dims) for w, v in (("stride", stride), ("dilation", dilation), ("padding", padding))])


def string_padding(name: str, dims: int, input, weight, padding: str, stride, dilation):
    """'valid' is 0; 'same' pads so that the output has the input's size (stride 1 only)."""
    if padding == "valid":
        return input, (0,) * dims
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: {padding!r} ({name}: 'valid' or 'same')")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(dilation, weight._shape[2:], strict=True)]
    if all(t % 2 == 0 for t in total):
        return input, tuple(t // 2 for t in total)
    extra = []
    for t in reversed(total):
        extra += [0, t % 2]
    from flambeau.ops.join import constant_pad_nd

    return constant_pad_nd(input, extra, 0), tuple(t // 2 for t in total)


def transpose(name: str, dims: int, input, weight, bias, stride, padding, output_padding, groups: int, dilation):
    """conv_transpose1d/2d/3d: the gradient of a convolution with respect to its input."""
    check_types(name, input, weight, bias)
    if len(input._shape) not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {name}, but got input of size: "
            f"{list(input._shape)}"
        )
    stride, dilation = per_dim(name, "stride", stride, dims), per_dim(name, "dilation", dilation, dims)
    padding, extra = per_dim(name, "padding", padding, dims), per_dim(name, "output_padding", output_padding, dims)
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding: {list(extra)} "
                f"stride: {list(stride)} dilation: {list(dilation)}"
            )
    single = len(input._shape) == dims + 1
    x = input.unsqueeze(0) if single else input
    if x._shape[1] != weight._shape[0]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight._shape)}, expected input{list(x._shape)} to have "
            f"{weight._shape[0]} channels, but got {x._shape[1]} channels instead"
        )
    size = [
        (i - 1) * s - 2 * p + d * (k - 1) + e + 1
        for i, s, p, d, k, e in zip(x._shape[2:], stride, padding, dilation, weight._shape[2:], extra, strict=True)
    ]
    if any(n <= 0 for n in size):
        raise RuntimeError(
            f"Given input size per channel: {list(x._shape[2:])}. Calculated output size per channel: {size}. Output "
            "size is too small"
        )
    shape = (x._shape[0], weight._shape[1] * groups, *size)
    y = convolution_input_grad(x, weight, shape, stride, padding, dilation, groups)
    if bias is not None:
        y = y + bias.reshape([1, -1] + [1] * dims)
    return y.squeeze(0) if single else y


F = {"method": False, "functional": True}


@op(COMPOSITE, **F)
def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of signals with kernels.

    Shapes:   (n, c, l) or (c, l), (out, c / groups, k) -> (n, out, (l + 2 padding - dilation (k - 1) - 1) / stride + 1)
    Source:   torch.nn.functional.conv1d
    """
    return convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@op(COMPOSITE, **F)
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of images with kernels.

    Shapes:   (n, c, h, w) or (c, h, w), (out, c / groups, kh, kw) -> (n, out, oh, ow),
              oh = (h + 2 padding - dilation (kh - 1) - 1) / stride + 1
    Errors:   RuntimeError for channels, groups, or sizes that do not fit
    Source:   torch.nn.functional.conv2d
    """
    return convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@op(COMPOSITE, **F)
def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Cross-correlation of volumes with kernels.

    Source:   torch.nn.functional.conv3d
    """
    return convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@op(COMPOSITE, **F)
def conv_transpose1d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The transpose of conv1d.

    Source:   torch.nn.functional.conv_transpose1d
    """
    return transpose("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@op(COMPOSITE, **F)
def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The transpose of conv2d.

    Shapes:   (n, c, h, w), (c, out / groups, kh, kw) -> (n, out, oh, ow),
              oh = (h - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1
    Source:   torch.nn.functional.conv_transpose2d
    """
    return transpose("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@op(COMPOSITE, **F)
def conv_transpose3d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The transpose of conv3d.

    Source:   torch.nn.functional.conv_transpose3d
    """
    return transpose("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)


@op(COMPOSITE, method=False, functional=True)
def conv_tbc(input, weight, bias, pad=0):
    """conv1d over (time, batch, channels) input.

    Source:   torch.nn.functional.conv_tbc
    """
    y = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return y.permute(2, 0, 1)


