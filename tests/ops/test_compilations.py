"""Kernels are compiled per op, dtypes and layout: never per shape, never again by a second process, never by an import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau as torch
from flambeau.runtime import kernels

F = torch.nn.functional
ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import flambeau as torch
from flambeau.runtime import jit
imported = jit.stats.compiled
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                          torch.nn.Flatten(), torch.nn.Linear(36, 5))
optimizer = torch.optim.Adam(net.parameters())
x, y = torch.randn(6, 1, 8, 8), torch.arange(6) % 5
for _ in range(2):
    loss = torch.nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
values, places = x.flatten().sort()
x[0, 0, places[:3] % 8] = values.cumsum(0)[:3, None]
print(imported, jit.stats.compiled, jit.stats.loaded_from_cache, loss.item())
"""


def start(folder: Path) -> list[float]:
    env = {**os.environ, "FLAMBEAU_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)
    return [float(v) for v in run.stdout.split()]


def test_an_import_and_a_second_start_compile_nothing(tmp_path):
    imported, compiled, _, loss = start(tmp_path)
    assert imported == 0 and compiled > 30
    imported, again, loaded, same = start(tmp_path)
    assert imported == 0 and again == 0 and loaded >= compiled
    assert same == loss


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


# fn(a, b, c): something of that size, forward and (of what it returns) backward
WORK = {
    "pointwise": lambda a, b, c: (leaf(a, b, c) * leaf(b, c).exp() + leaf(c)).tanh(),
    "transposed": lambda a, b, c: leaf(a, b, c).transpose(0, 2) + leaf(c, b, a),
    "strided": lambda a, b, c: leaf(a, b, 2 * c)[:, :, ::2].sigmoid(),
    "reductions": lambda a, b, c: leaf(a, b, c).sum(1) + leaf(a, b, c).mean(1) + leaf(a, b, c).amax(1),
    "inner reductions": lambda a, b, c: leaf(a, b, c).var(-1) + leaf(a, b, c).norm(dim=-1) + leaf(a, b, c).logsumexp(-1),
    "scans": lambda a, b, c: leaf(a, b, c).cumsum(1) + leaf(a, b, c).cumsum(2),
    "softmax": lambda a, b, c: leaf(a, b, c).softmax(-1) + leaf(a, b, c).log_softmax(1),
    "sort": lambda a, b, c: leaf(a, b, c).sort(-1)[0] + leaf(a, b, c).topk(min(b, 3), 1)[0].sum(1, keepdim=True),
    "joining": lambda a, b, c: torch.cat([leaf(a, b, c), leaf(a, 2, c)], 1),
    "indexing": lambda a, b, c: leaf(a, b, c)[torch.arange(a).flip(0)] + leaf(a, b, c).gather(0, torch.zeros(a, b, c, dtype=torch.int64)),
    "masks": lambda a, b, c: leaf(a, b, c).masked_fill(torch.rand(a, b, c) > 0.5, 0.0).tril(),
    "embedding": lambda a, b, c: F.embedding(torch.randint(0, b, (a, c)), leaf(b, c)),
    "product": lambda a, b, c: leaf(a + 64, b + 64) @ leaf(b + 64, c + 64),
    "batched product": lambda a, b, c: leaf(a, b + 64, c + 64) @ leaf(a, c + 64, b + 64),
    "linear": lambda a, b, c: F.linear(leaf(a, b), leaf(c, b), leaf(c)),
    "convolution": lambda a, b, c: F.conv2d(leaf(a, 3, b + 4, c + 4), leaf(5, 3, 3, 3), leaf(5), padding=1),
    "pooling": lambda a, b, c: F.max_pool2d(leaf(a, 3, b + 4, c + 4), 2) + F.avg_pool2d(leaf(a, 3, b + 4, c + 4), 2),
    "normalisation": lambda a, b, c: F.layer_norm(leaf(a, b, c), (c,), leaf(c), leaf(c)) + F.batch_norm(leaf(a, b, c), None, None, training=True),
    "loss": lambda a, b, c: F.cross_entropy(leaf(a * b, c), torch.zeros(a * b, dtype=torch.int64)) + F.mse_loss(leaf(a, b), leaf(a, b)),
    "attention": lambda a, b, c: F.scaled_dot_product_attention(leaf(a, 2, b, 16), leaf(a, 2, c, 16), leaf(a, 2, c, 16)),
    "recurrence": lambda a, b, c: torch.nn.LSTM(b, 8)(leaf(a, c, b))[0],
    "chance": lambda a, b, c: F.dropout(leaf(a, b, c)) + torch.rand(a, b, c) + torch.randperm(c),
}  # fmt: skip
# meets the size classes that kernels are chosen by: short and long rows, heights of register tiles
FIRST = [(3, 5, 7), (16, 24, 40), (2, 33, 70), (40, 9, 18), (5, 64, 129), (1, 6, 12), (17, 12, 33), (8, 6, 9), (9, 70, 141), (4, 9, 6)]
OTHERS = [(4, 6, 9), (17, 30, 33), (3, 40, 90), (38, 8, 21), (7, 70, 140), (6, 11, 13)]


@pytest.mark.parametrize("name", WORK)
def test_shapes_do_not_compile(name, monkeypatch):
    count = []
    real = kernels.K.compile_program
    monkeypatch.setattr(kernels.K, "compile_program", lambda p: count.append(p.name) or real(p))
    for sizes in FIRST:
        WORK[name](*sizes).sum().backward()
    seen = len(count)
    for sizes in OTHERS:
        WORK[name](*sizes).sum().backward()
    assert len(count) == seen, count[seen:]
