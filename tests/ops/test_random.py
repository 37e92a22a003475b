"""Random numbers are PyTorch's: the values, and the generator's state after them."""

import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from tests.ops import random_cases as cases

DATA = np.load(Path(__file__).parent.parent / "data" / "random.npz")
ALL = cases.EXACT + cases.CLOSE


@pytest.mark.parametrize("i", range(len(ALL)), ids=ALL)
def test_stream(i):
    value, state = cases.draw(torch, ALL[i])
    want = DATA[str(i)]
    assert value.dtype == want.dtype and value.shape == want.shape
    if i < len(cases.EXACT):
        np.testing.assert_array_equal(value, want)
    else:
        np.testing.assert_allclose(value, want, rtol=5e-6, atol=1e-6)
    if "Generator" not in ALL[i] and "poisson" not in ALL[i]:
        assert zlib.crc32(state.tobytes()) == DATA[f"{i}.state"]


def test_state_and_fork():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    a = torch.randn(5)
    torch.set_rng_state(state)
    assert torch.equal(torch.randn(5), a)
    with torch.random.fork_rng():
        torch.rand(10)
    b = torch.rand(1)
    torch.set_rng_state(state)
    torch.randn(5)
    assert torch.equal(torch.rand(1), b)
    g = torch.Generator()
    assert g.initial_seed() == 67280421310721
    h = g.clone_state()
    assert torch.equal(torch.rand(3, generator=g), torch.rand(3, generator=h))


def test_bad_arguments():
    with pytest.raises(RuntimeError):
        torch.set_rng_state(torch.zeros(5056, dtype=torch.uint8))
    with pytest.raises(RuntimeError):
        torch.set_rng_state(torch.zeros(10, dtype=torch.uint8))
    with pytest.raises(TypeError):
        torch.set_rng_state([1, 2])
    with pytest.raises(RuntimeError):
        torch.randint(5, 5, (2,))
    with pytest.raises(RuntimeError):
        torch.empty(3).uniform_(2, 1)
    with pytest.raises(NotImplementedError):
        torch.empty(3, dtype=torch.int64).normal_()
    with pytest.raises(RuntimeError):
        torch.ones(3, requires_grad=True).uniform_()
    with pytest.raises(RuntimeError):
        torch.multinomial(torch.tensor([0.0, 0.0]), 1)
    with pytest.raises(RuntimeError):
        torch.multinomial(torch.tensor([-1.0, 2.0]), 1)


def test_threads_share_a_generator_without_losing_draws():
    torch.manual_seed(0)
    parts: list = []

    def run():
        for _ in range(50):
            parts.append(torch.rand(100))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    torch.manual_seed(0)
    want = np.sort(torch.rand(20000).numpy())
    np.testing.assert_array_equal(np.sort(np.concatenate([p.numpy() for p in parts])), want)
