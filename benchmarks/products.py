"""Matrix products, flambeau beside PyTorch: python benchmarks/products.py [name ...] [--threads N]

The shapes of squares, of a small GPT (width 384, 4 x 256 tokens), of an MLP, an LSTM and LeNet, forward and gradients. One process
runs both in turn on the same threads; the last column is the fraction of the multiply-add peak, measured in the same run.
"""

from __future__ import annotations

import pairs

# name -> batch (0: none), m, k, n, layouts: N as it lies in memory, T the transpose of what lies there
SHAPES = {
    "square 16": (0, 16, 16, 16, "NN"), "square 64": (0, 64, 64, 64, "NN"), "square 128": (0, 128, 128, 128, "NN"),
    "square 256": (0, 256, 256, 256, "NN"), "square 512": (0, 512, 512, 512, "NN"), "square 1024": (0, 1024, 1024, 1024, "NN"),
    "square 2048": (0, 2048, 2048, 2048, "NN"),
    "gpt qkv": (0, 1024, 384, 1152, "NT"), "gpt up": (0, 1024, 384, 1536, "NT"), "gpt down": (0, 1024, 1536, 384, "NT"),
    "gpt grad input": (0, 1024, 1536, 384, "NN"), "gpt grad weight": (0, 1536, 1024, 384, "TN"),
    "gpt grad weight 2": (0, 384, 1024, 1536, "TN"), "gpt short": (0, 768, 128, 384, "NN"),
    "heads q k": (24, 256, 64, 256, "NT"), "heads p v": (24, 256, 256, 64, "NN"), "heads p g": (24, 256, 256, 64, "TN"),
    "mlp 1": (0, 128, 784, 512, "NT"), "mlp 2": (0, 128, 512, 256, "NT"), "mlp 3": (0, 128, 256, 10, "NT"),
    "mlp grad weight": (0, 512, 128, 784, "TN"),
    "lstm input": (0, 1600, 64, 512, "NT"), "lstm step": (0, 32, 128, 512, "NT"),
    "lenet 4": (0, 4, 400, 120, "NT"), "lenet 64": (0, 64, 400, 120, "NT"), "lenet grad weight": (0, 120, 64, 400, "TN"),
    "1 row": (0, 1, 384, 1536, "NT"), "4 rows": (0, 4, 384, 1536, "NT"), "8 rows": (0, 8, 384, 1536, "NT"), "16 rows": (0, 16, 384, 1536, "NN"),
    "matrix vector": (0, 1024, 1024, 1, "NN"), "turned vector": (0, 1024, 1024, 1, "TN"), "long k": (0, 64, 20000, 32, "TN"),
}  # fmt: skip


def operands(t, batch: int, m: int, k: int, n: int, layouts: str):
    """The two matrices, of library t."""
    lead = (batch,) if batch else ()
    a = t.randn(*lead, m, k) if layouts[0] == "N" else t.randn(*lead, k, m).mT
    b = t.randn(*lead, k, n) if layouts[1] == "N" else t.randn(*lead, n, k).mT
    return a, b


def measure(sides: dict, seconds: float, names=()):
    """(name, summary, 0, operations) of each shape."""
    for name, shape in SHAPES.items():
        if names and not name.startswith(names):
            continue
        fns = {}
        for side, t in sides.items():
            a, b = operands(t, *shape)
            fns[side] = lambda a=a, b=b: a @ b
        batch, m, k, n, _ = shape
        yield name, pairs.summary(pairs.interleaved(fns, seconds, 0.01)), 0, 2 * max(1, batch) * m * n * k


if __name__ == "__main__":
    pairs.main(__doc__, measure)
