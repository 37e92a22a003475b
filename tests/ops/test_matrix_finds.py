"""What the matrix found at first, where its own lines do not say it all."""

import subprocess
import sys

import pytest

import flambeau as torch

F = torch.nn.functional


def test_bernoulli_draws_in_pytorchs_order():
    """Into new tensors in logical order, in place in the order of memory: values recorded from PyTorch 2.13."""
    torch.manual_seed(0)
    p = torch.tensor([[0.0, 1, 1], [1, 0, 0]])
    assert torch.bernoulli(p.t()).tolist() == [[0, 1], [1, 0], [1, 0]]
    assert torch.bernoulli(torch.full((3, 2), 0.5).t()).tolist() == [[1, 0, 1], [0, 1, 1]]
    assert torch.bernoulli(torch.full((2, 6), 0.5)[:, ::2]).tolist() == [[1, 1, 1], [0, 0, 0]]
    torch.manual_seed(0)
    x = torch.zeros(3, 2).t()
    x.bernoulli_(torch.tensor([[0.0, 1, 1], [1, 0, 0.5]]))
    assert x.tolist() == [[0, 1, 1], [1, 0, 0]]
    x = torch.empty(1, 2, 2, 3).contiguous(memory_format=torch.channels_last)
    assert x.bernoulli_(torch.tensor([0.0, 1, 0])).tolist() == [[[[0, 1, 0]] * 2] * 2]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("nll_loss_forward", lambda x, w: F.nll_loss(x, torch.tensor([1]), w)),
        ("binary_cross_entropy", lambda x, w: F.binary_cross_entropy(x, x.detach(), w)),
        ("binary_cross_entropy_with_logits", lambda x, w: F.binary_cross_entropy_with_logits(x, x.detach(), w)),
    ],
)
def test_weights_of_losses_are_constants(name, call):
    x, w = torch.tensor([[0.3, 0.6]], requires_grad=True), torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=f"The function '{name}' is not differentiable with respect to argument 'weight'"):
        call(x, w)
    with torch.no_grad():
        call(x, w)


def test_pooling_is_the_first_thing_a_process_does():
    code = "import flambeau as torch; print(torch.max_pool2d(torch.ones(1, 1, 2, 2), 2).item())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1.0\n"
