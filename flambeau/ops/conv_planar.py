"""When and how direct convolutions put neighbouring outputs in the lanes. Kernels: conv_planar_kernels.py."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

from flambeau.codegen.target import LANE_BYTES, host
from flambeau.core import dtypes as dt
from flambeau.ops import conv_kernels
from flambeau.ops import conv_planar_kernels as K
from flambeau.ops.conv_direct import CHUNK, registers, residues, table, vector
from flambeau.ops.conv_plan import Address, Plan
from flambeau.ops.conv_shape import Shape, strides5
from flambeau.ops.tiles import per_thread, rounded
from flambeau.runtime.threads import get_num_threads

NARROW = 8  # output channels of a group up to which outputs are put in the lanes in any case
NEAR = 512 << 10  # bytes of a task's copy: with the weights it stays in the second-level cache
HEIGHTS = (1, 2, 3, 4, 6, 8, 12)  # output channels of a register tile
ROWS = (2, 4, 6)  # its rows
TURN = 45  # steps of a sum that take as long as the way of its result through scratch, where channels are in the lanes
RUN = 128  # vectors of outputs, about, between two visits of a weight gradient's sums to memory
FEW = 4  # input channels of a group up to which outputs are put in the lanes of a weight's gradient
SUMS = 640 << 10  # bytes of a task's sums of a weight's gradient
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
    """Whether rows fill the lanes better than channels would, whose sums are turned before they are written."""
    channels, columns = (c // s.groups for c in ((s.co, s.ci) if back else (s.ci, s.co)))
    if s.depthwise or columns <= NARROW:
        return True
    ax = axes(s, back)
    if None in ax or ax[1].outputs == 1:
        return False
    depth = channels * math.prod(max(len(taps) for _, _, taps in a.classes) for a in ax)
    lanes = LANE_BYTES // d.itemsize
    return filled(ax[2].outputs, lanes) * (depth + TURN) > filled(columns, lanes) * depth


def filled(count: int, lanes: int) -> float:
    """The part of whole vectors that so many elements take."""
    return count / rounded(count, lanes)


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


def forward(plan: Plan, x, w, bias: Address | None, s: Shape, out) -> None:
    """out = conv(x, w) + bias; w and out are contiguous."""
    convolve(plan, x, w, bias, s, out, False)


def grad_input(plan: Plan, g, w, s: Shape, out) -> None:
    """out = d loss / d x; w and out are contiguous. Every element of `out` is written, save gaps."""
    convolve(plan, g, w, None, s, out, True)


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
    """A task: `rows` by `span` outputs, of `blocks` by `spans`; what it copies of a plane has `lines` rows of `width`."""

    rows: int
    blocks: int
    span: int
    spans: int
    width: int
    lines: int
    planes: int

def block_for(ax: list, channels: int, high: int, lanes: int, tasks: int, itemsize: int, most: int = 1 << 60) -> Block:
    """The block whose copy stays near; at least three tasks a thread, where `tasks` are others' part of them."""
    d, h, w = ax
    spans = -(-w.outputs // SPAN)
    span = w.outputs if spans == 1 else -(-w.outputs // spans // lanes) * lanes
    width = max(lanes, span + w.reach // w.move)
    rows = -(-h.outputs // high) * high

    def far():
        size = channels * (d.reach + 1) * h.move * w.move * (rows + h.reach // h.move) * width * itemsize
        return size > NEAR or rows > most or tasks * spans * -(-h.outputs // rows) < 3 * get_num_threads()

    while rows > high and far():
        rows = -(-rows // 2 // high) * high
    return Block(rows, -(-h.outputs // rows), span, -(-w.outputs // span), width, rows + h.reach // h.move, d.reach + 1)


@dataclass(frozen=True)
class Copy:
    """What a block's channels are in scratch: elements of a channel, and what the kernels are told of its making."""

    ax: tuple
    block: Block

    @property
    def channel(self) -> int:
        _, h, w = self.ax
        return self.block.planes * h.move * w.move * self.block.lines * self.block.width

    def place(self, d: int, h: int, w: int) -> int:
        """Where a displacement leads to."""
        (phase_h, row), (phase_w, q) = ((v % a.move, v // a.move) for v, a in zip((h, w), self.ax[1:], strict=True))
        sheet = (d * self.ax[1].move + phase_h) * self.ax[2].move + phase_w
        return (sheet * self.block.lines + row) * self.block.width + q

    def edges(self) -> list:
        """For each span and remainder of the columns the outputs whose inputs are real."""
        w, found = self.ax[2], []
        for sb, f in itertools.product(range(self.block.spans), range(w.move)):
            found += inside(w.start + sb * self.block.span * w.move * w.step + f * w.step, w.move * w.step, w.size)
        return found

    def geometry(self) -> tuple:
        """planes ... size_h of the kernels' arguments."""
        d, h, w = self.ax
        return (self.block.planes, h.move, w.move, self.block.lines, self.block.width, *(a.step for a in self.ax),
                *(a.step * a.move for a in self.ax), *(a.start for a in self.ax), d.size, h.size)  # fmt: skip


def sums(plan: Plan, x, w, bias: Address | None, s: Shape, out, back: bool, ax: list) -> None:
    """Products of all channels of a group; see `convolve`."""
    d, h, wide = ax
    dtype, lanes = x._dtype, vector(x._dtype)
    cg, mg, total = s.ci // s.groups, s.co // s.groups, math.prod(s.taps)
    channels, columns = (mg, cg) if back else (cg, mg)
    mr, high = tile_for(columns, h.outputs == 1)
    b = block_for(ax, channels, high, lanes, s.n * s.groups * d.outputs, dtype.itemsize)
    copy = Copy(tuple(ax), b)
    st_x, st_y = strides5(x, s.dims), strides5(out, s.dims)
    steps: list = []
    picks: list = []
    classes: list = []
    for parts in itertools.product(*(a.classes for a in ax)):
        first, taps = len(steps), list(itertools.product(*(ts for _, _, ts in parts)))
        at = [copy.place(*(e for _, e in tap)) for tap in taps]
        of = [(t * s.taps[1] + u) * s.taps[2] + v for (t, _), (u, _), (v, _) in taps]
        for c in range(channels):
            steps += [c * copy.channel + v for v in at]
            picks += [c * total * (cg if back else 1) + v for v in of]
        place = sum(y * v for (_, y, _), v in zip(parts, st_y[2:], strict=True))
        classes.append((first, len(steps), *(n for n, _, _ in parts), place))
    depth, panels, square = len(steps), -(-columns // mr), min(8, mr & -mr)
    packed = plan.scratch(s.groups * panels * mr * depth * dtype.itemsize)
    plan.launch(
        conv_kernels.pack((dtype, dtype, dt.int64), nr=mr, lanes=square, how="any" if back or square == 1 else "turn"),
        s.groups * panels, max(1, 16384 // (depth * mr)), packed, w._ptr, table(picks), depth, columns, total if back else s.k,
        1, panels, 0, mg * cg * total,
    )  # fmt: skip
    chunk = -(-depth // -(-depth // CHUNK))
    room = per_thread(channels * copy.channel + lanes, dtype)  # the last outputs read beyond their row
    scratch = plan.scratch(room * plan.threads * dtype.itemsize)
    across, y_across = wide.step * wide.move * st_x[4], wide.apart * st_y[4]
    k = K.planar((dtype, dtype, dtype, dtype, dt.int64, dt.int64, dt.int64, dtype), mr=mr, high=high, lanes=lanes,
                 step=across if across in (1, 2) else 0, y_step=y_across if y_across in (1, 2) else 0, bias_rows=bool(bias))  # fmt: skip
    plan.launch(
        k, s.n * s.groups * d.outputs * b.blocks * b.spans, max(1, 65536 // (columns * depth * b.rows * b.span)), out._ptr, x._ptr,
        packed, bias or packed, table(steps), table(classes), table(copy.edges()), scratch, room, len(classes), columns, depth,
        chunk, channels, s.groups, d.outputs, b.blocks, b.rows, b.spans, b.span, *copy.geometry(), st_x[0], channels * st_x[1],
        *st_x[1:], across, st_y[0], columns * st_y[1], st_y[1], *(a.apart * v for a, v in zip(ax, st_y[2:], strict=True)),
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


# gradient of the weight ---------------------------------------------------------------------------
@functools.lru_cache(maxsize=256)
def weight_tile(columns: int, depth: int) -> tuple[int, int]:
    """(columns, steps) of a register tile of sums; as `tile_for`."""
    room = registers() * host().vector_bytes // LANE_BYTES - 1

    def cost(tile):
        mr, few = tile
        cycles = max(mr * few / 2, (mr + 1.7 * few) / 2, 4) + few / 4
        return -(-columns // mr) * -(-depth // few) * cycles, -few

    tiles = itertools.product((1, 2, 3, 4), (3, 5, 6, 9))
    return min(((mr, few) for mr, few in tiles if mr * few + mr + 1 <= room), key=cost, default=(1, 3))


def fits_weight(s: Shape, d) -> bool:
    """Whether the outputs fill the lanes better than channels would, of which there are few."""
    if s.co // s.groups <= NARROW:
        return True
    rows = s.depthwise or s.out[1] > 1 and filled(s.out[2], LANE_BYTES // d.itemsize) > 0.6
    return rows and s.ci // s.groups <= FEW


def grad_weight(plan: Plan, g, x, s: Shape, out) -> None:
    """out = d loss / d w (contiguous)."""
    ax = axes(s, False)
    d, _, w = ax
    dtype, lanes = x._dtype, LANE_BYTES // x._dtype.itemsize  # not `vector`: all processors add in one order
    cg, mg, taps = s.ci // s.groups, s.co // s.groups, math.prod(s.taps)
    mr, few = weight_tile(mg, s.k)
    tall = -(-mg // mr) * mr
    channels = max(1, min(cg, SUMS // (tall * taps * lanes * dtype.itemsize)))
    channel_blocks = -(-cg // channels)
    channels = -(-cg // channel_blocks)
    b = block_for(ax, channels, 1, lanes, 1 << 30, dtype.itemsize, 2 * RUN // -(-w.outputs // lanes) + 1)
    copy = Copy(tuple(ax), b)
    apart = channels * copy.channel
    together = max(1, min(s.n, RUN // (b.rows * -(-b.span // lanes)), NEAR // (apart * dtype.itemsize)))
    places = [copy.place(*(e for _, e in tap)) for tap in itertools.product(*(a.classes[0][2] for a in ax))]
    steps = [c * copy.channel + v for c in range(channels) for v in places]
    units, threads = -(-s.n // together) * d.outputs * b.blocks * b.spans, plan.threads
    share = -(-units // min(units, -(-threads // (s.groups * channel_blocks))))
    parts, total = -(-units // share), s.co * s.k
    size = -(-together * apart // lanes) * lanes + lanes
    room = per_thread(size + -(-len(steps) // few) * few * tall * lanes, dtype)
    scratch = plan.scratch(room * threads * dtype.itemsize)
    sums_at = out._ptr if parts == 1 else plan.scratch(parts * total * dtype.itemsize)
    st_x, st_g = strides5(x, s.dims), strides5(g, s.dims)
    across = w.move * w.step * st_x[4]
    k = K.planar_weight((dtype, dtype, dtype, dt.int64, dt.int64, dtype), mr=mr, few=few, lanes=lanes,
                        step=across if across in (1, 2) else 0, unit=st_g[4] == 1, masks=host().masks)  # fmt: skip
    plan.launch(
        k, parts * s.groups * channel_blocks, max(1, 32768 // (s.n * math.prod(s.out) * taps * mg)), sums_at, g._ptr, x._ptr,
        table(steps), table(copy.edges()), scratch, room, size, len(steps), mg, cg, channels, channel_blocks, s.groups, s.n, together,
        apart, units, share, total, d.outputs, b.blocks, b.rows, b.spans, b.span, *s.out[1:], *copy.geometry(), st_x[0], cg * st_x[1],
        *st_x[1:], across, st_g[0], mg * st_g[1], *st_g[1:],
    )  # fmt: skip
    if parts > 1:
        plan.launch(conv_kernels.total((dtype, dtype)), -(-total // 4096), 4, out._ptr, sums_at, parts, total, total, 4096)
