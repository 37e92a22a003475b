"""When and how 3x3 convolutions go through F(2x2, 3x3), of stride 1 or 2. Kernels and sources: winograd_kernels.py.

Numerics: against float64, on ResNet-18's layers in float32, the outputs' error is 0.8 to 1.0 times (root mean square) that of
PyTorch's direct sums (1.04 at most, on inputs that are nowhere negative), the weight gradient's a quarter to three quarters of it.
"""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import replace

from flambeau.ops import conv_direct as direct
from flambeau.ops import winograd_kernels as K
from flambeau.ops.conv_plan import Address, Plan
from flambeau.ops.conv_shape import Shape, strides5
from flambeau.ops.tiles import per_thread

CHUNK = 16  # channels summed before a visit to memory: short chains keep the rounding as small as direct sums', also of one sign
DEEP = 64  # tiles summed before one, in a gradient of the weight
FAR = 1 << 16  # weights (without taps) whose transforms leave the second-level cache
TILES = 640  # most tiles whose transforms are all kept
GROUPS = 8  # most groups that are worked out one after the other
TOGETHER = 256  # tiles of a task then
MANY = 96  # input channels of a task where all are many
CACHE = 640 << 10  # bytes of a task's scratch that stay in the second-level cache


def way_of(s: Shape, back: bool = False) -> str:
    """The algorithm of a pass; see winograd_kernels.WAYS."""
    return "stride 1" if s.stride[2] == 1 else "stride 2 back" if back else "stride 2"


def of_a_group(s: Shape) -> Shape:
    """The sizes of each group's convolution."""
    return s if s.groups == 1 else replace(s, ci=s.ci // s.groups, co=s.co // s.groups, groups=1)


def part_of(tensor, g: int, size: int):
    """The tensor from group g on, of `size` elements."""
    part = copy.copy(tensor)
    part._ptr = tensor._ptr + g * size * tensor._dtype.itemsize
    return part


def tiles_of(way: str, result) -> tuple:
    """Tiles down and across."""
    return tuple(-(-o // K.WAYS[way].out) for o in result)


def fits(s: Shape) -> bool:
    """3x3 of stride 1 or 2, enough channels to pay for the transforms, outputs that fill their tiles."""
    if s.dims != 2 or s.taps != (1, 3, 3) or s.dilation != (1, 1, 1) or s.groups > GROUPS:
        return False
    s = of_a_group(s)
    if s.stride == (1, 2, 2):
        return s.pad == (0, 1, 1) and worth(s, "stride 2", s.out[1:]) and worth(s, "stride 2 back", s.size[1:])
    if s.stride != (1, 1, 1) or s.pad[1] > 2 or s.pad[2] > 2:  # the gradient of the input pads with 2 - pad
        return False
    return worth(s, "stride 1", s.out[1:]) and worth(s, "stride 1", s.size[1:])


def fits_weight(s: Shape) -> bool:
    """Also sums that every thread can hold its own of, or few tiles."""
    many = s.ci * s.co // s.groups**2 > FAR
    return fits(s) and (not many or s.n * math.prod(tiles_of(way_of(s), s.out[1:])) <= TILES)


def worth(s: Shape, way: str, result: tuple) -> bool:
    """Whether the products saved outweigh the transforms: about 5 cycles a channel and tile, and memory for the weight's."""
    tiles, direct = math.prod(tiles_of(way, result)), 9 * (math.prod(result) if way == "stride 1" else math.prod(s.out))
    least = 24 + 72 * min(1.0, s.ci * s.co / FAR)
    products = K.WAYS[way].points * tiles * (1 + 10 * (1 / s.ci + 1 / s.co))
    return min(s.ci, s.co) >= 16 and products < direct and s.n * tiles >= least


@functools.lru_cache(maxsize=256)
def blocks(images: int, th: int, tw: int, ci: int, co: int, points: int, d, threads: int):
    """(images together, tile rows, register tile) of a task that wastes least."""

    def cost(choice):
        together, rows, tile = choice
        tiles = together * rows * tw
        tasks = -(-images // together) * -(-th // rows)
        padded = -(-tiles // tile.mr) * tile.mr
        waste = -(-tasks // threads) * threads * padded / (images * th * tw) * (-(-co // tile.nr) * tile.nr)
        spill = 1.08 if tiles > 48 and tiles * points * (ci + co) * d.itemsize > CACHE else 1.0
        return waste * (1 + 8 / padded) * spill

    choices = [(1, r) for r in range(1, th + 1) if r == 1 or r * tw <= 160]
    choices += [(q, th) for q in range(2, images + 1) if q * th * tw <= 160]
    return min(((q, r, direct.tile_for(d, q * r * tw, co)) for q, r in choices), key=cost)


def apart(count: int, lanes: int, d) -> int:
    """The distance of matrices of `count` elements walked together: not a multiple of what the first-level cache aliases."""
    page = 4096 // d.itemsize
    return -(-count // page) * page + lanes


def reading(along_row: int, along_channels: int) -> str:
    """How channels get into the lanes, by the strides; see conv_kernels.pack."""
    return "turn" if along_row == 1 else "unit" if along_channels == 1 else "any"


def convolve(plan: Plan, x, w, bias: Address | None, out, size, result, pad, ci: int, co: int, w_strides: tuple, way: str,
             turned: bool) -> None:  # fmt: skip
    """out = 3x3 convolution of x with w, of strides (input channel, output channel), its taps turned round if `turned`."""
    d, threads, images, W = x._dtype, plan.threads, x._shape[0], K.WAYS[way]
    oh, ow = result
    th, tw = tiles_of(way, result)
    size = (size[0], min(size[1], W.width(tw) - pad[1]))  # columns that are read
    if ci * co > FAR and images * th * tw <= TILES:
        convolve_many(plan, x, w, bias, out, size, result, pad, ci, co, w_strides, way, turned)
        return
    together, rows, tile = blocks(images, th, tw, ci, co, W.points, d, threads)
    lanes, panels = tile.lanes, -(-co // tile.nr)
    u_point = apart(panels * ci * tile.nr, lanes, d)
    u = plan.scratch(W.points * u_point * d.itemsize)
    part = max(1, min(ci, 4096 // tile.nr))
    parts = -(-ci // part)
    k = K.weights((d, d), nr=tile.nr, lanes=lanes, turned_round=turned, way=way)
    plan.launch(k, panels * parts, max(1, 1024 // (part * tile.nr)), u, w._ptr, u_point, ci, co, panels, parts, part, *w_strides)
    most = -(-together * rows * tw // tile.mr) * tile.mr
    patch = lanes * max(W.width(rows) * W.width(tw), W.out * rows * ow + lanes)
    v_point, m_point = apart(most * (-(-ci // CHUNK) * CHUNK), lanes, d), apart(most * panels * tile.nr, lanes, d)
    room = per_thread(W.points * (v_point + m_point) + patch, d)
    scratch = plan.scratch(room * threads * d.itemsize)
    row_blocks = -(-th // rows)
    xn, xc, _, xh, xw = strides5(x, 2)
    yn, yc = out._strides[:2]
    k = K.convolve((d, d, d, d, d), mr=tile.mr, nr=tile.nr, lanes=lanes, wide=CHUNK, how=reading(xw, xc), bias_rows=bool(bias),
                   way=way)  # fmt: skip
    plan.launch(
        k, -(-images // together) * row_blocks, 1, out._ptr, x._ptr, u, bias or u, scratch, room, images, together, rows,
        row_blocks, th, tw, oh, ow, *size, *pad, ci, co, most, u_point, v_point, m_point, xn, xc, xh, xw, yn, yc,
    )  # fmt: skip


def convolve_many(plan: Plan, x, w, bias: Address | None, out, size, result, pad, ci: int, co: int, w_strides: tuple, way: str,
                  turned: bool) -> None:  # fmt: skip
    """The same where weights are many and tiles few: transforms of all tiles first, then a panel of output channels a task."""
    d, threads, images, W = x._dtype, plan.threads, x._shape[0], K.WAYS[way]
    th, tw = tiles_of(way, result)
    tile = direct.tile_for(d, images * th * tw, co)
    lanes, panels = tile.lanes, -(-co // tile.nr)
    xn, xc, _, xh, xw = strides5(x, 2)
    v_point = apart(images * th * tw * (-(-ci // CHUNK) * CHUNK), lanes, d)
    v = plan.scratch(W.points * v_point * d.itemsize)
    room = per_thread(W.reach * W.width(tw) * lanes, d)
    plan.launch(
        K.data((d, d, d), lanes=lanes, wide=CHUNK, how=reading(xw, xc), way=way), images * th, 1, v, x._ptr,
        plan.scratch(room * threads * d.itemsize), room, v_point, images * th, th, tw, *size, *pad, ci, xn, xc, xh, xw,
    )  # fmt: skip
    blocks_of = max(-(-images * th * tw // TOGETHER), min(images, -(-threads // panels)))
    together = -(-images // min(images, blocks_of))
    most = -(-together * th * tw // tile.mr) * tile.mr
    u_point, m_point = apart(CHUNK * tile.nr, lanes, d), apart(most * tile.nr, lanes, d)
    room = per_thread(W.points * (u_point + m_point) + lanes * (W.out**2 * th * tw + lanes), d)
    yn, yc = out._strides[:2]
    k = K.convolve_many((d, d, d, d, d), mr=tile.mr, nr=tile.nr, lanes=lanes, wide=CHUNK, turned_round=turned,
                        bias_rows=bool(bias), way=way)  # fmt: skip
    image_blocks = -(-images // together)
    plan.launch(
        k, panels * image_blocks, 1, out._ptr, v, w._ptr, bias or w._ptr, plan.scratch(room * threads * d.itemsize), room, u_point,
        v_point, m_point, images, together, image_blocks, th, tw, *result, ci, co, yn, yc, *w_strides,
    )  # fmt: skip


def forward(plan: Plan, x, w, bias: Address | None, s: Shape, out) -> None:
    """out = conv(x, w) + bias into a contiguous tensor; w is contiguous."""
    one = of_a_group(s)
    for g in range(s.groups):
        xg, wg, og = (part_of(t, g, v) for t, v in (
            (x, one.ci * x._strides[1]), (w, one.co * one.ci * 9), (out, one.co * out._strides[1])))  # fmt: skip
        shift = None if bias is None else bias + g * one.co * x._dtype.itemsize
        convolve(plan, xg, wg, shift, og, s.size[1:], s.out[1:], s.pad[1:], one.ci, one.co, (9, one.ci * 9), way_of(s), False)


def grad_input(plan: Plan, g, w, s: Shape, out) -> None:
    """out = d loss / d x: a convolution of g with the taps turned round."""
    way, one = way_of(s, True), of_a_group(s)
    pad = tuple(2 - p for p in s.pad[1:]) if way == "stride 1" else (0, 0)
    for i in range(s.groups):
        gg, wg, og = (part_of(t, i, v) for t, v in (
            (g, one.co * g._strides[1]), (w, one.co * one.ci * 9), (out, one.ci * out._strides[1])))  # fmt: skip
        convolve(plan, gg, wg, None, og, s.out[1:], s.size[1:], pad, one.co, one.ci, (one.ci * 9, 9), way, True)


def grad_weight(plan: Plan, g, x, s: Shape, out) -> None:
    """out = d loss / d w (contiguous)."""
    one = of_a_group(s)
    for i in range(s.groups):
        parts = (part_of(t, i, v) for t, v in ((g, one.co * g._strides[1]), (x, one.ci * x._strides[1]), (out, one.co * one.ci * 9)))
        (gradient_of_many if one.ci * one.co > FAR else gradient)(plan, *parts, one)


def gradient(plan: Plan, g, x, out, s: Shape) -> None:
    """The weight's gradient of one group: sums over the tiles a thread each, then brought together."""
    d, threads = x._dtype, plan.threads
    way = way_of(s)
    W, (th, tw) = K.WAYS[way], tiles_of(way, s.out[1:])
    size = (s.size[1], min(s.size[2], W.width(tw) - s.pad[2]))
    tile = direct.tile_for(d, s.ci, s.co)
    lanes, panels = tile.lanes, -(-s.co // tile.nr)
    wide, high = math.lcm(tile.mr, lanes), -(-s.ci // tile.mr) * tile.mr
    x_panels = -(-high // wide)
    share = -(-s.n * th // threads)
    parts = -(-s.n * th // share)
    near = CACHE // (W.points * (s.ci + s.co) * d.itemsize * tw)
    together = min(share, max(near, -(-DEEP // tw)))
    most = together * tw
    u_point, v_point, g_point = (apart(v, lanes, d) for v in (panels * high * tile.nr, x_panels * most * wide, panels * most * tile.nr))
    u_part = W.points * u_point
    u = plan.scratch(parts * u_part * d.itemsize)
    room = per_thread(W.points * (v_point + g_point) + W.width(min(together, th)) * W.width(tw) * lanes, d)
    scratch = plan.scratch(room * threads * d.itemsize)
    xs, gs = ((st[:2], st[3:]) for st in (strides5(x, 2), strides5(g, 2)))
    how_x, how_g = (reading(a[1][1], a[0][1]) for a in (xs, gs))
    k = K.gradient((d, d, d, d), mr=tile.mr, nr=tile.nr, lanes=lanes, wide=wide, how_x=how_x, how_g=how_g, way=way)
    plan.launch(
        k, parts, 1, u, x._ptr, g._ptr, scratch, room, u_part, u_point, v_point, g_point, s.n * th, share, together, th, tw,
        *size, *s.out[1:], *s.pad[1:], s.ci, s.co, high, panels, most, *xs[0], *xs[1], *gs[0], *gs[1],
    )  # fmt: skip
    part = max(1, min(s.ci, 4096 // tile.nr))
    blocks_of = -(-s.ci // part)
    plan.launch(
        K.weights_back((d, d), nr=tile.nr, lanes=lanes, way=way), panels * blocks_of, 1, out._ptr, u, parts, u_part, u_point, high, s.ci,
        s.co, panels, blocks_of, part, 9, s.ci * 9,
    )  # fmt: skip


def gradient_of_many(plan: Plan, g, x, out, s: Shape) -> None:
    """The same where sums of all channels would be far away: transforms of all tiles first, then all sums of a few channels."""
    d, threads = x._dtype, plan.threads
    way = way_of(s)
    W, (th, tw) = K.WAYS[way], tiles_of(way, s.out[1:])
    size = (s.size[1], min(s.size[2], W.width(tw) - s.pad[2]))
    most = s.n * th * tw
    tile = direct.tile_for(d, s.ci, s.co)
    lanes, panels = tile.lanes, -(-s.co // tile.nr)
    wide = math.lcm(tile.mr, lanes)
    v_point, g_point = (apart(v, lanes, d) for v in (-(-s.ci // wide) * most * wide, panels * most * tile.nr))
    v, gv = (plan.scratch(W.points * point * d.itemsize) for point in (v_point, g_point))
    room = per_thread(W.reach * W.width(tw) * lanes, d)
    xs, gs = ((st[:2], st[3:]) for st in (strides5(x, 2), strides5(g, 2)))
    how_x, how_g = (reading(a[1][1], a[0][1]) for a in (xs, gs))
    k = K.sides((d, d, d, d, d), nr=tile.nr, lanes=lanes, wide=wide, how_x=how_x, how_g=how_g, way=way)
    plan.launch(
        k, s.n * th, 1, v, gv, x._ptr, g._ptr, plan.scratch(room * threads * d.itemsize), room, v_point, g_point, s.n * th, th, tw,
        *size, *s.out[1:], *s.pad[1:], s.ci, s.co, *xs[0], *xs[1], *gs[0], *gs[1],
    )  # fmt: skip
    block = min(-(-s.ci // tile.mr), MANY // tile.mr) * tile.mr
    blocks = -(-s.ci // block)
    u_point = apart(block * tile.nr, lanes, d)
    room = per_thread(W.points * u_point, d)
    plan.launch(
        K.gradient_of_many((d, d, d, d), mr=tile.mr, nr=tile.nr, lanes=lanes, wide=wide, way=way), panels * blocks, 1, out._ptr, v, gv,
        plan.scratch(room * threads * d.itemsize), room, u_point, v_point, g_point, most, -(-most // -(-most // DEEP)), blocks, block,
        s.ci, s.co, 9, s.ci * 9,
    )  # fmt: skip
