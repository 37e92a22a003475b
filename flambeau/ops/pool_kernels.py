"""Loop nests of pooling: windows over (rows of) planes, in 3-d with leading sizes of 1 for fewer dimensions."""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, identity, kernel


def split(task, *sizes):
    """Mixed-radix digits of task, slowest first; the slowest has no bound."""
    out = []
    for n in reversed(sizes):
        out.append(E.mod(task, n))
        task = task // n
    return [task, *reversed(out)]


@kernel
def max_pool(k, y: Ptr, where: Ptr, x: Ptr, d: Int, h: Int, w: Int, od: Int, oh: Int, ow: Int, kd: Int, kh: Int,
             kw: Int, sd: Int, sh: Int, sw: Int, pd: Int, ph: Int, pw: Int, dd: Int, dh: Int, dw: Int, *,
             indices: bool, clear: bool):  # fmt: skip
    """y = the maximum of each window, where = its position in the plane (d * h * w).

    clear: no padding, so that no window reaches outside.
    """
    t = x.compute
    low = E.const(identity("max", t), t)
    with k.parallel() as task:
        plane, z, r = split(task, od, oh)
        src = x.at(plane * d * h * w)
        at = ((plane * od + z) * oh + r) * ow
        with k.vector(ow) as j:
            best = k.var(low, t)
            place = k.var(E.const(-1, dt.int64), dt.int64)
            with k.seq(kd) as a:
                u = z * sd + a * dd - pd
                with k.if_((u >= 0) & (u < d)), k.seq(kh) as b:
                    v = r * sh + b * dh - ph
                    with k.if_((v >= 0) & (v < h)), k.seq(kw) as c:
                        q = j * sw + c * dw - pw
                        here = (u * h + v) * w + q
                        if clear:
                            value = src[here]
                            better = (value > best.get()) | (value != value)
                        else:
                            inside = (q >= 0) & (q < w)
                            value = src.load(here, where=inside)
                            better = inside & ((value > best.get()) | (value != value))
                        if indices:
                            # the first of a window counts even if it is -inf
                            better = better | ((place.get() < 0) if clear else (place.get() < 0) & inside)
                            place.set(E.where(better, here, place.get()))
                        best.set(E.where(better, value, best.get()))
            y[at + j] = best.get()
            if indices:
                where[at + j] = place.get()


@kernel
def unpool_add(k, gx: Ptr, g: Ptr, where: Ptr, size: Int, count: Int):
    """gx[plane, where[plane, i]] += g[plane, i]; gx is zero before."""
    with k.parallel() as plane:
        out, grad, at = gx.at(plane * size), g.at(plane * count), where.at(plane * count)
        with k.seq(count) as i:
            p = at[i]
            out[p] = out[p] + grad[i]


@kernel
def avg_pool(k, y: Ptr, x: Ptr, d: Int, h: Int, w: Int, od: Int, oh: Int, ow: Int, kd: Int, kh: Int, kw: Int,
             sd: Int, sh: Int, sw: Int, pd: Int, ph: Int, pw: Int, divisor: Int, *, include: bool):  # fmt: skip
    """y = the window's sum over its size (divisor if not 0; with `include` the padding counts)."""
    t = x.compute
    with k.parallel() as task:
        plane, z, r = split(task, od, oh)
        src = x.at(plane * d * h * w)
        at = ((plane * od + z) * oh + r) * ow
        d0, h0 = z * sd - pd, r * sh - ph
        d1, h1 = E.minimum(d0 + kd, d + pd), E.minimum(h0 + kh, h + ph)
        full = (d1 - d0) * (h1 - h0)
        da, ha = E.maximum(d0, 0), E.maximum(h0, 0)
        db, hb = E.minimum(d1, d), E.minimum(h1, h)
        clipped = (db - da) * (hb - ha)
        with k.vector(ow) as j:
            total = k.var(E.const(0, t), t)
            w0 = j * sw - pw
            with k.seq(da, db) as u, k.seq(ha, hb) as v, k.seq(kw) as c:
                q = w0 + c
                inside = (q >= 0) & (q < w)
                total.set(total.get() + src.load((u * h + v) * w + q, where=inside))
            w1 = E.minimum(w0 + kw, w + pw)
            if include:
                count = full * (w1 - w0)
            else:
                count = clipped * (E.minimum(w1, w) - E.maximum(w0, 0))
            n = E.where(divisor != 0, divisor, count)
            y[at + j] = total.get() / E.cast(n, t)


@kernel
def avg_pool_backward(k, gx: Ptr, g: Ptr, d: Int, h: Int, w: Int, od: Int, oh: Int, ow: Int, kd: Int, kh: Int, kw: Int,
                      sd: Int, sh: Int, sw: Int, pd: Int, ph: Int, pw: Int, divisor: Int, *,
                      include: bool):  # fmt: skip
    """Spread g / count over each window; one plane per task, in order."""
    t = gx.compute
    with k.parallel() as plane:
        out, grad = gx.at(plane * d * h * w), g.at(plane * od * oh * ow)
        with k.seq(od) as z, k.seq(oh) as r, k.seq(ow) as j:
            d0, h0, w0 = z * sd - pd, r * sh - ph, j * sw - pw
            d1, h1, w1 = E.minimum(d0 + kd, d + pd), E.minimum(h0 + kh, h + ph), E.minimum(w0 + kw, w + pw)
            da, ha, wa = E.maximum(d0, 0), E.maximum(h0, 0), E.maximum(w0, 0)
            db, hb, wb = E.minimum(d1, d), E.minimum(h1, h), E.minimum(w1, w)
            if include:
                count = (d1 - d0) * (h1 - h0) * (w1 - w0)
            else:
                count = (db - da) * (hb - ha) * (wb - wa)
            n = E.where(divisor != 0, divisor, count)
            v = grad[(z * oh + r) * ow + j] / E.cast(n, t)
            with k.seq(da, db) as a, k.seq(ha, hb) as b, k.seq(wa, wb) as c:
                at = (a * h + b) * w + c
                out[at] = out[at] + v


def bounds(i, n, out):
    """The input range [lo, hi) of adaptive window i of `out` over n."""
    return (i * n) // out, ((i + 1) * n + out - 1) // out


@kernel
def adaptive_avg(k, y: Ptr, x: Ptr, columns: Ptr, room: Int, d: Int, h: Int, w: Int, od: Int, oh: Int, ow: Int):
    """The mean over each adaptive window: sums of whole columns first (scratch: `room` per thread), then of their windows."""
    t = x.compute
    with k.parallel() as task:
        plane, z, r = split(task, od, oh)
        src, sums = x.at(plane * d * h * w), columns.at(k.worker * room)
        (d0, d1), (h0, h1) = bounds(z, d, od), bounds(r, h, oh)
        with k.vector(w) as c:
            total = k.var(E.const(0, t), t)
            with k.seq(d0, d1) as a, k.seq(h0, h1) as b:
                total.set(total.get() + src[(a * h + b) * w + c])
            sums[c] = total.get()
        with k.seq(ow) as j:
            w0, w1 = bounds(j, w, ow)
            total = k.var(E.const(0, t), t)
            with k.seq(w0, w1) as c:
                total.set(total.get() + sums[c])
            count = (d1 - d0) * (h1 - h0) * (w1 - w0)
            y[((plane * od + z) * oh + r) * ow + j] = total.get() / E.cast(count, t)


@kernel
def adaptive_avg_backward(k, gx: Ptr, g: Ptr, columns: Ptr, room: Int, d: Int, h: Int, w: Int, od: Int, oh: Int, ow: Int):
    """Spread g / count over each adaptive window (they may overlap): over a row (scratch: `room` per thread), then its rows."""
    t = gx.compute
    with k.parallel() as plane:
        out, grad, spread = gx.at(plane * d * h * w), g.at(plane * od * oh * ow), columns.at(k.worker * room)
        with k.seq(od) as z, k.seq(oh) as r:
            (d0, d1), (h0, h1) = bounds(z, d, od), bounds(r, h, oh)
            with k.vector(w) as c:
                spread[c] = 0
            with k.seq(ow) as j:
                w0, w1 = bounds(j, w, ow)
                count = (d1 - d0) * (h1 - h0) * (w1 - w0)
                v = grad[(z * oh + r) * ow + j] / E.cast(count, t)
                with k.vector(w0, w1) as c:
                    spread[c] = spread[c] + v
            seen_a, seen_b = (E.where(i > 0, bounds(i - 1, n, o)[1], 0) for i, n, o in ((z, d, od), (r, h, oh)))
            with k.seq(d0, d1) as a, k.seq(h0, h1) as b:
                row = out.at((a * h + b) * w)
                with k.if_((a < seen_a) | (b < seen_b)), k.vector(w) as c:
                    row[c] = row[c] + spread[c]
                with k.else_(), k.vector(w) as c:
                    row[c] = spread[c]


@kernel
def adaptive_max(k, y: Ptr, where: Ptr, x: Ptr, d: Int, h: Int, w: Int, od: Int, oh: Int, ow: Int):
    """The maximum of each adaptive window and its position in the plane."""
    t = x.compute
    with k.parallel() as task:
        plane, z, r = split(task, od, oh)
        src = x.at(plane * d * h * w)
        (d0, d1), (h0, h1) = bounds(z, d, od), bounds(r, h, oh)
        with k.seq(ow) as j:
            w0, w1 = bounds(j, w, ow)
            best = k.var(E.const(identity("max", t), t), t)
            place = k.var((d0 * h + h0) * w + w0)
            with k.seq(d0, d1) as a, k.seq(h0, h1) as b, k.seq(w0, w1) as c:
                here = (a * h + b) * w + c
                v = src[here]
                with k.if_((v > best.get()) | (v != v)):
                    best.set(v)
                    place.set(here)
            at = ((plane * od + z) * oh + r) * ow + j
            y[at] = src[place.get()]
            where[at] = place.get()


