"""Recurrent layers: LSTM, GRU and RNN over whole sequences, and their single steps.

One op runs one layer in one direction. The input's products with W_ih are one matrix product over all time steps, and so
are the weights' gradients; the walk through time between them is one kernel (recurrent_kernels.py). Sequences of different
lengths are packed: step t has batch_sizes[t] rows, the longest sequences first; a state buffer keeps the rest.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from flambeau.core import dtypes as dt
from flambeau.ir.kernel import compute_dtype
from flambeau.ops import gemm
from flambeau.ops import recurrent_kernels as K
from flambeau.ops.by_geometry import by_geometry, given, unpacked
from flambeau.ops.copying import dense_copy
from flambeau.ops.create import zeroed
from flambeau.ops.join import cat, stack
from flambeau.ops.matmul import multiply, product_steps
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.tiles import per_thread, rounded, tile_for
from flambeau.runtime import calls, memory
from flambeau.runtime.threads import get_num_threads, within

WORK = 1 << 16  # multiply-adds worth a thread of their own
N = {"function": False, "method": False}


# a layer ------------------------------------------------------------------------------------------
def steps_of(sizes: tuple, reverse: bool, between: int) -> list:
    """(first row, rows) of the time steps, in the order in which they are walked; a step's rows lie `between` apart."""
    starts, at = [], 0
    for n in sizes:
        starts.append((at, n))
        at += n if between == 1 else 1
    return starts[::-1] if reverse else starts


@functools.lru_cache(maxsize=64)
def walk_of(sizes: tuple, reverse: bool, between: int):
    """The same as two int64 tensors, for kernels."""
    import numpy as np

    starts, counts = np.array(steps_of(sizes, reverse, between), np.int64).reshape(-1, 2).T
    return hooks.from_array(np.ascontiguousarray(starts)), hooks.from_array(np.ascontiguousarray(counts))


def check_layer(x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, mode: str, sizes: tuple) -> None:
    """Every operand has the shape and dtype that the kernels rely on."""
    rows, batch = K.GATES[mode] * (w_hh._shape[0] // K.GATES[mode]), h0._shape[0]
    n, width = rows // K.GATES[mode], w_hh._shape[1]
    wanted = (
        ("input", x, (sum(sizes), w_ih._shape[1])), ("weight_ih", w_ih, (rows, w_ih._shape[1])), ("weight_hh", w_hh, (rows, width)),
        ("bias_ih", b_ih, (rows,)), ("bias_hh", b_hh, (rows,)), ("weight_hr", w_hr, (width, n)), ("hidden state", h0, (batch, width)),
        ("cell state", c0, (batch, n)),
    )  # fmt: skip
    for name, t, shape in wanted:
        if t is not None and (tuple(t._shape) != shape or t._dtype is not x._dtype):
            raise RuntimeError(
                f"{mode.lower()}: expected {name} of shape {list(shape)} and dtype {x._dtype}, got {list(t._shape)}, {t._dtype}"
            )
    if any(a < b for a, b in zip((batch, *sizes), sizes, strict=False)) or any(m < 0 for m in sizes):
        raise RuntimeError(f"{mode.lower()}: batch sizes must not increase, nor exceed the states' batch of {batch}, got {list(sizes)}")


@dataclass(frozen=True)
class Room:
    """Sizes that both walks share."""

    n: int
    width: int
    padded: int
    wide: int
    block: int
    tasks: int
    grain: int
    threads: int

    def ahead(self, gates: int) -> int:
        """Elements of a thread's scratch on the way forward: the state, what its products give, h before a projection."""
        return self.block * (self.wide + max(gates * self.padded, self.wide) + self.padded)


def room_of(mode: str, w_hh, batch: int, steps: int, tile) -> Room:
    """Rows of the batch in as many blocks of whole register tiles as there are threads."""
    width = w_hh._shape[1]
    n = w_hh._shape[0] // K.GATES[mode]
    threads = get_num_threads()
    block = rounded(-(-batch // threads), tile.mr)
    grain = within(max(1, WORK // (steps * block * w_hh._numel)), threads)
    return Room(n, width, rounded(n, tile.nr), rounded(width, tile.nr), block, -(-batch // block), grain, threads)


def packed_weights(w, groups: int, transposed: bool, tile):
    """Memory with the panels of w (groups of rows), or of its transpose, in the dtype of the products."""
    acc = compute_dtype(w._dtype)
    rows, columns = w._shape
    n, depth = (rows // groups, columns) if transposed else (columns, rows)
    padded = rounded(n, tile.nr)
    count = groups if transposed else 1
    out = memory.allocate(count * padded * depth * acc.itemsize)
    sp, sj = w._strides[::-1] if transposed else w._strides
    k = K.panels((acc, w._dtype), nr=tile.nr, unit=sj == 1)
    k(count * padded // tile.nr, max(1, WORK // (depth * tile.nr)), out.ptr, w._ptr, depth, n, padded, sp, n * w._strides[0], sj)
    return out


@op(KERNEL, **N, node="RnnLayerBackward0")
@by_geometry
def rnn_layer(x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, mode, sizes, reverse, between):
    """(y, h, c, what the backward pass needs ...) of one layer in one direction; x (rows, in), y (rows, out).

    sizes: sequences of each step; between: rows from one sequence's to the next one's, 1 or (all as long) their length.
    """
    check_layer(x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, mode, sizes)
    args = (x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0)
    tensors = [t for t in args if t is not None]
    plain = x._dtype in (dt.float32, dt.float64) and all(t._dense and t._numel for t in tensors)
    if plain and mode == "LSTM" and w_hr is None and (b_ih is None) == (b_hh is None):
        return lstm_call(x, w_ih, w_hh, h0, sizes, reverse, between, b_ih is not None)
    there = given(args)
    return lambda *tensors: layer_steps(*unpacked(tensors, there), mode, sizes, reverse, between)


def lstm_call(x, w_ih, w_hh, h0, sizes: tuple, reverse: bool, between: int, biased: bool):
    """The call of an LSTM's layer for dense tensors, without projection: what layer_steps does."""
    d, total, batch = x._dtype, x._shape[0], h0._shape[0]
    tile = tile_for(d, batch)
    size = room_of("LSTM", w_hh, batch, len(sizes), tile)
    n, width, rows = size.n, size.width, 4 * size.n
    h_at, c_at = (calls.operand(i) for i in ((5, 6) if biased else (3, 4)))
    shapes = ((total, width), (batch, width), (batch, n), (total, rows), (0, 1), (total, width), (total, n), (0, 1))
    y, h, c, g, gh, hp, cp, full = map(calls.out, range(8))
    bias, panels, work = map(calls.room, range(3))
    scratch = per_thread(size.ahead(4), d)
    rooms = (rows * d.itemsize, 4 * size.padded * width * d.itemsize, scratch * size.threads * d.itemsize)
    copy, grain = dense_copy(d, d)
    launches = [(copy, batch * width, grain, (h, h_at)), (copy, batch * n, grain, (c, c_at))]
    if biased:
        launches.append((K.add_biases((d, d, d)), rows, rows, (bias, calls.operand(3), calls.operand(4))))
    p = gemm.plan(total, rows, x._shape[1], x._strides, w_ih._strides[::-1], (rows, 1), (d, d, d), 1, (0, 0, 0),
                  "column" if biased else "", False, get_num_threads())  # fmt: skip
    product, more = product_steps(p, g, calls.operand(0), calls.operand(1), bias if biased else None, len(rooms))
    starts, counts = walk_of(sizes, reverse, between)
    sp, sj = w_hh._strides[::-1]
    pack = K.panels((d, d), nr=tile.nr, unit=sj == 1)
    walk = K.walk((d,) * 8 + (d, d, d, dt.int64, dt.int64, d), mode="LSTM", projected=False, biased=False, tile=tile)
    launches += [
        *product,
        (pack, 4 * size.padded // tile.nr, max(1, WORK // (width * tile.nr)),
         (panels, calls.operand(2), width, n, size.padded, sp, n * w_hh._strides[0], sj)),
        (walk, size.tasks, size.grain,
         (y, g, gh, hp, cp, full, h, c, panels, panels, h, starts._ptr, counts._ptr, work, n, width, size.padded, size.wide, len(sizes),
          batch, between, size.block, scratch)),
    ]  # fmt: skip
    outs = tuple([hooks.dense(shape, d) for shape in shapes])
    return calls.bind(outs, 7 if biased else 5, 0, launches, (*rooms, *more), keep=(starts, counts))


def layer_steps(x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, mode, sizes, reverse, between):
    """rnn_layer step by step, for any layouts and modes."""
    d, total, batch = x._dtype, x._shape[0], h0._shape[0]
    acc = compute_dtype(d)
    tile = tile_for(acc, batch)
    size = room_of(mode, w_hh, batch, len(sizes), tile)
    lstm, gru = mode == "LSTM", mode == "GRU"
    gates = K.GATES[mode]

    def rows(width: int, wanted: bool = True):
        return hooks.empty((total, width) if wanted else (0, 1), d)

    g = rows(gates * size.n)
    bias = b_ih if b_ih is None or gru else b_ih + b_hh
    multiply(x.contiguous(), w_ih.t(), g, bias, "column" if bias is not None else "")
    h = h0.clone(memory_format="contiguous_format")
    c = c0.clone(memory_format="contiguous_format") if lstm else hooks.empty((0,), d)
    y, hp, gh = rows(size.width), rows(size.width), rows(size.n, gru)
    cp, full = rows(size.n, lstm), rows(size.n, w_hr is not None)
    starts, counts = walk_of(tuple(sizes), reverse, between)
    w = packed_weights(w_hh, gates, True, tile)
    wr = packed_weights(w_hr, 1, True, tile) if w_hr is not None else w
    state_bias = b_hh.contiguous() if gru and b_hh is not None else None
    scratch = per_thread(size.ahead(gates), acc)
    room = memory.allocate(scratch * size.threads * acc.itemsize)
    k = K.walk((d,) * 8 + (acc, acc, d, dt.int64, dt.int64, acc), mode=mode, projected=w_hr is not None,
               biased=state_bias is not None, tile=tile)  # fmt: skip
    k(size.tasks, size.grain, *(t._ptr for t in (y, g, gh, hp, cp, full, h, c)), w.ptr, wr.ptr,
      (h if state_bias is None else state_bias)._ptr, starts._ptr, counts._ptr, room.ptr, size.n, size.width, size.padded,
      size.wide, len(sizes), batch, between, size.block, scratch)  # fmt: skip
    return y, h, c, g, gh, hp, cp, full


@rnn_layer.vjp("x", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr", "h0", "c0")
def rnn_layer_grad(gs, x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0, mode, sizes, reverse, between, needs, result3, result4, result5,
                   result6, result7):  # fmt: skip
    """Back through time; in a graph of its own, by way of the plain steps."""
    if hooks.recording():
        return again(gs, (x, w_ih, w_hh, b_ih, b_hh, w_hr, h0, c0), mode, sizes, reverse, between, needs)
    g, gh, hp, cp, full = result3, result4, result5, result6, result7
    d, total, batch = x._dtype, x._shape[0], h0._shape[0]
    acc = compute_dtype(d)
    tile = tile_for(acc, batch)
    size = room_of(mode, w_hh, batch, len(sizes), tile)
    gru, gates = mode == "GRU", K.GATES[mode]

    def given(gradient, shape):
        return zeroed(shape, d) if gradient is None else gradient.clone(memory_format="contiguous_format")

    dy = zeroed((total, size.width), d) if gs[0] is None else gs[0].contiguous()
    dh, dc = given(gs[1], h0._shape), None if c0 is None else given(gs[2], c0._shape)
    dg = hooks.empty(g._shape, d)
    dgh = hooks.empty(g._shape, d) if gru else dg
    both = hooks.empty((total, size.width), d) if w_hr is not None else dy
    starts, counts = walk_of(tuple(sizes), not reverse, between)
    w = packed_weights(w_hh, gates, False, tile)
    wr = packed_weights(w_hr, 1, False, tile) if w_hr is not None else w
    scratch = per_thread(size.block * (2 * size.wide + gates * size.n + size.padded), acc)
    room = memory.allocate(scratch * size.threads * acc.itemsize)
    k = K.walk_back((d,) * 10 + (acc, acc, dt.int64, dt.int64, acc), mode=mode, projected=w_hr is not None, tile=tile)
    k(size.tasks, size.grain, *(t._ptr for t in (dg, dgh, both, g, gh, hp, cp, dy, dh, dh if dc is None else dc)), w.ptr,
      wr.ptr, starts._ptr, counts._ptr, room.ptr, size.n, size.width, size.padded, size.wide, len(sizes), batch, between,
      size.block, scratch)  # fmt: skip
    db = dg.sum(0) if needs["b_ih"] or needs["b_hh"] else None
    return (
        dg @ w_ih if needs["x"] else None, dg.t() @ x if needs["w_ih"] else None, dgh.t() @ hp if needs["w_hh"] else None,
        db, dgh.sum(0) if gru and needs["b_hh"] else db, both.t() @ full if w_hr is not None else None, dh, dc,
    )  # fmt: skip


def again(gs, tensors, mode, sizes, reverse, between, needs):
    """The gradients by recorded plain steps, for graphs of gradients."""
    x, w_ih, w_hh, b_ih, b_hh, w_hr, h, c = tensors
    names = ("x", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr", "h0", "c0")
    outs, parts = {}, [h, c]
    for at, m in steps_of(sizes, reverse, between):
        states = [None if s is None else s.narrow(0, 0, m) for s in parts]
        new = single_step(mode, x[at : at + m * between : between], states, w_ih, w_hh, b_ih, b_hh, w_hr)
        outs[at] = new[0]
        parts = [
            s if s is None else n if m == s._shape[0] else cat([n, s.narrow(0, m, s._shape[0] - m)])
            for s, n in zip(parts, new, strict=True)
        ]
    y = [outs[k] for k in sorted(outs)]
    y = cat(y) if between == 1 else stack(y, 1).flatten(0, 1)
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
def run(mode: str, data, sizes: tuple, between: int, h, c, weights, bias: bool, layers: int, dropout: float, train: bool,
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
                                      sizes, way == 1, between)  # fmt: skip
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
            sizes, data, between, turn = tuple(batch_sizes.tolist()), input, 1, False
        else:
            hx, weights, bias, layers, dropout, train, bidirectional, batch_first = args
            turn = batch_first and bool(dropout and train and layers > 1)  # dropout's draws go step by step
            x = input.transpose(0, 1) if turn else input
            lead = x._shape[:2]
            batch, steps = lead if batch_first and not turn else lead[::-1]
            between = steps if batch_first and not turn else 1
            sizes, data = (batch,) * steps, x.reshape(steps * batch, -1)
        h, c = hx if mode == "LSTM" else (hx, None)
        y, hn, cn = run(mode, data, sizes, between, h, c, weights, bias, layers, dropout, train, bidirectional)
        if not packed:
            y = y.reshape(*lead, -1)
            y = y.transpose(0, 1) if turn else y
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
