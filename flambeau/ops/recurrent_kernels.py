"""Loop nests of recurrence: a whole walk through time per launch.

Rows of the batch do not meet, so a task takes some rows through all steps: the state stays in its thread's scratch, and
each step is one register-tiled product with the packed weights and one pass over the cells. Step t has count[t] rows, from
row start[t] of the sequence's matrices on; a task's share of a step may be empty.
"""

from __future__ import annotations

from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.tiles import Tile, copied, filled, product, written

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@kernel
def add_biases(k, y: Ptr, a: Ptr, b: Ptr):
    """y = a + b."""
    with k.parallel(vector=True) as i:
        y[i] = a[i] + b[i]


@kernel
def panels(k, out: Ptr, w: Ptr, depth: Int, n: Int, padded: Int, sp: Int, sg: Int, sj: Int, *, nr: int, unit: bool):
    """out[q, j / nr, p, j % nr] = w[p sp + q sg + j sj], 0 for n <= j < padded: what `product` reads as b, for each q."""
    zero = E.const(0, out.compute)
    with k.parallel() as task:
        each = padded // nr
        q = task // each
        j0 = (task - q * each) * nr
        src, to = w.at(q * sg + j0 * sj), out.at(task * nr * depth)
        left = E.minimum(nr, n - j0)
        with k.seq(depth) as p:
            if unit:
                with k.vector(left) as j:
                    to[p * nr + j] = E.cast(src[p * sp + j], out.compute)
            else:
                with k.seq(left) as j:
                    to[p * nr + j] = E.cast(src[p * sp + j * sj], out.compute)
            with k.seq(left, nr) as j:
                to[p * nr + j] = zero


def ask(row, n, j, read: list, write: list) -> None:
    """Ask for row `row` at lanes j of arrays of so many gates: the next step's, which is there before the products are done."""
    for arrays in (read, write):
        for p, gates in arrays:
            for q in range(gates):
                p.prefetch((row * gates + q) * n + j, 2, write=arrays is write)


# forward ------------------------------------------------------------------------------------------
@kernel
def walk(k, y: Ptr, g: Ptr, gh: Ptr, hp: Ptr, cp: Ptr, full: Ptr, h: Ptr, c: Ptr, w: Ptr, wr: Ptr, bias: Ptr, start: Ptr,
         count: Ptr, scratch: Ptr, n: Int, width: Int, padded: Int, wide: Int, steps: Int, batch: Int, between: Int,
         block: Int, scratch_size: Int, *, mode: str, projected: bool, biased: bool, tile: Tile):  # fmt: skip
    """The states h, c through all steps; y, the old states hp, cp, and activated gates g (before: the input's part).

    n: cells; between: rows from one sequence's to the next one's; width: of h (n unless projected); padded, wide: both in whole register tiles.
    gh: GRU's state's part of its last gate. full: h before its projection by wr.
    """
    gates = GATES[mode]
    with k.parallel() as task:
        first = task * block
        own = E.minimum(block, batch - first)
        hs = scratch.at(k.worker * scratch_size)
        acts = hs.at(block * wide)
        fs = acts.at(block * E.maximum(gates * padded, wide))
        filled(k, hs, block * wide, 0)
        copied(k, hs, h.at(first * width), own, width, wide, width, 1, tile)
        if projected:
            filled(k, fs, block * padded, 0)
        with k.seq(steps) as t:
            at = start[t] + first * between
            rows = E.minimum(own, count[t] - first)
            on = start[E.minimum(t + 1, steps - 1)] - start[t]  # to the next step's rows
            written(k, hp.at(at * width), between * width, hs, rows, width, wide, tile)
            product(k, acts, hs, w, rows, gates * padded, width, tile, (wide, 1), (tile.nr, width), gates * padded)
            with k.seq(rows) as i:
                part, row = acts.at(i * gates * padded), at + i * between
                into = fs.at(i * padded) if projected else hs.at(i * wide)
                with k.vector(n) as j:
                    ask(row + on, n, j, [], [(g, gates), (y, not projected), (cp, mode == "LSTM"), (gh, mode == "GRU")])
                    if mode == "LSTM":
                        new = lstm_cell(g.at(row * 4 * n), part, c.at((first + i) * n), cp.at(row * n), j, n, padded)
                    elif mode == "GRU":
                        new = gru_cell(g.at(row * 3 * n), part, hs.at(i * wide), gh.at(row * n), bias, j, n, padded, biased)
                    else:
                        new = g[row * n + j] + part[j]
                        new = E.maximum(new, 0) if mode == "RNN_RELU" else E.tanh(new)
                        g[row * n + j] = new
                    into[j] = new
                    if projected:
                        full[row * n + j] = new
                    else:
                        y[row * n + j] = new
            if projected:
                product(k, acts, fs, wr, rows, wide, n, tile, (padded, 1), (tile.nr, n), wide)
                written(k, hs, wide, acts, rows, width, wide, tile)
                written(k, y.at(at * width), between * width, acts, rows, width, wide, tile)
        written(k, h.at(first * width), width, hs, own, width, wide, tile)


def lstm_cell(g, part, c, cp, j, n, padded):
    """The new h; gates i, f, g, o become activated, c advances, the old one goes to cp."""
    i, f = E.sigmoid(g[j] + part[j]), E.sigmoid(g[n + j] + part[padded + j])
    u, o = E.tanh(g[2 * n + j] + part[2 * padded + j]), E.sigmoid(g[3 * n + j] + part[3 * padded + j])
    old = c[j]
    new = f * old + i * u
    g[j], g[n + j], g[2 * n + j], g[3 * n + j] = i, f, u, o
    cp[j] = old
    c[j] = new
    return o * E.tanh(new)


def gru_cell(g, part, h, gh, bias, j, n, padded, biased: bool):
    """The new h; gates r, z, n become activated, the state's part of n goes to gh."""
    br, bz, bn = (part[q * padded + j] + (bias[q * n + j] if biased else 0) for q in range(3))
    r, z = E.sigmoid(g[j] + br), E.sigmoid(g[n + j] + bz)
    u = E.tanh(g[2 * n + j] + r * bn)
    g[j], g[n + j], g[2 * n + j] = r, z, u
    gh[j] = bn
    return u + z * (h[j] - u)


# backward -----------------------------------------------------------------------------------------
@kernel
def walk_back(k, dg: Ptr, dgh: Ptr, both: Ptr, g: Ptr, gh: Ptr, hp: Ptr, cp: Ptr, dy: Ptr, dh: Ptr, dc: Ptr, w: Ptr, wr: Ptr,
              start: Ptr, count: Ptr, scratch: Ptr, n: Int, width: Int, padded: Int, wide: Int, steps: Int, batch: Int,
              between: Int, block: Int, scratch_size: Int, *, mode: str, projected: bool, tile: Tile):  # fmt: skip
    """Gradients of the gates before activation, dg (GRU's state's part: dgh), and of the first states, dh and dc.

    start and count go backwards. both: the whole gradient of h, which the projection's weights need.
    """
    gates = GATES[mode]
    with k.parallel() as task:
        first = task * block
        own = E.minimum(block, batch - first)
        ds = scratch.at(k.worker * scratch_size)  # the state's gradient
        gs = ds.at(block * wide)  # the gates' gradient
        back = gs.at(block * gates * n)
        fs = back.at(block * wide)
        filled(k, ds, block * wide, 0)
        filled(k, gs, block * gates * n, 0)
        copied(k, ds, dh.at(first * width), own, width, wide, width, 1, tile)
        with k.seq(steps) as t:
            at = start[t] + first * between
            rows = E.minimum(own, count[t] - first)
            on = start[E.minimum(t + 1, steps - 1)] - start[t]
            with k.seq(rows) as i, k.vector(width) as j:
                total = ds[i * wide + j] + dy[(at + i * between) * width + j]
                ds[i * wide + j] = total
                if projected:
                    both[(at + i * between) * width + j] = total
            if projected:
                product(k, fs, ds, wr, rows, padded, width, tile, (wide, 1), (tile.nr, width), padded)
            with k.seq(rows) as i:
                row, out = at + i * between, gs.at(i * gates * n)
                grad = fs.at(i * padded) if projected else ds.at(i * wide)
                with k.vector(n) as j:
                    ask(row + on, n, j, [(g, gates), (dy, not projected), (cp, mode == "LSTM"), (gh, mode == "GRU"), (hp, mode == "GRU")],
                        [(dg, gates), (dgh, gates * (mode == "GRU"))])  # fmt: skip
                    if mode == "LSTM":
                        parts = lstm_slopes(g.at(row * 4 * n), cp[row * n + j], grad[j], dc.at((first + i) * n), j, n)
                    elif mode == "GRU":
                        parts, last = gru_slopes(g.at(row * 3 * n), gh[row * n + j], hp[row * n + j], grad, j, n)
                    else:
                        v = g[row * n + j]
                        slope = E.where(v > 0, E.const(1, v.dtype), 0) if mode == "RNN_RELU" else 1 - v * v
                        parts = [grad[j] * slope]
                    for q, value in enumerate(parts):
                        dg[(row * gates + q) * n + j] = value
                        state = last if mode == "GRU" and q == 2 else value
                        out[q * n + j] = state
                        if mode == "GRU":
                            dgh[(row * gates + q) * n + j] = state
            product(k, back, gs, w, rows, wide, gates * n, tile, (gates * n, 1), (tile.nr, gates * n), wide)
            with k.seq(rows) as i, k.vector(width) as j:  # rows whose sequences are not that long keep what they have
                ds[i * wide + j] = back[i * wide + j] + ds[i * wide + j] if mode == "GRU" else back[i * wide + j]
        written(k, dh.at(first * width), width, ds, own, width, wide, tile)


def lstm_slopes(g, old, gh, dc, j, n):
    """Gradients of i, f, g, o; dc becomes that of the old c."""
    i, f, u, o = g[j], g[n + j], g[2 * n + j], g[3 * n + j]
    t = E.tanh(f * old + i * u)
    gc = dc[j] + gh * o * (1 - t * t)
    dc[j] = gc * f
    return [gc * u * i * (1 - i), gc * old * f * (1 - f), gc * i * (1 - u * u), gh * t * o * (1 - o)]


def gru_slopes(g, bn, old, grad, j, n):
    """Gradients of r, z, n by the input, and of n by the state; grad becomes what passes to the old h by z alone."""
    r, z, u = g[j], g[n + j], g[2 * n + j]
    d = grad[j]
    du = d * (1 - z) * (1 - u * u)
    grad[j] = d * z
    return [du * bn * r * (1 - r), d * (old - u) * z * (1 - z), du], du * r
