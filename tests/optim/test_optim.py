"""Optimizers and schedules against PyTorch's recorded runs; states that continue; hooks; errors."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from tests.optim import programs

DATA = json.loads((Path(__file__).parent.parent / "data" / "optim.json").read_text())
OPTIMIZERS, SCHEDULES = programs.cases(programs.OPTIMIZERS), programs.cases(programs.SCHEDULES)


@pytest.mark.parametrize("i", range(len(OPTIMIZERS)), ids=[f"{n}({o})" for n, o in OPTIMIZERS])
def test_as_pytorch(i):
    values, optimizer = programs.walk(torch, *OPTIMIZERS[i])
    want, state = DATA["optimizers"][i]
    for a, b in zip(values, want, strict=True):
        np.testing.assert_allclose(a.ravel(), b, rtol=3e-6, atol=3e-6)  # 20 steps of float32 rounding
    assert programs.shape_of_state(optimizer) == state


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(len(SCHEDULES)), ids=[f"{n}({o})" for n, o in SCHEDULES])
def test_schedules_as_pytorch(i):
    np.testing.assert_allclose(programs.rates(torch, *SCHEDULES[i]), DATA["schedules"][i], rtol=1e-12)


@pytest.mark.parametrize("name,options", [(n, o) for n, o in OPTIMIZERS if o])
def test_state_dict_continues(name, options):
    def run(break_at):
        r = np.random.default_rng(1)
        p = torch.nn.Parameter(torch.ones(4))
        make = lambda: eval(f"o.{name}([p], {options})", {"o": torch.optim, "p": p})  # noqa: S307
        optimizer = make()
        for step in range(10):
            if step == break_at:
                saved = copy.deepcopy(optimizer.state_dict())
                optimizer = make()
                optimizer.load_state_dict(saved)
            p.grad = torch.from_numpy(r.standard_normal(4).astype("f"))
            optimizer.step()
        return p.detach().numpy()

    np.testing.assert_array_equal(run(None), run(5))


def test_lbfgs_finds_a_minimum():
    p = torch.nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
    optimizer = torch.optim.LBFGS([p], line_search_fn="strong_wolfe", max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=1e-4)  # it stops at tolerance_change


def test_groups_hooks_and_zero_grad():
    a, b = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([{"params": [a], "lr": 0.5}, {"params": [b]}], lr=0.1)
    seen = []
    optimizer.register_step_pre_hook(lambda *x: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *x: seen.append("post"))
    (a.sum() + b.sum()).backward()
    assert optimizer.step(lambda: torch.tensor(3.0)).item() == 3.0
    assert a.tolist() == [0.5, 0.5] and np.allclose(b.detach().numpy(), 0.9) and seen == ["pre", "post"]
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert a.grad is None


def test_errors():
    p = torch.nn.Parameter(torch.ones(2))
    for bad, error in (
        (lambda: torch.optim.SGD([p], lr=-1), ValueError), (lambda: torch.optim.SGD([], lr=1), ValueError),
        (lambda: torch.optim.SGD(p, lr=1), TypeError), (lambda: torch.optim.Adam([p], betas=(1.0, 0.9)), ValueError),
        (lambda: torch.optim.SGD([p * 2], lr=1), ValueError), (lambda: torch.optim.SGD([p], lr=1, nesterov=True), ValueError),
        (lambda: torch.optim.SGD([{"params": [p]}, {"params": [p]}], lr=1), ValueError),
        (lambda: torch.optim.SGD([3], lr=1), TypeError),
        (lambda: torch.optim.Adam([p], differentiable=True, fused=True), RuntimeError),
    ):  # fmt: skip
        with pytest.raises(error):
            bad()


def test_plateau_sequence_and_averages():
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    rates = []
    for loss in (3, 2, 2, 2, 1, 1, 1, 1):
        optimizer.step()
        plateau.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    net = torch.nn.Linear(2, 1)
    average = torch.optim.swa_utils.AveragedModel(net)
    with torch.no_grad():
        for v in (1.0, 3.0):
            net.weight.fill_(v)
            average.update_parameters(net)
    assert average.module.weight.tolist() == [[2.0, 2.0]]


def test_steps_in_the_wrong_order_warn():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="optimizer.step"):
        schedule.step()
