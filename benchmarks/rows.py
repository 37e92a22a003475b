"""Fused rows, flambeau beside PyTorch, forward and forward + backward: python benchmarks/rows.py [name ...] [--threads N]

Softmax and its losses, normalisation, attention, embedding, dropout, pooling and recurrence, at the sizes of small trainings.
A name picks every row that begins with it. The last line is the geometric mean of the ratios (PyTorch / flambeau).
"""

from __future__ import annotations

import pairs


def operands(t):
    """Name -> (function of the differentiable operands, those operands)."""
    F, nn = t.nn.functional, t.nn

    def rand(*shape):
        return t.randn(*shape, requires_grad=True)

    rows, logits, tokens = rand(1024, 1024), rand(768, 96), rand(1024, 8192)
    w, b = rand(1024), rand(1024)
    narrow, wn, bn = rand(1024, 384), rand(384), rand(384)
    labels, words = t.randint(0, 96, (768,)), t.randint(0, 8192, (1024,))
    maps, wide = rand(32, 64, 32, 32), rand(32, 6, 28, 28)
    wc, bc = rand(64), rand(64)
    mean, var = t.zeros(64), t.ones(64)
    q, k, v = rand(4, 6, 256, 64), rand(4, 6, 256, 64), rand(4, 6, 256, 64)
    table, ids = rand(8192, 256), t.randint(0, 8192, (32, 128))
    lstm, gru = nn.LSTM(64, 128, batch_first=True), nn.GRU(64, 128, batch_first=True)
    x = rand(32, 50, 64)

    def batch_norm(x, w, b):
        return F.batch_norm(x, mean, var, w, b, True)

    def attention(causal, p=0.0):
        return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=causal)

    return {
        "softmax": (lambda x: x.softmax(-1), (rows,)),
        "softmax columns": (lambda x: x.softmax(0), (rows,)),
        "log_softmax": (lambda x: x.log_softmax(-1), (rows,)),
        "cross_entropy 96": (lambda x: F.cross_entropy(x, labels), (logits,)),
        "cross_entropy 8192": (lambda x: F.cross_entropy(x, words), (tokens,)),
        "layer_norm 384": (lambda x, w, b: F.layer_norm(x, (384,), w, b), (narrow, wn, bn)),
        "layer_norm 1024": (lambda x, w, b: F.layer_norm(x, (1024,), w, b), (rows, w, b)),
        "rms_norm 1024": (lambda x, w: F.rms_norm(x, (1024,), w), (rows, w)),
        "group_norm": (lambda x, w, b: F.group_norm(x, 8, w, b), (maps, wc, bc)),
        "batch_norm": (batch_norm, (maps, wc, bc)),
        "batch_norm relu": (lambda x, w, b: F.relu(batch_norm(x, w, b)), (maps, wc, bc)),
        "gelu": (F.gelu, (rows,)),
        "attention": (attention(False), (q, k, v)),
        "attention causal": (attention(True), (q, k, v)),
        "attention dropout": (attention(False, 0.1), (q, k, v)),
        "embedding": (lambda w: F.embedding(ids, w), (table,)),
        "dropout": (lambda x: F.dropout(x, 0.1), (rows,)),
        "max_pool 2x2": (lambda x: F.max_pool2d(x, 2), (wide,)),
        "max_pool 3x3": (lambda x: F.max_pool2d(x, 3, 2, 1), (maps,)),
        "avg_pool 2x2": (lambda x: F.avg_pool2d(x, 2), (maps,)),
        "adaptive_avg_pool": (lambda x: F.adaptive_avg_pool2d(x, 4), (maps,)),
        "lstm": (lambda x, *w: lstm(x)[0], (x, *lstm.parameters())),
        "gru": (lambda x, *w: gru(x)[0], (x, *gru.parameters())),
    }  # fmt: skip


def forward(t, fn, inputs):
    """fn without recording."""

    def run():
        with t.no_grad():
            return fn(*inputs)

    return run


def both(t, fn, inputs):
    """fn and the gradients of all its operands."""
    g = t.ones_like(fn(*inputs)) if fn(*inputs).dim() == 0 else t.randn(*fn(*inputs).shape)
    return lambda: t.autograd.grad(fn(*inputs), inputs, g)


def measure(sides: dict, seconds: float, names=()):
    """(name, summary, 0, 0) of each operation, forward and then forward + backward."""
    tables = {side: operands(t) for side, t in sides.items()}
    for name in tables["flambeau"]:
        if names and not name.startswith(names):
            continue
        for way, suffix in ((forward, ""), (both, " +b")):
            fns = {side: way(sides[side], *table[name]) for side, table in tables.items()}
            yield name + suffix, pairs.summary(pairs.interleaved(fns, seconds, 0.01)), 0, 0


if __name__ == "__main__":
    pairs.main(__doc__, measure)
