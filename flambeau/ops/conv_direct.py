"""Direct convolution: tables of displacements, block sizes, launches. Kernels: conv_kernels.py.

The forward pass and both gradients are products whose patch matrix is read through tables; see the kernels' module.
A strided gradient of the input is one such product per residue class of the stride.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

from flambeau.codegen.target import host
from flambeau.core import dtypes as dt
from flambeau.ops import conv_kernels as K
from flambeau.ops.conv_plan import Address, Plan
from flambeau.ops.conv_shape import Shape, strides5
from flambeau.ops.record import hooks
from flambeau.ops.tiles import per_thread

LIMIT = 48 << 20  # bytes of padded copies and packed gradients held at a time
CHUNK = 96  # steps between two visits of a tile's sums to memory: a panel of so many stays in the first-level cache
RUN = 1024  # positions, about, in the table of a weight gradient's steps
SUMS = 192 << 10  # bytes of a task's sums, where all rows are to meet each step of the other factor once
PARTS = 8 << 20  # bytes of sums that tasks have of their own before they are brought together
TILES = 16  # tiles of rows in one task, that its sums stay in the first-level cache
# rows x vectors of a register tile and how well it uses the core, measured; by number of vector registers
SHAPES = {
    32: ((6, 4, 1.0), (8, 3, 1.0), (10, 2, 0.82), (4, 4, 0.85), (10, 1, 0.55), (1, 4, 0.25)),
    16: ((4, 3, 1.0), (6, 2, 1.0), (2, 4, 0.8), (10, 1, 0.6), (1, 4, 0.4)),
}


@dataclass(frozen=True)
class Tile:
    """A register tile: mr rows, nr columns in vectors of `lanes`."""

    mr: int
    nr: int
    lanes: int


def vector(dtype) -> int:
    """Elements of a vector register, at least two."""
    return max(2, host().vector_bytes // dtype.itemsize)


@functools.lru_cache(maxsize=256)
def tile_for(dtype, rows: int, columns: int) -> Tile:
    """The tile that wastes the least of the core on rows x columns."""
    lanes = vector(dtype)

    def cost(shape):
        mr, vectors, use = shape
        return -(-rows // mr) * mr * -(-columns // (vectors * lanes)) * vectors / use

    mr, vectors, _ = min(SHAPES[registers()], key=cost)
    return Tile(mr, vectors * lanes, lanes)


# tables -------------------------------------------------------------------------------------------
def table(values):
    """An int64 table that kernels read."""
    import numpy as np

    return hooks.from_array(np.ascontiguousarray(np.asarray(values, np.int64).reshape(-1)))


@functools.lru_cache(maxsize=512)
def grid(*axes: tuple[int, int]):
    """Displacements of a nest of (count, stride) axes, the last fastest."""
    import numpy as np

    total = np.zeros(1, np.int64)
    for count, stride in axes:
        total = np.add.outer(total, np.arange(count, dtype=np.int64) * stride).reshape(-1)
    return table(total)


@functools.lru_cache(maxsize=512)
def sums(counts: int, stride: int, displacements: tuple):
    """Displacements of `counts` channels, each with the taps' displacements."""
    import numpy as np

    return table(np.add.outer(np.arange(counts, dtype=np.int64) * stride, np.array(displacements, np.int64)))


# operands -----------------------------------------------------------------------------------------
@dataclass
class Source:
    """Memory that holds every element a product reads: address, strides (image, channel, d, h, w)."""

    ptr: Address
    strides: tuple


def window(plan: Plan, x, dims: int, low: tuple, high: tuple, size: tuple, first: int, images: int) -> Source:
    """x's images over [low, high) of each dimension: x itself where that lies inside, else a copy with zeros around."""
    st, d, channels = strides5(x, dims), x._dtype, x._shape[1]
    start = x._ptr + first * st[0] * d.itemsize
    if all(a >= 0 and b <= n for a, b, n in zip(low, high, size, strict=True)):
        inside = sum(a * s for a, s in zip(low, st[2:], strict=True))
        return Source(start + inside * d.itemsize, st)
    depth, height, width = (b - a for a, b in zip(low, high, strict=True))
    copy = plan.scratch(images * channels * depth * height * width * d.itemsize)
    last = st[1] == 1 and st[4] == channels  # channels last: a row is one row of width * channels
    c, m = (1, channels) if last else (channels, 1)
    plan.launch(
        K.pad((d, d), lanes=vector(d), unit=st[4] == m), images * c, max(1, 16384 // (depth * height * width * m)), copy, start, c,
        depth, height, width * m, *size[:2], size[2] * m, *low[:2], low[2] * m, st[0], st[1], st[2], st[3],
        1 if last else st[4],
    )  # fmt: skip
    row = width * m
    plane = depth * height * row
    strides = (plane * c, 1 if last else plane, height * row, row, m)
    return Source(copy, strides)


def packed(plan: Plan, src: Address, d, offsets, depth: int, columns: int, column: int, images: int, image: int, groups: int, group: int,
           tile: Tile, how: str) -> Address:  # fmt: skip
    """Panels of the right factor; see conv_kernels.pack."""
    panels = -(-columns // tile.nr)
    room = plan.scratch(groups * panels * images * depth * tile.nr * d.itemsize)
    plan.launch(
        K.pack((d, d, dt.int64), nr=tile.nr, lanes=tile.lanes, how=how), groups * panels * images,
        max(1, 16384 // (depth * tile.nr)), room, src, offsets, depth, columns, column,
        images, panels, image, group,
    )  # fmt: skip
    return room


@dataclass
class Product:
    """Sizes and strides of one launch of conv_kernels.product (its docstring says what they mean)."""

    d: object
    tile: Tile
    groups: int
    columns: int
    count: int
    depth: int
    table: int
    images: int
    x: tuple  # image, table, group
    y: tuple  # group, part, image, column
    dense: bool
    share: int = 1 << 60
    parts: int = 1

    def launch(self, plan: Plan, y: Address, x: Address, b: Address, bias: Address | None, rows, steps, places) -> None:
        """Plan it, with addresses and tables."""
        d, t, threads = self.d, self.tile, plan.threads
        high = -(-self.count // t.mr) * t.mr
        most = max(TILES * t.mr, self.parts > 1 and SUMS // (t.nr * d.itemsize) // t.mr * t.mr)
        block = min(high, most)
        together = min(self.images, max(1, most // high))
        panels = -(-self.columns // t.nr)

        def tasks():
            return self.groups * self.parts * panels * -(-self.images // together) * -(-self.count // block)

        while tasks() < 3 * threads and (together > 1 or block > t.mr):
            if together > 1:
                together = -(-together // 2)
            else:
                block = -(-block // 2 // t.mr) * t.mr
        image_blocks, row_blocks = -(-self.images // together), -(-self.count // block)
        steps_once = min(self.depth, self.table)
        chunk = -(-steps_once // -(-steps_once // CHUNK))
        room = per_thread(together * block * t.nr + t.lanes * t.nr, d)
        scratch = plan.scratch(room * threads * d.itemsize)
        k = K.product((d, d, d, d, dt.int64, dt.int64, dt.int64, d), mr=t.mr, nr=t.nr, lanes=t.lanes, bias_rows=bool(bias),
                      dense=self.dense)  # fmt: skip
        work = together * block * t.nr * self.depth
        plan.launch(
            k, tasks(), max(1, 65536 // work), y, x, b, bias or b, rows, steps, places, scratch, self.columns,
          self.count, self.depth, self.table, chunk, self.images, together, block, t.nr, image_blocks, row_blocks, panels,
          self.share, self.parts, room, *self.x, panels * self.depth * t.nr, *self.y,
        )  # fmt: skip


def images_at_once(s: Shape, per_image: int, itemsize: int) -> int:
    """How many images are copied together."""
    return max(1, min(s.n, LIMIT // max(1, per_image * itemsize)))


def reach(s: Shape) -> tuple[tuple, tuple]:
    """The first and one past the last input index a forward pass reads, per dimension."""
    low = tuple(-p for p in s.pad)
    high = tuple((o - 1) * st + (t - 1) * d + 1 - p
                 for o, st, t, d, p in zip(s.out, s.stride, s.taps, s.dilation, s.pad, strict=True))  # fmt: skip
    return low, high


# forward ------------------------------------------------------------------------------------------
def forward(plan: Plan, x, w, bias: Address | None, s: Shape, out) -> None:
    """out = conv(x, w) + bias; w and out are contiguous."""
    low, high = reach(s)
    cg, mg = s.ci // s.groups, s.co // s.groups
    st = strides5(out, s.dims)
    whole = tuple(b - a for a, b in zip(low, high, strict=True))
    step = images_at_once(s, s.ci * math.prod(whole), x._dtype.itemsize)
    for first in range(0, s.n, step):
        images = min(step, s.n - first)
        src = window(plan, x, s.dims, low, high, s.size, first, images)
        xs = src.strides
        apart = tuple(a * v for a, v in zip(s.stride, xs[2:], strict=True))
        taps_at = grid((cg, xs[1]), *((t, d * v) for t, d, v in zip(s.taps, s.dilation, xs[2:], strict=True)))
        start, offsets = out._ptr + first * st[0] * out._dtype.itemsize, grid((s.k, 1))
        convolve(plan, start, st, s.out, st[2:], src, apart, taps_at, w, offsets, (mg * s.k, s.k), bias, s.groups, mg,
                 cg * xs[1], s.k, images, True)  # fmt: skip


def registers() -> int:
    """Vector registers of this machine."""
    return 16 if host().vector_bytes == 32 else 32


def convolve(plan: Plan, y: Address, st, out, y_steps, src: Source, apart, taps_at, w, w_offsets, w_strides,
             bias: Address | None, groups: int, columns: int, x_group: int, depth: int, images: int, in_order: bool) -> None:  # fmt: skip
    """One product of patches of src with w: outputs `out`, `apart` in src and `y_steps` in y; w_strides (group, column).

    in_order: w_offsets are 0, 1, 2, ...
    """
    d, xs = w._dtype, src.strides
    count = math.prod(out)
    tile = tile_for(d, count, columns)
    how = "turn" if in_order else "unit" if w_strides[1] == 1 else "any"
    b = packed(plan, w._ptr, d, w_offsets, depth, columns, w_strides[1], 1, 0, groups, w_strides[0], tile, how)
    dense = y_steps == (out[1] * out[2], out[2], 1)
    p = Product(d, tile, groups, columns, count, depth, depth, images, (xs[0], 0, x_group), (columns * st[1], 0, st[0], st[1]), dense)
    p.launch(plan, y, src.ptr, b, bias, grid(*zip(out, apart, strict=True)), taps_at, grid(*zip(out, y_steps, strict=True)))


# gradient of the input ----------------------------------------------------------------------------
def residues(size: int, out: int, taps: int, stride: int, pad: int, dilation: int):
    """Per residue class of one dimension: (first input index, count, first v, [(tap, displacement)]).

    Inputs first + i * stride are reached from outputs v + i - displacement by the taps of the class.
    """
    classes = []
    for b in range(stride):
        ts = [(t, t * dilation // stride) for t in range(taps) if t * dilation % stride == b]
        first = (b - pad) % stride
        classes.append((first, len(range(first, size, stride)), (first + pad - b) // stride, ts))
    return classes


@functools.lru_cache(maxsize=512)
def has_gaps(s: Shape) -> bool:
    """True if some inputs reach no output: their gradient is 0, and `grad_input` leaves them out."""
    return any(not c[3] for v in zip(s.size, s.out, s.taps, s.stride, s.pad, s.dilation, strict=True) for c in residues(*v))


def grad_input(plan: Plan, g, w, s: Shape, out) -> None:
    """out = d loss / d x, given g = d loss / d y; w and out are contiguous. Every element of `out` is written, save gaps."""
    per_dim = [residues(*v) for v in zip(s.size, s.out, s.taps, s.stride, s.pad, s.dilation, strict=True)]
    per_dim = [[c for c in cs if c[1] and c[3]] for cs in per_dim]
    if not all(per_dim):
        return
    low = tuple(min(v - e for _, _, v, ts in cs for _, e in ts) for cs in per_dim)
    high = tuple(max(v + n - e for _, n, v, ts in cs for _, e in ts) for cs in per_dim)
    whole = tuple(b - a for a, b in zip(low, high, strict=True))
    step = images_at_once(s, s.co * math.prod(whole), g._dtype.itemsize)
    for first in range(0, s.n, step):
        src = window(plan, g, s.dims, low, high, s.out, first, min(step, s.n - first))
        for classes in itertools.product(*per_dim):
            grad_input_class(plan, src, w, s, out, classes, low, first, min(step, s.n - first))


def grad_input_class(plan: Plan, src: Source, w, s: Shape, out, classes, low, first: int, images: int) -> None:
    """The inputs of one residue class: a stride-1 convolution of g with the taps of that class."""
    cg, mg, total = s.ci // s.groups, s.co // s.groups, math.prod(s.taps)
    st, gs = strides5(out, s.dims), src.strides
    begin = sum((c[2] - a) * v for c, a, v in zip(classes, low, gs[2:], strict=True))
    taps, picks = [], []
    for combo in itertools.product(*[c[3] for c in classes]):
        taps.append(begin - sum(e * v for (_, e), v in zip(combo, gs[2:], strict=True)))
        picks.append((combo[0][0] * s.taps[1] + combo[1][0]) * s.taps[2] + combo[2][0])
    base = sum(c[0] * v for c, v in zip(classes, st[2:], strict=True)) + first * st[0]
    y_steps = tuple(v * n for v, n in zip(st[2:], s.stride, strict=True))
    start, counts = out._ptr + base * out._dtype.itemsize, tuple(c[1] for c in classes)
    taps_at, offsets = sums(mg, gs[1], tuple(taps)), sums(mg, cg * total, tuple(picks))
    convolve(plan, start, st, counts, y_steps, src, gs[2:], taps_at, w, offsets, (mg * cg * total, total), None, s.groups, cg,
             mg * gs[1], mg * len(taps), images, False)  # fmt: skip


# gradient of the weight ---------------------------------------------------------------------------
@functools.lru_cache(maxsize=512)
def weight_images(s: Shape, d) -> int:
    """How many images' gradients of the weight are worked out together."""
    low, high = reach(s)
    copied = math.prod(b - a for a, b in zip(low, high, strict=True))
    return images_at_once(s, s.ci * copied + s.co * math.prod(s.out), d.itemsize)


def grad_weight(plan: Plan, g, x, s: Shape, out) -> None:
    """out = d loss / d w (contiguous): (channel, tap) as rows, output channels as columns, positions as steps."""
    src = window(plan, x, s.dims, *reach(s), s.size, 0, s.n)
    d, xs, gs = g._dtype, src.strides, strides5(g, s.dims)
    cg, mg, count = s.ci // s.groups, s.co // s.groups, math.prod(s.out)
    tile = tile_for(d, s.k, mg)
    dense = gs[2:] == (s.out[1] * s.out[2], s.out[2], 1)
    b = packed(plan, g._ptr, d, grid(*zip(s.out, gs[2:], strict=True)), count, mg, gs[1], s.n,
               gs[0], s.groups, mg * gs[1], tile, "turn" if dense else "unit" if gs[1] == 1 else "any")  # fmt: skip
    together = max(1, min(s.n, RUN // count))
    apart = tuple(a * v for a, v in zip(s.stride, xs[2:], strict=True))
    steps = grid((together, xs[0]), *zip(s.out, apart, strict=True))
    rows = grid((cg, xs[1]), *((t, e * v) for t, e, v in zip(s.taps, s.dilation, xs[2:], strict=True)))
    size, turns = s.co * s.k, -(-s.n // together)
    parts = min(turns, max(1, min(3 * plan.threads // s.groups, PARTS // (size * d.itemsize))))
    share = -(-turns // parts)
    parts = -(-turns // share)
    sums_at = out._ptr if parts == 1 else plan.scratch(parts * size * d.itemsize)
    p = Product(d, tile, s.groups, mg, s.k, s.n * count, together * count, 1, (0, together * xs[0], cg * xs[1]),
                (mg * s.k, size, 0, s.k), True, share * together * count, parts)  # fmt: skip
    p.launch(plan, sums_at, src.ptr, b, None, rows, steps, rows)
    if parts > 1:
        plan.launch(K.total((d, d)), -(-size // 4096), 4, out._ptr, sums_at, parts, size, size, 4096)
