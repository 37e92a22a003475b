"""Scratch memory for each worker, when another thread raises the number of threads between its making and the launch."""

import ctypes

import pytest

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.runtime import memory, threads

FEW, MANY = 2, 9
GUARD = 64 << 10  # bytes after a block that nobody may touch, and as many more as it has itself

x, square = torch.randn(40, 300), torch.randn(16, 96, 96)
images, taps, many_taps = torch.randn(9, 16, 20, 20), torch.randn(16, 16, 3, 3), torch.randn(160, 160, 3, 3)
heads = torch.randn(2, 9, 70, 32)


def gradients(f, *tensors):
    given = [t.detach().requires_grad_() for t in tensors]
    f(*given).sum().backward()
    return torch.cat([t.grad.flatten() for t in given])


OPS = {
    "bmm": lambda: square @ square,
    "conv2d": lambda: F.conv2d(images, taps),
    "strided conv2d": lambda: F.conv2d(images, taps, stride=2, padding=1),
    "half conv2d": lambda: F.conv2d(images.bfloat16(), taps.bfloat16(), dilation=2),
    "grouped conv2d": lambda: F.conv2d(images, taps[:, :4], groups=4),
    "conv2d's gradients": lambda: gradients(F.conv2d, images, taps),
    "gradients of many": lambda: gradients(F.conv2d, torch.ones(2, 160, 12, 12), many_taps),
    "dilated gradients": lambda: gradients(lambda x, w: F.conv2d(x, w, dilation=2), images, taps),
    "attention": lambda: F.scaled_dot_product_attention(heads, heads, heads),
    "attention's gradients": lambda: gradients(F.scaled_dot_product_attention, heads, heads, heads),
    "sort": lambda: x.sort(1)[0],
    "short sort": lambda: square.reshape(-1, 8).sort(1)[0],
    "topk": lambda: x.topk(5)[0],
    "median": lambda: x.median(1)[0],
    "adaptive pool": lambda: F.adaptive_avg_pool2d(images, 7),
    "its gradient": lambda: gradients(lambda x: F.adaptive_avg_pool2d(x, 7), images),
}


@pytest.fixture
def blocks(monkeypatch):
    """Every block of memory is guarded, and when there are `at` of them the number of threads rises."""
    held, real, most, old = [], memory.allocate, memory.most.value, threads.get_num_threads()

    def allocate(nbytes):
        storage = real(GUARD + nbytes * (MANY + 1))
        ctypes.memset(storage.ptr + nbytes, 0xA5, GUARD + nbytes)
        held.append((storage, nbytes))
        if len(held) == held_at[0]:
            threads.set_num_threads(MANY)
        return storage

    held_at = [0]
    monkeypatch.setattr(memory, "allocate", allocate)
    memory.most.value = -1  # the builtins ask `allocate` too
    yield held, held_at
    memory.most.value = most
    threads.set_num_threads(old)


def is_whole(storage, nbytes) -> bool:
    return ctypes.string_at(storage.ptr + nbytes, GUARD + nbytes) == b"\xa5" * (GUARD + nbytes)


@pytest.mark.parametrize("name", OPS)
def test_no_worker_leaves_its_scratch(name, blocks):
    """As soon as one block is there, or two, ...: one of these was the scratch."""
    held, at = blocks
    threads.set_num_threads(FEW)
    want = OPS[name]()
    total = len(held)
    for at[0] in range(1, total + 1):
        held.clear()
        threads.set_num_threads(FEW)
        assert OPS[name]().equal(want)
        assert all(is_whole(*block) for block in held)
