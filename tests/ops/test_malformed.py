"""Malformed arguments at every op in the table: an exception or a result, never a crash.

A process of its own runs the calls, so that a crash would be seen as its exit code (and the last call printed).
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = '''
import random, sys, warnings
warnings.simplefilter("ignore")
import flambeau as torch
from flambeau.ops.record import TABLE

r = random.Random(int(sys.argv[1]))
BIG = 1 << 62
SKIP = {"poisson", "binomial"}  # draw one number at a time: BIG rates would take for ever

def tensor():
    shape = r.choice([(), (0,), (1,), (3,), (2, 3), (3, 0), (2, 3, 4), (1, 2, 5, 5), (2, 1, 3, 3, 3)])
    kind = r.choice(["f", "f", "f", "d", "i", "b", "c", "h", "u"])
    t = torch.rand(shape) * 4 - 2
    t = {"f": t, "d": t.double(), "i": (t * 3).long(), "b": t > 0, "c": torch.complex(t, t), "h": t.half(), "u": t.to(torch.uint8)}[kind]
    how = r.random()
    if how < 0.15 and t.dim() > 1:
        t = t.transpose(0, -1)
    elif how < 0.25 and t.dim() and t.shape[0] > 1:
        t = t[::2]
    elif how < 0.35 and t.dim():
        t = t.expand(2, *t.shape)
    elif how < 0.5 and t.is_floating_point():
        t = t.requires_grad_()
    return t

def argument(name):
    if name in ("input", "other", "x", "y", "A", "B", "weight", "src", "mat", "mat2", "target", "g", "end") and r.random() < 0.9:
        return tensor()
    return r.choice([
        tensor, lambda: None, lambda: r.choice([0, 1, 2, -1, 3, 7, -100, BIG, -BIG]), lambda: r.choice([0.5, -1.5, float("nan"), float("inf")]),
        lambda: r.choice(["mean", "none", "sum", "fro", "nope", ""]), lambda: r.choice([True, False]),
        lambda: tuple(r.choice([0, 1, 2, -1, 5, BIG]) for _ in range(r.randrange(4))), lambda: [tensor() for _ in range(r.randrange(3))],
        lambda: r.choice([torch.float32, torch.int64, torch.bool]), lambda: (r.choice([1, 2, 3]),) * 2, object,
        lambda: torch.tensor([r.randrange(-5, 9) for _ in range(4)]), lambda: torch.randint(-3, 9, (2, 3)),
    ])()

calls = failed = 0
for name in sorted(TABLE):
    record = TABLE[name]
    if name in SKIP:
        continue
    internal = record.option("function", True) is False and not record.option("method", record.params[:1] in (("input",), ("self",))) and not record.option("functional")
    if internal:
        continue  # called with checked arguments only
    for _ in range(int(sys.argv[2])):
        args = [argument(p) for p in record.params if p not in record.keyword_only and r.random() < 0.9]
        kwargs = {p: argument(p) for p in record.keyword_only if r.random() < 0.3}
        print(name, [(tuple(a.shape), a.dtype, a.stride()) if isinstance(a, torch.Tensor) else a for a in args], kwargs, file=sys.stderr)
        calls += 1
        try:
            result = record.call(*args, **kwargs)
            for t in result if isinstance(result, tuple) else (result,):
                if isinstance(t, torch.Tensor):
                    t.sum() if not t.is_complex() else t.abs().sum()
                    if t.requires_grad and t.numel():
                        (t.abs() if t.is_complex() else t).sum().backward()
        except (TypeError, ValueError, RuntimeError, IndexError, NotImplementedError, AttributeError, AssertionError, KeyError,
                OverflowError, ZeroDivisionError, MemoryError):
            failed += 1
print(calls, failed)
'''


@pytest.mark.parametrize("seed", [0, 1])
def test_no_call_crashes(seed, tmp_path):
    log = tmp_path / "calls"
    with log.open("w") as errors:
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(seed), "8"], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=300,
            env={"PYTHONPATH": str(ROOT), "PATH": "", "FLAMBEAU_MEMORY_LIMIT": str(4 << 30)},
        )  # fmt: skip
    last = log.read_text().splitlines()[-12:]
    assert run.returncode == 0, "\n".join(last)
    calls, failed = map(int, run.stdout.split())
    assert calls > 1500 and failed < calls
