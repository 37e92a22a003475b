"""Resampling images: interpolate, grid_sample, affine_grid, pixel_shuffle, unfold and fold, padding modes.

Interpolation is separable: along one dim, out[i] = sum_t weight[i, t] x[index[i, t]]. A mode is a way to make the two
tables; one kernel applies them, and its transpose is the gradient.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.copying import copy_elements
from flambeau.ops.create import arange, linspace, zeroed
from flambeau.ops.join import constant_pad_nd, stack
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

F = {"function": False, "method": False, "functional": True}
WORK = 16384
WIDTH = 256


# tables -------------------------------------------------------------------------------------------
def nearest_table(n: int, out: int, scale: float, exact: bool):
    """The source element below (or nearest to the centre of) each output element."""
    at = np.arange(out, dtype=np.float32)
    at = np.floor((at + np.float32(0.5 if exact else 0)) * np.float32(scale)).astype(np.int64)
    return np.minimum(at, n - 1)[:, None], np.ones((out, 1))


def source_points(n: int, out: int, scale: float, align: bool, clamp: bool):
    """Real-valued source coordinates of output elements."""
    at = np.arange(out, dtype=np.float64)
    if align:
        return at * ((n - 1) / (out - 1) if out > 1 else 0.0)
    x = scale * (at + 0.5) - 0.5
    return np.maximum(x, 0) if clamp else x


def linear_table(n: int, out: int, scale: float, align: bool):
    x = source_points(n, out, scale, align, True)
    low = np.minimum(x.astype(np.int64), n - 1)
    high = np.minimum(low + 1, n - 1)
    w = np.clip(x - low, 0, 1)
    return np.stack([low, high], 1), np.stack([1 - w, w], 1)


def cubic(x, a: float):
    """Keys' cubic convolution kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def cubic_table(n: int, out: int, scale: float, align: bool):
    x = source_points(n, out, scale, align, False)
    low = np.floor(x)
    taps = np.arange(-1, 3)
    index = np.clip(low[:, None] + taps, 0, n - 1).astype(np.int64)
    return index, cubic((x - low)[:, None] - taps, -0.75)


def smooth_table(n: int, out: int, scale: float, align: bool, mode: str):
    """Antialiased: the kernel is as wide as the step between outputs, its weights normalised."""
    if align:
        scale = (n - 1) / (out - 1) if out > 1 else 0.0
    wide = max(scale, 1.0)
    support = (1 if mode == "linear" else 2) * wide
    centre = scale * (np.arange(out) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), n)
    taps = np.arange(int((last - first).max()))
    x = (taps + first[:, None] - centre[:, None] + 0.5) / wide
    w = np.maximum(0.0, 1 - np.abs(x)) if mode == "linear" else cubic(x, -0.5)
    w = np.where(taps < (last - first)[:, None], w, 0.0)
    return np.minimum(first[:, None] + taps, n - 1), w / w.sum(1, keepdims=True)


# kernels ------------------------------------------------------------------------------------------
@kernel
def resample_nest(k, y: Ptr, x: Ptr, index: Ptr, weight: Ptr, n: Int, out: Int, taps: Int, inner: Int, blocks: Int, *, lanes: bool):
    """y[o, i, j] = sum_t weight[i, t] x[o, index[i, t], j]. The launch counts (o, i, block of j), or (o) with lanes on i."""
    d = y.compute
    with k.parallel() as p:
        if lanes:
            source, target = x.at(p * n), y.at(p * out)
            with k.vector(out) as i:
                total = k.var(E.const(0, d), d)
                with k.seq(taps) as t:
                    total.set(total.get() + E.cast(weight[i * taps + t], d) * source[index[i * taps + t]])
                target[i] = total.get()
        else:
            q = p // blocks
            lo = (p - q * blocks) * WIDTH
            o = q // out
            i = q - o * out
            source, target = x.at(o * n * inner), y.at(q * inner)
            with k.vector(lo, E.minimum(lo + WIDTH, inner)) as j:
                total = k.var(E.const(0, d), d)
                with k.seq(taps) as t:
                    w = E.cast(weight[i * taps + t], d)
                    total.set(total.get() + w * source[index[i * taps + t] * inner + j])
                target[j] = total.get()


@kernel
def spread_nest(k, gx: Ptr, g: Ptr, index: Ptr, weight: Ptr, n: Int, out: Int, taps: Int, inner: Int):
    """The transpose: gx[o, index[i, t], j] += weight[i, t] g[o, i, j], gx zeroed before. The launch counts o."""
    d = gx.compute
    with k.parallel() as o:
        source, target = g.at(o * out * inner), gx.at(o * n * inner)
        with k.seq(out) as i:
            with k.seq(taps) as t:
                w = E.cast(weight[i * taps + t], d)
                row = target.at(index[i * taps + t] * inner)
                with k.vector(inner) as j:
                    row[j] = row[j] + w * source[i * inner + j]


@op(KERNEL, function=False, method=False, node="UpsampleBackward0")
def resample(input, dim, index, weight):
    """Weighted sums of elements along dim; index, weight (out, taps)."""
    x = input.contiguous()
    out, taps = index._shape
    shape = list(x._shape)
    n, shape[dim] = shape[dim], out
    y = hooks.empty(shape, x._dtype)
    outer, inner = math.prod(shape[:dim]), math.prod(shape[dim + 1 :])
    if y._numel:
        lanes = inner < 16
        if lanes and inner > 1:
            moved = resample.record.fn(x.movedim(dim, -1), len(shape) - 1, index, weight)
            return moved.movedim(-1, dim).contiguous()
        blocks = -(-inner // WIDTH)
        launch = resample_nest((y._dtype, x._dtype, dt.int64, weight._dtype), lanes=lanes)
        each = out if lanes else min(inner, WIDTH)
        launch(outer * (1 if lanes else out * blocks), max(1, WORK // (each * taps)), y._ptr, x._ptr, index._ptr,
               weight._ptr, n, out, taps, inner, blocks)  # fmt: skip
    return y


@op(KERNEL, function=False, method=False, node="UpsampleBackwardBackward0")
def spread_back(g, dim, n, index, weight):
    """resample's transpose: n elements along dim."""
    x = g.contiguous()
    out, taps = index._shape
    shape = list(x._shape)
    shape[dim] = n
    half = x._dtype.itemsize < 4
    y = zeroed(shape, dt.float32 if half else x._dtype)
    outer, inner = math.prod(shape[:dim]), math.prod(shape[dim + 1 :])
    if x._numel:
        launch = spread_nest((y._dtype, x._dtype, dt.int64, weight._dtype))
        launch(outer, max(1, WORK // (out * taps * inner)), y._ptr, x._ptr, index._ptr, weight._ptr, n, out, taps, inner)
    return y.to(x._dtype)


resample.derivative(
    input=lambda g, input_shape, dim, index, weight: spread_back(g, dim, input_shape[dim], index, weight)
)
spread_back.derivative(g=lambda g, dim, index, weight: resample(g, dim, index, weight))


# interpolate --------------------------------------------------------------------------------------
DIMS = {"nearest": 0, "nearest-exact": 0, "area": 0, "linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


def output_sizes(sizes, size, scale_factor):
    """(output sizes, given scale factors or None) of the spatial dims."""
    n = len(sizes)
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor should be defined" if size is None
            else "only one of size or scale_factor should be defined"
        )  # fmt: skip
    if size is not None:
        out = tuple(size) if isinstance(size, (tuple, list)) else (size,) * n
        if len(out) != n:
            raise ValueError(
                f"Input and output must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(sizes)} and output size of {size}"
            )
        return tuple(int(o) for o in out), None
    factors = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * n
    if len(factors) != n:
        raise ValueError(
            f"Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
            f"dimensions of {list(sizes)} and scale_factor of shape {scale_factor}"
        )
    return tuple(int(math.floor(a * f)) for a, f in zip(sizes, factors, strict=True)), factors


@op(COMPOSITE, **F)
def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
                antialias=False):  # fmt: skip
    """input (N, C, ...) with its spatial dims resampled to `size`, or scaled.

    Args:     mode: nearest, nearest-exact, linear, bilinear, bicubic, trilinear or area
    Source:   torch.nn.functional.interpolate
    """
    spatial = len(input._shape) - 2
    if mode not in DIMS or DIMS[mode] not in (0, spatial):
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported "
            f"(got {len(input._shape)}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | area | "
            f"nearest-exact (got {mode})"
        )
    if mode in ("nearest", "nearest-exact", "area"):
        if align_corners is not None:
            raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError("Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input")
    sizes = tuple(input._shape[2:])
    out, factors = output_sizes(sizes, size, scale_factor)
    if min(out) <= 0:
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input {list(sizes)} output {list(out)}")
    if mode == "area":
        from flambeau import ops

        return getattr(ops, f"adaptive_avg_pool{spatial}d")(input, out)
    if recompute_scale_factor:
        factors = None
    x = input
    for d in range(spatial):
        n, m = sizes[d], out[d]
        scale = 1 / factors[d] if factors is not None and factors[d] else n / m
        if n == m and (scale == 1 or align_corners) and mode != "bicubic":
            continue
        x = along(x, d + 2, table(mode, n, m, scale, bool(align_corners), antialias))
    return x if x is not input else input.clone()


def table(mode: str, n: int, out: int, scale: float, align: bool, antialias: bool):
    """(index, weight) of a mode along one dim."""
    if mode.startswith("nearest"):
        return nearest_table(n, out, scale, mode == "nearest-exact")
    kind = "cubic" if mode == "bicubic" else "linear"
    if antialias:
        return smooth_table(n, out, scale, align, kind)
    return (cubic_table if kind == "cubic" else linear_table)(n, out, scale, align)


def along(x, dim: int, tables):
    """One dim resampled."""
    index, weight = tables
    if not x._dtype.is_floating_point:
        if weight.shape[1] == 1:
            return x.index_select(dim, hooks.from_array(np.ascontiguousarray(index[:, 0])))
        if x._dtype is not dt.uint8:
            raise NotImplementedError(f"interpolate: this mode is not implemented for {x._dtype}; convert to float first")
        return along(x.to(dt.float32), dim, tables).round().clamp(0, 255).to(dt.uint8)
    d = dt.float64 if x._dtype is dt.float64 else dt.float32
    return resample(x, dim, hooks.from_array(np.ascontiguousarray(index)), hooks.from_array(weight).to(d))


@op(COMPOSITE, **F)
def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """interpolate under its old name.

    Source:   torch.nn.functional.upsample
    """
    return interpolate(input, size, scale_factor, mode, align_corners)


@op(COMPOSITE, **F)
def upsample_nearest(input, size=None, scale_factor=None):
    """interpolate with mode nearest.

    Source:   torch.nn.functional.upsample_nearest
    """
    return interpolate(input, size, scale_factor, "nearest")


@op(COMPOSITE, **F)
def upsample_bilinear(input, size=None, scale_factor=None):
    """interpolate with mode bilinear and align_corners.

    Source:   torch.nn.functional.upsample_bilinear
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


# grids --------------------------------------------------------------------------------------------
@op(COMPOSITE, **F)
def affine_grid(theta, size, align_corners=None):
    """Sampling grids of affine maps: theta (N, 2, 3) and size (N, C, H, W) -> (N, H, W, 2); (N, 3, 4) for volumes.

    Source:   torch.nn.functional.affine_grid
    """
    if not theta._dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta._dtype}")
    spatial = len(size) - 2
    if spatial not in (2, 3) or tuple(theta._shape[-2:]) != (spatial, spatial + 1):
        raise ValueError(f"Expected a batch of {spatial}D affine matrices of shape Nx{spatial}x{spatial + 1} for size {tuple(size)}. Got {list(theta._shape)}.")
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    axes = []
    for d, n in enumerate(size[2:]):
        if n <= 1:
            at = arange(n, dtype=theta._dtype) * 0
        else:
            at = linspace(-1, 1, n, dtype=theta._dtype)
            at = at if align_corners else at * ((n - 1) / n)
        shape = [1] * spatial
        shape[d] = n
        axes.append(at.reshape(shape).expand(*size[2:]))
    ones = axes[0] * 0 + 1
    base = stack([*reversed(axes), ones], -1).reshape(1, -1, spatial + 1)
    return (base.expand(size[0], -1, -1) @ theta.mT).reshape(size[0], *size[2:], spatial)


def pixel_position(x, n: int, align: bool):
    """Grid coordinates in [-1, 1] as element positions."""
    return (x + 1) * ((n - 1) / 2) if align else ((x + 1) * n - 1) * 0.5


def into_range(x, n: int, padding: str, align: bool):
    """Positions brought into the image: border clamps, reflection mirrors (at edges or at centres)."""
    if padding == "border":
        return x.clamp(0, n - 1)
    if padding == "reflection":
        low, span = (0.0, float(n - 1)) if align else (-0.5, float(n))
        if span == 0:
            return x * 0
        d = (x - low).abs()
        flips = (d / span).floor()
        rest = d - flips * span
        x = (rest + low).where(flips.detach().remainder(2) == 0, span - rest + low)
        return x.clamp(0, n - 1)
    return x


@op(COMPOSITE, **F)
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """input sampled at grid's points: (N, C, H, W), (N, Ho, Wo, 2) -> (N, C, Ho, Wo); or volumes.

    Args:     mode: bilinear, nearest or bicubic; padding_mode: zeros, border or reflection
    Source:   torch.nn.functional.grid_sample
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'")
    if align_corners is None:
        warnings.warn("Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0.", stacklevel=3)
    spatial = len(input._shape) - 2
    if spatial not in (2, 3) or len(grid._shape) != len(input._shape) or grid._shape[-1] != spatial or grid._shape[0] != input._shape[0]:
        raise RuntimeError(f"grid_sampler(): expected grid to have size {spatial} in last dimension and the batch size of input, but got input with sizes {list(input._shape)} and grid with sizes {list(grid._shape)}")
    if mode == "bicubic" and spatial != 2:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    align = bool(align_corners)
    sizes = tuple(input._shape[2:])
    points = list(reversed(grid.unbind(-1)))  # (y, x): as the dims of input
    at = [pixel_position(p, n, align) for p, n in zip(points, sizes, strict=True)]
    if mode != "bicubic":
        at = [into_range(p, n, padding_mode, align) for p, n in zip(at, sizes, strict=True)]
    if mode == "nearest":
        corners = [[(p.detach().round(), None)] for p in at]
    elif mode == "bilinear":
        corners = []
        for p in at:
            low = p.detach().floor()
            corners.append([(low, low + 1 - p), (low + 1, p - low)])
    else:
        corners = [cubic_corners(p, n, padding_mode, align) for p, n in zip(at, sizes, strict=True)]
    return combine(input, corners, sizes)


def cubic_corners(p, n: int, padding: str, align: bool):
    """Four (position, weight) pairs of Keys' kernel with a = -0.75."""
    low = p.detach().floor()
    t, a = p - low, -0.75
    out = []
    for k in range(-1, 3):
        x = (t - k).abs()
        w = ((a + 2) * x - (a + 3)) * x * x + 1 if k in (0, 1) else ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        out.append((into_range(low + k, n, padding, align), w))
    return out


def combine(x, corners, sizes):
    """The sum over all combinations of one (position, weight) per dim; outside the image elements are 0."""
    import itertools

    batch, channels = x._shape[:2]
    flat = x.reshape(batch, channels, -1)
    total = None
    for chosen in itertools.product(*corners):
        index, inside, weight = None, None, None
        for (p, w), n in zip(chosen, sizes, strict=True):
            ok = (p >= 0) & (p <= n - 1)
            i = p.clamp(0, n - 1).to(dt.int64)
            index = i if index is None else index * n + i
            inside = ok if inside is None else inside & ok
            weight = w if weight is None else weight if w is None else weight * w
        lead = tuple(index._shape)
        value = flat.gather(2, index.reshape(batch, 1, -1).expand(batch, channels, -1))
        value = value.reshape(batch, channels, *lead[1:])
        factor = inside.to(x._dtype) if weight is None else weight * inside
        part = value * factor.unsqueeze(1)
        total = part if total is None else total + part
    return total


# rearranging pixels -------------------------------------------------------------------------------
@op(COMPOSITE, functional=True, method=False)
def pixel_shuffle(input, upscale_factor):
    """(..., C r^2, H, W) -> (..., C, H r, W r).

    Source:   torch.nn.functional.pixel_shuffle
    """
    r = upscale_factor
    if len(input._shape) < 3:
        raise RuntimeError(f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {len(input._shape)} dimension(s)")
    *lead, c, h, w = input._shape
    if r <= 0 or c % (r * r):
        raise RuntimeError(f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}")
    n = len(lead)
    x = input.reshape(*lead, c // (r * r), r, r, h, w)
    return x.permute([*range(n), n, n + 3, n + 1, n + 4, n + 2]).reshape(*lead, c // (r * r), h * r, w * r)


@op(COMPOSITE, functional=True, method=False)
def pixel_unshuffle(input, downscale_factor):
    """(..., C, H r, W r) -> (..., C r^2, H, W).

    Source:   torch.nn.functional.pixel_unshuffle
    """
    r = downscale_factor
    if len(input._shape) < 3:
        raise RuntimeError(f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {len(input._shape)} dimension(s)")
    *lead, c, h, w = input._shape
    for what, size in (("height", h), ("width", w)):
        if r <= 0 or size % r:
            raise RuntimeError(f"pixel_unshuffle expects {what} to be divisible by downscale_factor, but {size} is not divisible by {r}")
    n = len(lead)
    x = input.reshape(*lead, c, h // r, r, w // r, r)
    return x.permute([*range(n), n, n + 2, n + 4, n + 1, n + 3]).reshape(*lead, c * r * r, h // r, w // r)


@op(COMPOSITE, functional=True, method=False, aliases=("native_channel_shuffle",))
def channel_shuffle(input, groups):
    """Channels (N, g n, ...) rearranged so that the groups alternate.

    Source:   torch.nn.functional.channel_shuffle
    """
    n, c, *rest = input._shape
    if c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(n, c, *rest)


# unfold and fold ----------------------------------------------------------------------------------
def pair(v) -> tuple:
    return (v, v) if isinstance(v, int) else tuple(v)


def block_counts(name: str, sizes, k, d, p, s) -> tuple:
    """How many blocks fit along each dim."""
    out = tuple((n + 2 * b - c * (a - 1) - 1) // e + 1 for n, a, c, b, e in zip(sizes, k, d, p, s, strict=True))
    if min(out) <= 0:
        raise RuntimeError(
            f"{name}: given spatial size {list(sizes)}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, "
            f"calculated shape of the array of sliding blocks as {out}, but its components must be at least one."
        )
    return out


def taps(padded, k, d, s, out):
    """Views of `padded`: what each kernel element sees, in row-major order of the kernel."""
    for i in range(k[0]):
        for j in range(k[1]):
            rows = padded.narrow(-2, i * d[0], (out[0] - 1) * s[0] + 1)[..., :: s[0], :]
            yield rows.narrow(-1, j * d[1], (out[1] - 1) * s[1] + 1)[..., :: s[1]]


@op(KERNEL, **F, node="Im2ColBackward0")
def im2col(input, kernel_size, dilation=1, padding=0, stride=1):
    """Blocks of (N, C, H, W) as columns: (N, C kh kw, L).

    Source:   torch.nn.functional.unfold
    """
    k, d, p, s = map(pair, (kernel_size, dilation, padding, stride))
    if len(input._shape) not in (3, 4):
        raise RuntimeError(f"Expected 3D or 4D (batch mode) tensor for input, but got input of size {list(input._shape)}")
    x = input if len(input._shape) == 4 else input.unsqueeze(0)
    out = block_counts("unfold", x._shape[2:], k, d, p, s)
    padded = constant_pad_nd.record.fn(x, (p[1], p[1], p[0], p[0])) if any(p) else x
    n, c = x._shape[:2]
    y = hooks.empty((n, c, k[0] * k[1], *out), x._dtype)
    for t, part in enumerate(taps(padded, k, d, s, out)):
        copy_elements(y.select(2, t), part)
    y = y.reshape(n, c * k[0] * k[1], out[0] * out[1])
    return y if len(input._shape) == 4 else y.squeeze(0)


@op(KERNEL, **F, node="Col2ImBackward0")
def col2im(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """unfold's transpose: overlapping blocks added up into (N, C, H, W).

    Source:   torch.nn.functional.fold
    """
    size, k, d, p, s = map(pair, (output_size, kernel_size, dilation, padding, stride))
    x = input if len(input._shape) == 3 else input.unsqueeze(0)
    out = block_counts("fold", size, k, d, p, s)
    n, rows, blocks = x._shape
    if rows % (k[0] * k[1]):
        raise RuntimeError(f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got input.size(1)={rows} and kernel_size={k}.")
    if blocks != out[0] * out[1]:
        raise RuntimeError(f"Given output_size={size}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, expected size of input's dimension 2 to match the calculated number of sliding blocks {out[0]} * {out[1]} = {out[0] * out[1]}, but got input.size(2)={blocks}.")
    c = rows // (k[0] * k[1])
    cols = x.reshape(n, c, k[0] * k[1], *out)
    padded = zeroed((n, c, size[0] + 2 * p[0], size[1] + 2 * p[1]), x._dtype)
    for t, part in enumerate(taps(padded, k, d, s, out)):
        part.add_(cols.select(2, t))
    y = padded.narrow(2, p[0], size[0]).narrow(3, p[1], size[1])
    y = y.contiguous()
    return y if len(input._shape) == 3 else y.squeeze(0)


im2col.derivative(
    input=lambda g, input_shape, kernel_size, dilation, padding, stride: col2im(
        g, tuple(input_shape[-2:]), kernel_size, dilation, padding, stride))  # fmt: skip
col2im.derivative(
    input=lambda g, kernel_size, dilation, padding, stride: im2col(g, kernel_size, dilation, padding, stride)
)


# padding ------------------------------------------------------------------------------------------
def pad_index(n: int, low: int, high: int, mode: str):
    """Source positions along a padded dim."""
    at = np.arange(-low, n + high)
    if mode == "replicate":
        return np.clip(at, 0, n - 1)
    if mode == "circular":
        return at % n
    period = max(2 * (n - 1), 1)
    at = np.abs(at) % period
    return np.where(at >= n, period - at, at)


@op(COMPOSITE, **F)
def pad(input, pad, mode="constant", value=None):
    """input padded: (left, right) of the last dim, then of the one before, ...

    Args:     mode: constant (with value), reflect, replicate or circular
    Source:   torch.nn.functional.pad
    """
    pad = tuple(int(p) for p in pad)
    if mode == "constant":
        return constant_pad_nd(input, pad, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    dims, ndim = len(pad) // 2, len(input._shape)
    if len(pad) % 2 or dims not in (1, 2, 3) or ndim not in (dims + 1, dims + 2):
        raise NotImplementedError(
            f"Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now; got {len(pad)} pads for "
            f"{ndim} dimensions"
        )
    x = input
    for i in range(dims):
        d = ndim - 1 - i
        low, high, n = pad[2 * i], pad[2 * i + 1], input._shape[d]
        limit = n - 1 if mode == "reflect" else n
        if mode != "replicate" and max(low, high) > limit:
            raise RuntimeError(
                f"Padding size should be less than {'or equal to ' if mode == 'circular' else ''}the corresponding input "
                f"dimension, but got: padding ({low}, {high}) at dimension {d} of input {list(input._shape)}"
            )
        if low or high:
            x = x.index_select(d, hooks.from_array(pad_index(n, low, high, mode).astype(np.int64)))
    return x if x is not input else input.clone()


