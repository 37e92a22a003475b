"""Kernels found on disk by what they are made of: names that tell them apart, and a second start that traces nothing."""

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from flambeau.core import dtypes as dt
from flambeau.ops import pool_kernels
from flambeau.runtime import recall

PROGRAM = """
import flambeau as torch
from flambeau.ir import kernel as K
from flambeau.ops.elementwise import Plan
from flambeau.runtime import jit

traced = []
for cls, name in ((K.Template, "trace"), (Plan, "program")):
    real = getattr(cls, name)
    setattr(cls, name, lambda self, *a, real=real, **k: traced.append(type(self).__name__) or real(self, *a, **k))
torch.manual_seed(0)
x = torch.randn(40, 30, requires_grad=True)
y = (x.exp() * 2 + x.sum(1, keepdim=True)).softmax(-1) @ torch.randn(30, 20)
y.relu().mean().backward()
print(len(traced), jit.stats.compiled, x.grad.sum().item())
"""


def run(cache) -> list[str]:
    env = dict(os.environ, FLAMBEAU_CACHE_DIR=str(cache))
    return subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True).stdout.split()


def test_second_start_traces_and_compiles_nothing(tmp_path):
    first, second = run(tmp_path), run(tmp_path)
    assert int(first[0]) > 5 and int(first[1]) > 5
    assert second[:2] == ["0", "0"] and second[2] == first[2]


def test_objects_that_are_gone_are_compiled_again(tmp_path):
    first = run(tmp_path)
    largest = sorted(tmp_path.glob("*.fobj"), key=lambda p: p.stat().st_size)[-3:]
    for path in largest:
        path.unlink()
    again = run(tmp_path)
    assert int(again[0]) > 0 and again[2] == first[2]


def adder(n):
    def add(x):
        return x + n

    add.__module__ = "flambeau.ops.example"
    return add


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True), (1, 1.0), (0.0, -0.0), ("1", 1), ((1, 2), (12,)), (dt.float32, dt.float64), ((), None),
        (pool_kernels.max_pool.fn, pool_kernels.unpool_add.fn), (adder(1), adder(2)), ({1, 2}, {1, 3}),
    ],
)  # fmt: skip
def test_other_values_have_other_names(a, b):
    assert recall.name_of(a) == recall.name_of(a) is not None
    assert recall.name_of(a) != recall.name_of(b)


def test_lambdas_of_one_line_are_told_apart():
    first, second = [lambda x: x, lambda x: x]
    first.__module__ = second.__module__ = "flambeau.ops.example"
    assert recall.name_of(first) != recall.name_of(second)


def test_what_is_not_this_packages_has_no_name():
    @dataclass
    class Mine:
        x: int

    for value in (lambda x: x, Mine(1), object(), [object()], {"a": object()}):
        assert recall.name_of(value) is None
