"""differentiable=True: steps that are part of a graph, against PyTorch's recorded gradients and finite differences."""

import json
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from tests.optim import programs

DATA = json.loads((Path(__file__).parent.parent / "data" / "optim_differentiable.json").read_text())
CASES = programs.cases(programs.DIFFERENTIABLE)
IDS = [f"{n}({o})" for n, o in CASES]
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.mark.parametrize("i", range(len(CASES)), ids=IDS)
def test_as_pytorch(i):
    steps, want = DATA[i]
    got = programs.through(torch, *CASES[i], steps=steps)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=1e-5)  # PyTorch: 1 - b2^t in float32


@pytest.mark.parametrize("name,options", [c for c in CASES if "momentum" not in c[1] or c[0] != "SGD"])  # whose first buffer is detached
def test_slopes(name, options):
    run = lambda shift: programs.through(torch, name, options.replace("T(", "float("), steps=3, shift=shift)
    h = 1e-5
    slope = run(0.0)[-1][0]
    state_and_end = [run(s)[-3][0] for s in (-h, h)]
    np.testing.assert_allclose(slope, (state_and_end[1] - state_and_end[0]) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(programs.DIFFERENTIABLE))
def test_recorded_steps_are_the_other_steps(name):
    def run(recorded):
        r = np.random.default_rng(3)
        w = torch.from_numpy(r.standard_normal(7).astype("f"))
        options = {} if name == "Rprop" else {"weight_decay": 0.1}
        optimizer = getattr(torch.optim, name)([w], lr=0.05, differentiable=recorded, **options)
        for _ in range(5):
            w.grad = torch.from_numpy(r.standard_normal(7).astype("f"))
            optimizer.step()
        return w.numpy()

    np.testing.assert_array_equal(run(True), run(False))


def test_halves_and_complex_numbers():
    for dtype in (torch.bfloat16, torch.float16, torch.complex64):
        start = torch.tensor([1 + 1j, -2 + 3j, 3 - 1j] if dtype.is_complex else [1.0, -2.0, 3.0], dtype=dtype, requires_grad=True)
        w = start.clone()
        optimizer = torch.optim.Adam([w], lr=0.1, differentiable=True)
        w.grad = (start * 2).detach()
        optimizer.step()
        w.abs().sum().backward()
        assert start.grad.shape == (3,) and bool(start.grad.isfinite().all())


def test_errors():
    leaf = torch.ones(2, requires_grad=True)
    leaf.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        torch.optim.SGD([leaf], lr=0.1, differentiable=True).step()
    w = torch.ones(2)
    w.grad = torch.ones(2)
    optimizer = torch.optim.Adam([w], differentiable=True)
    optimizer.step()
    optimizer.state[w]["step"].requires_grad_()
    with pytest.raises(RuntimeError, match="not supported for `step`"):
        optimizer.step()
    for name in ("SGD", "Adam", "AdamW", "Adagrad"):
        with pytest.raises(RuntimeError, match="`fused` does not support `differentiable`"):
            getattr(torch.optim, name)([w], fused=True, differentiable=True)
