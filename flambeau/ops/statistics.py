"""Order statistics and co-moments: median, mode, quantile, cov, corrcoef, isin, histogram.

They rest on sort, gather and arithmetic, whose derivatives serve.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.create import arange, linspace
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.reduce import at_index, evenly, named
from flambeau.ops.sort import kth_along, sort_along


def choose(x, dim: int, keepdim: bool, position):
    """(values, indices) of the sorted slices of x at position(sorted values) along dim."""
    values, indices = sort_along.record.fn(x, dim, False)
    at = position(values).unsqueeze(dim)
    values, indices = values.gather(dim, at), indices.gather(dim, at)
    return (values, indices) if keepdim else (values.squeeze(dim), indices.squeeze(dim))


def middle(values, dim: int, ignore_nan: bool):
    """Position of the lower median; of a NaN (sorted last) if there is one and it counts."""
    n = values._shape[dim]
    numbers = n - values.isnan().sum(dim)
    at = (numbers - 1).clamp(min=0).div(2, rounding_mode="floor")
    return at if ignore_nan else at.masked_fill(numbers < n, n - 1)


def median_of(x, dim, keepdim: bool, ignore_nan: bool):
    if not x._shape:
        return x.clone(), x.new_zeros((), dtype=dt.int64)
    dim = S.wrap_dim(dim, len(x._shape))
    if x._shape[dim] == 0:
        raise IndexError(f"median(): Expected reduction dim {dim} to have non-zero size.")
    if not x._dtype.is_floating_point or not x.isnan().any().item():  # one rank for all: nothing needs sorting
        values, indices = kth_along.record.fn(x, (x._shape[dim] - 1) // 2 + 1, dim)
        return (values.unsqueeze(dim), indices.unsqueeze(dim)) if keepdim else (values, indices)
    values, indices = choose(x, dim, keepdim, lambda v: middle(v, dim, ignore_nan))
    if not ignore_nan:  # PyTorch names the first NaN
        from flambeau.ops.reduce import first_of

        indices = first_of(x, values, (dim,), keepdim).where(values.isnan(), indices)
    return values, indices


def median_record(name: str, node: str, ignore_nan: bool):
    def over(input, dim, keepdim):
        return median_of(input, dim, keepdim, ignore_nan)

    def whole(input):
        if input._numel == 0:
            return input.new_full((), math.nan if input._dtype.is_floating_point else -(1 << 63))
        return median_of(input.reshape(-1), 0, False, ignore_nan)[0]

    over.__name__, whole.__name__ = f"{name}_along", f"{name}_all"
    over.__doc__ = whole.__doc__ = f"See `{name}`."
    over = op(KERNEL, function=False, method=False, node=f"{node}Backward1")(over)
    whole = op(KERNEL, function=False, method=False, node=f"{node}Backward0")(whole)
    over.derivative(input=at_index)
    whole.derivative(
        input=lambda g, input, result: evenly(g, input, result, tuple(range(len(input._shape))), False, True)
    )

    def body(input, dim=None, keepdim=False):
        return whole(input) if dim is None else named(name, over(input, dim, keepdim))

    body.__name__ = body.__qualname__ = name
    what = "NaN left out" if ignore_nan else "NaN if there is one"
    body.__doc__ = f"The lower median of all elements, or (values, indices) along dim; {what}.\n\n    Source:   torch.{name}\n    "
    return op(COMPOSITE)(body)


median = median_record("median", "Median", False)
nanmedian = median_record("nanmedian", "Nanmedian", True)


@op(KERNEL, function=False, method=False, node="ModeBackward0")
def mode_along(input, dim, keepdim):
    """See `mode`."""
    if not input._shape:
        return input.clone(), input.new_zeros((), dtype=dt.int64)
    d = S.wrap_dim(dim, len(input._shape))
    n = input._shape[d]
    if n == 0:
        raise IndexError(f"mode(): Expected reduction dim {dim} to have non-zero size.")

    def position(values):
        at = arange(n).reshape((-1,) + (1,) * (len(values._shape) - d - 1)).expand(values._shape)
        if n == 1:
            return at.select(d, 0)
        new = values.narrow(d, 1, n - 1) != values.narrow(d, 0, n - 1)
        start = at.narrow(d, 1, n - 1) * new
        from flambeau.ops.join import cat

        start = cat([at.narrow(d, 0, 1), start], d).cummax(d)[0]
        return (at - start).argmax(d)  # the end of the first longest run

    return choose(input, d, keepdim, position)


mode_along.derivative(input=at_index)


@op(COMPOSITE)
def mode(input, dim=-1, keepdim=False):
    """(the most frequent value along dim, the smallest of several; its index).

    Source:   torch.mode
    """
    return named("mode", mode_along(input, dim, keepdim))


def quantile_of(name: str, input, q, dim, keepdim, interpolation: str, ignore_nan: bool):
    if input._dtype not in (dt.float32, dt.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if not isinstance(q, hooks.Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = input.new_full((), q)
    elif q._dtype is not input._dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if len(q._shape) > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if input._numel == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    shape = list(input._shape)
    if dim is None:
        x, kept = input.reshape(-1), [1] * len(shape)
    else:
        dim = S.wrap_dim(dim, len(shape))
        x = input.movedim(dim, -1) if shape else input.reshape(1)
        kept = [1 if d == dim else n for d, n in enumerate(shape)]
    values = x.sort(-1)[0]
    n = values._shape[-1]
    missing = values.isnan()
    rank = q.reshape((-1,) + (1,) * (len(values._shape) - 1))
    if ignore_nan:
        rank = rank * ((~missing).sum(-1) - 1).clamp(min=0).to(values._dtype)
    else:
        rank = (rank * (n - 1)).masked_fill(missing.any(-1), n - 1)
    low = {"higher": rank.ceil, "nearest": rank.round}.get(interpolation, rank.floor)()
    out = pick(values, low)
    if interpolation in ("linear", "midpoint"):
        high = pick(values, rank.ceil())
        weight = (rank - low) if interpolation == "linear" else (rank != rank.floor()).to(values._dtype) * 0.5
        out = out.lerp(high, weight.expand(out._shape))
    out = out.reshape([q._numel, *kept] if keepdim else [q._numel, *values._shape[:-1]])
    return out if q._shape else out.squeeze(0)


def pick(values, rank):
    """values at integer ranks (q, ...) along the last dim -> (q, ...)."""
    index = rank.to(dt.int64).movedim(0, -1)
    index = index.expand((*values._shape[:-1], index._shape[-1]))
    return values.gather(-1, index).movedim(-1, 0)


@op(COMPOSITE)
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """The q-th quantiles of all elements, or along dim; NaN if there is one.

    Source:   torch.quantile
    """
    return quantile_of("quantile", input, q, dim, keepdim, interpolation, False)


@op(COMPOSITE)
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear"):
    """quantile without NaN.

    Source:   torch.nanquantile
    """
    return quantile_of("nanquantile", input, q, dim, keepdim, interpolation, True)


@op(COMPOSITE)
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables (rows) over observations (columns).

    Source:   torch.cov
    """
    if len(input._shape) > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {len(input._shape)} dimensions")
    x = input.reshape(1, -1) if len(input._shape) < 2 else input
    if x._dtype.kind in "iub":
        x = x.to(dt.get_default_dtype())
    w = None
    if fweights is not None:
        w = fweights.to(x._dtype)
    if aweights is not None:
        w = aweights if w is None else w * aweights
    if w is None:
        total, centred = x._shape[1], x - x.mean(1, True)
        norm = total - correction
        out = centred @ centred.conj().t()
    else:
        total = w.sum()
        centred = x - (x * w).sum(1, True) / total
        if correction == 0:
            norm = total
        elif aweights is None:
            norm = total - correction
        else:
            norm = total - correction * (w * aweights).sum() / total
        out = (centred * w) @ centred.conj().t()
    out = out / (norm if isinstance(norm, hooks.Tensor) else max(norm, 0))
    return out.squeeze() if len(input._shape) < 2 else out


@op(COMPOSITE)
def corrcoef(input):
    """Pearson's correlation matrix of variables (rows).

    Source:   torch.corrcoef
    """
    c = cov(input)
    if not c._shape:
        return c / c
    d = c.diagonal().sqrt()
    return (c / d.unsqueeze(1) / d.unsqueeze(0)).clamp(-1, 1)


@op(COMPOSITE, method=False)
def isin(elements, test_elements, *, assume_unique=False, invert=False):
    """True where an element occurs in test_elements.

    Source:   torch.isin
    """
    if not isinstance(elements, hooks.Tensor):
        elements = hooks.tensor(elements)
    if not isinstance(test_elements, hooks.Tensor):
        test_elements = hooks.tensor(test_elements)
    if test_elements._numel == 0:
        return elements.new_full(elements._shape, invert, dtype=dt.bool)
    ordered = test_elements.reshape(-1).sort()[0]
    from flambeau.ops.sort import searchsorted

    d = dt.promote_types(elements._dtype, ordered._dtype)
    x, ordered = elements.to(d), ordered.to(d)
    at = searchsorted(ordered, x.contiguous()).clamp(max=ordered._numel - 1)
    found = ordered[at.reshape(-1)].reshape(x._shape) == x
    return ~found if invert else found


@op(COMPOSITE)
def histogram(input, bins, *, range=None, weight=None, density=False):  # noqa: A002
    """(counts, bin edges) over `bins` equal bins, or given edges.

    Source:   torch.histogram
    """
    x = input.reshape(-1)
    if isinstance(bins, int):
        low, high = range if range is not None else (x.min().item(), x.max().item())
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = linspace(low, high, bins + 1, dtype=x._dtype)
    else:
        edges = bins
    from flambeau.ops.sort import searchsorted

    n = edges._numel - 1
    inside = (x >= edges[0]) & (x <= edges[-1])
    at = (searchsorted(edges, x, right=True) - 1).clamp(0, n - 1)
    w = inside.to(x._dtype) if weight is None else weight.reshape(-1) * inside
    counts = x.new_zeros(n).scatter_add(0, at, w)
    if density:
        counts = counts / (counts.sum() * edges.diff())
    return named("histogram", (counts, edges))


@op(COMPOSITE, method=False)
def unravel_index(indices, shape):
    """Coordinates of flat indices in a shape.

    Source:   torch.unravel_index
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    out = []
    for n in reversed(shape):
        out.append(indices % n)
        indices = indices.div(n, rounding_mode="floor")
    return tuple(reversed(out))
