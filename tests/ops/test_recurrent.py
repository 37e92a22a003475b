"""Recurrent layers against plain steps in float64 NumPy, their gradients against finite differences."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn.utils.rnn import pack_padded_sequence
from tests.tolerances import assert_close

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(kind, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None):
    """The new h and c."""
    a, b = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
    if kind == "LSTM":
        i, f, u, o = np.split(a + b, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
        h = sigmoid(o) * np.tanh(c)
        return (h if w_hr is None else h @ w_hr.T), c
    if kind == "GRU":
        (ar, az, an), (br, bz, bn) = np.split(a, 3, 1), np.split(b, 3, 1)
        u, z = np.tanh(an + sigmoid(ar + br) * bn), sigmoid(az + bz)
        return u + z * (h - u), c
    return np.tanh(a + b), c


def layer(kind, x, lengths, h, c, weights, reverse):
    """(outputs (time, batch, width), h, c); what lies beyond a sequence's length is 0 and leaves its state alone."""
    h, c = h.copy(), c.copy()
    y = np.zeros((x.shape[0], *h.shape))
    for t in range(x.shape[0])[:: -1 if reverse else 1]:
        m = int((lengths > t).sum())
        h[:m], c[:m] = step(kind, x[t, :m], h[:m], c[:m], *weights)
        y[t, :m] = h[:m]
    return y, h, c


def reference(net, kind, x, lengths, h, c):
    """All layers and directions of a module."""
    ways = 2 if net.bidirectional else 1
    last_h, last_c = [], []
    for i in range(net.num_layers):
        outs = []
        for way in range(ways):
            weights = [w.detach().double().numpy() for w in net.all_weights[i * ways + way]]
            at = i * ways + way
            y, hn, cn = layer(kind, x, lengths, h[at], c[at], weights, way == 1)
            outs.append(y)
            last_h.append(hn)
            last_c.append(cn)
        x = np.concatenate(outs, 2)
    return x, np.stack(last_h), np.stack(last_c)


def states(rng, net, batch, dtype):
    count = net.num_layers * (2 if net.bidirectional else 1)
    width = net.proj_size or net.hidden_size
    return [torch.from_numpy(rng.standard_normal((count, batch, n))).to(dtype) for n in (width, net.hidden_size)]


def made(kind, dtype=torch.float64, **options):
    return getattr(torch.nn, kind)(options.pop("inputs", 5), options.pop("hidden", 7), dtype=dtype, **options)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("hidden", [3, 40])
@pytest.mark.parametrize("kind", GATES)
def test_dense(rng, kind, hidden, dtype):
    dtype = getattr(torch, dtype)
    net = made(kind, dtype, hidden=hidden, num_layers=2, bidirectional=True)
    x = torch.from_numpy(rng.standard_normal((6, 9, 5))).to(dtype)
    h, c = states(rng, net, 9, dtype)
    y, last = net(x, (h, c) if kind == "LSTM" else h)
    want = reference(net, kind, x.double().numpy(), np.full(9, 6), h.double().numpy(), c.double().numpy())
    slack = 30 if dtype is torch.bfloat16 else 3
    assert_close(y.detach().double().numpy(), want[0], dtype, slack)
    for got, w in zip(last if kind == "LSTM" else (last,), want[1:], strict=False):
        assert_close(got.detach().double().numpy(), w, dtype, slack)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"proj_size": 3, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("kind", GATES)
def test_packed(rng, kind, options):
    if "proj_size" in options and kind != "LSTM":
        pytest.skip("only LSTM projects")
    net = made(kind, num_layers=2, **options)
    lengths = np.array([6, 6, 5, 3, 3, 3, 2, 2, 2, 2, 1])
    x = rng.standard_normal((6, len(lengths), 5))
    h, c = states(rng, net, len(lengths), torch.float64)
    packed, last = net(pack_padded_sequence(torch.from_numpy(x), torch.from_numpy(lengths)), (h, c) if kind == "LSTM" else h)
    y, hn, cn = reference(net, kind, x, lengths, h.numpy(), c.numpy())
    assert_close(packed.data.detach().numpy(), np.concatenate([y[t, : (lengths > t).sum()] for t in range(6)]))
    for got, w in zip(last if kind == "LSTM" else (last,), (hn, cn), strict=False):
        assert_close(got.detach().numpy(), w)


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize(("kind", "options"), [("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {}), ("RNN", {}), ("RNN", {"nonlinearity": "relu"})], ids=str)
def test_gradients(rng, kind, options, second):
    """Of inputs, states and weights, sequences of different lengths, both directions."""
    net = made(kind, inputs=1, hidden=3, bidirectional=not second, **options)
    lengths = torch.tensor([2, 1])
    inputs = [torch.from_numpy(rng.standard_normal((2, 2, 1))).requires_grad_()]
    inputs += [s.requires_grad_() for s in states(rng, net, 2, torch.float64)[: 2 if kind == "LSTM" else 1]]
    weights = list(net.parameters())[:2] + [p for n, p in net.named_parameters() if "hr" in n or n == "bias_hh_l0"][:2]

    def fn(x, *rest):
        hx = rest[: len(inputs) - 1]
        y, last = net(pack_padded_sequence(x, lengths), tuple(hx) if kind == "LSTM" else hx[0])
        return (y.data, *last) if kind == "LSTM" else (y.data, last)

    if second:
        assert gradgradcheck(lambda x: fn(x, *inputs[1:])[0], (inputs[0],))
    else:
        assert gradcheck(fn, (*inputs, *weights))


@pytest.mark.parametrize("kind", GATES)
def test_batch_over_threads(rng, kind):
    """Rows do not meet: any number of threads gives the same bits."""
    net = made(kind, torch.float32, hidden=20)
    x = torch.from_numpy(rng.standard_normal((4, 37, 5))).float().requires_grad_()
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            y = net(x)[0]
            found.append((y.detach(), torch.autograd.grad(y.sum(), x)[0]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("kind", GATES)
def test_strided_input(rng, kind):
    net = made(kind, batch_first=True)
    x = torch.from_numpy(rng.standard_normal((3, 8, 10)))
    want = net(x[:, ::2, ::2].contiguous())[0]
    assert torch.equal(net(x[:, ::2, ::2])[0], want)


@pytest.mark.parametrize("kind, projection", [*((k, {}) for k in GATES), ("LSTM", {"proj_size": 3})], ids=str)
def test_batch_first(rng, kind, projection):
    """A batch's sequences are walked where they lie: the same bits as step after step; sums over all rows go in another order.

    In training, dropout between layers draws step by step either way.
    """
    net = made(kind, batch_first=True, num_layers=2, bidirectional=True, dropout=0.4, **projection)
    other = made(kind, num_layers=2, bidirectional=True, dropout=0.4, **projection)
    other.load_state_dict(net.state_dict())
    x = torch.from_numpy(rng.standard_normal((4, 6, 5))).requires_grad_()
    g = torch.from_numpy(rng.standard_normal(net(x)[0].shape))
    for training in (False, True):
        found = []
        for module, turned in ((net.train(training), False), (other.train(training), True)):
            torch.manual_seed(0)
            y, last = module(x.transpose(0, 1) if turned else x)
            y = y.transpose(0, 1) if turned else y
            found.append([y, *(last if kind == "LSTM" else (last,)), *torch.autograd.grad(y, (x, *module.parameters()), g)])
        for i, (a, b) in enumerate(zip(*found, strict=True)):
            assert_close(a.detach().numpy(), b.detach().numpy())
            assert i or torch.equal(a, b)
    single = made(kind, hidden=2, batch_first=True)
    x = torch.from_numpy(rng.standard_normal((2, 3, 5))).requires_grad_()
    assert gradcheck(lambda x: single(x)[0], (x,))
    assert gradgradcheck(lambda x: single(x)[0], (x,))


def test_malformed_operands():
    """Shapes that do not go together are errors, whatever layer they come from."""
    w_ih, w_hh, b = torch.randn(12, 4), torch.randn(12, 3), torch.randn(12)
    x, h = torch.randn(5, 2, 4), torch.zeros(1, 2, 3)

    def lstm(x=x, h=h, c=h, weights=(w_ih, w_hh, b, b)):
        return torch.lstm(x, (h, c), weights, True, 1, 0.0, False, False, False)

    assert lstm()[0].shape == (5, 2, 3)
    for change in (
        {"x": torch.randn(5, 2, 6)}, {"h": torch.zeros(1, 2, 4)}, {"c": torch.zeros(1, 1, 3)}, {"h": torch.zeros(1, 2, 3).double()},
        {"weights": (w_ih[:8], w_hh, b, b)}, {"weights": (w_ih, w_hh, b[:3], b)}, {"weights": (w_ih, w_hh, b, torch.randn(11))},
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="expected"):
            lstm(**change)
    for sizes in ([3, 2], [2, 3], [1, -1]):
        with pytest.raises(RuntimeError):
            torch.lstm(torch.randn(5, 4), torch.tensor(sizes), (h, h), (w_ih, w_hh, b, b), True, 1, 0.0, False, False)
