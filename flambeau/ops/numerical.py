"""Numerical derivatives and histograms in several dimensions. Loaded when first named."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ops.create import linspace
from flambeau.ops.join import cat
from flambeau.ops.record import hooks
from flambeau.ops.reduce import named
from flambeau.ops.sort import searchsorted


# gradient -----------------------------------------------------------------------------------------
def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """Derivatives of sampled values along dims: second-order central differences inside, one-sided ones at the ends.

    Args:     spacing: the distance of neighbours, one or one for each dim; or each dim's coordinates as a tensor
              dim: one or several dims, all by default
              edge_order: 1 or 2, the order of the differences at the ends
    Returns:  a tuple with a tensor for each dim
    Errors:   RuntimeError for dims of less than edge_order + 1 elements, and for spacings that do not fit the dims
    Source:   Fornberg, Generation of finite difference formulas on arbitrarily spaced grids, 1988; torch.gradient
    """
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if not (input._dtype.is_floating_point or input._dtype.is_complex):
        input = input.to(dt.get_default_dtype())
    dims = range(input.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    dims = [d % input.dim() for d in dims]
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"dim {max(dims, key=dims.count)} appears multiple times in the list of dims")
    steps = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(dims)
    if isinstance(spacing, hooks.Tensor):
        steps = [spacing]
    if len(steps) != len(dims):
        raise RuntimeError(f"torch.gradient expected spacing to be unspecified, a scalar or a list of length {len(dims)}, got a list of {len(steps)}")
    for d in dims:
        if input._shape[d] < edge_order + 1:
            raise RuntimeError(f"torch.gradient expected each dimension size to be at least edge_order+1, got {input._shape[d]} in dimension {d}")
    return tuple(slope(input, d, h, edge_order) for d, h in zip(dims, steps, strict=True))


def slope(x, dim: int, step, edge_order: int):
    """The derivative along one dim: of the parabola through each point and its neighbours."""
    x = x.movedim(dim, -1)
    n = x._shape[-1]
    if isinstance(step, hooks.Tensor) and step.dim() == 1:
        if step.numel() != n:
            raise RuntimeError(f"torch.gradient expected the coordinates of dimension {dim} to have {n} elements, got {step.numel()}")
        h = step.diff().to(x._dtype)
        a, b = h[:-1], h[1:]
        middle = (-b / (a * (a + b))) * x[..., :-2] + ((b - a) / (a * b)) * x[..., 1:-1] + (a / (b * (a + b))) * x[..., 2:]
    else:
        h = x.new_ones(n - 1) * step
        middle = (x[..., 2:] - x[..., :-2]) / (2 * step)
    ends = []
    for points, sizes, sign in ((x, h, 1), (x.flip(-1), h.flip(-1), -1)):
        p, s = points[..., : edge_order + 1].unbind(-1), sizes[:edge_order].unbind()
        if edge_order == 1:
            end = (p[1] - p[0]) / s[0]
        else:
            total = s[0] + s[1]
            end = -(s[0] + total) / (s[0] * total) * p[0] + total / (s[0] * s[1]) * p[1] - s[0] / (s[1] * total) * p[2]
        ends.append(sign * end.unsqueeze(-1))
    return cat([ends[0], middle, ends[1]], -1).movedim(-1, dim)


# histogramdd --------------------------------------------------------------------------------------
def histogramdd(input, bins, *, range=None, weight=None, density=False, out=None):  # noqa: A002
    """(counts, the edges of every dim) of points, the last dim of input: over equal bins, or given edges.

    Shapes:   (*, d) -> one dim of counts for each of the d coordinates
    Args:     bins: how many, for all dims or for each; or a sequence of d tensors of edges
              range: least and greatest of every dim in turn; by default of the points
    Source:   torch.histogramdd
    """
    if input.dim() < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    d = input._shape[-1]
    points = input.reshape(-1, d)
    parts = [bins] * d if isinstance(bins, int) else list(bins)
    if len(parts) != d:
        raise RuntimeError(f"torch.histogramdd: expected {d} sequences of bins or bin edges for a {d}-dimensional histogram but got {len(parts)}")
    if range is not None and len(range) != 2 * d:
        raise RuntimeError(f"torch.histogramdd: for a {d}-dimensional histogram range should have {2 * d} elements, but got {len(range)}")
    edges, places, inside = [], [], None
    for i, part in enumerate(parts):
        x = points[:, i].contiguous()
        if isinstance(part, int):
            low, high = range[2 * i : 2 * i + 2] if range is not None else (x.min().item(), x.max().item()) if x.numel() else (0.0, 1.0)
            if low == high:
                low, high = low - 0.5, high + 0.5
            part = linspace(low, high, part + 1, dtype=input._dtype)
        edges.append(part)
        here = (x >= part[0]) & (x <= part[-1])
        inside = here if inside is None else inside & here
        places.append((searchsorted(part.contiguous(), x, right=True) - 1).clamp(0, part.numel() - 2))
    sizes = [e.numel() - 1 for e in edges]
    at = sum(p * math.prod(sizes[i + 1 :]) for i, p in enumerate(places))
    amounts = inside.to(input._dtype) if weight is None else weight.reshape(-1) * inside
    counts = input.new_zeros(math.prod(sizes)).scatter_add(0, at, amounts).reshape(sizes)
    if density:
        volume = edges[0].diff()
        for e in edges[1:]:
            volume = volume.unsqueeze(-1) * e.diff()
        counts = counts / (counts.sum() * volume)
    return named("histogramdd", (counts, tuple(edges)))


__all__ = ["gradient", "histogramdd"]
