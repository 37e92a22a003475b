"""Loop nests of convolution.

Every convolution is made stride 1 on a "virtual plane". The input is spread once into channel-major memory
xp[phase][channel][image][plane], padded, and with a stride s split into its s phases; on the plane, a kernel tap
is a constant displacement. So the patch matrix never exists: row k of it is xp from koff[k] on, and a column is
the next address. Output positions on the plane that are no real outputs (the padding's width, at the end of each
row) are computed and not stored.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel


@kernel
def spread(k, out: Ptr, x: Ptr, rows_d: Int, rows_h: Int, width: Int, images: Int, plane: Int, channels: Int,
           size_d: Int, size_h: Int, size_w: Int, xn: Int, xc: Int, xd: Int, xh: Int, xw: Int, s_d: Int, s_h: Int,
           s_w: Int, a_d: Int, a_h: Int, a_w: Int, first: Int, out_channel: Int, *, unit: bool):  # fmt: skip
    """out[c][n][qd, qh, qw] = x[n, c, q * s + a] where that lies inside, else 0 (a may be negative)."""
    with k.parallel() as task:
        c = task // images
        n = task - c * images
        image, source = out.at(c * out_channel + n * plane), (n + first) * xn + c * xc
        with k.seq(rows_d) as qd, k.seq(rows_h) as qh:
            dst = image.at((qd * rows_h + qh) * width)
            ud, uh = qd * s_d + a_d, qh * s_h + a_h
            inside = (ud >= 0) & (ud < size_d) & (uh >= 0) & (uh < size_h)
            with k.if_(inside):
                src = source + ud * xd + uh * xh
                with k.vector(width) as q:
                    u = q * s_w + a_w
                    ok = (u >= 0) & (u < size_w)
                    dst[q] = x.load(src + (q + a_w if unit else u * xw), where=ok)
            with k.else_(), k.vector(width) as q:
                dst[q] = E.const(0, x.compute)


def run_store(k, sums, y, row0, left, j0, table, bias, keep, last, epilogue: str, lane, nr: int, run: int, y_m, y_w):
    """Store an mr x nr tile of dense positions: nr / run runs, each at its own place, of its own length."""
    starts, counts = table
    for q in range(nr // run):
        at, count = starts[(j0 // run) + q], counts[(j0 // run) + q]
        real = (lane >= q * run) & (lane < count + q * run)
        for i in range(len(sums)):
            with k.if_(left > i):
                where = at + (row0 + i) * y_m + (lane - q * run) * y_w
                v = k.var(sums[i])
                with k.if_(keep):
                    v.set(v.get() + E.cast(y.load(where, where=real), v.dtype))
                if epilogue:
                    with k.if_(last):
                        v.set(v.get() + E.cast(bias[row0 + i], v.dtype))
                y.store(where, v.get(), where=real)


def tile_store(k, sums, y, row0, left, j0, base, geo, bias, keep, last, epilogue: str, lane, nr: int, positions):
    """Store an mr x nr tile of plane positions j0 + lane: the real outputs among them, row by row."""
    width, rows_h, rows_d, od, oh, ow, y_img, y_d, y_h, y_w, y_m = geo
    with k.seq(j0 // width, E.minimum(j0 + (nr - 1), positions - 1) // width + 1) as row:
        qh = E.mod(row, rows_h)
        rest = row // rows_h
        qd = E.mod(rest, rows_d)
        image = rest // rows_d
        with k.if_((qh < oh) & (qd < od)):
            start = row * width - j0  # the lane where this row begins
            column = lane - start
            real = (column >= 0) & (column < ow)
            at = base + image * y_img + qd * y_d + qh * y_h - start * y_w
            for i in range(len(sums)):
                with k.if_(left > i):
                    where = at + (row0 + i) * y_m + lane * y_w
                    v = k.var(sums[i])
                    with k.if_(keep):
                        v.set(v.get() + E.cast(y.load(where, where=real), v.dtype))
                    if epilogue:
                        with k.if_(last):
                            v.set(v.get() + E.cast(bias[row0 + i], v.dtype))
                    y.store(where, v.get(), where=real)


@kernel
def conv_tiles(k, y: Ptr, ap: Ptr, xp: Ptr, koff: Ptr, scratch: Ptr, bias: Ptr, m: Int, mpad: Int, kk: Int,
               positions: Int, blocks: Int, block: Int, scratch_size: Int, x_group: Int, a_group: Int, y_group: Int,
               width: Int, rows_h: Int, rows_d: Int, od: Int, oh: Int, ow: Int, y_img: Int, y_d: Int, y_h: Int,
               y_w: Int, y_m: Int, accumulate: Int, runs: Ptr, run_count: Int, *, mr: int, nr: int, kc: int,
               epilogue: str, unit: bool, run: int):  # fmt: skip
    """One block of plane positions (of one group) per task: pack patches, multiply by all packed weights.

    run = 0: positions are the plane's own. Else they are real outputs in runs of `run`: runs[0] says where each begins
    on the plane, runs[1] where in y, runs[2] how many of it are real.
    """
    acc = ap.dtype
    with k.parallel() as task:
        group = task // blocks
        lo = (task - group * blocks) * block
        hi = E.minimum(lo + block, positions)
        room = scratch.at(k.worker * scratch_size)
        src, out = xp.at(group * x_group), y.at(group * y_group)
        weights = ap.at(group * a_group)
        step_w = E.const(1, dt.int64) if unit else y_w
        geo = (width, rows_h, rows_d, od, oh, ow, y_img, y_d, y_h, step_w, y_m)
        with k.seq(0, kk, kc) as p0:
            depth = E.minimum(kk - p0, kc)
            keep = (p0 > 0) | (accumulate != 0)
            last = p0 + depth >= kk
            with k.seq(lo, hi, nr) as j0:
                panel = room.at((j0 - lo) * depth)
                if run:
                    for q in range(nr // run):
                        begin = runs[j0 // run + q]
                        with k.seq(depth) as p:
                            at = koff[p0 + p] + begin
                            with k.lanes(run) as j:
                                panel[p * nr + q * run + j] = src[at + j]
                else:
                    with k.seq(depth) as p:
                        at = koff[p0 + p] + j0
                        with k.lanes(nr) as j:
                            panel[p * nr + j] = src[at + j]
            with k.seq(0, m, mr) as r:
                rows = weights.at(p0 * mpad + r * depth)
                with k.seq(lo, hi, nr) as j0:
                    panel = room.at((j0 - lo) * depth)
                    with k.lanes(nr) as j:
                        sums = [k.var(E.const(0, acc), acc) for _ in range(mr)]
                        with k.seq(depth) as p:
                            bv = panel[p * nr + j]
                            for i in range(mr):
                                sums[i].set(E.fma(rows[p * mr + i], bv, sums[i].get()))
                        done = [s.get() for s in sums]
                        shift = bias.at(group * m) if epilogue else bias
                        if run:
                            table = (runs.at(run_count), runs.at(2 * run_count))
                            run_store(k, done, out, r, m - r, j0, table, shift, keep, last, epilogue, j, nr, run, y_m, step_w)
                        else:
                            tile_store(k, done, out, r, m - r, j0, E.const(0, dt.int64), geo, shift, keep, last,
                                       epilogue, j, nr, positions)  # fmt: skip


@kernel
def pack_weights(k, out: Ptr, w: Ptr, m: Int, mpad: Int, kk: Int, w0: Int, w1: Int, w_group: Int, out_group: Int,
                 blocks: Int, *, mr: int, kc: int):  # fmt: skip
    """out[group][k block][row panel][p][0..mr) = w[group][row, k], zero beyond m."""
    with k.parallel() as task:
        group = task // blocks
        r = (task - group * blocks) * mr
        src, dst = w.at(group * w_group), out.at(group * out_group)
        with k.seq(0, kk, kc) as p0:
            depth = E.minimum(kk - p0, kc)
            panel = dst.at(p0 * mpad + r * depth)
            for i in range(mr):
                with k.if_(r + i < m), k.seq(depth) as p:
                    panel[p * mr + i] = E.cast(src[(r + i) * w0 + (p0 + p) * w1], out.compute)
                with k.if_(r + i >= m), k.seq(depth) as p:
                    panel[p * mr + i] = E.const(0, out.compute)


@kernel
def weight_grad(k, out: Ptr, gp: Ptr, xp: Ptr, koff: Ptr, m: Int, kk: Int, length: Int, chunk: Int, g_row: Int,
                tiles: Int, x_group: Int, g_group: Int, o_group: Int, o_row: Int, runs: Ptr, scratch: Ptr, *, mr: int,
                nr: int, run: int):  # fmt: skip
    """out[group][i, k] += sum over positions of gp[i] * xp from koff[k]: a tile of dot products at a time.

    One task holds nr rows of the patch matrix; gp and xp are walked in chunks that stay in cache. With runs (see
    conv_tiles), gp is dense, and the patch rows of a chunk are put together in scratch first.
    """
    acc = out.dtype
    with k.parallel() as task:
        group = task // tiles
        k0 = (task - group * tiles) * nr
        src, grad = xp.at(group * x_group), gp.at(group * g_group)
        dst = out.at(group * o_group)
        columns = [koff[E.minimum(k0 + j, kk - 1)] for j in range(nr)]
        with k.seq(0, length, chunk) as lo:
            hi = E.minimum(lo + chunk, length)
            if run:
                room = scratch.at(k.worker * (nr * chunk))
                with k.seq(lo, hi, run) as q:
                    begin = runs[q // run]
                    for j in range(nr):
                        with k.lanes(run) as l:
                            room[j * chunk + (q - lo) + l] = src[columns[j] + begin + l]
                parts = [room.at(j * chunk - lo) for j in range(nr)]
            else:
                parts = [src.at(c) for c in columns]
            with k.seq(0, m, mr) as r:
                rows = [E.minimum(r + i, m - 1) * g_row for i in range(mr)]
                accs = [[k.acc("add", acc) for _ in range(nr)] for _ in range(mr)]
                with k.vector(lo, hi) as l:
                    xs = [part[l] for part in parts]
                    for i in range(mr):
                        gv = grad[rows[i] + l]
                        for j in range(nr):
                            accs[i][j].update(gv * xs[j])
                for i in range(mr):
                    for j in range(nr):
                        with k.if_((r + i < m) & (k0 + j < kk)):
                            at = (r + i) * o_row + k0 + j
                            dst[at] = dst[at] + accs[i][j].value


@kernel
def depthwise(k, y: Ptr, xp: Ptr, w: Ptr, koff: Ptr, bias: Ptr, taps: Int, per: Int, images: Int, plane: Int,
              x_channel: Int, width: Int, rows_h: Int, od: Int, oh: Int, ow: Int, y_img: Int, y_c: Int, y_d: Int,
              y_h: Int, y_w: Int, w_out: Int, accumulate: Int, *, epilogue: str, unit: bool):  # fmt: skip
    """Each output channel from one input channel (channel // per): taps in order, output rows in lanes."""
    acc = w.compute
    with k.parallel() as task:
        n = E.mod(task, images)
        c = task // images
        src = xp.at((c // per) * x_channel + n * plane)
        weights = w.at(c * w_out)
        with k.seq(od) as d, k.seq(oh) as h:
            row = src.at((d * rows_h + h) * width)
            out = y.at(n * y_img + c * y_c + d * y_d + h * y_h)
            with k.vector(ow, unroll=2) as j:
                v = k.var(E.const(0, acc), acc)
                with k.seq(taps) as t:
                    v.set(E.fma(weights[t], row[koff[t] + j], v.get()))
                total = v.get()
                if epilogue:
                    total = total + E.cast(bias[c], acc)
                at = j if unit else j * y_w
                old = k.var(E.const(0, acc), acc)
                with k.if_(accumulate != 0):
                    old.set(out[at])
                out[at] = total + old.get()


@kernel
def depthwise_weight_grad(k, out: Ptr, gp: Ptr, xp: Ptr, koff: Ptr, taps: Int, per: Int, length: Int,
                          x_channel: Int, g_row: Int):  # fmt: skip
    """out[c, tap] = sum over positions of gp[c] * xp[c // per] from koff[tap]."""
    with k.parallel() as c:
        src, grad = xp.at((c // per) * x_channel), gp.at(c * g_row)
        with k.seq(taps) as t:
            total = k.acc("add", out.dtype)
            at = koff[t]
            with k.vector(length, unroll=4) as j:
                total.update(grad[j] * src[at + j])
            out[c * taps + t] = total.value
