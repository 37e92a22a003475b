"""Rotations and other affine maps of images."""

from __future__ import annotations

import math

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
    kind = img.dtype if img.is_floating_point() else dt.float32
    x = linspace(-ow * 0.5 + 0.5, ow * 0.5 - 0.5, ow).expand(oh, ow)
    y = linspace(-oh * 0.5 + 0.5, oh * 0.5 - 0.5, oh).unsqueeze(1).expand(oh, ow)
    base = stack([x, y, ones(oh, ow)], -1).reshape(1, oh * ow, 3)
    theta = tensor(matrix).reshape(1, 2, 3).transpose(1, 2) / tensor([0.5 * w, 0.5 * h])
    grid = base.bmm(theta).reshape(1, oh, ow, 2).to(kind)
    x = (img if img.dim() == 4 else img.unsqueeze(0)).to(kind)
    grid = grid.expand(x.shape[0], oh, ow, 2)
    y = F.grid_sample(cat([x, ones_like(x[:, :1])], 1), grid, mode, "zeros", False)
    y, there = y[:, :-1], y[:, -1:]
    color = tensor(fill, dtype=kind).reshape(1, -1, 1, 1)
    y = where(there < 0.5, color, y) if mode == "nearest" else y * there + (1 - there) * color
    y = y if img.is_floating_point() else y.round().to(img.dtype)
    return y if img.dim() == 4 else y.squeeze(0)


def fills(img, fill):
    """A fill value for every channel."""
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
