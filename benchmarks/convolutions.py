"""Convolutions of known networks, flambeau beside PyTorch: python benchmarks/convolutions.py [name ...] [--threads N]

Per layer: forward, and forward and backward (gradients of input, weight and bias; LeNet's first layer has no gradient of its
input); the names "input" and "weight" measure the two gradients one by one. Products of the direct algorithm are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pairs


@dataclass(frozen=True)
class Layer:
    """One layer on one input; `first`: nothing asks for its input's gradient."""

    batch: int
    ci: int
    size: int
    co: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    bias: bool = False
    first: bool = False

    @property
    def operations(self) -> int:
        """Floating point operations of one forward pass."""
        out = (self.size + 2 * self.pad - self.kernel) // self.stride + 1
        return 2 * self.batch * self.co * out**2 * self.ci // self.groups * self.kernel**2


def square(batch: int, channels: int, size: int, **more) -> Layer:
    return Layer(batch, channels, size, channels, 3, pad=1, **more)


PARTS = ("forward", "both", "input", "weight")
LAYERS = {
    **{f"3x3 {c}@{s}": square(16, c, s) for c, s in ((64, 56), (128, 28), (256, 14), (512, 7))},
    "3x3 s2 64-128@56": Layer(16, 64, 56, 128, 3, 2, 1), "1x1 s2 64-128@56": Layer(16, 64, 56, 128, 1, 2),
    "1x1 64-256@56": Layer(16, 64, 56, 256, 1), "7x7 s2 3-64@224": Layer(16, 3, 224, 64, 7, 2, 3, first=True),
    "cifar 3-64@32": Layer(32, 3, 32, 64, 3, 1, 1, first=True),
    **{f"cifar {c}@{s}": square(32, c, s) for c, s in ((64, 32), (128, 16), (256, 8), (512, 4))},
    "cifar s2 64-128@32": Layer(32, 64, 32, 128, 3, 2, 1), "cifar 1x1 64-128@32": Layer(32, 64, 32, 128, 1, 2),
    "depthwise 64@56": square(16, 64, 56, groups=64), "depthwise 256@14": square(16, 256, 14, groups=256),
    "depthwise s2 96@112": Layer(16, 96, 112, 96, 3, 2, 1, 96), "groups 128@28": square(16, 128, 28, groups=4),
    **{f"lenet1 b{b}": Layer(b, 3, 32, 6, 5, bias=True, first=True) for b in (4, 64)},
    **{f"lenet2 b{b}": Layer(b, 6, 14, 16, 5, bias=True) for b in (4, 64)},
}  # fmt: skip


def operands(t, layer: Layer) -> dict:
    """{part: (function, floating point operations)}."""
    conv = t.nn.functional.conv2d
    how = (layer.stride, layer.pad, 1, layer.groups)
    x = t.randn(layer.batch, layer.ci, layer.size, layer.size)
    w = t.randn(layer.co, layer.ci // layer.groups, layer.kernel, layer.kernel) / math.sqrt(layer.ci * layer.kernel**2)
    b = t.randn(layer.co) if layer.bias else None
    g = t.ones_like(conv(x, w, b, *how))
    xg, wg = x.clone().requires_grad_(not layer.first), w.clone().requires_grad_()
    bg = None if b is None else b.clone().requires_grad_()
    wanted = [v for v in (xg, wg, bg) if v is not None and v.requires_grad]
    fixed, moving = conv(xg, w, b, *how), conv(x, wg, b, *how)
    ops = layer.operations
    return {
        "forward": (lambda: conv(x, w, b, *how), ops),
        "both": (lambda: t.autograd.grad(conv(xg, wg, bg, *how), wanted, g), (3 - layer.first) * ops),
        **({} if layer.first else {"input": (lambda: t.autograd.grad(fixed, xg, g, retain_graph=True), ops)}),
        "weight": (lambda: t.autograd.grad(moving, wg, g, retain_graph=True), ops),
    }


def measure(sides: dict, seconds: float, names=()):
    """(layer and part, summary, 0, operations) of each measurement; names may be parts too: forward, both, input, weight."""
    parts = [n for n in names if n in PARTS] or ["forward", "both"]
    starts = tuple(n for n in names if n not in PARTS)
    for name, layer in LAYERS.items():
        if not starts or name.startswith(starts):
            tables = {side: operands(t, layer) for side, t in sides.items()}
            for part in parts:
                if part in tables["flambeau"]:
                    fns = {side: table[part][0] for side, table in tables.items()}
                    work = tables["flambeau"][part][1]
                    yield f"{name} {part}", pairs.summary(pairs.interleaved(fns, seconds, 0.01)), 0, work


if __name__ == "__main__":
    pairs.main(__doc__, measure)
