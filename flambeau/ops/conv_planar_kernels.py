"""The loop nest of convolutions with neighbouring outputs in the lanes: planes stay planes, weights are broadcast.

A task copies the input it reads to its own scratch, with zeros around and with the columns sorted by their remainder modulo
the stride, so that neighbouring outputs always read neighbouring memory: a table then holds one displacement for each product
of a sum. A strided gradient of the input is several such convolutions of one input, a class for each remainder of the stride.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel

CLASS = 6  # numbers that describe a class: first step, end, outputs along d, h and w, displacement of its first output


def copied(k, plane, x, edges, j, to, steps, first, size, strides, lanes: int, step: int) -> None:
    """plane[c, d, ph, pw, h, q] = x[c, first + (d, ph + h * phases_h, pw + q * phases_w) * steps], 0 outside `size`; lanes j.

    edges: for each pw the range of q that lies inside; step: x's step from q to q + 1 where it is 1 or 2, else 0.
    """
    channels, planes, phases_h, phases_w, rows, width, across = to
    xc, xd, xh, xw = strides
    short = E.cast(j, dt.int32)  # compared in half the registers
    with k.seq(phases_w) as f:
        lo, hi = edges[2 * f], edges[2 * f + 1]
        start = (first[2] + f * steps[2]) * xw
        with k.seq(channels) as c, k.seq(planes) as d, k.seq(phases_h) as e:
            at_d = first[0] + d * steps[0]
            sheet = plane.at((((c * planes + d) * phases_h + e) * phases_w + f) * rows * width)
            with k.seq(rows) as h:
                at_h = first[1] + (e + h * phases_h) * steps[1]
                line, source = k.pointer(sheet.at(h * width)), k.pointer(x.at(c * xc + at_d * xd + at_h * xh + start))
                inside = (at_d >= 0) & (at_d < size[0]) & (at_h >= 0) & (at_h < size[1])
                with k.seq(0, width, lanes) as q0:
                    q = E.minimum(q0, width - lanes)
                    at = (q + j) * step if step else (q + j) * across
                    with k.if_(inside & (q >= lo) & (q + lanes <= hi)):
                        line[q + j] = source[at]
                    with k.else_():
                        first_lane, end_lane = (E.cast(v, dt.int32) for v in (lo - q, E.where(inside, hi - q, E.const(0, dt.int64))))
                        line[q + j] = source.load(at, where=(short >= first_lane) & (short < end_lane))


@kernel
def planar(k, y: Ptr, x: Ptr, w: Ptr, bias: Ptr, steps: Ptr, classes: Ptr, edges: Ptr, scratch: Ptr, room: Int, count: Int,
           columns: Int, depth: Int, chunk: Int, channels: Int, groups: Int, deep: Int, blocks: Int, block: Int,
           spans: Int, span: Int, planes: Int, phases_h: Int, phases_w: Int, rows: Int, width: Int, step_d: Int, step_h: Int,
           step_w: Int, move_d: Int, move_h: Int, move_w: Int, a_d: Int, a_h: Int, a_w: Int, size_d: Int, size_h: Int, xn: Int,
           xg: Int, xc: Int, xd: Int, xh: Int, xw: Int, across: Int, yn: Int, yg: Int, yc: Int, yd: Int, yh: Int, yw: Int, *,
           mr: int, high: int, lanes: int, step: int, y_step: int, bias_rows: bool):  # fmt: skip
    """y[n, g, column, d, h, q] = bias + sum over steps of w[column, step] * x[steps[step] + (d, h, q)], for every class.

    A task is `block` rows by `span` outputs of an image, group and depth; `mr` columns of `high` rows stay in
    registers, for `chunk` steps of each sum: shorter sums are closer ones.
    """
    acc = w.dtype
    panels = (columns + (mr - 1)) // mr
    with k.parallel() as task:
        before = k.local(mr * high * lanes, acc)
        sb, rest = E.mod(task, spans), task // spans
        hb, rest = E.mod(rest, blocks), rest // blocks
        d, rest = E.mod(rest, deep), rest // deep
        n = rest // groups
        g = rest - n * groups
        n, g, d, h0, q0 = (k.var(v).get() for v in (n, g, d, hb * block, sb * span))  # divisions stay out of the loops
        plane = scratch.at(k.worker * room)
        with k.lanes(lanes) as j:
            copied(k, plane, x.at(n * xn + g * xg), edges.at(sb * phases_w * 2), j,
                   (channels, planes, phases_h, phases_w, rows, width, across), (step_d, step_h, step_w),
                   (a_d + d * move_d, a_h + h0 * move_h, a_w + q0 * move_w), (size_d, size_h), (xc, xd, xh, xw), lanes, step)  # fmt: skip

        with k.seq(count) as cls:
            p0, p1, counts_d, counts_h, counts_w, place = [classes[cls * CLASS + i] for i in range(CLASS)]
            out, weights = k.pointer(y.at(n * yn + g * yg + d * yd + place)), k.pointer(w.at(g * panels * depth * mr))
            last, end = (k.var(v).get() for v in (E.minimum(h0 + block, counts_h) - 1, E.minimum(q0 + span, counts_w)))

            with k.if_(d < counts_d), k.seq(h0, last + 1, high) as h, k.seq(q0, end, lanes) as q:
                lines = [E.minimum(h + r, last) for r in range(high)]  # rows past the last repeat it
                sources = [k.pointer(plane.at((line - h0) * width + (q - q0))) for line in lines]
                with k.seq(panels) as panel, k.lanes(lanes) as j, k.seq(p0, p1, chunk) as t:
                    factors = k.pointer(weights.at(panel * depth * mr))
                    sums = [k.var(E.const(0, acc), acc) for _ in range(mr * high)]
                    with k.seq(t, E.minimum(t + chunk, p1)) as p:
                        at = steps[p] + j
                        values = [source[at] for source in sources]
                        for i in range(mr):
                            factor = factors[p * mr + i]
                            for value, s in zip(values, sums[i * high :], strict=False):
                                s.set(E.fma(value, factor, s.get()))
                    with k.if_(t > p0):
                        for i, s in enumerate(sums):
                            s.set(s.get() + before[i * lanes + j])
                    with k.if_(t + chunk < p1):
                        for i, s in enumerate(sums):
                            before[i * lanes + j] = s.get()
                    with k.else_():
                        lane = (q + j) * y_step if y_step else (q + j) * yw
                        short, left = E.cast(j, dt.int32), E.cast(end - q, dt.int32)
                        for i in range(mr):
                            column = panel * mr + i
                            with k.if_(column < columns):
                                for line, s in zip(lines, sums[i * high :], strict=False):
                                    v = s.get() + bias[g * columns + column] if bias_rows else s.get()
                                    to = column * yc + line * yh + lane
                                    with k.if_(end - q >= lanes):
                                        out[to] = v
                                    with k.else_():
                                        out.store(to, v, where=short < left)


@kernel
def depthwise(k, y: Ptr, x: Ptr, w: Ptr, bias: Ptr, edges: Ptr, channels: Int, per: Int, od: Int, oh: Int, ow: Int, size_d: Int,
              size_h: Int, a_d: Int, a_h: Int, a_w: Int, step_d: Int, step_h: Int, step_w: Int, move_d: Int, move_h: Int,
              move_w: Int, w_first: Int, w_step_d: Int, w_step_h: Int, w_step_w: Int, w_channel: Int, xn: Int, xc: Int, xd: Int,
              xh: Int, xw: Int, yn: Int, yc: Int, yd: Int, yh: Int, *, taps: tuple, lanes: int, step: int, bias_rows: bool):  # fmt: skip
    """y[n, c, d, h, q] = bias + sum over taps t of w[c, t] x[n, c // per, a + t * step + (d, h, q) * move], 0 outside.

    Rows of y are dense. step: x's step from q to q + 1 where it is 1 or 2, else 0.
    """
    acc = w.dtype
    with k.parallel() as task:
        n = task // channels
        c = task - n * channels
        source, out = k.pointer(x.at(n * xn + c // per * xc)), k.pointer(y.at(n * yn + c * yc))
        each = [[[w[c * w_channel + w_first + t * w_step_d + u * w_step_h + v * w_step_w] for v in range(taps[2])]
                 for u in range(taps[1])] for t in range(taps[0])]  # fmt: skip
        shift = E.cast(bias[c], acc) if bias_rows else E.const(0, acc)
        with k.seq(0, ow, lanes) as q, k.lanes(lanes) as j:
            short, left = E.cast(j, dt.int32), ow - q
            inside, begins = [], []
            for v in range(taps[2]):
                lo, hi = (E.cast(edges[2 * v + i] - q, dt.int32) for i in range(2))
                inside.append(k.var((short >= lo) & (short < hi)))
                begins.append((a_w + v * step_w + q * move_w) * xw)
            with k.seq(od) as d, k.seq(oh) as h:
                total = k.var(shift, acc)
                for t in range(taps[0]):
                    for u in range(taps[1]):
                        at_d, at_h = a_d + t * step_d + d * move_d, a_h + u * step_h + h * move_h
                        with k.if_((at_d >= 0) & (at_d < size_d) & (at_h >= 0) & (at_h < size_h)):
                            line = k.pointer(source.at(at_d * xd + at_h * xh))
                            for v in range(taps[2]):
                                place = begins[v] + (j * step if step else j * (move_w * xw))
                                value = E.cast(line.load(place, where=inside[v].get()), acc)
                                total.set(E.fma(value, each[t][u][v], total.get()))
                to = d * yd + h * yh + q + j
                with k.if_(left >= lanes):
                    out[to] = total.get()
                with k.else_():
                    out.store(to, total.get(), where=short < E.cast(left, dt.int32))


@kernel
def planar_weight(k, out: Ptr, g: Ptr, x: Ptr, steps: Ptr, edges: Ptr, scratch: Ptr, room: Int, size: Int, depth: Int, columns: Int,
                  all_channels: Int, channels: Int, channel_blocks: Int, groups: Int, images: Int, together: Int, apart: Int,
                  units: Int, share: Int, out_part: Int, deep: Int, blocks: Int, block: Int, spans: Int, span: Int, oh: Int, ow: Int,
                  planes: Int, phases_h: Int, phases_w: Int, rows: Int, width: Int, step_d: Int, step_h: Int, step_w: Int,
                  move_d: Int, move_h: Int, move_w: Int, a_d: Int, a_h: Int, a_w: Int, size_d: Int, size_h: Int, xn: Int, xg: Int,
                  xc: Int, xd: Int, xh: Int, xw: Int, across: Int, gn: Int, gg: Int, gc: Int, gd: Int, gh: Int, gw: Int, *,
                  mr: int, few: int, lanes: int, step: int, unit: bool, masks: bool):  # fmt: skip
    """out[part][g, column, step] = sum over a part's outputs q of g[g, column, q] * x[steps[step] + q].

    A task takes `share` units (a block of rows of `together` images) and `channels` channels of a group. Sums of `mr` columns
    and `few` steps stay in registers for a unit, and wait in scratch for the next, one for each lane.
    """
    acc = out.dtype
    with k.parallel() as task:
        cb, rest = E.mod(task, channel_blocks), task // channel_blocks
        part = rest // groups
        grp = rest - part * groups
        part, grp, c0 = (k.var(v).get() for v in (part, grp, cb * channels))
        count = E.minimum(all_channels - c0, channels)
        taps = depth // channels
        here = k.var(count * taps).get()
        across_tiles, down = (k.var(v).get() for v in ((here + (few - 1)) // few, (columns + (mr - 1)) // mr))
        plane = scratch.at(k.worker * room)
        sums_at, first = plane.at(size), part * share
        with k.seq(first, E.minimum(first + share, units)) as u:
            sb, rest = E.mod(u, spans), u // spans
            hb, rest = E.mod(rest, blocks), rest // blocks
            nb = rest // deep
            n0, d, h0, q0 = (k.var(v).get() for v in (nb * together, rest - nb * deep, hb * block, sb * span))
            number, high, wide = (k.var(v).get() for v in (
                E.minimum(images - n0, together), E.minimum(oh - h0, block), E.minimum(ow - q0, span)))  # fmt: skip
            with k.seq(number) as n, k.lanes(lanes) as j:
                copied(k, plane.at(n * apart), x.at((n0 + n) * xn + grp * xg + c0 * xc), edges.at(sb * phases_w * 2), j,
                       (count, planes, phases_h, phases_w, rows, width, across), (step_d, step_h, step_w),
                       (a_d + d * move_d, a_h + h0 * move_h, a_w + q0 * move_w), (size_d, size_h), (xc, xd, xh, xw), lanes, step)  # fmt: skip
            grad = k.pointer(g.at(n0 * gn + grp * gg + d * gd + h0 * gh + q0 * gw))
            with k.seq(down) as m, k.seq(across_tiles) as t:
                places = [k.pointer(plane.at(steps[E.minimum(t * few + i, here - 1)])) for i in range(few)]
                grads = [k.pointer(grad.at(E.minimum(m * mr + i, columns - 1) * gc)) for i in range(mr)]
                slot = k.pointer(sums_at.at((m * across_tiles + t) * (mr * few * lanes)))
                with k.lanes(lanes) as j:
                    sums = [k.var(E.const(0, acc), acc) for _ in range(mr * few)]

                    def add(at, to, where=None, places=places, grads=grads, sums=sums):
                        factors = [grad.load(to, where=where) for grad in grads]
                        for i, place in enumerate(places):
                            value = place.load(at, where=where)
                            for factor, s in zip(factors, sums[i::few], strict=True):
                                s.set(E.fma(value, factor, s.get()))

                    with k.seq(number) as n, k.seq(high) as h, k.seq(0, wide, lanes) as q:
                        at, to = n * apart + h * width + q + j, n * gn + h * gh + (q + j if unit else (q + j) * gw)
                        inside = E.cast(j, dt.int32) < E.cast(wide - q, dt.int32)
                        if masks:  # they cost nothing, a second copy of the body does
                            add(at, to, inside)
                        else:
                            with k.if_(wide - q >= lanes):
                                add(at, to)
                            with k.else_():
                                add(at, to, inside)
                    with k.if_(u > first):
                        for i, s in enumerate(sums):
                            s.set(s.get() + slot[i * lanes + j])
                    for i, s in enumerate(sums):
                        slot[i * lanes + j] = s.get()
        results = k.pointer(out.at(part * out_part + grp * (columns * all_channels * taps) + c0 * taps))
        with k.seq(columns) as column, k.seq(here) as p:
            m, t = column // mr, p // few
            lane = sums_at.at(((m * across_tiles + t) * (mr * few) + (column - m * mr) * few + (p - t * few)) * lanes)
            total = k.acc("add", acc)
            with k.vector(lanes) as j:
                total.update(lane[j])
            results[column * (all_channels * taps) + p] = total.value
