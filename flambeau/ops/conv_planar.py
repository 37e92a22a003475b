"""When and how direct convolutions put neighbouring outputs in the lanes. Kernels: conv_planar_kernels.py."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

from flambeau.codegen.target import LANE_BYTES
from flambeau.core import dtypes as dt
from flambeau.ops import conv_kernels
from flambeau.ops import conv_planar_kernels as K
from flambeau.ops.conv_direct import CHUNK, NARROW, registers, residues, table, vector
from flambeau.ops.conv_plan import Address, Plan
from flambeau.ops.conv_shape import Shape, strides5
from flambeau.runtime.threads import get_num_threads

NEAR = 512 << 10  # bytes of a task's copy: with the weights it stays in the second-level cache
HEIGHTS = (1, 2, 3, 4, 6, 8, 12)  # output channels of a register tile
ROWS = (2, 4, 6)  # its rows
SPAN = 1024  # outputs of a row in a task, at most
UNROLLED = 49  # taps of a depthwise kernel that are written out


@dataclass(frozen=True)
class Axis:
    """One dimension: which inputs the outputs read.

    The copy holds inputs start, start + step, ...; neighbouring outputs read it `move` apart, each `displacement` further for
    a tap. classes: (outputs, where the first lies in y, ((tap, displacement), ...)), outputs of a class `apart` in y.
    """

    size: int
    start: int
    step: int
    move: int
    apart: int
    classes: tuple

    @property
    def outputs(self) -> int:
        return max(count for count, _, _ in self.classes)

    @property
    def reach(self) -> int:
        return max(e for _, _, taps in self.classes for _, e in taps)


def reading(out: int, size: int, taps: int, stride: int, pad: int, dilation: int) -> Axis:
    """A forward pass: one class."""
    step = math.gcd(stride, dilation) if taps > 1 else stride
    return Axis(size, -pad, step, stride // step, 1, ((out, 0, tuple((t, t * dilation // step) for t in range(taps))),))


def returning(out: int, size: int, taps: int, stride: int, pad: int, dilation: int) -> Axis | None:
    """A gradient of the input: a class for each remainder of the stride that something reaches; None if nothing does."""
    classes = [c for c in residues(size, out, taps, stride, pad, dilation) if c[1] and c[3]]
    if not classes:
        return None
    low = min(v - e for _, _, v, ts in classes for _, e in ts)
    found = tuple((n, first, tuple((t, v - low - e) for t, e in ts)) for first, n, v, ts in classes)
    return Axis(out, low, 1, 1, stride, found)


def axes(s: Shape, back: bool) -> list:
    """The dimensions of a pass: forward, or (back) the gradient of the input."""
    make = returning if back else reading
    return [make(*v) for v in zip(s.out, s.size, s.taps, s.stride, s.pad, s.dilation, strict=True)]


def fits(s: Shape, back: bool, d) -> bool:
    """Whether rows fill the lanes better than channels would."""
    if s.depthwise or (s.ci if back else s.co) // s.groups <= NARROW:
        return True
    _, h, w = axes(s, back)
    lanes = LANE_BYTES // d.itemsize
    return None not in (h, w) and h.outputs > 1 and w.outputs > 0.6 * lanes * -(-w.outputs // lanes)


@functools.lru_cache(maxsize=256)
def tile_for(columns: int, single: bool) -> tuple[int, int]:
    """(columns, rows) of the register tile that takes the fewest cycles, of two multiply-adds or two loads each.

    A sum's next product is ready after four; rows cost half a cycle more: what they load lies across lines of a far cache.
    single: outputs are one row. Their number has no other part in it, or more sizes would compile more kernels.
    """
    room = registers() - 2

    def cost(tile):
        mr, high = tile
        cycles = max(mr * high / 2, (mr + 1.7 * high + 1) / 2, 4) + high / 2
        return -(-columns // mr) * cycles / high, high

    tiles = itertools.product(HEIGHTS, (1,) if single else ROWS)
    return min(((mr, high) for mr, high in tiles if (mr + 1) * high + 1 <= room), key=cost)


def convolve(plan: Plan, x, w, bias: Address | None, s: Shape, out, back: bool) -> None:
    """out = conv(x, w) + bias, or (back) the gradient of the input where x is that of the output; w, out are contiguous."""
    ax = axes(s, back)
    if None in ax:
        return
    if s.depthwise and (s.co == s.ci or not back) and math.prod(s.taps) <= UNROLLED and all(a.apart == 1 for a in ax):
        depthwise(plan, x, w, bias, s, out, ax)
    else:
        sums(plan, x, w, bias, s, out, back, ax)


@dataclass(frozen=True)
class Block:
    """A task: `rows` by `span` outputs, of `blocks` by `spans`; its copy has rows of `width`, `sheet` elements in a sheet.

    A channel of the copy is planes of sheets, one for each remainder of row and column.
    """

    rows: int
    blocks: int
    span: int
    spans: int
    width: int
    lines: int
    planes: int

    @property
    def sheet(self) -> int:
        return self.lines * self.width


def block_for(ax: list, channels: int, high: int, lanes: int, tasks: int, itemsize: int) -> Block:
    """The block whose copy stays near; at least three tasks a thread, where `tasks` are others' part of them."""
    d, h, w = ax
    spans = -(-w.outputs // SPAN)
    span = w.outputs if spans == 1 else -(-w.outputs // spans // lanes) * lanes
    width = max(lanes, span + w.reach // w.move)
    rows = -(-h.outputs // high) * high

    def far():
        size = channels * (d.reach + 1) * h.move * w.move * (rows + h.reach // h.move) * width * itemsize
        return size > NEAR or tasks * spans * -(-h.outputs // rows) < 3 * get_num_threads()

    while rows > high and far():
        rows = -(-rows // 2 // high) * high
    return Block(rows, -(-h.outputs // rows), span, -(-w.outputs // span), width, rows + h.reach // h.move, d.reach + 1)


def sums(plan: Plan, x, w, bias: Address | None, s: Shape, out, back: bool, ax: list) -> None:
    """Products of all channels of a group; see `convolve`."""
    d, high_axis, wide_axis = ax
    dtype, lanes = x._dtype, vector(x._dtype)
    cg, mg, total = s.ci // s.groups, s.co // s.groups, math.prod(s.taps)
    channels, columns = (mg, cg) if back else (cg, mg)
    mr, high = tile_for(columns, high_axis.outputs == 1)
    b = block_for(ax, channels, high, lanes, s.n * s.groups * d.outputs, dtype.itemsize)
    st_x, st_y = strides5(x, s.dims), strides5(out, s.dims)
    channel = b.planes * high_axis.move * wide_axis.move * b.sheet
    steps: list = []
    picks: list = []
    classes: list = []
    for parts in itertools.product(*(a.classes for a in ax)):
        first, place = len(steps), sum(y * v for (_, y, _), v in zip(parts, st_y[2:], strict=True))
        taps = list(itertools.product(*(ts for _, _, ts in parts)))
        for c in range(channels):
            for (t, at_d), (u, dh), (v, dw) in taps:
                at_h, at_w = divmod(dh, high_axis.move), divmod(dw, wide_axis.move)
                sheet = (c * b.planes + at_d) * high_axis.move + at_h[1]
                steps.append((sheet * wide_axis.move + at_w[1]) * b.sheet + at_h[0] * b.width + at_w[0])
                picks.append(c * total * (cg if back else 1) + (t * s.taps[1] + u) * s.taps[2] + v)
        classes.append((first, len(steps), *(n for n, _, _ in parts), place))
    lane = wide_axis.move * wide_axis.step
    edges = []
    for sb, f in itertools.product(range(b.spans), range(wide_axis.move)):
        edges += inside(wide_axis.start + sb * b.span * lane + f * wide_axis.step, lane, wide_axis.size)
    depth, panels, square = len(steps), -(-columns // mr), min(8, mr & -mr)
    packed = plan.scratch(s.groups * panels * mr * depth * dtype.itemsize)
    plan.launch(
        conv_kernels.pack((dtype, dtype, dt.int64), nr=mr, lanes=square, how="any" if back or square == 1 else "turn"),
        s.groups * panels, max(1, 16384 // (depth * mr)), packed, w._ptr, table(picks), depth, columns, total if back else s.k,
        1, panels, 0, mg * cg * total,
    )  # fmt: skip
    chunk = -(-depth // -(-depth // CHUNK))
    room = -(-channels * channel // lanes) * lanes + lanes  # the last outputs read beyond their row
    scratch = plan.scratch(room * get_num_threads() * dtype.itemsize)
    across, y_across = lane * st_x[4], wide_axis.apart * st_y[4]
    k = K.planar((dtype, dtype, dtype, dtype, dt.int64, dt.int64, dt.int64, dtype), mr=mr, high=high, lanes=lanes,
                 step=across if across in (1, 2) else 0, y_step=y_across if y_across in (1, 2) else 0, bias_rows=bool(bias))  # fmt: skip
    plan.launch(
        k, s.n * s.groups * d.outputs * b.blocks * b.spans, max(1, 65536 // (columns * depth * b.rows * b.span)), out._ptr, x._ptr,
        packed, bias or packed, table(steps), table(classes), table(edges), scratch, room, len(classes), columns, depth, chunk, channels,
        s.groups, d.outputs, b.blocks, b.rows, b.spans, b.span, b.planes, high_axis.move, wide_axis.move, b.lines, b.width,
        *(a.step for a in ax), *(a.step * a.move for a in ax), *(a.start for a in ax), d.size, high_axis.size, st_x[0],
        channels * st_x[1], *st_x[1:], across, st_y[0], columns * st_y[1], st_y[1],
        *(a.apart * v for a, v in zip(ax, st_y[2:], strict=True)),
    )  # fmt: skip


def inside(first: int, step: int, size: int) -> tuple[int, int]:
    """The range of q for which 0 <= first + q * step < size."""
    return max(0, -(first // step)), max(0, -((first - size) // step))


def depthwise(plan: Plan, x, w, bias: Address | None, s: Shape, out, ax: list) -> None:
    """One input channel for each output channel, outputs next to each other; see `convolve`."""
    dtype = x._dtype
    st_x, st_y = strides5(x, s.dims), strides5(out, s.dims)
    taps = tuple(len(a.classes[0][2]) for a in ax)
    w_first, w_steps, starts, steps = 0, [], [], []
    for a, apart in zip(ax, (s.taps[1] * s.taps[2], s.taps[2], 1), strict=True):
        ((_, _, ts),) = a.classes
        (t, e), (t_next, e_next) = ts[0], ts[min(1, len(ts) - 1)]
        w_first += t * apart
        w_steps.append((t_next - t) * apart)
        starts.append(a.start + e * a.step)
        steps.append((e_next - e) * a.step)
    moves, outputs = [a.step * a.move for a in ax], [a.outputs for a in ax]
    edges = []
    for v in range(taps[2]):
        lo, hi = inside(starts[2] + v * steps[2], moves[2], ax[2].size)
        edges += [lo, min(hi, outputs[2])]
    across = moves[2] * st_x[4]
    k = K.depthwise((dtype, dtype, dtype, dtype, dt.int64), taps=taps, lanes=vector(dtype), step=across if across in (1, 2) else 0,
                    bias_rows=bool(bias))  # fmt: skip
    plan.launch(
        k, s.n * s.co, max(1, 32768 // math.prod(outputs + list(taps))), out._ptr, x._ptr, w._ptr, bias or w._ptr, table(edges),
        s.co, s.co // s.ci, *outputs, *(a.size for a in ax[:2]), *starts, *steps, *moves, w_first, *w_steps, math.prod(s.taps),
        *st_x, *st_y[:4],
    )  # fmt: skip
