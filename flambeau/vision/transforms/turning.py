"""Rotations, affine, perspective and elastic maps of images."""

from __future__ import annotations

import math

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.nn import functional as F
from flambeau.ops.compare import where
from flambeau.ops.create import linspace, ones, ones_like
from flambeau.ops.join import cat, stack
from flambeau.tensor.interop import tensor
from flambeau.tensor.tensor import Tensor
from flambeau.vision.transforms import basics as I


def inverse_matrix(center, angle: float, translate, scale: float, shear) -> list[float]:
    """Two rows that say where an output pixel comes from: the inverse of T C R S Sh C^-1.

    T moves by translate, C to the center, R turns by angle (degrees), S scales, Sh shears.
    """
    turn, sx, sy = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    (cx, cy), (tx, ty) = center, translate
    a, c = math.cos(turn - sy) / math.cos(sy), math.sin(turn - sy) / math.cos(sy)
    b = -a * math.tan(sx) - math.sin(turn)
    d = -c * math.tan(sx) + math.cos(turn)
    m = [d / scale, -b / scale, 0.0, -c / scale, a / scale, 0.0]
    m[2] = m[0] * (-cx - tx) + m[1] * (-cy - ty) + cx
    m[5] = m[3] * (-cx - tx) + m[4] * (-cy - ty) + cy
    return m


def sampled(img: Tensor, matrix: list[float], size, mode: str, fill) -> Tensor:
    """The tensor seen through a matrix, on a grid of (height, width); fill where there is nothing."""
    h, w = img.shape[-2:]
    oh, ow = size
    base = places(linspace(-ow * 0.5 + 0.5, ow * 0.5 - 0.5, ow), linspace(-oh * 0.5 + 0.5, oh * 0.5 - 0.5, oh))
    theta = tensor(matrix).reshape(1, 2, 3).transpose(1, 2) / tensor([0.5 * w, 0.5 * h])
    return taken(img, base.bmm(theta).reshape(1, oh, ow, 2), mode, fill)


def places(x: Tensor, y: Tensor) -> Tensor:
    """(1, h w, 3): (x, y, 1) of every pixel."""
    h, w = y.shape[0], x.shape[0]
    return stack([x.expand(h, w), y.unsqueeze(1).expand(h, w), ones(h, w)], -1).reshape(1, h * w, 3)


def taken(img: Tensor, grid: Tensor, mode: str, fill) -> Tensor:
    """The tensor's values where a (1, height, width, 2) grid says, in half sizes from the middle; fill where there is nothing."""
    kind = img.dtype if img.is_floating_point() else dt.float32
    grid, (oh, ow) = grid.to(kind), grid.shape[1:3]
    x = (img if img.dim() == 4 else img.unsqueeze(0)).to(kind)
    grid = grid.expand(x.shape[0], oh, ow, 2)
    if fill is None:
        y = F.grid_sample(x, grid, mode, "zeros", False)
    else:
        y = filled(x, grid, mode, fill)
    y = y if img.is_floating_point() else y.round().to(img.dtype)
    return y if img.dim() == 4 else y.squeeze(0)


def filled(x: Tensor, grid: Tensor, mode: str, fill) -> Tensor:
    """grid_sample with a colour outside: blended at the border, by how much of a pixel is inside."""
    y = F.grid_sample(cat([x, ones_like(x[:, :1])], 1), grid, mode, "zeros", False)
    y, there = y[:, :-1], y[:, -1:]
    color = tensor(fill, dtype=x.dtype).reshape(1, -1, 1, 1)
    return where(there < 0.5, color, y) if mode == "nearest" else y * there + (1 - there) * color


def fills(img, fill):
    """A fill value for every channel; None for tensors means zeros without blending."""
    if fill is None and isinstance(img, Tensor):
        return None
    count = I.get_dimensions(img)[0]
    many = [fill or 0] * count if fill is None or isinstance(fill, (int, float)) else list(fill)
    return [float(f) for f in many] if isinstance(img, Tensor) else tuple(int(f) for f in many) if count > 1 else int(many[0])


def rotate(img, angle, interpolation=I.InterpolationMode.NEAREST, expand=False, center=None, fill=None):
    """Turned by `angle` degrees, counter-clockwise; expand: large enough to hold all of it."""
    mode = I.mode_of(interpolation).value
    h, w = I.size_of(img)
    if not isinstance(img, Tensor):
        return img.rotate(angle, I.PILLOW[mode], expand, center, fillcolor=fills(img, fill))
    middle = [0.0, 0.0] if center is None else [center[0] - w * 0.5, center[1] - h * 0.5]
    matrix = inverse_matrix(middle, -angle, (0, 0), 1.0, (0.0, 0.0))
    return sampled(img, matrix, hull(matrix, h, w) if expand else (h, w), mode, fills(img, fill))


def hull(matrix: list[float], h: int, w: int) -> tuple[int, int]:
    """(height, width) that hold the corners of a turned image."""
    corners = [(x * w, y * h) for x in (-0.5, 0.5) for y in (-0.5, 0.5)]
    sizes = []
    for (a, b, t), half in ((matrix[:3], w / 2), (matrix[3:], h / 2)):
        places = [math.trunc((a * x + b * y + t + half) / 1e-4) * 1e-4 for x, y in corners]
        sizes.append(math.ceil(max(places)) - math.floor(min(places)))
    return sizes[1], sizes[0]


def affine(img, angle, translate, scale, shear, interpolation=I.InterpolationMode.NEAREST, fill=None, center=None):
    """Turned (clockwise, degrees), moved (pixels), scaled and sheared (degrees), about the center."""
    mode = I.mode_of(interpolation).value
    h, w = I.size_of(img)
    shear = (shear, 0.0) if isinstance(shear, (int, float)) else tuple(shear)
    if not isinstance(img, Tensor):
        matrix = inverse_matrix(center or (w * 0.5, h * 0.5), angle, translate, scale, shear)
        return img.transform((w, h), I.pillow().Transform.AFFINE, matrix, I.PILLOW[mode], fillcolor=fills(img, fill))
    middle = [0.0, 0.0] if center is None else [center[0] - w * 0.5, center[1] - h * 0.5]
    return sampled(img, inverse_matrix(middle, angle, translate, scale, shear), (h, w), mode, fills(img, fill))


def perspective(img, startpoints, endpoints, interpolation=I.InterpolationMode.BILINEAR, fill=None):
    """The plane map that takes four points (x, y) to four others."""
    mode, (h, w) = I.mode_of(interpolation).value, I.size_of(img)
    c = perspective_coefficients(startpoints, endpoints)
    if not isinstance(img, Tensor):
        return img.transform((w, h), I.pillow().Transform.PERSPECTIVE, c, I.PILLOW[mode], fillcolor=fills(img, fill))
    base = places(linspace(0.5, w - 0.5, w), linspace(0.5, h - 0.5, h))
    above = tensor(c[:6]).reshape(1, 2, 3).transpose(1, 2) / tensor([0.5 * w, 0.5 * h])
    below = tensor([[*c[6:], 1.0]] * 2).reshape(1, 2, 3).transpose(1, 2)
    grid = base.bmm(above) / base.bmm(below) - 1.0
    return taken(img, grid.reshape(1, h, w, 2), mode, fills(img, fill))


def perspective_coefficients(startpoints, endpoints) -> list[float]:
    """(a, b, c, d, e, f, g, h) with start = ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)) at end (x, y)."""
    if len(startpoints) != 4 or len(endpoints) != 4:
        raise ValueError(f"Please provide exactly four corners, got {len(startpoints)} startpoints and {len(endpoints)} endpoints.")
    rows = []
    for (x, y), (u, v) in zip(endpoints, startpoints, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    wanted = np.asarray(startpoints, np.float64).reshape(8)
    return np.linalg.lstsq(np.asarray(rows, np.float64), wanted)[0].astype(np.float32).tolist()


def elastic_transform(img, displacement, interpolation=I.InterpolationMode.BILINEAR, fill=None):
    """Every pixel taken from as far away as a (1, height, width, 2) displacement says, in half sizes of the image."""
    if not isinstance(displacement, Tensor):
        raise TypeError("Argument displacement should be a Tensor")
    h, w = I.size_of(img)
    if tuple(displacement.shape) != (1, h, w, 2):
        raise ValueError(f"Argument displacement shape should be {(1, h, w, 2)}, but given {displacement.shape}")
    x = img if isinstance(img, Tensor) else I.pil_to_tensor(img)
    here = places(linspace((1 - w) / w, (w - 1) / w, w), linspace((1 - h) / h, (h - 1) / h, h))[..., :2].reshape(1, h, w, 2)
    y = taken(x, here + displacement, I.mode_of(interpolation).value, fills(x, fill))
    return y if isinstance(img, Tensor) else I.to_pil_image(y, img.mode)
