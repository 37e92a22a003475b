"""The CTC loss: all alignments listed, slopes by differences, impossible labels, lengths of 0, what is refused."""

import math

import numpy as np
import pytest

import flambeau as torch
from tests.ops import reference as R

F = torch.nn.functional
LABELS = ((), (1,), (1, 1), (2, 1), (1, 2, 1))


def logits(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_batches_of_different_lengths(dtype):
    x = torch.tensor(logits(0, 5, len(LABELS), 3), dtype=dtype, requires_grad=True)
    lengths_in, lengths = [5, 4, 3, 2, 5], [len(s) for s in LABELS]
    padded = torch.tensor([[*s, *[0] * (3 - len(s))] for s in LABELS])
    logs = x.log_softmax(2)
    loss = F.ctc_loss(logs, padded, torch.tensor(lengths_in), torch.tensor(lengths), reduction="none")
    wide = logs.detach().double().numpy()
    want = [R.ctc(wide[:n, b], list(s)) for b, (n, s) in enumerate(zip(lengths_in, LABELS, strict=True))]
    np.testing.assert_allclose(loss.detach().numpy(), want, rtol=1e-6 if dtype is torch.float32 else 1e-12, atol=1e-6)
    flat = torch.tensor([label for s in LABELS for label in s])
    assert torch.equal(F.ctc_loss(logs, flat, tuple(lengths_in), tuple(lengths), reduction="none"), loss)
    mean = (loss / torch.tensor([max(1, n) for n in lengths])).mean()
    assert torch.allclose(F.ctc_loss(logs, padded, lengths_in, lengths), mean)
    assert torch.allclose(torch.ctc_loss(logs, padded, lengths_in, lengths, 0, 2), loss.sum())


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_slopes(labels):
    def loss(x):
        return F.ctc_loss(x.log_softmax(1), torch.tensor([labels], dtype=torch.int64).reshape(1, -1), [6], [len(labels)], blank=0, reduction="sum")

    x = torch.tensor(logits(1, 6, 3), requires_grad=True)
    assert torch.autograd.gradcheck(loss, (x,))
    g = torch.autograd.grad(loss(x), x)[0]
    assert g.sum(1).abs().max() < 1e-12  # by logits: the softmax less the posterior


def test_impossible_labels():
    logs = torch.tensor(logits(2, 3, 2, 4)).log_softmax(2).requires_grad_()
    labels = torch.tensor([[1, 1, 2], [1, 2, 3]])  # two equal labels need a blank between them: four steps
    loss = F.ctc_loss(logs, labels, [3, 3], [3, 3], reduction="none")
    assert loss[0] == math.inf and math.isfinite(loss[1])
    g = torch.autograd.grad(loss.sum(), logs)[0]
    assert g[:, 0].isnan().all() and g[:, 1].isfinite().all()
    loss = F.ctc_loss(logs, labels, [3, 3], [3, 3], reduction="none", zero_infinity=True)
    g = torch.autograd.grad(loss.sum(), logs)[0]
    assert loss[0] == 0 and (g[:, 0] == 0).all() and (g[:, 1] != 0).all()


def test_no_steps():
    logs = torch.tensor(logits(3, 2, 2, 4)).log_softmax(2).requires_grad_()
    loss = F.ctc_loss(logs, torch.tensor([[1], [1]]), [0, 0], [0, 1], reduction="none")
    assert loss.tolist() == [0, math.inf]
    assert (torch.autograd.grad(loss[0], logs)[0] == 0).all()


def test_no_second_derivative():
    x = torch.tensor(logits(4, 4, 1, 3), requires_grad=True)
    loss = F.ctc_loss(x.log_softmax(2), torch.tensor([[1, 2]]), [4], [2])
    g = torch.autograd.grad(loss, x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="_ctc_loss_backward is not implemented"):
        torch.autograd.grad((g * g).sum(), x)


@pytest.mark.parametrize("change,message", [
    ({"input_lengths": [5, 4]}, "at most 4"), ({"input_lengths": [-1, 4]}, "at least 0"), ({"input_lengths": [4]}, "batch_size"),
    ({"input_lengths": torch.tensor([3.0, 4.0])}, "integral"), ({"target_lengths": [4, 3]}, "size at least 4"), ({"blank": 9}, "label range"),
    ({"targets": torch.tensor([[1, 7, 2], [1, 2, 3]])}, r"\[0, 5\)"), ({"targets": torch.tensor([1, 2, 3, 4])}, "size 6"),
])  # fmt: skip
def test_refused(change, message):
    logs = torch.zeros(4, 2, 5)
    given = {"targets": torch.ones(2, 3, dtype=torch.int64), "input_lengths": [4, 4], "target_lengths": [3, 3]} | change
    with pytest.raises(RuntimeError, match=message):
        F.ctc_loss(logs, **given)
    with pytest.raises(NotImplementedError, match="Half"):
        F.ctc_loss(logs.half(), torch.ones(2, 3, dtype=torch.int64), [4, 4], [3, 3])
