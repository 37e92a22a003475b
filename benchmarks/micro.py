"""Single operations, flambeau beside PyTorch: python benchmarks/micro.py [name ...] [--threads N]

One process runs both, alternating round by round on the same threads. Columns: microseconds of each side (medians), the ratio
(PyTorch / flambeau; above 1 flambeau is faster), and what flambeau reaches in GB/s or GFLOP/s.
"""

from __future__ import annotations

import argparse

import pairs

M = 1 << 20


def operands(t):
    """Name -> (function, bytes moved, floating point operations)."""
    F = t.nn.functional
    small, small2 = t.randn(1000), t.randn(1000)
    tracked = t.randn(1000, requires_grad=True)
    x, y = t.randn(M), t.randn(M)
    big = t.randn(8 * M)
    m = t.randn(1024, 1024)
    rows = t.randint(0, 1024, (4096,))
    image, kernel = t.randn(16, 64, 56, 56), t.randn(64, 64, 3, 3)
    table = {
        "add 1000": (lambda: small + small2, 0, 0),
        "add 1000 recorded": (lambda: tracked + small2, 0, 0),
        "add 1M": (lambda: x + y, 12 * M, 0), "mul 8M": (lambda: big * 2.0, 64 * M, 0),
        "exp 1M": (lambda: x.exp(), 8 * M, 0), "tanh 1M": (lambda: x.tanh(), 8 * M, 0), "gelu 1M": (lambda: F.gelu(x), 8 * M, 0),
        "sum 8M": (lambda: big.sum(), 32 * M, 0), "sum rows": (lambda: m.sum(1), 4 * M, 0), "sum columns": (lambda: m.sum(0), 4 * M, 0),
        "max rows": (lambda: m.max(1), 4 * M, 0), "softmax": (lambda: m.softmax(1), 8 * M, 0),
        "transpose": (lambda: m.t().contiguous(), 8 * M, 0), "index rows": (lambda: m[rows], 32 * M, 0),
        "cumsum": (lambda: m.cumsum(1), 8 * M, 0), "sort 1M": (lambda: x.sort(), 0, 0), "topk": (lambda: m.topk(10), 0, 0),
        "randn 1M": (lambda: t.randn(M), 4 * M, 0), "rand 8M": (lambda: t.rand(8 * M), 32 * M, 0),
        "layer_norm": (lambda: F.layer_norm(m, (1024,)), 8 * M, 0),
        "matmul 128": (lambda: m[:128, :128] @ m[:128, :128], 0, 2 * 128**3),
        "matmul 512": (lambda: m[:512, :512] @ m[:512, :512], 0, 2 * 512**3), "matmul 1024": (lambda: m @ m, 0, 2 * 1024**3),
        "conv 3x3": (lambda: F.conv2d(image, kernel, padding=1), 0, 2 * 16 * 64 * 64 * 9 * 56 * 56),
        "max_pool": (lambda: F.max_pool2d(image, 2), 4 * 16 * 64 * 56 * 56, 0),
    }  # fmt: skip
    return table


def measure(sides: dict, seconds: float, names=()):
    """(name, summary, bytes, operations) of each operation."""
    tables = {side: operands(t) for side, t in sides.items()}
    for name, (_, moved, work) in tables["flambeau"].items():
        if not names or name in names:
            fns = {side: table[name][0] for side, table in tables.items()}
            yield name, pairs.summary(pairs.interleaved(fns, seconds, 0.01)), moved, work


def rate(row: dict, moved: int, work: int) -> str:
    """What flambeau reaches, where it is told by a rate."""
    ours = row["flambeau"] * 1e9
    return f"{moved / ours:6.1f} GB/s" if moved else f"{work / ours:6.1f} GFLOP/s" if work else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.6)
    args = parser.parse_args()
    print(f"{args.threads} threads\n{'':20} {'flambeau us':>12} {'torch us':>12} {'ratio':>7}")
    for name, row, moved, work in measure(pairs.libraries(args.threads), args.seconds, args.names):
        print(pairs.line(name, row, 1e6, rate(row, moved, work)), flush=True)


if __name__ == "__main__":
    main()
