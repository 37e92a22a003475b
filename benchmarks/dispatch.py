"""What surrounds the kernels, flambeau beside PyTorch: python benchmarks/dispatch.py [name ...] [--threads N]

Small operands, so that the time is that of finding the kernel, making the result, recording, and going back. One process runs
both, alternating round by round. Columns: microseconds of each side (medians), and the ratio (PyTorch / flambeau; above 1
flambeau is faster).
"""

from __future__ import annotations

from collections.abc import Callable

import pairs
from workloads import WORKLOADS

CHAIN = 50


def single(t) -> dict[str, Callable]:
    """Single calls: plain, recorded, views, indices, a module."""
    x, y, tracked = t.randn(1000), t.randn(1000), t.randn(1000, requires_grad=True)
    m, row, tracked_m = t.randn(8, 8), t.randn(8), t.randn(8, 8, requires_grad=True)
    identity, linear = t.nn.Identity(), t.nn.Linear(8, 8)
    return {
        "add": lambda: x + y, "add recorded": lambda: tracked + y, "add in place": lambda: x.add_(y), "add number": lambda: x + 2.0,
        "add broadcast": lambda: m + row, "relu": lambda: x.relu(), "relu recorded": lambda: tracked.relu(),
        "view": lambda: x.view(10, 100), "view recorded": lambda: tracked.view(10, 100), "transpose": lambda: m.t(),
        "index": lambda: x[5], "slice": lambda: x[5:10], "item": lambda: row[0].item(), "clone": lambda: x.clone(),
        "zeros": lambda: t.zeros(10), "sum": lambda: x.sum(), "sum rows": lambda: m.sum(1),
        "matmul 8": lambda: m @ m, "matmul 8 recorded": lambda: tracked_m @ m,
        "module call": lambda: identity(x), "linear 8": lambda: linear(m),
    }  # fmt: skip


def chains(t) -> dict[str, Callable]:
    """A chain of CHAIN recorded adds, alone and with its backward pass."""
    p, y, g = t.randn(1000, requires_grad=True), t.randn(1000), t.ones(1000)

    def forward():
        z = p
        for _ in range(CHAIN):
            z = z + y
        return z

    def both():
        p.grad = None
        forward().backward(g)

    return {f"{CHAIN} adds": forward, f"{CHAIN} adds and back": both}


def steps(t) -> dict[str, Callable]:
    """Steps of optimizers, all gradients given; zero_grad."""
    table = {}
    for net in ("lenet-4", "resnet18-32"):
        for name, optimizer in {
            "SGD": lambda ps: t.optim.SGD(ps, lr=1e-3, momentum=0.9), "Adam": lambda ps: t.optim.Adam(ps),
        }.items():  # fmt: skip
            params = list(WORKLOADS[net].net(t).parameters())
            for p in params:
                p.grad = t.randn(p.shape)
            table[f"{name} {net.partition('-')[0]}"] = optimizer(params).step
    return table


def operations(t) -> dict[str, Callable]:
    return single(t) | chains(t) | steps(t)


def measure(sides: dict, seconds: float, names=()):
    """(name, summary, 0, 0) of each operation."""
    tables = {side: operations(t) for side, t in sides.items()}
    for name in tables["flambeau"]:
        if not names or name.startswith(names):
            yield name, pairs.summary(pairs.interleaved({side: table[name] for side, table in tables.items()}, seconds, 0.01)), 0, 0


if __name__ == "__main__":
    pairs.main(__doc__, measure)
