"""Grids of images, and images as files."""

from __future__ import annotations

import math

from flambeau.ops.create import full
from flambeau.ops.join import stack


def make_grid(tensor, nrow=8, padding=2, normalize=False, value_range=None, scale_each=False, pad_value=0.0):
    """A batch (or list) of images as one image, nrow to a row.

    Source:   torchvision.utils.make_grid
    """
    x = stack(list(tensor)) if isinstance(tensor, (list, tuple)) else tensor
    if x.dim() == 2:
        x = x.unsqueeze(0)
    if x.dim() == 3:
        x = x.unsqueeze(0)
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if normalize:
        low, high = value_range if value_range is not None else (None, None)

        def scaled(t):
            a = t.min().item() if low is None else low
            b = t.max().item() if high is None else high
            return (t.clamp(a, b) - a) / max(b - a, 1e-5)

        x = stack([scaled(t) for t in x]) if scale_each else scaled(x)
    if x.shape[0] == 1:
        return x[0]
    n, c, h, w = x.shape
    columns = min(nrow, n)
    rows = math.ceil(n / columns)
    grid = full((c, (h + padding) * rows + padding, (w + padding) * columns + padding), pad_value, dtype=x.dtype)
    for i in range(n):
        top, left = (i // columns) * (h + padding) + padding, (i % columns) * (w + padding) + padding
        grid[:, top : top + h, left : left + w] = x[i]
    return grid


def save_image(tensor, fp, format=None, **options) -> None:  # noqa: A002 - torchvision's name
    """make_grid's image as a file.

    Source:   torchvision.utils.save_image
    """
    from flambeau.vision.transforms import to_pil_image

    pixels = make_grid(tensor, **options).detach().mul(255).add(0.5).clamp(0, 255).byte()  # rounded to the nearest
    to_pil_image(pixels).save(fp, format=format)
