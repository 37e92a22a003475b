"""The backward pass: gradients kept without copies where that is safe, order, depth, memory."""

import gc

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import engine
from flambeau.runtime import memory


def test_a_fresh_gradient_is_kept_not_copied(monkeypatch):
    copies = []
    real = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda self, **k: copies.append(tuple(self.shape)) or real(self, **k))
    x, w, b = torch.randn(5, 4), torch.randn(3, 4, requires_grad=True), torch.randn(3, requires_grad=True)
    torch.nn.functional.linear(x, w, b).square().sum().backward()
    assert copies == [] and w.grad.is_contiguous() and w.grad._base is None
    np.testing.assert_allclose(b.grad.numpy(), (2 * (x @ w.t() + b)).sum(0).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_gradients_of_two_leaves_are_apart():
    a, b = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    (a + b).backward(torch.ones(3))
    a.grad.add_(1)
    assert a.grad.tolist() == [2, 2, 2] and b.grad.tolist() == [1, 1, 1]


def test_the_given_gradient_is_not_kept():
    x, g = torch.zeros(3, requires_grad=True), torch.ones(3)
    (x + 0).backward(g)
    x.grad.add_(1)
    assert g.tolist() == [1, 1, 1]


def test_a_gradient_a_hook_keeps_is_apart_from_grad():
    kept = []
    x = torch.zeros(3, requires_grad=True)
    x.register_hook(kept.append)
    (x * 2).sum().backward()
    x.grad.add_(1)
    assert kept[0].tolist() == [2, 2, 2] and x.grad.tolist() == [3, 3, 3]


def test_a_saved_tensor_that_is_the_gradient_is_not_kept():
    class Give(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(y)
            return x.sum()

        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0], None

    x, y = torch.zeros(3, requires_grad=True), torch.ones(3)
    Give.apply(x, y).backward()
    x.grad.add_(1)
    assert y.tolist() == [1, 1, 1]


@pytest.mark.parametrize("layout", ["transposed", "strided"])
def test_gradients_lie_as_their_leaf_where_it_is_one_block(layout):
    base = torch.randn(4, 6)
    leaf = (base.t() if layout == "transposed" else base[:, ::2]).requires_grad_()
    (leaf.contiguous() * 3).sum().backward()
    assert leaf.grad.stride() == (leaf.stride() if layout == "transposed" else (3, 1))
    assert (leaf.grad == 3).all()


def test_a_leaf_used_often_gets_one_sum_and_its_hooks_one_call():
    calls = []
    x = torch.ones(3, requires_grad=True)
    x.register_hook(lambda g: calls.append(g.tolist()))
    x.register_post_accumulate_grad_hook(lambda t: calls.append(t.grad.tolist()))
    (x * 2 + x * 3 + x).sum().backward()
    assert calls == [[6, 6, 6], [6, 6, 6]]


def test_a_leaf_is_done_as_soon_as_its_gradient_is_complete():
    order = []
    early, late = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    for name, leaf in (("early", early), ("late", late)):
        leaf.register_post_accumulate_grad_hook(lambda _, name=name: order.append(name))
    y = early * 1
    y.register_hook(lambda _: order.append("between"))
    (y * late).sum().backward()
    assert order == ["late", "between", "early"]


def test_accumulation_over_passes_and_outputs():
    x = torch.ones(4, requires_grad=True)
    parts = (x * torch.arange(4.0)).split(2)
    for _ in range(2):
        (parts[0].sum() + 2 * parts[1].sum()).backward(retain_graph=True)
    assert x.grad.tolist() == [0, 2, 8, 12]


def test_inputs_that_are_leaves_and_not():
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    gx, gy = torch.autograd.grad(z, (x, y))
    assert gx.tolist() == [8, 8, 8] and gy.tolist() == [4, 4, 4] and x.grad is None


def test_a_leaf_as_output():
    x = torch.ones(3, requires_grad=True)
    assert torch.autograd.grad(x, x, torch.full((3,), 2.0))[0].tolist() == [2, 2, 2]
    x.backward(torch.ones(3))
    assert x.grad.tolist() == [1, 1, 1]


def test_only_what_saved_tensors_is_freed():
    x = torch.ones(3, requires_grad=True)
    y = (x.view(1, 3).t() + 1).sum(0)
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]
    for z in ((x * x).sum(), (x * 2).sum(), x.exp().sum()):
        z.backward()
        with pytest.raises(RuntimeError, match="second time"):
            z.backward()


def test_deep_graphs():
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    del y
    gc.collect()


def test_nothing_is_left_behind():
    x = torch.randn(64, 64, requires_grad=True)

    def step():
        x.grad = None
        y = torch.relu(x @ x).softmax(1)
        (y + y.t()).square().sum().backward()

    step()
    gc.collect()
    gc.disable()
    try:
        before = memory.stats()["blocks"]
        for _ in range(20):
            step()
        assert memory.stats()["blocks"] == before
    finally:
        gc.enable()


def test_references_are_counted_as_on_this_python():
    fresh = [torch.ones(3) + 1]
    kept = torch.ones(3) + 1
    engine.own([torch.ones(1) + 1], torch.ones(1))
    assert engine.references(fresh) == engine.alone
    assert engine.references([kept]) != engine.alone


# In-place changes of real views of complex tensors, and the other way round: (in place, the same out of place).
CHANGES = {
    "all": (lambda y: y.view_as_real().mul_(2), lambda y: y * 2),
    "real part": (lambda y: y.real.mul_(3), lambda y: torch.complex(y.real * 3, y.imag)),
    "imaginary part": (lambda y: y.imag.mul_(y.real.clone()), lambda y: torch.complex(y.real, y.imag * y.real)),
    "column": (lambda y: y.view_as_real()[..., 0].mul_(3), lambda y: torch.complex(y.real * 3, y.imag)),
    "there and back": (lambda y: y.view_as_real().view_as_complex().mul_(1j), lambda y: y * 1j),
}  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_changes_through_views_of_the_parts(name, turned):
    found = []
    for place in (0, 1):
        x = torch.tensor([[1 + 2j, 3 - 1j], [0.5j, 2 + 0j]], requires_grad=True)
        y = (x * 2).t() if turned else x.clone()
        changed = CHANGES[name][place](y)
        ((y if place == 0 else changed).abs() ** 2).sum().backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_a_complex_view_of_a_real_tensor_is_changed():
    x = torch.ones(3, 2, requires_grad=True)
    y = x.clone()
    y.view_as_complex().mul_(2j)
    (y * torch.arange(6.0).reshape(3, 2)).sum().backward()
    assert x.grad.tolist() == [[2, 0], [6, -4], [10, -8]]
