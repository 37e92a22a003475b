"""Convolutions of 1, 2 and 3 dimensions, their transposes, and all their gradients. Kernels: conv_kernels.py.

Everything is one primitive: a stride-1 convolution on a virtual plane (`Plane`) whose taps are displacements.
Forward and grad-input differ in what is spread onto the plane, which weights are packed, and where results go;
a strided grad-input is one such convolution per residue class of the stride.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

from flambeau.core import dtypes as dt
from flambeau.ops import conv_kernels as K
from flambeau.ops import gemm
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.runtime import memory
from flambeau.runtime.threads import get_num_threads

LIMIT = 48 << 20  # bytes of spread input held at a time
SLACK = 128  # elements after the last plane that a full vector may read


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


@dataclass
class Plane:
    """A spread tensor: memory, sizes of its virtual plane, element distance of channels."""

    storage: memory.Storage
    dims: tuple
    plane: int
    channel: int  # elements from one channel to the next
    images: int


def spread(x, channels: int, first: int, images: int, plane_dims, size, strides5, steps, starts) -> Plane:
    """Spread `images` images of x onto planes, one copy per (step, start) phase."""
    width = plane_dims[2]
    plane = math.prod(plane_dims)
    channel = images * plane
    d = x._dtype
    storage = memory.allocate((len(starts) * channels * channel + SLACK) * d.itemsize)
    xn, xc, xd, xh, xw = strides5
    for i, start in enumerate(starts):
        k = K.spread((d, d), unit=steps[2] == 1 and xw == 1)
        k(channels * images, max(1, 16384 // plane), storage.ptr + i * channels * channel * d.itemsize, x._ptr, plane_dims[0],
          plane_dims[1], width, images, plane, channels, *size, xn, xc, xd, xh, xw, *steps, *start, first,
          channel)  # fmt: skip
    return Plane(storage, plane_dims, plane, channel, images)


def strides5(x, dims: int) -> tuple:
    """(image, channel, depth, height, width) strides."""
    st = x._strides
    return (st[0], st[1], *((0,) * (3 - dims)), *st[2:])


def images_at_once(s: Shape, per_image: int, itemsize: int) -> int:
    """How many images are spread together."""
    return max(1, min(s.n, LIMIT // max(1, per_image * itemsize)))


@functools.lru_cache(maxsize=256)
def forward_phases(s: Shape):
    """(plane dims, the phases that taps use, tap -> (phase, displacement on the plane))."""
    padded = [(o - 1) * st + (t - 1) * d + 1 for o, st, t, d in zip(s.out, s.stride, s.taps, s.dilation, strict=True)]
    dims = tuple(-(-p // st) for p, st in zip(padded, s.stride, strict=True))
    phases: dict = {}
    taps = []
    for t in itertools.product(*map(range, s.taps)):
        u = [a * d for a, d in zip(t, s.dilation, strict=True)]
        phase = tuple(a % st for a, st in zip(u, s.stride, strict=True))
        q = [a // st for a, st in zip(u, s.stride, strict=True)]
        index = phases.setdefault(phase, len(phases))
        taps.append((index, (q[0] * dims[1] + q[1]) * dims[2] + q[2]))
    return dims, tuple(phases), tuple(taps)


@functools.lru_cache(maxsize=256)
def offset_table(taps: tuple, channels: int, channel: int, total_channels: int):
    """koff[c, tap] as an int64 tensor, kept for the next call of the same layer."""
    import numpy as np

    per_tap = np.array([i * total_channels * channel + q for i, q in taps], np.int64)
    return hooks.from_array((np.arange(channels, dtype=np.int64)[:, None] * channel + per_tap).reshape(-1))


@dataclass
class Target:
    """Where results go: address of (image 0, channel 0, position 0), strides, sizes."""

    ptr: int
    dtype: object
    image: int
    channel: int
    steps: tuple
    out: tuple


@functools.lru_cache(maxsize=128)
def run_table(run: int, nr: int, images: int, plane: int, dims: tuple, out: tuple, image: int, steps: tuple):
    """(table, positions): per run of real outputs its start on the plane, its start in y, its length; see conv_tiles."""
    import numpy as np

    per_row = -(-out[2] // run)
    n, d, h, w = np.meshgrid(np.arange(images), np.arange(out[0]), np.arange(out[1]), np.arange(per_row) * run, indexing="ij")
    source = n * plane + (d * dims[1] + h) * dims[2] + w
    target = n * image + d * steps[0] + h * steps[1] + w * steps[2]
    length = np.minimum(run, out[2] - w)
    runs = source.size
    padded = np.zeros((3, -(-runs * run // nr) * nr // run), np.int64)
    for row, values in zip(padded, (source, target, length), strict=True):
        row[:runs] = values.ravel()
    return hooks.from_array(padded), runs * run


def run_for(images: int, plane: int, out: tuple, nr: int) -> int:
    """The length of runs worth their trouble: 0 where the plane itself has little waste."""
    real = images * math.prod(out)
    if images * plane < 1.06 * real or out[2] < 3:
        return 0
    best = min((16, 8, 4), key=lambda r: (-(-out[2] // r) * r, -r))
    return best if nr % best == 0 and -(-out[2] // best) * best * out[0] * out[1] < 0.95 * plane else 0


def run_tiles(plane: Plane, koff, weights, m: int, kk: int, groups: int, w_strides, target: Target, x_group: int,
              bias_ptr: int, accumulate: bool) -> None:  # fmt: skip
    """target[image, group * m + i, position] (+)= sum_k weights[group][i, k] * patches[k, position]."""
    d = weights._dtype
    tile = gemm.tile_for(d)
    mr, nr, kc = gemm.height_for(m, 32 if tile.mr == 12 else 16), tile.nr, tile.kc * 2
    mpad = -(-m // mr) * mr
    packed = memory.allocate(groups * mpad * kk * d.itemsize)
    K.pack_weights((d, d), mr=mr, kc=kc)(
        groups * (mpad // mr), max(1, 16384 // (mr * kk)), packed.ptr, weights._ptr, m, mpad, kk, *w_strides,
        mpad * kk, mpad // mr,
    )  # fmt: skip
    qd, qh, qw = plane.dims
    od, oh, ow = target.out
    # The last image ends with its last real output.
    positions = (plane.images - 1) * plane.plane + ((od - 1) * qh + oh - 1) * qw + ow
    run, runs = run_for(plane.images, plane.plane, target.out, nr), koff
    if run:
        runs, positions = run_table(run, nr, plane.images, plane.plane, plane.dims, target.out, target.image, target.steps)
    threads = get_num_threads()
    depth = min(kk, kc)
    panels = max(1, min(262144 // (depth * nr * d.itemsize), -(-positions // nr)))
    while panels > 1 and groups * -(-positions // (panels * nr)) < 3 * threads:
        panels -= 1
    block = panels * nr
    blocks = -(-positions // block)
    size = block * depth + SLACK
    scratch = memory.allocate(size * threads * d.itemsize)
    k = K.conv_tiles((target.dtype, d, d, dt.int64, d, d, dt.int64), mr=mr, nr=nr, kc=kc, epilogue="bias" if bias_ptr else "",
                     unit=target.steps[2] == 1, run=run)  # fmt: skip
    k(groups * blocks, 1 if positions * m * kk > 1 << 15 else groups * blocks, target.ptr, packed.ptr,
      plane.storage.ptr, koff._ptr, scratch.ptr, bias_ptr or packed.ptr, m, mpad, kk, positions, blocks, block, size,
      x_group, mpad * kk, m * target.channel, qw, qh, qd, od, oh, ow, target.image, *target.steps, target.channel,
      int(accumulate), runs._ptr, runs._shape[-1])  # fmt: skip


def dense_target(out, s_out, dims: int, first: int) -> Target:
    """A contiguous (n, c, *spatial) tensor from image `first` on."""
    st = strides5(out, dims)
    d = out._dtype
    return Target(out._ptr + first * st[0] * d.itemsize, d, st[0], st[1], st[2:], s_out)


def is_pointwise(s: Shape) -> bool:
    """1x1, stride 1, no padding: a plain matrix product."""
    return math.prod(s.taps) == 1 and s.stride == (1, 1, 1) and s.pad == (0, 0, 0) and s.groups == 1


def forward(x, w, bias, s: Shape, out) -> None:
    """out = conv(x, w) + bias into a contiguous tensor."""
    if bias is not None and not bias._dense:
        bias = bias.contiguous()
    if is_pointwise(s) and x._dense:
        hw = math.prod(s.size)
        st = (hw, 1)
        gemm.product(out._ptr, w._ptr, x._ptr, s.co, hw, s.ci, (w._strides[0], w._strides[1]), st, st,
                     (out._dtype, w._dtype, x._dtype), s.n, (0, s.ci * hw, s.co * hw),
                     bias._ptr if bias is not None else 0, "row" if bias is not None else "")  # fmt: skip
        return
    dims, phases, taps = forward_phases(s)
    starts = [tuple(a - p for a, p in zip(ph, s.pad, strict=True)) for ph in phases]
    per_image = len(phases) * s.ci * math.prod(dims)
    step = images_at_once(s, per_image, x._dtype.itemsize)
    cg, mg = s.ci // s.groups, s.co // s.groups
    w = w if w._dense else w.contiguous()
    for first in range(0, s.n, step):
        images = min(step, s.n - first)
        plane = spread(x, s.ci, first, images, dims, s.size, strides5(x, s.dims), s.stride, starts)
        target = dense_target(out, s.out, s.dims, first)
        if s.depthwise:
            run_depthwise(plane, taps, w, bias, s, target, mg)
            continue
        koff = offset_table(taps, cg, plane.channel, s.ci)
        run_tiles(plane, koff, w, mg, s.k, s.groups, (s.k, 1, mg * s.k), target, cg * plane.channel,
                  bias._ptr if bias is not None else 0, False)  # fmt: skip


def run_depthwise(plane: Plane, taps, w, bias, s: Shape, target: Target, per: int) -> None:
    """One input channel per output channel."""
    koff = offset_table(taps, 1, plane.channel, s.ci)
    d = w._dtype
    k = K.depthwise((target.dtype, d, d, dt.int64, d), epilogue="bias" if bias is not None else "",
                    unit=target.steps[2] == 1)  # fmt: skip
    work = math.prod(target.out) * len(taps)
    k(s.co * plane.images, max(1, 32768 // work), target.ptr, plane.storage.ptr, w._ptr, koff._ptr,
      bias._ptr if bias is not None else w._ptr, len(taps), per, plane.images, plane.plane, plane.channel,
      plane.dims[2], plane.dims[1], *target.out, target.image, target.channel, *target.steps, len(taps), 0)  # fmt: skip


def residues(size: int, out: int, taps: int, stride: int, pad: int, dilation: int):
    """Per residue class of one dimension: (first input index, count, v_min, [(tap, displacement)])."""
    classes = []
    for b in range(stride):
        ts = [(t, t * dilation // stride) for t in range(taps) if t * dilation % stride == b]
        first = (b - pad) % stride
        count = len(range(first, size, stride))
        v_min = (first + pad - b) // stride
        classes.append((first, count, v_min, ts))
    return classes


def grad_input(g, w, s: Shape, out) -> None:
    """out = d loss / d x, given g = d loss / d y; every element of `out` is written."""
    if is_pointwise(s) and g._dense:
        hw = math.prod(s.size)
        st = (hw, 1)
        gemm.product(out._ptr, w._ptr, g._ptr, s.ci, hw, s.co, (w._strides[1], w._strides[0]), st, st,
                     (out._dtype, w._dtype, g._dtype), s.n, (0, s.co * hw, s.ci * hw))  # fmt: skip
        return
    per_dim = [
        residues(*v) for v in zip(s.size, s.out, s.taps, s.stride, s.pad, s.dilation, strict=True)
    ]
    cg, mg = s.ci // s.groups, s.co // s.groups
    if any(not c[3] for cs in per_dim for c in cs):
        out.zero_()
    st = strides5(out, s.dims)
    for classes in itertools.product(*per_dim):
        if any(not c[3] or not c[1] for c in classes):
            continue
        grad_input_class(g, w, s, out, st, classes, cg, mg)


def grad_input_class(g, w, s: Shape, out, st, classes, cg: int, mg: int) -> None:
    """The inputs of one residue class: a stride-1 convolution of g with the taps of that class."""
    counts = tuple(c[1] for c in classes)
    reach = [max(e for _, e in c[3]) for c in classes]  # largest displacement
    starts = tuple(c[2] - r for c, r in zip(classes, reach, strict=True))  # plane index q = o - start
    dims = tuple(n + r for n, r in zip(counts, reach, strict=True))
    taps, picks = [], []
    for combo in itertools.product(*[c[3] for c in classes]):
        q = [r - e for (_, e), r in zip(combo, reach, strict=True)]
        taps.append((0, (q[0] * dims[1] + q[1]) * dims[2] + q[2]))
        picks.append((combo[0][0] * s.taps[1] + combo[1][0]) * s.taps[2] + combo[2][0])
    weights = class_weights(w, s, picks, cg, mg)
    per_image = s.co * math.prod(dims)
    step = images_at_once(s, per_image, g._dtype.itemsize)
    size = out._dtype.itemsize
    base = sum(c[0] * x for c, x in zip(classes, st[2:], strict=True))
    steps = tuple(x * n for x, n in zip(st[2:], s.stride, strict=True))
    for first in range(0, s.n, step):
        images = min(step, s.n - first)
        plane = spread(g, s.co, first, images, dims, s.out, strides5(g, s.dims), (1, 1, 1), [starts])
        target = Target(out._ptr + (first * st[0] + base) * size, out._dtype, st[0], st[1], steps, counts)
        koff = offset_table(tuple(taps), mg, plane.channel, s.co)
        kk = mg * len(taps)
        run_tiles(plane, koff, weights, cg, kk, s.groups, (kk, 1, cg * kk), target, mg * plane.channel, 0, False)


def class_weights(w, s: Shape, picks, cg: int, mg: int):
    """weights[group][ci, (co, tap)] for the picked taps, contiguous."""
    import numpy as np

    total = math.prod(s.taps)
    flat = (w if w._dense else w.contiguous()).detach().reshape(s.groups, mg, cg, total)
    if picks != list(range(total)):
        flat = flat.index_select(3, hooks.from_array(np.array(picks, np.int64)))
    return flat.permute(0, 2, 1, 3).contiguous()


def grad_weight(g, x, s: Shape, out) -> None:
    """out = d loss / d w (contiguous, (co, ci / groups, *taps))."""
    out.zero_()
    dims, phases, taps = forward_phases(s)
    starts = [tuple(a - p for a, p in zip(ph, s.pad, strict=True)) for ph in phases]
    per_image = (len(phases) * s.ci + s.co) * math.prod(dims)
    step = images_at_once(s, per_image, x._dtype.itemsize)
    cg, mg = s.ci // s.groups, s.co // s.groups
    d = x._dtype
    for first in range(0, s.n, step):
        images = min(step, s.n - first)
        xs = spread(x, s.ci, first, images, dims, s.size, strides5(x, s.dims), s.stride, starts)
        tile_m, tile_n = (4, 6) if gemm.tile_for(d).mr == 12 else (2, 5)
        run = 0 if s.depthwise else run_for(images, xs.plane, s.out, gemm.tile_for(d).nr)
        gdims = (*s.out[:2], -(-s.out[2] // run) * run) if run else dims
        gs = spread(g, s.co, first, images, gdims, s.out, strides5(g, s.dims), (1, 1, 1), [(0, 0, 0)])
        length = (images - 1) * xs.plane + ((s.out[0] - 1) * dims[1] + s.out[1] - 1) * dims[2] + s.out[2]
        if s.depthwise:
            koff = offset_table(taps, 1, xs.channel, s.ci)
            part = hooks.empty(out._shape, d)
            K.depthwise_weight_grad((d, d, d, dt.int64))(
                s.co, max(1, 32768 // (length * len(taps))), part._ptr, gs.storage.ptr, xs.storage.ptr, koff._ptr,
                len(taps), mg, length, xs.channel, gs.channel,
            )  # fmt: skip
            out.add_(part)
            continue
        koff = offset_table(taps, cg, xs.channel, s.ci)
        tiles = -(-s.k // tile_n)
        chunk = 1024
        runs = koff
        if run:
            runs, length = run_table(run, run, images, xs.plane, xs.dims, s.out, 0, (0, 0, 0))
        scratch = memory.allocate(chunk * tile_n * d.itemsize * get_num_threads() + 64 if run else 64)
        k = K.weight_grad((d, d, d, dt.int64, dt.int64, d), mr=tile_m, nr=tile_n, run=run)
        k(s.groups * tiles, max(1, 65536 // (length * mg * tile_n)), out._ptr, gs.storage.ptr, xs.storage.ptr, koff._ptr,
          mg, s.k, length, chunk, gs.channel, tiles, cg * xs.channel, mg * gs.channel, mg * s.k, s.k,
          runs._ptr, scratch.ptr)  # fmt: skip


# checks -------------------------------------------------------------------------------------------
def per_dim(name: str, what: str, v, dims: int) -> tuple:
    """An int or a sequence of one or `dims` ints."""
    if isinstance(v, int):
        return (v,) * dims
    v = tuple(int(a) for a in v)
    if len(v) == 1:
        return v * dims
    if len(v) != dims:
        raise RuntimeError(f"expected {what} to be a single integer value or a list of {dims} values to match the convolution dimensions, but got {what}={list(v)} ({name})")
    return v


def shape_of(name: str, input, weight, bias, stride, padding, dilation, groups: int) -> Shape:
    """Check everything and work out the sizes (inputs are batched here)."""
    dims = len(weight._shape) - 2
    for what, v, low in (("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0)):
        if any(a < low for a in v):
            sign = "non-positive" if low else "negative"
            raise RuntimeError(f"{sign} {what} is not supported ({name}: {what}={list(v)})")
    if groups < 1:
        raise RuntimeError(f"non-positive groups is not supported ({name}: groups={groups})")
    co, cg = weight._shape[:2]
    n, ci = input._shape[:2]
    if co % groups or co < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0 and divisible by it, but "
            f"got weight of size {list(weight._shape)} instead"
        )
    if ci != cg * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight._shape)}, expected input{list(input._shape)} to have "
            f"{cg * groups} channels, but got {ci} channels instead"
        )
    if bias is not None and tuple(bias._shape) != (co,):
        raise RuntimeError(
            f"Given weight of size {list(weight._shape)}, expected bias to be 1-dimensional with {co} elements, but "
            f"got bias of size {list(bias._shape)} instead"
        )
    size, taps = input._shape[2:], weight._shape[2:]
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
    for what, t in (("input", input), ("weight", weight), *((("bias", bias),) if bias is not None else ())):
        if not isinstance(t, hooks.Tensor):
            raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(t).__name__}")
        if t._dtype is not input._dtype:
            raise RuntimeError(
                f"Input type ({input._dtype}) and {what} type ({t._dtype}) should be the same ({name})"
            )


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


# ops ----------------------------------------------------------------------------------------------
@op(KERNEL, function=False, method=False, node="ConvolutionBackward0")
def convolution_forward(input, weight, bias, stride, padding, dilation, groups):
    """A batched convolution with all arguments given per dimension; see `conv2d`."""
    s = shape_of("conv", input, weight, bias, stride, padding, dilation, groups)
    out = hooks.empty((s.n, s.co, *s.out[3 - s.dims :]), input._dtype)
    if out._numel == 0:
        return out
    if s.k == 0:
        out.zero_()
        return out if bias is None else out + bias.reshape([1, -1] + [1] * s.dims)
    return computed(lambda ts, y: forward(ts[0], ts[1], ts[2], s, y), [input, weight, bias], out)


@convolution_forward.vjp("input", "weight", "bias")
def _(g, input, weight, bias_shape, stride, padding, dilation, groups, needs):
    gx = gw = gb = None
    if needs["input"]:
        gx = convolution_input_grad(g, weight, tuple(input._shape), stride, padding, dilation, groups)
    if needs["weight"]:
        gw = convolution_weight_grad(g, input, tuple(weight._shape), stride, padding, dilation, groups)
    if needs["bias"]:
        gb = g.sum([0, *range(2, len(g._shape))])
    return gx, gw, gb


@op(KERNEL, function=False, method=False, node="ConvolutionBackward0")
def convolution_input_grad(grad, weight, input_shape, stride, padding, dilation, groups):
    """The gradient of a convolution's input (also the transposed convolution)."""
    like = Like(input_shape)
    s = shape_of("conv", like, weight, None, stride, padding, dilation, groups)
    out = hooks.empty(input_shape, grad._dtype)
    if out._numel == 0 or grad._numel == 0 or weight._numel == 0:
        out.zero_()
        return out
    return computed(lambda ts, y: grad_input(ts[0], ts[1], s, y), [grad, weight], out)


class Like:
    """Something with a shape."""

    def __init__(self, shape):
        self._shape = tuple(shape)


@convolution_input_grad.vjp("grad", "weight")
def _(g, grad, weight, stride, padding, dilation, groups, needs):
    gg = gw = None
    if needs["grad"]:
        gg = convolution_forward(g, weight, None, stride, padding, dilation, groups)
    if needs["weight"]:
        gw = convolution_weight_grad(grad, g, tuple(weight._shape), stride, padding, dilation, groups)
    return gg, gw


@op(KERNEL, function=False, method=False, node="ConvolutionBackward0")
def convolution_weight_grad(grad, input, weight_shape, stride, padding, dilation, groups):
    """The gradient of a convolution's weight."""
    s = shape_of("conv", input, Like(weight_shape), None, stride, padding, dilation, groups)
    out = hooks.empty(weight_shape, grad._dtype)
    if out._numel == 0 or grad._numel == 0 or input._numel == 0:
        out.zero_()
        return out
    return computed(lambda ts, y: grad_weight(ts[0], ts[1], s, y), [grad, input], out)


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
    stride, dilation = per_dim(name, "stride", stride, dims), per_dim(name, "dilation", dilation, dims)
    if isinstance(padding, str):
        input, padding = string_padding(name, dims, input, weight, padding, stride, dilation)
    else:
        padding = per_dim(name, "padding", padding, dims)
    single = len(input._shape) == dims + 1
    x = input.unsqueeze(0) if single else input
    y = convolution_forward(x, weight, bias, stride, padding, dilation, groups)
    return y.squeeze(0) if single else y


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


