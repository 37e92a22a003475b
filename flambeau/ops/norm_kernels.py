"""Loop nests of normalisation: rows (layer, group, RMS norm) and channels (batch norm).

Statistics are two-pass over data that is in cache by then (mean, then squared distances from it), so a large mean
loses nothing.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel
from flambeau.ops.unary import rsqrt


@kernel
def norm_rows(k, y: Ptr, mean: Ptr, rstd: Ptr, x: Ptr, w: Ptr, b: Ptr, n: Int, eps: Float, period: Int,
              span: Int, *, centred: bool, weight: bool, bias: bool):  # fmt: skip
    """y = (x - mean) * rstd (* w + b) over contiguous rows of n; saves mean and rstd per row.

    Affine parameters: element i of row r uses w[(r % period) * (n / span) + i / span], so span 1 and period 1 is
    layer norm, and span = plane size, period = groups is group norm.
    """
    d = mean.dtype
    with k.parallel() as r:
        row, out = x.at(r * n), y.at(r * n)
        short = E.where(n <= 4096, E.const(1, dt.int64), 0)  # the result's row fits the first-level cache beside the input's
        count = E.cast(n, d)
        m = E.const(0, d)
        if centred:
            total = k.acc("add", d)
            with k.vector(n, unroll=4) as i:
                total.update(E.cast(row[i], d))
            m = total.value / count
        square = k.acc("add", d)
        with k.vector(n, unroll=4) as i:
            v = E.cast(row[i], d) - m
            square.update(v * v)
            row.prefetch(n + i, level=2, lines=4)  # the next row, while there is work to do
            out.prefetch(i * short, write=True, lines=4)
        s = 1 / E.sqrt(square.value / count + E.cast(eps, d))
        mean[r] = m
        rstd[r] = s
        if not (weight or bias):
            with k.vector(n, unroll=2) as i:
                out[i] = (E.cast(row[i], d) - m) * s
            return
        base = E.mod(r, period) * (n // span)
        with k.if_(span == 1), k.vector(n, unroll=2) as i:
            v = (E.cast(row[i], d) - m) * s
            v = v * E.cast(w[base + i], d) if weight else v
            out[i] = v + E.cast(b[base + i], d) if bias else v
        with k.if_(span != 1), k.seq(n // span) as c:
            scale = E.cast(w[base + c], d) * s if weight else s
            shift = (E.cast(b[base + c], d) if bias else 0) - m * scale
            with k.vector(c * span, (c + 1) * span, unroll=2) as i:
                out[i] = E.cast(row[i], d) * scale + shift


@kernel
def norm_rows_backward(k, gx: Ptr, gw: Ptr, gb: Ptr, g: Ptr, x: Ptr, mean: Ptr, rstd: Ptr, w: Ptr, n: Int,
                       rows: Int, chunk: Int, period: Int, span: Int, *, centred: bool, weight: bool, bias: bool,
                       affine: bool, plain: bool):  # fmt: skip
    """gx, and per chunk of rows the partial sums of gw = g * xhat and gb = g.

    `affine`: the gradients of w and b are wanted; `plain`: span is 1 and period 1 (layer norm).
    """
    d = mean.dtype
    with k.parallel() as task:
        lo = task * chunk
        hi = E.minimum(lo + chunk, rows)
        per = n // span * period
        wsum, bsum = gw.at(task * per), gb.at(task * per)
        if affine:
            with k.vector(per) as i:
                if weight:
                    wsum[i] = E.const(0, d)
                if bias:
                    bsum[i] = E.const(0, d)
        with k.seq(lo, hi) as r:
            row, grow, out = x.at(r * n), g.at(r * n), gx.at(r * n)
            m, s = mean[r], rstd[r]
            first, second = k.acc("add", d), k.acc("add", d)

            def scaled(i, base):
                v = E.cast(grow[i], d)
                return v * E.cast(w[base + i if plain else base + i // span], d) if weight else v

            base = 0 if plain else E.mod(r, period) * (n // span)
            if plain or not weight:
                with k.vector(n, unroll=2) as i:
                    v = scaled(i, base)
                    xh = (E.cast(row[i], d) - m) * s
                    if centred:
                        first.update(v)
                    second.update(v * xh)
            if not plain:
                with k.seq(n // span) as c:
                    gsum, hsum = k.acc("add", d), k.acc("add", d)
                    with k.vector(c * span, (c + 1) * span, unroll=2) as i:
                        v = E.cast(grow[i], d)
                        gsum.update(v)
                        hsum.update(v * ((E.cast(row[i], d) - m) * s))
                    factor = E.cast(w[base + c], d) if weight else 1
                    if weight:
                        first.update(gsum.value * factor)
                        second.update(hsum.value * factor)
                    if affine:
                        if weight:
                            wsum[base + c] = wsum[base + c] + hsum.value
                        if bias:
                            bsum[base + c] = bsum[base + c] + gsum.value
            count = E.cast(n, d)
            a = first.value / count if centred else E.const(0, d)
            b = second.value / count
            if plain or not weight:
                with k.vector(n, unroll=2) as i:
                    gv = E.cast(grow[i], d)
                    xh = (E.cast(row[i], d) - m) * s
                    v = scaled(i, base)
                    out[i] = (v - a - xh * b) * s
                    if affine and plain:
                        if weight:
                            wsum[i] = wsum[i] + gv * xh
                        if bias:
                            bsum[i] = bsum[i] + gv
            else:
                with k.seq(n // span) as c:
                    factor = E.cast(w[base + c], d)
                    with k.vector(c * span, (c + 1) * span, unroll=2) as i:
                        xh = (E.cast(row[i], d) - m) * s
                        out[i] = (E.cast(grow[i], d) * factor - a - xh * b) * s


@kernel
def channel_stats(k, mean: Ptr, var: Ptr, x: Ptr, images: Int, length: Int, xn: Int, xc: Int, xl: Int, *,
                  unit: bool):  # fmt: skip
    """Per channel over (image, position): mean and biased variance."""
    d = mean.dtype
    with k.parallel() as c:
        src = x.at(c * xc)
        count = E.cast(images * length, d)
        total = k.acc("add", d)
        with k.seq(images) as n:
            plane = src.at(n * xn)
            with k.vector(length, unroll=4) as i:
                total.update(E.cast(plane[i if unit else i * xl], d))
        m = total.value / count
        square = k.acc("add", d)
        with k.seq(images) as n:
            plane = src.at(n * xn)
            with k.vector(length, unroll=4) as i:
                v = E.cast(plane[i if unit else i * xl], d) - m
                square.update(v * v)
        mean[c] = m
        var[c] = square.value / count


@kernel
def channel_scale(k, scale: Ptr, shift: Ptr, rstd: Ptr, mean: Ptr, var: Ptr, w: Ptr, b: Ptr, eps: Float, *, weight: bool,
                  bias: bool):  # fmt: skip
    """rstd = 1 / sqrt(var + eps); scale = rstd w, shift = b - mean scale: normalising is x * scale + shift."""
    d = rstd.dtype
    with k.parallel(vector=True) as c:
        r = rsqrt(var[c] + E.cast(eps, d))
        a = r * w[c] if weight else r
        rstd[c], scale[c], shift[c] = r, a, b[c] - mean[c] * a if bias else -mean[c] * a


@kernel
def channel_apply(k, y: Ptr, x: Ptr, scale: Ptr, shift: Ptr, channels: Int, length: Int, xn: Int, xc: Int, xl: Int,
                  yn: Int, yc: Int, yl: Int, *, unit: bool):  # fmt: skip
    """y[n, c, i] = x[n, c, i] * scale[c] + shift[c]."""
    d = scale.dtype
    with k.parallel() as task:
        c = E.mod(task, channels)
        n = task // channels
        src, out = x.at(n * xn + c * xc), y.at(n * yn + c * yc)
        a, b = scale[c], shift[c]
        with k.vector(length, unroll=2) as i:
            out[i if unit else i * yl] = E.fma(E.cast(src[i if unit else i * xl], d), a, b)


@kernel
def channel_grad_sums(k, gsum: Ptr, hsum: Ptr, g: Ptr, x: Ptr, mean: Ptr, rstd: Ptr, images: Int, length: Int,
                      xn: Int, xc: Int, xl: Int, gn: Int, gc: Int, gl: Int, *, unit: bool):  # fmt: skip
    """Per channel: sum(g) and sum(g * xhat)."""
    with k.parallel() as c:
        gsum[c], hsum[c] = grad_sums(k, g.at(c * gc), x.at(c * xc), mean[c], rstd[c], images, length, xn, xl, gn, gl, unit)


def grad_sums(k, g, x, mean, rstd, images, length, xn, xl, gn, gl, unit: bool):
    """sum(g) and sum(g * xhat) of a channel."""
    d = mean.dtype
    first, second = k.acc("add", d), k.acc("add", d)
    with k.seq(images) as n:
        src, grad = x.at(n * xn), g.at(n * gn)
        with k.vector(length, unroll=4) as i:
            v = E.cast(grad[i if unit else i * gl], d)
            first.update(v)
            second.update(v * (E.cast(src[i if unit else i * xl], d) - mean))
    return first.value, second.value * rstd


@kernel
def channel_grad_apply(k, gx: Ptr, g: Ptr, x: Ptr, a: Ptr, b: Ptr, c0: Ptr, channels: Int, length: Int, xn: Int,
                       xc: Int, xl: Int, gn: Int, gc: Int, gl: Int, *, unit: bool):  # fmt: skip
    """gx = g * a[c] + x * b[c] + c0[c] (the affine form of batch norm's gradient); gx is laid out as x."""
    with k.parallel() as task:
        c = E.mod(task, channels)
        n = task // channels
        grad_apply(k, gx.at(n * xn + c * xc), g.at(n * gn + c * gc), x.at(n * xn + c * xc), a[c], b[c], c0[c], length, xl, gl, unit)


def grad_apply(k, gx, g, x, a, b, c0, length, xl, gl, unit: bool) -> None:
    """gx = g * a + x * b + c0 along a plane."""
    with k.vector(length, unroll=2) as i:
        at = i if unit else i * xl
        v = E.fma(E.cast(g[i if unit else i * gl], a.dtype), a, c0)
        gx[at] = E.fma(E.cast(x[at], a.dtype), b, v)


@kernel
def channel_grad(k, gx: Ptr, gsum: Ptr, hsum: Ptr, g: Ptr, x: Ptr, mean: Ptr, rstd: Ptr, w: Ptr, images: Int, length: Int, xn: Int,
                 xc: Int, xl: Int, gn: Int, gc: Int, gl: Int, *, unit: bool, weight: bool):  # fmt: skip
    """The sums of `channel_grad_sums`, then gx = a (g - sum(g) / N - xhat sum(g xhat) / N), a = rstd w: planes come near once."""
    d = mean.dtype
    with k.parallel() as c:
        m, s = mean[c], rstd[c]
        first, second = grad_sums(k, g.at(c * gc), x.at(c * xc), m, s, images, length, xn, xl, gn, gl, unit)
        gsum[c], hsum[c] = first, second
        a = s * w[c] if weight else s
        count = E.cast(images * length, d)
        b = -a * s * second / count
        c0 = -a * first / count - b * m
        a, b, c0 = (k.var(v).get() for v in (a, b, c0))
        with k.seq(images) as n:
            at = n * xn + c * xc
            grad_apply(k, gx.at(at), g.at(n * gn + c * gc), x.at(at), a, b, c0, length, xl, gl, unit)


@kernel
def column_stats(k, mean: Ptr, var: Ptr, x: Ptr, rows: Int, stride: Int):
    """Per column of a (rows, channels) matrix with unit column stride: mean and biased variance."""
    d = mean.dtype
    with k.parallel(vector=True) as c:
        count = E.cast(rows, d)
        total = k.var(E.const(0, d), d)
        with k.seq(rows) as r:
            total.set(total.get() + E.cast(x[r * stride + c], d))
        m = total.get() / count
        square = k.var(E.const(0, d), d)
        with k.seq(rows) as r:
            v = E.cast(x[r * stride + c], d) - m
            square.set(square.get() + v * v)
        mean[c] = m
        var[c] = square.get() / count


@kernel
def column_grad_sums(k, gsum: Ptr, hsum: Ptr, g: Ptr, x: Ptr, mean: Ptr, rstd: Ptr, rows: Int, xs: Int, gs: Int):
    """Per column: sum(g) and sum(g * xhat)."""
    d = mean.dtype
    with k.parallel(vector=True) as c:
        m = mean[c]
        first, second = k.var(E.const(0, d), d), k.var(E.const(0, d), d)
        with k.seq(rows) as r:
            v = E.cast(g[r * gs + c], d)
            first.set(first.get() + v)
            second.set(second.get() + v * (E.cast(x[r * xs + c], d) - m))
        gsum[c] = first.get()
        hsum[c] = second.get() * rstd[c]
