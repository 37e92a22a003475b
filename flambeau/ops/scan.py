"""Scans along one dimension: cumsum, cumprod, cummax, cummin, logcumsumexp.

The input is (outer, n, inner). inner = 1: each row is walked in lanes that hold neighbours, long rows by pieces in parallel.
Otherwise lanes run over inner.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

WORK = 16384
WIDTH = 64

STEPS = {
    "add": lambda a, x: a + x,
    "mul": lambda a, x: a * x,
    "logadd": lambda a, x: log_add(a, x),
}


def log_add(a, x):
    """log(e^a + e^x); exact at infinities."""
    top, low = E.maximum(a, x), E.minimum(a, x)
    same = (a == x) & (abs(a) == math.inf)
    return E.where(same, top, top + E.log1p(E.exp(low - top)))


START = {"add": 0, "mul": 1, "logadd": -math.inf}


LANES = 8
PIECE = 16384  # elements of a long row that a task walks
LONG, FEW = 4 * PIECE, 8  # rows as long and as few as this are walked by pieces


def running(k, v, how: str):
    """(lane i: the combination of lanes 0 ... i of v; every lane: that of all), in log2(lanes) rounds."""
    by = 1
    while by < LANES:
        before = k.permute(v, [max(i - by, -1) for i in range(LANES)], E.const(START[how], v.dtype))
        v = STEPS[how](before, v)
        by *= 2
    return v, k.permute(v, [LANES - 1] * LANES)


@kernel
def scan_rows(k, y: Ptr, x: Ptr, ends: Ptr, n: Int, pieces: Int, piece: Int, *, how: str, acc, many: bool):
    """y = the running combination of each contiguous row of x. The launch counts (row, piece of it).

    many: there are several pieces, and `ends` has the running combination up to the end of each.
    """
    with k.parallel() as t:
        row = t // pieces if many else t
        part = t - row * pieces if many else E.const(0, dt.int64)
        lo = part * piece
        hi = E.minimum(lo + piece, n)
        whole = lo + (hi - lo) // LANES * LANES
        source, out = x.at(row * n), y.at(row * n)
        start = E.const(START[how], acc)
        with k.lanes(LANES) as i:
            carry = k.var(E.where(part > 0, ends[E.maximum(t - 1, 0)], start) if many else start, acc)
            with k.seq(lo, whole, LANES) as at:
                v, total = running(k, E.cast(source[at + i], acc), how)
                out[at + i] = STEPS[how](carry.get(), v)
                carry.set(STEPS[how](carry.get(), total))
            with k.if_(whole < hi):
                inside = i < hi - whole
                v, _ = running(k, E.cast(source.load(whole + i, inside), acc), how)
                out.store(whole + i, STEPS[how](carry.get(), v), inside)


@kernel
def scan_together(k, y: Ptr, x: Ptr, n: Int, rows: Int, *, how: str, acc):
    """The same for LANES contiguous rows at once, a lane a row. The launch counts groups of rows; the last may overlap."""
    with k.parallel() as t, k.lanes(LANES) as i:
        first = E.minimum(t * LANES, rows - LANES) * n
        source, out = x.at(first), y.at(first)
        total = k.var(E.const(START[how], acc), acc)
        whole = n // LANES * LANES

        def walk(at, inside=None) -> None:
            """LANES columns: turned, combined, turned back."""
            done = []
            for v in k.transpose([source.load(r * n + at + i, inside) for r in range(LANES)]):
                total.set(STEPS[how](total.get(), E.cast(v, acc)))
                done.append(E.cast(total.get(), y.compute))
            for r, v in enumerate(k.transpose(done)):
                out.store(r * n + at + i, v, inside)

        with k.seq(0, whole, LANES) as at:
            walk(at)
        with k.if_(whole < n):
            walk(whole, i < n - whole)


@kernel
def piece_totals(k, totals: Ptr, x: Ptr, n: Int, pieces: Int, *, how: str):
    """The combination of each piece of PIECE elements of the contiguous rows of x; the launch counts (row, piece)."""
    acc = totals.dtype
    with k.parallel() as t:
        row = t // pieces
        lo = (t - row * pieces) * PIECE
        hi = E.minimum(lo + PIECE, n)
        whole = lo + (hi - lo) // LANES * LANES
        source = x.at(row * n)
        with k.lanes(LANES) as i:
            total = k.var(E.const(START[how], acc), acc)
            with k.seq(lo, whole, LANES) as at:
                total.set(STEPS[how](total.get(), E.cast(source[at + i], acc)))
            with k.if_(whole < hi):
                inside = i < hi - whole
                rest = E.where(inside, E.cast(source.load(whole + i, inside), acc), E.const(START[how], acc))
                total.set(STEPS[how](total.get(), rest))
            totals.store(t + i, running(k, total.get(), how)[1], i < 1)


@kernel
def scan_columns(k, y: Ptr, x: Ptr, n: Int, inner: Int, blocks: Int, *, how: str, acc):
    """The same along the middle of (outer, n, inner), in lanes. The launch counts (outer, block of inner)."""
    with k.parallel() as t:
        o = t // blocks
        lo = (t - o * blocks) * WIDTH
        base = o * n * inner
        with k.vector(lo, E.minimum(lo + WIDTH, inner)) as j:
            total = k.var(E.const(START[how], acc), acc)
            with k.seq(n) as i:
                total.set(STEPS[how](total.get(), E.cast(x[base + i * inner + j], acc)))
                y[base + i * inner + j] = total.get()


def follow(k, y, at, x, n, starts: list, step, largest: bool) -> None:
    """Running extremes and their (last) positions along n elements, `step` apart, from each start; NaN wins and stays."""
    state = [(k.var(x[base]), k.var(E.const(0, dt.int64), dt.int64)) for base in starts]
    with k.seq(n) as i:
        for (best, where), base in zip(state, starts, strict=True):
            here = base + i * step
            v, b = x[here], best.get()
            better = E.isnan(v) | (v >= b if largest else v <= b)  # false if b alone is NaN
            best.set(E.where(better, v, b))
            where.set(E.where(better, i, where.get()))
            y[here], at[here] = best.get(), where.get()


TOGETHER = 4  # rows walked at once: one waits for its last comparison while the others go on


@kernel
def extreme_rows(k, y: Ptr, at: Ptr, x: Ptr, n: Int, inner: Int, rows: Int, *, largest: bool):
    """Along the middle of (outer, n, inner). The launch counts groups of the rows (outer, inner)."""
    with k.parallel() as t:
        def starts(first, count: int) -> list:
            numbers = [first + j for j in range(count)]
            return [(r // inner) * (n * inner) + (r - (r // inner) * inner) for r in numbers]

        first = t * TOGETHER
        with k.if_(first + TOGETHER <= rows):
            follow(k, y, at, x, n, starts(first, TOGETHER), inner, largest)
        with k.else_(), k.seq(first, rows) as row:
            follow(k, y, at, x, n, starts(row, 1), inner, largest)


@kernel
def extreme_columns(k, y: Ptr, at: Ptr, x: Ptr, n: Int, inner: Int, blocks: Int, *, largest: bool):
    """The same in lanes over inner. The launch counts (outer, block of inner)."""
    with k.parallel() as t:
        o = t // blocks
        lo = (t - o * blocks) * WIDTH
        with k.vector(lo, E.minimum(lo + WIDTH, inner)) as j:
            follow(k, y, at, x, n, [o * n * inner + j], inner, largest)


def around(shape, dim: int) -> tuple[int, int, int]:
    """(outer, n, inner) of a shape around dim."""
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def run(name: str, input, dim: int, dtype, how: str):
    """The scan of input along dim."""
    d = dtype or (input._dtype if input._dtype.kind in "fc" else dt.int64)
    dim = S.wrap_dim(dim, len(input._shape), name)
    if not input._shape:
        return input.to(d, copy=True)
    if d.is_complex:
        if how == "add":
            return run(name, input.to(d).contiguous().view_as_real(), dim, None, how).view_as_complex()
        return complex_scan(input.to(d), dim, how)
    x = input.contiguous()
    y = hooks.empty(x._shape, d)
    if x._numel == 0:
        return y
    acc = dt.float64 if d.is_floating_point else dt.int64
    outer, n, inner = around(x._shape, dim) if x._shape else (1, 1, 1)
    lanes = inner >= 8
    blocks = -(-inner // WIDTH)
    if not lanes and inner > 1:
        moved = run(name, x.movedim(dim, -1).contiguous(), -1, d, how)
        return y.copy_(moved.movedim(-1, dim))
    if lanes:
        k = scan_columns((d, x._dtype), how=how, acc=acc)
        k(outer * blocks, max(1, WORK // (n * WIDTH)), y._ptr, x._ptr, n, inner, blocks)
    elif outer >= LANES:
        k = scan_together((d, x._dtype), how=how, acc=acc)
        k(-(-outer // LANES), max(1, WORK // (n * LANES)), y._ptr, x._ptr, n, outer)
    else:
        many = n >= LONG and outer <= FEW
        pieces = -(-n // PIECE) if many else 1
        ends = along_pieces(x, n, outer, pieces, acc, how) if many else y
        k = scan_rows((d, x._dtype, acc), how=how, acc=acc, many=many)
        k(outer * pieces, max(1, WORK // n), y._ptr, x._ptr, ends._ptr, n, pieces, PIECE if many else n)
    return y


def along_pieces(x, n: int, outer: int, pieces: int, acc, how: str):
    """The running combination of each row up to the end of each of its pieces."""
    totals, ends = hooks.empty((outer, pieces), acc), hooks.empty((outer, pieces), acc)
    piece_totals((acc, x._dtype), how=how)(outer * pieces, 1, totals._ptr, x._ptr, n, pieces)
    k = scan_rows((acc, acc, acc), how=how, acc=acc, many=False)
    k(outer, max(1, WORK // pieces), ends._ptr, totals._ptr, ends._ptr, pieces, 1, pieces)
    return ends


def complex_scan(x, dim: int, how: str):
    """log2(n) rounds of joining with the elements 1, 2, 4, ... before."""
    from flambeau.ops.arithmetic import mul
    from flambeau.ops.binary_maths import logaddexp
    from flambeau.ops.join import cat

    join = {"mul": mul, "logadd": logaddexp}[how]
    n, step = (x._shape[dim] if x._shape else 1), 1
    while step < n:
        high = join(x.narrow(dim, step, n - step), x.narrow(dim, 0, n - step))
        x = cat([x.narrow(dim, 0, step), high], dim)
        step *= 2
    return x


@op(KERNEL, inplace=True)
def cumsum(input, dim, *, dtype=None):
    """y_i = x_0 + ... + x_i along dim, added in float64 (int64 for integers).

    Source:   torch.cumsum
    """
    return run("cumsum", input, dim, dtype, "add")


cumsum.derivative(input=lambda g, dim, input_dtype: backwards(cumsum, g, dim).to(input_dtype))


def backwards(fn, g, dim):
    """fn from the far end of dim."""
    return fn(g.flip(dim), dim).flip(dim) if g._shape else g


@op(KERNEL, inplace=True)
def cumprod(input, dim, *, dtype=None):
    """y_i = x_0 * ... * x_i along dim, multiplied in float64 (int64 for integers).

    Source:   torch.cumprod
    """
    return run("cumprod", input, dim, dtype, "mul")


def cumprod_grad(g, input, result, dim):
    """sum_{i >= j} g_i y_i / x_j; where zeros occur, by products that leave x_j out."""
    if not input._shape:
        return g
    zero = input == 0
    if not bool(zero.any()):
        return (backwards(cumsum, g * result, dim) / input).to(input._dtype)
    n = input._shape[dim]
    parts = []
    from flambeau.ops.join import cat

    for j in range(n):  # rare: zeros among the factors
        before = input.narrow(dim, 0, j).prod(dim, True)
        after = input.narrow(dim, j + 1, n - j - 1)
        chain = cat([input.new_ones(before._shape), after], dim).cumprod(dim)
        parts.append((g.narrow(dim, j, n - j) * before * chain).sum(dim, True))
    return cat(parts, dim)


cumprod.derivative(input=cumprod_grad)


@op(KERNEL)
def logcumsumexp(input, dim):
    """y_i = log(exp x_0 + ... + exp x_i) along dim.

    Source:   torch.logcumsumexp
    """
    if input._dtype.kind not in "fc":
        raise NotImplementedError(f'"logcumsumexp_out_cpu" not implemented for {input._dtype}: convert to a float dtype')
    return run("logcumsumexp", input, dim, None, "logadd")


logcumsumexp.derivative(
    input=lambda g, input, result, dim: backwards(cumsum, g * (-result).exp(), dim) * input.exp()
)


def extremes(name: str, input, dim, largest: bool):
    dim = S.wrap_dim(dim, len(input._shape), name)
    x = input.contiguous()
    y, at = hooks.empty(x._shape, x._dtype), hooks.empty(x._shape, dt.int64)
    if x._numel:
        outer, n, inner = around(x._shape, dim) if x._shape else (1, 1, 1)
        dtypes = (x._dtype, dt.int64, x._dtype)
        if inner >= 8:
            blocks = -(-inner // WIDTH)
            k = extreme_columns(dtypes, largest=largest)
            k(outer * blocks, max(1, WORK // (n * WIDTH)), y._ptr, at._ptr, x._ptr, n, inner, blocks)
        else:
            k, rows = extreme_rows(dtypes, largest=largest), outer * inner
            k(-(-rows // TOGETHER), max(1, WORK // (n * TOGETHER)), y._ptr, at._ptr, x._ptr, n, inner, rows)
    return y, at


@op(KERNEL, function=False, method=False, node="CummaxBackward0")
def cummax_along(input, dim):
    """See `cummax`."""
    return extremes("cummax", input, dim, True)


@op(KERNEL, function=False, method=False, node="CumminBackward0")
def cummin_along(input, dim):
    """See `cummin`."""
    return extremes("cummin", input, dim, False)


def add_back(g, input_shape, dim, result1):
    """g added up at the positions the extremes came from."""
    return g.new_zeros(input_shape).scatter_add(dim, result1, g)


for _op in (cummax_along, cummin_along):
    _op.derivative(input=add_back)


@op(COMPOSITE)
def cummax(input, dim):
    """(running maxima along dim, their positions).

    Source:   torch.cummax
    """
    from flambeau import return_types

    return return_types.cummax(cummax_along(input, dim))


@op(COMPOSITE)
def cummin(input, dim):
    """(running minima along dim, their positions).

    Source:   torch.cummin
    """
    from flambeau import return_types

    return return_types.cummin(cummin_along(input, dim))


@op(COMPOSITE)
def cumulative_trapezoid(y, x=None, *, dx=None, dim=-1):
    """Running integral of y by the trapezoid rule.

    Source:   torch.cumulative_trapezoid
    """
    return trapezoids(y, x, dx, dim).cumsum(dim)


@op(COMPOSITE, aliases=("trapz",))
def trapezoid(y, x=None, *, dx=None, dim=-1):
    """The integral of y by the trapezoid rule, over points x or steps dx.

    Source:   torch.trapezoid
    """
    return trapezoids(y, x, dx, dim).sum(dim)


def trapezoids(y, x, dx, dim):
    """Areas between neighbouring points."""
    n = y._shape[dim]
    heights = (y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)) / 2
    if x is None:
        return heights * (1.0 if dx is None else dx)
    d = S.wrap_dim(dim, len(y._shape))
    widths = x.diff(dim=-1 if len(x._shape) == 1 else dim)
    if len(x._shape) == 1:
        widths = widths.reshape((-1,) + (1,) * (len(y._shape) - d - 1))
    return heights * widths
