"""Memory that stays flat, recovery from exhaustion, threads that train at once, shapes that never recompile."""

import gc
import threading

import numpy as np
import pytest

import flambeau as torch
from flambeau.runtime import kernels, memory


def small_step():
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(net.parameters())
    x = torch.randn(32, 8)

    def step():
        optimizer.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_memory_stays_flat_over_ten_thousand_steps():
    step = small_step()
    for _ in range(200):
        step()
    gc.collect()
    before = memory.stats()
    for _ in range(10_000):
        step()
    gc.collect()
    after = memory.stats()
    assert after["reserved"] <= before["reserved"] + 65536
    assert after["blocks"] <= before["blocks"] + 2


def test_shapes_do_not_recompile(monkeypatch):
    count = []
    real = kernels.K.compile_program
    monkeypatch.setattr(kernels.K, "compile_program", lambda p: count.append(p.name) or real(p))

    def work(a, b, c):
        x = torch.randn(a, b, c, requires_grad=True)
        y = (x.exp() * 2 + x.sum(1, keepdim=True)).softmax(-1) @ torch.randn(c, b)
        y.mean().backward()

    for sizes in ((20, 30, 40), (21, 33, 45), (300, 40, 50), (3, 200, 300)):  # every size class once
        work(*sizes)
    seen = len(count)
    for sizes in ((40, 31, 50), (37, 64, 128), (320, 50, 33), (2, 230, 250)):
        work(*sizes)
    assert len(count) == seen, count[seen:]


def test_out_of_memory_is_an_error_one_can_recover_from():
    before = memory.get_limit()
    memory.set_limit(memory.stats()["reserved"] + (64 << 20))
    try:
        with pytest.raises(memory.OutOfMemoryError):
            torch.zeros(1 << 28)
        assert torch.ones(1000).sum().item() == 1000
    finally:
        memory.set_limit(before)
    with pytest.raises(RuntimeError):
        torch.empty(1 << 60)


def test_training_in_several_threads_at_once():
    results: dict = {}

    def train(seed):
        g = torch.Generator().manual_seed(seed)
        w = torch.zeros(20, requires_grad=True)
        x = torch.randn(64, 20, generator=g)
        y = x @ torch.arange(20.0)
        for _ in range(150):
            loss = ((x @ w - y) ** 2).mean()
            (grad,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                w -= 0.1 * grad
        results[seed] = w.detach().numpy().copy()

    threads = [threading.Thread(target=train, args=(s,)) for s in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    parallel = dict(results)
    for seed in range(4):
        train(seed)
        np.testing.assert_array_equal(results[seed], parallel[seed])


def test_results_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    x, w = torch.randn(64, 3, 20, 20), torch.randn(8, 3, 3, 3)
    out = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            y = torch.nn.functional.conv2d(x, w)
            out.append([y.sum().item(), x.sum((0, 2)).tolist(), (x.reshape(64, -1) @ x.reshape(64, -1).t()).sum().item(),
                        x.softmax(1).sum().item(), x.cumsum(0).sum().item()])  # fmt: skip
    finally:
        torch.set_num_threads(before)
    assert out[0] == out[1] == out[2]
