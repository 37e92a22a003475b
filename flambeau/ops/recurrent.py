"""Recurrent layers: LSTM, GRU and RNN over whole sequences, and their single steps.

One op runs one layer in one direction. The input's products with W_ih are one matrix product over all time steps; then
each step is one product with W_hh, accumulated onto those, and one fused kernel for the cell. Sequences of different
lengths are packed: step t has batch_sizes[t] rows, the longest sequences first; a state buffer keeps the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.copying import copy_elements
from flambeau.ops.create import zeroed
from flambeau.ops.join import cat, stack
from flambeau.ops.matmul import multiply
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op

WORK = 4096
N = {"function": False, "method": False}


# one step -----------------------------------------------------------------------------------------
@kernel
def lstm_step(k, g: Ptr, h: Ptr, c: Ptr, y: Ptr, hp: Ptr, cp: Ptr, n: Int):
    """Gates g (i, f, g, o before activation) become activated; states h, c advance; the old ones go to hp, cp."""
    with k.parallel() as r:
        gates = g.at(r * 4 * n)
        at = r * n
        with k.vector(n) as j:
            i, f = E.sigmoid(gates[j]), E.sigmoid(gates[n + j])
            u, o = E.tanh(gates[2 * n + j]), E.sigmoid(gates[3 * n + j])
            old = c[at + j]
            new = f * old + i * u
            out = o * E.tanh(new)
            gates[j], gates[n + j], gates[2 * n + j], gates[3 * n + j] = i, f, u, o
            hp[at + j] = h[at + j]
            cp[at + j] = old
            c[at + j] = new
            h[at + j] = out
            y[at + j] = out


@kernel
def lstm_step_back(k, dg: Ptr, g: Ptr, cp: Ptr, dy: Ptr, dh: Ptr, dc: Ptr, n: Int):
    """Gradients of the gates before activation, from those of h and c; dc becomes that of the old c."""
    with k.parallel() as r:
        gates, out = g.at(r * 4 * n), dg.at(r * 4 * n)
        at = r * n
        with k.vector(n) as j:
            i, f, u, o = gates[j], gates[n + j], gates[2 * n + j], gates[3 * n + j]
            old = cp[at + j]
            t = E.tanh(f * old + i * u)
            gh = dh[at + j] + dy[at + j]
            gc = dc[at + j] + gh * o * (1 - t * t)
            out[j] = gc * u * i * (1 - i)
            out[n + j] = gc * old * f * (1 - f)
            out[2 * n + j] = gc * i * (1 - u * u)
            out[3 * n + j] = gh * t * o * (1 - o)
            dc[at + j] = gc * f


@kernel
def gru_step(k, g: Ptr, gh: Ptr, h: Ptr, y: Ptr, hp: Ptr, n: Int):
    """g: the input's part of r, z, n (becoming activated); gh: the state's part."""
    with k.parallel() as row:
        a, b = g.at(row * 3 * n), gh.at(row * 3 * n)
        at = row * n
        with k.vector(n) as j:
            r, z = E.sigmoid(a[j] + b[j]), E.sigmoid(a[n + j] + b[n + j])
            u = E.tanh(a[2 * n + j] + r * b[2 * n + j])
            old = h[at + j]
            new = u + z * (old - u)
            a[j], a[n + j], a[2 * n + j] = r, z, u
            hp[at + j] = old
            h[at + j] = new
            y[at + j] = new


@kernel
def gru_step_back(k, dg: Ptr, dgh: Ptr, g: Ptr, gh: Ptr, hp: Ptr, dy: Ptr, dh: Ptr, n: Int):
    """Gradients of the input's and the state's parts; dh becomes what passes by z alone."""
    with k.parallel() as row:
        a, b = g.at(row * 3 * n), gh.at(row * 3 * n)
        da, db = dg.at(row * 3 * n), dgh.at(row * 3 * n)
        at = row * n
        with k.vector(n) as j:
            r, z, u = a[j], a[n + j], a[2 * n + j]
            d = dh[at + j] + dy[at + j]
            du = d * (1 - z) * (1 - u * u)
            dr = du * b[2 * n + j] * r * (1 - r)
            dz = d * (hp[at + j] - u) * z * (1 - z)
            da[j], da[n + j], da[2 * n + j] = dr, dz, du
            db[j], db[n + j], db[2 * n + j] = dr, dz, du * r
            dh[at + j] = d * z


@kernel
def rnn_step(k, g: Ptr, h: Ptr, y: Ptr, hp: Ptr, n: Int, *, relu: bool):
    """h = tanh(g), or relu."""
    with k.parallel() as r:
        at = r * n
        with k.vector(n) as j:
            v = g[at + j]
            v = E.maximum(v, 0) if relu else E.tanh(v)
            hp[at + j] = h[at + j]
            g[at + j] = v
            h[at + j] = v
            y[at + j] = v


@kernel
def rnn_step_back(k, dg: Ptr, g: Ptr, dy: Ptr, dh: Ptr, n: Int, *, relu: bool):
    """The gradient before the activation."""
    with k.parallel() as r:
        at = r * n
        with k.vector(n) as j:
            v, d = g[at + j], dh[at + j] + dy[at + j]
            dg[at + j] = E.where(v > 0, d, E.const(0, d.dtype)) if relu else d * (1 - v * v)


# a layer ------------------------------------------------------------------------------------------
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@dataclass
class Steps:
    """Row ranges of the time steps, in the order in which they are walked."""

    sizes: tuple
    reverse: bool

    def __iter__(self):
        starts, at = [], 0
        for n in self.sizes:
            starts.append((at, n))
            at += n
        return iter(reversed(starts) if self.reverse else starts)

    def backwards(self):
        return reversed(list(self))


def rows(t, at: int, n: int):
    """Rows [at, at + n) of a contiguous matrix, without the cost of a recorded view."""
    width = t._shape[1]
    return hooks.make(t._storage, t._offset + at * width, hooks.Size((n, width)), t._strides, t._dtype)


@op(KERNEL, **N, node="RnnLayerBackward0")
def rnn_layer(x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, mode, sizes, reverse):
    """(y, h, c, what the backward pass needs ...) of one layer in one direction; x (rows, in), y (rows, out)."""
    d = x._dtype
    n, total = w_hh._shape[0] // GATES[mode], x._shape[0]
    lstm, gru = mode == "LSTM", mode == "GRU"
    out = w_hh._shape[1]
    g = hooks.empty((total, GATES[mode] * n), d)
    bias = b_ih if b_ih is None or gru else b_ih + b_hh
    multiply(x.contiguous(), w_ih.t(), g, bias, "column" if bias is not None else "")
    gh = hooks.empty(g._shape, d) if gru else hooks.empty((0, 1), d)
    h, c = h0.clone(memory_format="contiguous_format"), None
    y, hp = hooks.empty((total, out), d), hooks.empty((total, out), d)
    cp = full = hooks.empty((0, 1), d)
    if lstm:
        c = c0.clone(memory_format="contiguous_format")
        cp = hooks.empty((total, n), d)
    if w_hr is not None:
        full, scratch = hooks.empty((total, n), d), hooks.empty((h._shape[0], n), d)
    back = w_hh.t().contiguous()  # read once per step: row-major, it needs no packing
    for at, m in Steps(sizes, reverse):
        gates, state = rows(g, at, m), rows(h, 0, m)
        grain = max(1, WORK // n)
        if gru:
            part = rows(gh, at, m)
            multiply(state, back, part, b_hh, "column" if b_hh is not None else "")
            gru_step((d,) * 5)(m, grain, gates._ptr, part._ptr, h._ptr, rows(y, at, m)._ptr, rows(hp, at, m)._ptr, n)
            continue
        multiply(state, back, gates, accumulate=True)
        if not lstm:
            rnn_step((d,) * 4, relu=mode == "RNN_RELU")(
                m, grain, gates._ptr, h._ptr, rows(y, at, m)._ptr, rows(hp, at, m)._ptr, n)  # fmt: skip
        elif w_hr is None:
            lstm_step((d,) * 6)(m, grain, gates._ptr, h._ptr, c._ptr, rows(y, at, m)._ptr, rows(hp, at, m)._ptr,
                                rows(cp, at, m)._ptr, n)  # fmt: skip
        else:
            copy_elements(rows(hp, at, m), state)
            lstm_step((d,) * 6)(m, grain, gates._ptr, scratch._ptr, c._ptr, rows(full, at, m)._ptr, scratch._ptr,
                                rows(cp, at, m)._ptr, n)  # fmt: skip
            multiply(rows(full, at, m), w_hr.t(), state)
            copy_elements(rows(y, at, m), state)
    return y, h, c if lstm else hooks.empty((0,), d), g, gh, hp, cp, full


@rnn_layer.vjp("x", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr", "h0", "c0")
def rnn_layer_grad(gs, x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, mode, sizes, reverse, needs, result3, result4, result5,
                   result6, result7):  # fmt: skip
    """Back through time; in a graph of its own, by way of the plain steps."""
    if hooks.recording():
        return again(gs, (x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0), mode, sizes, reverse, needs)
    g, gh, hp, cp, full = result3, result4, result5, result6, result7
    d, total = x._dtype, x._shape[0]
    n = w_hh._shape[0] // GATES[mode]
    lstm, gru = mode == "LSTM", mode == "GRU"
    dy = zeroed((total, w_hh._shape[1]), d) if gs[0] is None else gs[0].contiguous()
    dh = zeroed(h0._shape, d) if gs[1] is None else gs[1].clone(memory_format="contiguous_format")
    dg = hooks.empty(g._shape, d)
    dgh = hooks.empty(g._shape, d) if gru else dg
    dc = None
    if lstm:
        dc = zeroed(c0._shape, d) if gs[2] is None else gs[2].clone(memory_format="contiguous_format")
    dw_hr = zeroed(w_hr._shape, d) if w_hr is not None else None
    for at, m in Steps(sizes, reverse).backwards():
        grain = max(1, WORK // n)
        state, part = rows(dh, 0, m), rows(dg, at, m)
        step = rows(dy, at, m)
        if gru:
            gru_step_back((d,) * 7)(m, grain, part._ptr, rows(dgh, at, m)._ptr, rows(g, at, m)._ptr, rows(gh, at, m)._ptr,
                                    rows(hp, at, m)._ptr, step._ptr, dh._ptr, n)  # fmt: skip
            multiply(rows(dgh, at, m), w_hh, state, accumulate=True)
            continue
        if not lstm:
            rnn_step_back((d,) * 4, relu=mode == "RNN_RELU")(
                m, grain, part._ptr, rows(g, at, m)._ptr, step._ptr, dh._ptr, n)  # fmt: skip
        else:
            into_h, into_y = dh, step
            if w_hr is not None:
                both = state + step
                multiply(both.t(), rows(full, at, m), dw_hr, accumulate=True)
                into_h = zeroed((m, n), d)
                into_y = hooks.empty((m, n), d)
                multiply(both, w_hr, into_y)
            lstm_step_back((d,) * 6)(m, grain, part._ptr, rows(g, at, m)._ptr, rows(cp, at, m)._ptr, into_y._ptr,
                                     into_h._ptr, dc._ptr, n)  # fmt: skip
        multiply(part, w_hh, state)
    dx = dg @ w_ih if needs["x"] else None
    db = dg.sum(0) if needs["b_ih"] or needs["b_hh"] else None
    return (
        dx, dg.t() @ x if needs["w_ih"] else None, dgh.t() @ hp if needs["w_hh"] else None,
        db, dgh.sum(0) if gru and needs["b_hh"] else db, dw_hr, dh, dc,
    )  # fmt: skip


def again(gs, tensors, mode, sizes, reverse, needs):
    """The gradients by recorded plain steps, for graphs of gradients."""
    x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c = tensors
    names = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr", "h0", "c0")
    outs, parts = {}, [h, c]
    for at, m in Steps(sizes, reverse):
        states = [None if s is None else s.narrow(0, 0, m) for s in parts]
        new = single_step(mode, x.narrow(0, at, m), states, w_ih, w_hh, b_ih, b_hh, w_hr)
        outs[at] = new[0]
        parts = [
            s if s is None else n if m == s._shape[0] else cat([n, s.narrow(0, m, s._shape[0] - m)])
            for s, n in zip(parts, new, strict=True)
        ]
    y = cat([outs[k] for k in sorted(outs)])
    results = [(o, g) for o, g in zip((y, *parts), gs, strict=False) if g is not None and o is not None]
    wanted = [t for n, t in zip(names, tensors, strict=True) if needs[n]]
    found = iter(hooks.grad([o for o, _ in results], wanted, [g for _, g in results], create_graph=True, allow_unused=True))
    return tuple(next(found) if needs[n] else None for n in names)


def single_step(mode: str, x, states, w_ih, w_hh, b_ih, b_hh, w_hr=None):
    """One step in ordinary ops: the new [h, c]."""
    from flambeau.ops.matmul import linear

    h, c = states
    a, b = linear(x, w_ih, b_ih), linear(h, w_hh, b_hh)
    if mode == "LSTM":
        i, f, u, o = (a + b).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * u.tanh()
        h = o.sigmoid() * c.tanh()
        return [h if w_hr is None else h @ w_hr.t(), c]
    if mode == "GRU":
        (ar, az, an), (br, bz, bn) = a.chunk(3, 1), b.chunk(3, 1)
        r, z = (ar + br).sigmoid(), (az + bz).sigmoid()
        u = (an + r * bn).tanh()
        return [u + z * (h - u), None]
    v = a + b
    return [v.tanh() if mode == "RNN_TANH" else v.relu(), None]


# several layers -----------------------------------------------------------------------------------
def run(mode: str, data, sizes: tuple, h, c, weights, bias: bool, layers: int, dropout: float, train: bool,
        bidirectional: bool):  # fmt: skip
    """All layers and directions: (y, h, c); data (rows, in), states (layers * directions, batch, size)."""
    from flambeau.ops.embedding import dropout as drop

    directions = 2 if bidirectional else 1
    each = len(weights) // (layers * directions)
    last_h, last_c = [], []
    for layer in range(layers):
        outs = []
        for way in range(directions):
            i = layer * directions + way
            w = list(weights[i * each : (i + 1) * each])
            w_ih, w_hh = w[:2]
            b_ih, b_hh = w[2:4] if bias else (None, None)
            w_hr = w[-1] if each == (5 if bias else 3) else None
            y, hn, cn, *_ = rnn_layer(data, w_ih, w_hh, b_ih, b_hh, w_hr, h[i], None if c is None else c[i], mode,
                                      sizes, way == 1)  # fmt: skip
            outs.append(y)
            last_h.append(hn)
            last_c.append(cn)
        data = outs[0] if directions == 1 else cat(outs, 1)
        if dropout and train and layer < layers - 1:
            data = drop(data, dropout, True)
    return data, stack(last_h), stack(last_c) if mode == "LSTM" else None


def sequence(name: str, mode: str):
    """The public function of a mode: dense (input, hx, weights, ...) or packed (data, batch_sizes, hx, weights, ...)."""

    def fn(input, *args):
        packed = not isinstance(args[2], bool)
        if packed:
            batch_sizes, hx, weights, bias, layers, dropout, train, bidirectional = args
            sizes, data, batch_first = tuple(batch_sizes.tolist()), input, False
        else:
            hx, weights, bias, layers, dropout, train, bidirectional, batch_first = args
            x = input.transpose(0, 1) if batch_first else input
            steps, batch = x._shape[:2]
            sizes, data = (batch,) * steps, x.reshape(steps * batch, -1)
        h, c = hx if mode == "LSTM" else (hx, None)
        y, hn, cn = run(mode, data, sizes, h, c, weights, bias, layers, dropout, train, bidirectional)
        if not packed:
            y = y.reshape(steps, batch, -1)
            y = y.transpose(0, 1) if batch_first else y
        return (y, hn, cn) if mode == "LSTM" else (y, hn)

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"A {mode} over sequences, layers and directions: (output, final states).\n\n    Source:   torch.{name}\n    "
    return fn


lstm, gru = sequence("lstm", "LSTM"), sequence("gru", "GRU")
rnn_tanh, rnn_relu = sequence("rnn_tanh", "RNN_TANH"), sequence("rnn_relu", "RNN_RELU")


@op(COMPOSITE, method=False)
def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One LSTM step: the new (h, c).

    Source:   torch.lstm_cell
    """
    return tuple(single_step("LSTM", input, hx, w_ih, w_hh, b_ih, b_hh))


def cell(name: str, mode: str):
    def fn(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
        return single_step(mode, input, (hx, None), w_ih, w_hh, b_ih, b_hh)[0]

    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = f"One {mode} step: the new h.\n\n    Source:   torch.{name}\n    "
    return op(COMPOSITE, method=False)(fn)


gru_cell = cell("gru_cell", "GRU")
rnn_tanh_cell, rnn_relu_cell = cell("rnn_tanh_cell", "RNN_TANH"), cell("rnn_relu_cell", "RNN_RELU")

__all__ = ["gru", "lstm", "rnn_relu", "rnn_tanh"]
