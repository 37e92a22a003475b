"""Loop nests of direct convolution.

A convolution is a product whose left factor is never made: element (r, p) of the patch matrix is x at rows[r] + steps[p],
two tables of displacements in x itself (or in a copy with zeros around it). The forward pass takes positions as rows and
(channel, tap) as steps; the gradient of the weight takes (channel, tap) as rows and positions as steps. The right factor,
packed in panels of nr columns, lies in the lanes, the patches are broadcast, and a tile of mr x nr sums stays in registers.
"""

from __future__ import annotations

from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel


def padded(k, plane, x, j, to, size, strides, start, lanes: int, unit: bool) -> None:
    """plane[q] = x[q + start] where that lies inside `size`, else 0, over q in `to`; in a block of `lanes` lanes j."""
    bounds = [(E.maximum(-a, 0), E.minimum(n - a, t)) for a, n, t in zip(start, size, to, strict=True)]

    def each(lo, hi, put):
        with k.seq(lo, hi, lanes) as q:
            with k.if_(hi - q >= lanes):
                put(q + j, None)
            with k.else_():
                put(q + j, q + j < hi)

    def zero(q, where):
        v = E.const(0, x.compute)
        plane.__setitem__(q, v) if where is None else plane.store(q, v, where=where)

    each(E.const(0, j.dtype), to[0] * to[1] * to[2], zero)
    with k.seq(*bounds[0]) as d, k.seq(*bounds[1]) as h:
        dst = (d * to[1] + h) * to[2]
        src = (d + start[0]) * strides[0] + (h + start[1]) * strides[1] + start[2] * (1 if unit else strides[2])

        def copy(q, where):
            at = src + (q if unit else q * strides[2])
            plane.__setitem__(dst + q, x[at]) if where is None else plane.store(dst + q, x.load(at, where=where), where=where)

        each(*bounds[2], copy)


@kernel
def pad(k, out: Ptr, x: Ptr, channels: Int, rows_d: Int, rows_h: Int, width: Int, size_d: Int, size_h: Int, size_w: Int,
        a_d: Int, a_h: Int, a_w: Int, xn: Int, xc: Int, xd: Int, xh: Int, xw: Int, *, lanes: int, unit: bool):  # fmt: skip
    """out[n][c][q] = x[n, c, q + a] where that lies inside, else 0 (a may be negative)."""
    with k.parallel() as task:
        n = task // channels
        plane, source = out.at(task * rows_d * rows_h * width), x.at(n * xn + (task - n * channels) * xc)
        with k.lanes(lanes) as j:
            padded(k, plane, source, j, (rows_d, rows_h, width), (size_d, size_h, size_w), (xd, xh, xw), (a_d, a_h, a_w), lanes,
                   unit)  # fmt: skip


@kernel
def pack(k, out: Ptr, src: Ptr, offsets: Ptr, depth: Int, columns: Int, column: Int, images: Int, panels: Int, image: Int,
         group: Int, *, nr: int, lanes: int, how: str):  # fmt: skip
    """out[group][panel][image][p][0..nr) = src[image, offsets[p], panel * nr + j]; the last column repeats beyond the end.

    how: "turn" where offsets are consecutive (squares are turned in registers), "unit" where columns are, else "any".
    """
    with k.parallel() as task:
        n, rest = E.mod(task, images), task // images
        panel, g = E.mod(rest, panels), rest // panels
        dst, source = out.at(task * (depth * nr)), n * image + g * group
        with k.seq(0, nr, lanes) as q:
            first = panel * nr + q
            places = [source + E.minimum(first + i, columns - 1) * column for i in range(lanes)]
            if how == "turn":
                begin = offsets[0]
                cols = [k.pointer(src.at(at + begin)) for at in places]
                whole = depth - E.mod(depth, lanes)
                with k.seq(0, whole, lanes) as p, k.lanes(lanes) as j:
                    turned = k.transpose([c[p + j] for c in cols])
                    for i in range(lanes):
                        dst[(p + i) * nr + q + j] = turned[i]
                with k.seq(whole, depth) as p:
                    for i in range(lanes):
                        dst[p * nr + q + i] = cols[i][p]
            elif how == "unit":
                with k.seq(depth) as p:
                    at = source + offsets[p] + first
                    with k.lanes(lanes) as j:
                        dst[p * nr + q + j] = src.load(at + j, where=j < columns - first)
            else:
                cols = [k.pointer(src.at(at)) for at in places]
                with k.seq(depth) as p:
                    at = offsets[p]
                    for i in range(lanes):
                        dst[p * nr + q + i] = cols[i][at]


@kernel
def product(k, y: Ptr, x: Ptr, b: Ptr, bias: Ptr, rows: Ptr, steps: Ptr, places: Ptr, scratch: Ptr, columns: Int, count: Int,
            depth: Int, table: Int, chunk: Int, images: Int, together: Int, block: Int, wide: Int, image_blocks: Int,
            row_blocks: Int, panel_blocks: Int, share: Int, parts: Int, room: Int, x_image: Int, x_table: Int, x_group: Int, b_group: Int,
            y_group: Int, y_part: Int, y_image: Int, y_column: Int, *, mr: int, nr: int, lanes: int, bias_rows: bool,
            dense: bool):  # fmt: skip
    """y[n, r, column] = sum_p x[n, rows[r] + steps[p]] b[p, column] for a block of images, rows and columns a task.

    steps repeats after `table` entries, x then moved by x_table; sums leave the registers every `chunk` of them. Row r of
    image n is written at places[r] (dense: at r), its column `column` y_column further. Of several parts, each sums `share`
    of the steps into an output of its own.
    """
    acc = b.dtype
    with k.parallel() as task:
        pb, rest = E.mod(task, panel_blocks), task // panel_blocks
        rb, rest = E.mod(rest, row_blocks), rest // row_blocks
        nb, rest = E.mod(rest, image_blocks), rest // image_blocks
        part, g = E.mod(rest, parts), rest // parts
        s0 = part * share
        s1 = E.minimum(s0 + share, depth)
        n0, lo, c0 = nb * together, rb * block, pb * wide
        n1, hi, c1 = E.minimum(n0 + together, images), E.minimum(lo + block, count), E.minimum(c0 + wide, columns)
        source, tiles = x.at(g * x_group), scratch.at(k.worker * room)
        high = E.minimum((hi - lo + (mr - 1)) // mr * mr, block)  # rows of an image in the scratch
        with k.seq(s0, s1, table) as t0, k.seq(0, E.minimum(table, s1 - t0), chunk) as p0:
            length = E.minimum(E.minimum(table, s1 - t0) - p0, chunk)
            moved = source.at(t0 // table * x_table)
            with k.seq(c0, c1, nr) as column:
                panel = b.at(g * b_group + column * depth + (t0 + p0) * nr)
                with k.seq(n0, n1) as n, k.seq(lo, hi, mr) as r:
                    at = [k.pointer(moved.at(n * x_image + rows[E.minimum(r + i, count - 1)])) for i in range(mr)]
                    tile = tiles.at(((column - c0) * together + (n - n0) * nr) * high + (r - lo) * nr)
                    micro(k, tile, at, steps.at(p0).load, panel, length, (t0 + p0) > s0, acc, nr, lanes)
        with k.seq(c0, c1, nr) as column, k.seq(n0, n1) as n, k.seq(0, nr, lanes) as q:
            left = columns - column - q
            tile = tiles.at(((column - c0) * together + (n - n0) * nr) * high + q)
            out = y.at(g * y_group + part * y_part + n * y_image + (column + q) * y_column)
            shift = bias.at(g * columns + column + q) if bias_rows else None
            with k.seq(lo, hi, lanes) as r:
                write(k, out, tile.at((r - lo) * nr), shift, places, r, hi - r, left, y_column, nr, lanes, dense)


@kernel
def total(k, out: Ptr, parts: Ptr, count: Int, apart: Int, size: Int, block: Int):
    """out[i] = the sum of `count` arrays of `size` elements, `apart` from each other."""
    with k.parallel() as task:
        lo = task * block
        with k.vector(lo, E.minimum(lo + block, size)) as i:
            v = k.var(parts[i])
            with k.seq(1, count) as p:
                v.set(v.get() + parts[p * apart + i])
            out[i] = v.get()


def micro(k, tile, at, steps, panel, length, keep, acc, nr: int, lanes: int) -> None:
    """len(at) x nr multiply-adds a step (where: steps(p)); sums go on from memory where `keep`."""
    vectors = range(0, nr, lanes)
    with k.lanes(lanes) as j:
        sums = [[k.var(E.const(0, acc), acc) for _ in vectors] for _ in at]
        with k.seq(length) as p:
            step = steps(p)
            factors = [panel[p * nr + v + j] for v in vectors]
            for row, ptr in zip(sums, at, strict=True):
                value = E.cast(ptr[step], acc)
                for s, b in zip(row, factors, strict=True):
                    s.set(E.fma(value, b, s.get()))
        with k.if_(keep):
            for i, row in enumerate(sums):
                for v, s in zip(vectors, row, strict=True):
                    s.set(s.get() + tile[i * nr + v + j])
        for i, row in enumerate(sums):
            for v, s in zip(vectors, row, strict=True):
                tile[i * nr + v + j] = s.get()


def write(k, out, tile, shift, places, r, rows_left, columns_left, y_column, nr: int, lanes: int, dense: bool) -> None:
    """A square of finished sums, turned so that rows are in the lanes, to its places."""

    def put(where=None):
        for i, v in enumerate(turned):
            with k.if_(columns_left > i):
                total = v if shift is None else v + E.cast(shift[i], v.dtype)
                at = i * y_column + (r + j if dense else place)
                if where is None:
                    out[at] = total
                else:
                    out.store(at, total, where=where)

    with k.lanes(lanes) as j:
        turned = k.transpose([tile[i * nr + j] for i in range(lanes)])
        if not dense:
            place = places.load(r + j, where=j < rows_left)
        with k.if_(rows_left >= lanes):
            put()
        with k.else_():
            put(j < rows_left)
