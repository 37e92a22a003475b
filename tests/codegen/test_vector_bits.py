"""One program, one result: the width of the processor's vectors does not change a bit."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import hashlib
import flambeau as torch

F = torch.nn.functional
torch.manual_seed(0)
torch.set_num_threads(2)
x, y, images = torch.randn(300, 501), torch.randn(501, 203), torch.randn(4, 3, 19, 21)
labels = torch.randint(0, 501, (300,))
leaves = [t.requires_grad_() for t in (x, y, images, torch.randn(6, 3, 5, 5), torch.randn(6))]
q = torch.randn(2, 3, 37, 16, requires_grad=True)
lstm = torch.nn.LSTM(7, 9)
maps, w3 = torch.randn(2, 64, 12, 12, requires_grad=True), torch.randn(64, 64, 3, 3, requires_grad=True)
outputs = {
    "maths": torch.tanh(x) + x.exp() + F.gelu(x), "sums": torch.cat([x.sum(0), x.sum(1), x.mean()[None], x.var(1)]),
    "product": x @ y, "transposed": x.t() @ x, "softmax": x.softmax(1), "norm": F.layer_norm(x, (501,)),
    "loss": F.cross_entropy(x, labels)[None], "conv": F.conv2d(images, *leaves[3:], padding=1),
    "winograd": F.conv2d(maps, w3, padding=1), "strided": F.conv2d(maps, w3, stride=2),
    "strided, padded": F.conv2d(torch.cat([maps, maps]), w3, stride=2, padding=1), "depthwise": F.conv2d(maps, w3[:, :1], groups=64),
    "groups": F.conv2d(maps, w3[:, :32], padding=1, groups=2),
    "batch": F.batch_norm(images, None, None, training=True), "scan": x.cumsum(0), "lstm": lstm(torch.randn(5, 3, 7))[0],
    "attention": F.scaled_dot_product_attention(q, q, q, is_causal=True),
    "attention in double": F.scaled_dot_product_attention(q.double(), q.double(), q.double(), is_causal=True), "dropped": F.scaled_dot_product_attention(q, q, q, dropout_p=0.3), "norms": x.norm(dim=0),
    "extremes": torch.cat([(x * 0).amax(1), (x * 0).amin(0)]), "pool": F.avg_pool2d(images, 3),
}
sum((o * torch.linspace(-1, 1, o.numel()).reshape(o.shape)).sum() for o in outputs.values()).backward()
leaves += [q, maps, w3, *lstm.parameters()]
outputs |= {f"gradient {i}": t.grad for i, t in enumerate(leaves)}
for name, o in outputs.items():
    print(name, hashlib.sha256(o.detach().contiguous().numpy().tobytes()).hexdigest()[:12])
"""


def run(bits: int) -> list[str]:
    env = {**os.environ, "FLAMBEAU_VECTOR_BITS": str(bits)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_results_do_not_depend_on_the_vectors():
    widest = run(0)
    assert len(widest) > 20
    assert run(256) == widest
    assert run(128) == widest
