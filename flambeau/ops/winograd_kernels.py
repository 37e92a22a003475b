"""Loop nests of the F(2x2, 3x3) algorithm: 3x3 convolutions of stride 1 in 16 products where the direct way takes 36.

Every 2x2 outputs come from a 4x4 patch d of the input, 3x3 weights w, and small matrices of 0, +-1 and +-1/2:

    y = A' [(G w G') . (B' d B)] A,    . elementwise and summed over channels: 16 matrix products, tiles x channels

The gradient of the weight is the same formula read backwards: G' [sum over tiles (B' d B) . (A g A')] G. Channels are in
the lanes everywhere; a task takes some tile rows from x to y, all in its own scratch.

With stride 2 it is 25 products where there were 36: of a dimension's three taps the outer two meet the even inputs, as a
filter of two taps (F(2, 2), 3 products for 2 outputs), the middle one the odd inputs. WAYS has the matrices.

Source: S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural
Networks, CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.conv_kernels import micro, write

TAPS = 9


def squared(rows_of, square):
    """T m T' for a square m (a list of lists) and T given by what it does to one column."""
    columns = [rows_of([row[j] for row in square]) for j in range(len(square[0]))]
    return [rows_of([column[i] for column in columns]) for i in range(len(columns[0]))]


def flat(square) -> list:
    """A square's elements, row by row."""
    return [v for row in square for v in row]


def halves(w):
    """G of stride 1 on a column of 3."""
    half = E.const(0.5, w[0].dtype)
    outer, inner = (w[0] + w[2]) * half, w[1] * half
    return [w[0], outer + inner, outer - inner, w[2]]


def halves_back(m):
    """Its transpose on a column of 4."""
    half = E.const(0.5, m[0].dtype)
    plus, minus = (m[1] + m[2]) * half, (m[1] - m[2]) * half
    return [m[0] + plus, minus, plus + m[3]]


@dataclass(frozen=True)
class Way:
    """An algorithm in one dimension: tiles of `out` outputs, from `reach` inputs that begin `step` further for the next tile.

    data, weight, result: what B', G and A' do to a column; gradient, back: A and G'. points: products of a tile.
    """

    reach: int
    step: int
    out: int
    data: Callable
    weight: Callable
    result: Callable
    gradient: Callable | None = None
    back: Callable | None = None
    side: int = 5

    @property
    def points(self) -> int:
        return self.side**2

    def width(self, tiles):
        """Inputs of so many tiles."""
        return tiles * self.step + (self.reach - self.step)


def outer(w):
    """G of stride 2 on a column of 3."""
    return [w[0], w[0] + w[2], w[2], w[1], w[1]]


WAYS = {
    "stride 1": Way(
        4, 2, 2, lambda d: [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]], halves,
        lambda m: [m[0] + m[1] + m[2], m[1] - m[2] - m[3]], lambda g: [g[0], g[0] + g[1], g[0] - g[1], -g[1]], halves_back, 4),
    "stride 2": Way(
        5, 4, 2, lambda d: [d[0] - d[2], d[2], d[4] - d[2], d[1], d[3]], outer, lambda m: [m[0] + m[1] + m[3], m[1] + m[2] + m[4]],
        lambda g: [g[0], g[0] + g[1], g[1], g[0], g[1]], lambda m: [m[0] + m[1], m[3] + m[4], m[1] + m[2]]),
    "stride 2 back": Way(  # the gradient of the input, padded by 1: inputs are its gradient's outputs
        3, 2, 4, lambda g: [g[0] - g[1], g[1], g[2] - g[1], g[0], g[1]], outer, lambda m: [m[3], m[0] + m[1], m[4], m[1] + m[2]]),
}  # fmt: skip


@kernel
def weights(k, u: Ptr, w: Ptr, u_point: Int, depth: Int, columns: Int, panels: Int, blocks: Int, block: Int, w_row: Int,
            w_column: Int, *, nr: int, lanes: int, turned_round: bool, way: str):  # fmt: skip
    """u[point][panel][p][0..nr) = (G w G')[point] for row p (input channel), columns (output channels) in lanes.

    The 9 taps are neighbours in w (in reverse if turned_round): those of one column are read as a row, and turned.
    """
    with k.parallel() as task:
        panel = task // blocks
        p0 = (task - panel * blocks) * block
        with k.seq(0, nr, lanes) as q, k.seq(p0, E.minimum(p0 + block, depth)) as p:
            transformed(k, u.at((panel * depth + p) * nr + q), u_point, w.at(p * w_row), panel * nr + q, columns, w_column, lanes,
                        turned_round, WAYS[way])  # fmt: skip


def transformed(k, out, u_point, w, first, columns, w_column, lanes: int, turned_round: bool, way: Way) -> None:
    """out[point][0..lanes) = (G w G')[point] of columns from `first`."""
    with k.lanes(lanes) as j:
        starts = [E.minimum(first + i, columns - 1) * w_column for i in range(lanes)]
        taps: list = []
        for t in range(0, TAPS, lanes):
            taps += k.transpose([w.load(s + t + j, where=j < TAPS - t) for s in starts])
        taps = taps[TAPS - 1 :: -1] if turned_round else taps[:TAPS]
        for i, v in enumerate(flat(squared(way.weight, [taps[0:3], taps[3:6], taps[6:9]]))):
            out[i * u_point + j] = v


@kernel
def weights_back(k, w: Ptr, u: Ptr, parts: Int, u_part: Int, u_point: Int, high: Int, depth: Int, columns: Int, panels: Int, blocks: Int, block: Int,
                 w_row: Int, w_column: Int, *, nr: int, lanes: int, way: str):  # fmt: skip
    """w = G' (the sum of u's parts) G, the way back of `weights`; a panel of u has `high` rows."""
    with k.parallel() as task:
        panel = task // blocks
        p0 = (task - panel * blocks) * block
        with k.seq(0, nr, lanes) as q, k.seq(p0, E.minimum(p0 + block, depth)) as p:
            first = panel * nr + q
            source = u.at((panel * high + p) * nr + q)
            with k.lanes(lanes) as j:
                sums = [k.var(source[i * u_point + j]) for i in range(WAYS[way].points)]
                with k.seq(1, parts) as part:
                    for i, total in enumerate(sums):
                        total.set(total.get() + source[part * u_part + i * u_point + j])
                taps_back(k, w.at(p * w_row + first * w_column), [v.get() for v in sums], columns - first, w_column, j, lanes, WAYS[way])


def taps_back(k, w, points, columns, w_column, j, lanes: int, way: Way) -> None:
    """w[column, tap] = (G' u G)[tap] for as many columns as are left, which are in the lanes of u's points."""
    taps = flat(squared(way.back, [points[i : i + way.side] for i in range(0, way.points, way.side)]))
    taps += [taps[0]] * (-TAPS % lanes)
    for t in range(0, TAPS, lanes):
        for i, row in enumerate(k.transpose(taps[t : t + lanes])):
            with k.if_(columns > i):
                w.store(i * w_column + t + j, row, where=j < TAPS - t)


def patches(k, out, x, channels, c0, rows, width, top, pad_w, size_h, size_w, xc, xh, xw, lanes: int, how: str):
    """out[row][column][0..lanes) = x[c0 + j, top + row, column - pad_w], 0 outside; how: see conv_kernels.pack."""
    zero = E.const(0, x.compute)
    with k.seq(rows) as r:
        line, h = out.at(r * width * lanes), top + r
        inside = (h >= 0) & (h < size_h)
        with k.if_(inside):
            with k.seq(pad_w) as u, k.lanes(lanes) as j:
                line[u * lanes + j] = zero
            with k.seq(pad_w + size_w, width) as u, k.lanes(lanes) as j:
                line[u * lanes + j] = zero
            body, source = line.at(pad_w * lanes), h * xh
            if how == "turn":
                starts = [source + E.minimum(c0 + i, channels - 1) * xc for i in range(lanes)]
                with k.seq(0, size_w, lanes) as u, k.lanes(lanes) as j:
                    left = size_w - u
                    for s in starts:
                        x.prefetch(s + u + lanes * xc, level=2)  # the next channels' turn
                    turned = k.transpose([x.load(s + u + j, where=j < left) for s in starts])
                    for i in range(lanes):
                        with k.if_(left > i):
                            body[(u + i) * lanes + j] = turned[i]
            else:
                with k.seq(size_w) as u, k.lanes(lanes) as j:
                    lane = c0 + j if how == "unit" else (c0 + j) * xc
                    body[u * lanes + j] = x.load(source + u * xw + lane, where=j < channels - c0)
        with k.else_(), k.seq(width) as u, k.lanes(lanes) as j:
            line[u * lanes + j] = zero


@kernel
def convolve(k, y: Ptr, x: Ptr, u: Ptr, bias: Ptr, scratch: Ptr, room: Int, images: Int, together: Int, rows: Int, row_blocks: Int,
             th: Int, tw: Int, oh: Int, ow: Int, size_h: Int, size_w: Int, pad_h: Int, pad_w: Int, ci: Int, co: Int, most: Int,
             u_point: Int, v_point: Int, m_point: Int, xn: Int, xc: Int, xh: Int, xw: Int, yn: Int, yc: Int, *, mr: int, nr: int,
             lanes: int, wide: int, how: str, bias_rows: bool, way: str):  # fmt: skip
    """`rows` tile rows of `together` images a task: patches, their transforms, products, results. most: tiles, rounded up."""
    acc, W = u.dtype, WAYS[way]
    with k.parallel() as task:
        nb = task // row_blocks
        n0, r0 = nb * together, (task - nb * row_blocks) * rows
        n1, r1 = E.minimum(n0 + together, images), E.minimum(r0 + rows, th)
        high, panels = r1 - r0, (co + (nr - 1)) // nr
        tiles = (n1 - n0) * high * tw
        v = scratch.at(k.worker * room)  # [point][panel of wide][tile][wide]: rows of a product lie together
        m = v.at(W.points * v_point)  # [point][panel][tile][nr]
        patch = m.at(W.points * m_point)  # then the outputs
        with k.seq(n0, n1) as n:
            tile_rows(k, v.at((n - n0) * high * tw * wide), x.at(n * xn), patch, v_point, most, ci, high, W.step * r0 - pad_h, pad_w, tw,
                      size_h, size_w, (xc, xh, xw), wide, lanes, how, W.data, W.reach, W.step)  # fmt: skip
        with k.seq(W.points) as point, k.seq(0, ci, wide) as p0, k.seq(panels) as panel:
            factor = u.at(point * u_point + (panel * ci + p0) * nr)
            with k.seq(0, tiles, mr) as t:
                at = [k.pointer(v.at(point * v_point + p0 * most + E.minimum(t + i, tiles - 1) * wide)) for i in range(mr)]
                sums = m.at(point * m_point + (panel * most + t) * nr)
                micro(k, sums, at, lambda p: p, factor, E.minimum(ci - p0, wide), p0 > 0, acc, nr, lanes)
        with k.seq(n0, n1) as n:
            real = E.minimum(W.out * high, oh - W.out * r0)
            with k.seq(panels) as panel, k.seq(0, nr, lanes) as q:
                first = panel * nr + q
                results(k, y.at(n * yn + first * yc + W.out * r0 * ow), bias.at(first) if bias_rows else None,
                        m.at((panel * most + (n - n0) * high * tw) * nr + q), m_point, patch, co - first, high, tw, real, ow, yc,
                        nr, lanes, W)  # fmt: skip


def results(k, out, shift, m, m_point, patch, columns, high, tw, real, ow, yc, nr: int, lanes: int,
            way: Way) -> None:  # fmt: skip
    """out = A' m A + shift of `high` rows of tiles of an image, of which `real` rows of outputs exist; columns in lanes."""
    with k.seq(high) as ty, k.seq(tw) as tx, k.lanes(lanes) as j:
        start, corner = m.at((ty * tw + tx) * nr), patch.at((way.out * (ty * ow + tx)) * lanes)
        s = [[start[(way.side * a + b) * m_point + j] for b in range(way.side)] for a in range(way.side)]
        for a, row in enumerate(squared(way.result, s)):
            for b, value in enumerate(row):
                with k.if_((way.out * ty + a < real) & (way.out * tx + b < ow)):
                    corner[(a * ow + b) * lanes + j] = value
    with k.if_(columns > 0), k.seq(0, real * ow, lanes) as r:
        write(k, out, patch.at(r * lanes), shift, None, r, real * ow - r, columns, yc, lanes, lanes, True)


def tile_rows(k, to, x, patch, v_point, most, channels, high, top, left, tw, size_h, size_w, strides, wide: int, lanes: int,
              how: str, side, reach: int, step: int) -> None:  # fmt: skip
    """to[point][panel][tile][0..wide) = `side` of the patches, reach x reach, of `high` tile rows of an image."""
    xc, xh, xw = strides
    width, tall = (n * step + (reach - step) for n in (tw, high))
    with k.seq(0, channels, lanes) as c:
        patches(k, patch, x, channels, c, tall, width, top, left, size_h, size_w, xc, xh, xw, lanes, how)
        panel = c // wide
        out = to.at(panel * most * wide + (c - panel * wide))
        with k.seq(high) as ty, k.seq(tw) as tx, k.lanes(lanes) as j:
            corner, tile = patch.at(step * (ty * width + tx) * lanes), out.at((ty * tw + tx) * wide)
            d = [[corner[(a * width + b) * lanes + j] for b in range(reach)] for a in range(reach)]
            for i, value in enumerate(flat(squared(side, d))):
                tile[i * v_point + j] = value


@kernel
def gradient(k, u: Ptr, x: Ptr, g: Ptr, scratch: Ptr, room: Int, u_part: Int, u_point: Int, v_point: Int, g_point: Int, count: Int,
             share: Int, together: Int, th: Int, tw: Int, size_h: Int, size_w: Int, oh: Int, ow: Int, pad_h: Int, pad_w: Int,
             ci: Int, co: Int, high: Int, panels: Int, most: Int, xn: Int, xc: Int, xh: Int, xw: Int, gn: Int, gc: Int, gh: Int,
             gw: Int, *, mr: int, nr: int, lanes: int, wide: int, how_x: str, how_g: str, way: str):  # fmt: skip
    """u[part][point][panel][p][0..nr) = sum over a part's tiles of (B' d B)[point, tile, p] (A g A')[point, tile, panel].

    A part is `share` of the tile rows of all images; `together` of them are transformed, then multiplied.
    """
    W = WAYS[way]
    with k.parallel() as part:
        lo, sums = part * share, u.at(part * u_part)
        hi = E.minimum(lo + share, count)
        v = scratch.at(k.worker * room)  # [point][panel of wide][tile][wide]
        gv = v.at(W.points * v_point)  # [point][panel][tile][nr]
        patch = gv.at(W.points * g_point)
        with k.seq(lo, hi, together) as q0:
            q1 = E.minimum(q0 + together, hi)
            with k.seq(q0 // th, (q1 + (th - 1)) // th) as n:
                q = k.var(E.maximum(q0, n * th)).get()
                at, row, high_here = (q - q0) * tw, q - n * th, E.minimum(q1, (n + 1) * th) - q
                tile_rows(k, v.at(at * wide), x.at(n * xn), patch, v_point, most, ci, high_here, row * W.step - pad_h, pad_w, tw,
                          size_h, size_w, (xc, xh, xw), wide, lanes, how_x, W.data, W.reach, W.step)  # fmt: skip
                tile_rows(k, gv.at(at * nr), g.at(n * gn), patch, g_point, most, co, high_here, row * W.out, E.const(0, row.dtype),
                          tw, oh, ow, (gc, gh, gw), nr, lanes, how_g, W.gradient, W.out, W.out)  # fmt: skip
            with k.seq(W.points) as point, k.seq(panels) as panel, k.seq(0, high, mr) as p:
                block = p // wide
                start = v.at(point * v_point + block * most * wide + (p - block * wide))
                rows = [k.pointer(start.at(i)) for i in range(mr)]
                tile = sums.at(point * u_point + (panel * high + p) * nr)
                factor = gv.at(point * g_point + panel * most * nr)
                micro(k, tile, rows, lambda i: i * wide, factor, (q1 - q0) * tw, q0 > lo, u.dtype, nr, lanes)


# many channels ------------------------------------------------------------------------------------
@kernel
def data(k, v: Ptr, x: Ptr, scratch: Ptr, room: Int, v_point: Int, count: Int, th: Int, tw: Int, size_h: Int, size_w: Int, pad_h: Int,
         pad_w: Int, ci: Int, xn: Int, xc: Int, xh: Int, xw: Int, *, lanes: int, wide: int, how: str,
         way: str):  # fmt: skip
    """v[point][panel][tile][0..wide) = (B' d B)[point] of all `count` tile rows, one a task."""
    W = WAYS[way]
    with k.parallel() as q:
        n, row = k.var(q // th).get(), k.var(E.mod(q, th)).get()
        tile_rows(k, v.at(q * tw * wide), x.at(n * xn), scratch.at(k.worker * room), v_point, count * tw, ci, E.const(1, row.dtype),
                  row * W.step - pad_h, pad_w, tw, size_h, size_w, (xc, xh, xw), wide, lanes, how, W.data, W.reach, W.step)  # fmt: skip


@kernel
def convolve_many(k, y: Ptr, v: Ptr, w: Ptr, bias: Ptr, scratch: Ptr, room: Int, u_point: Int, v_point: Int, m_point: Int,
                  images: Int, together: Int, image_blocks: Int, th: Int, tw: Int, oh: Int, ow: Int, ci: Int, co: Int,
                  yn: Int, yc: Int, w_row: Int, w_column: Int, *, mr: int, nr: int, lanes: int, wide: int,
                  turned_round: bool, bias_rows: bool, way: str):  # fmt: skip
    """A panel of output channels of `together` images a task: weights are transformed where they are used."""
    acc, W = w.dtype, WAYS[way]
    with k.parallel() as task:
        panel = task // image_blocks
        first, n0 = (k.var(e).get() for e in (panel * nr, (task - panel * image_blocks) * together))
        n1 = k.var(E.minimum(n0 + together, images)).get()
        tiles = k.var((n1 - n0) * th * tw).get()
        u = scratch.at(k.worker * room)  # [point][p][nr]
        m = u.at(W.points * u_point)  # [point][tile][nr]
        patch = m.at(W.points * m_point)
        with k.seq(0, ci, wide) as c0:
            c1, source = E.minimum(c0 + wide, ci), v.at(c0 * images * th * tw + n0 * th * tw * wide)
            with k.seq(0, nr, lanes) as q, k.seq(c0, c1) as p:
                transformed(k, u.at((p - c0) * nr + q), u_point, w.at(p * w_row), first + q, co, w_column, lanes, turned_round,
                            W)  # fmt: skip
            with k.seq(W.points) as point, k.seq(0, tiles, mr) as t:
                at = [k.pointer(source.at(point * v_point + E.minimum(t + i, tiles - 1) * wide)) for i in range(mr)]
                sums = m.at(point * m_point + t * nr)
                micro(k, sums, at, lambda p: p, u.at(point * u_point), c1 - c0, c0 > 0, acc, nr, lanes)
        with k.seq(n0, n1) as n, k.seq(0, nr, lanes) as q:
            results(k, y.at(n * yn + (first + q) * yc), bias.at(first + q) if bias_rows else None, m.at((n - n0) * th * tw * nr + q),
                    m_point, patch, co - first - q, th, tw, oh, ow, yc, nr, lanes, W)  # fmt: skip


@kernel
def sides(k, v: Ptr, gv: Ptr, x: Ptr, g: Ptr, scratch: Ptr, room: Int, v_point: Int, g_point: Int, count: Int, th: Int, tw: Int,
          size_h: Int, size_w: Int, oh: Int, ow: Int, pad_h: Int, pad_w: Int, ci: Int, co: Int, xn: Int, xc: Int, xh: Int, xw: Int,
          gn: Int, gc: Int, gh: Int, gw: Int, *, nr: int, lanes: int, wide: int, how_x: str, how_g: str,
          way: str):  # fmt: skip
    """The two factors of `gradient`, of all `count` tile rows, one a task."""
    W = WAYS[way]
    with k.parallel() as q:
        patch, most = scratch.at(k.worker * room), count * tw
        n, row = k.var(q // th).get(), k.var(E.mod(q, th)).get()
        one = E.const(1, row.dtype)
        tile_rows(k, v.at(q * tw * wide), x.at(n * xn), patch, v_point, most, ci, one, row * W.step - pad_h, pad_w, tw, size_h,
                  size_w, (xc, xh, xw), wide, lanes, how_x, W.data, W.reach, W.step)  # fmt: skip
        tile_rows(k, gv.at(q * tw * nr), g.at(n * gn), patch, g_point, most, co, one, row * W.out, E.const(0, row.dtype), tw, oh, ow,
                  (gc, gh, gw), nr, lanes, how_g, W.gradient, W.out, W.out)  # fmt: skip


@kernel
def gradient_of_many(k, w: Ptr, v: Ptr, gv: Ptr, scratch: Ptr, room: Int, u_point: Int, v_point: Int, g_point: Int, most: Int,
                     chunk: Int, blocks: Int, block: Int, ci: Int, co: Int, w_row: Int, w_column: Int, *, mr: int, nr: int,
                     lanes: int, wide: int, way: str):  # fmt: skip
    """w = G' [sum over tiles v gv] G for `block` input channels and a panel of output channels a task, all points of them."""
    W = WAYS[way]
    with k.parallel() as task:
        panel = k.var(task // blocks).get()
        lo = k.var((task - panel * blocks) * block).get()
        hi = E.minimum(lo + block, ci)
        u = scratch.at(k.worker * room)
        with k.seq(W.points) as point, k.seq(0, most, chunk) as t, k.seq(lo, hi, mr) as p:
            at = p // wide
            start = v.at(point * v_point + (at * most + t) * wide + (p - at * wide))
            rows = [k.pointer(start.at(i)) for i in range(mr)]
            factor = gv.at(point * g_point + (panel * most + t) * nr)
            micro(k, u.at(point * u_point + (p - lo) * nr), rows, lambda i: i * wide, factor, E.minimum(most - t, chunk), t > 0,
                  u.dtype, nr, lanes)  # fmt: skip
        with k.seq(0, nr, lanes) as q, k.seq(lo, hi) as p, k.lanes(lanes) as j:
            first, source = panel * nr + q, u.at((p - lo) * nr + q)
            points = [source[i * u_point + j] for i in range(W.points)]
            taps_back(k, w.at(p * w_row + first * w_column), points, co - first, w_column, j, lanes, WAYS[way])
