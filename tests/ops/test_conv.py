"""Convolutions and their gradients against sums over taps in float64 NumPy, by construction."""

import itertools
import string

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ops import conv, conv_direct, conv_planar
from flambeau.ops.conv_shape import shape_of
from tests.tolerances import assert_close

F = torch.nn.functional


class Reference:
    """A convolution as a sum over its taps: windows of the padded input times one slice of the weight."""

    def __init__(self, size, taps, stride, pad, dilation, groups):
        self.taps, self.pad, self.groups = taps, pad, groups
        reach = [d * (t - 1) + 1 for t, d in zip(taps, dilation, strict=True)]
        self.out = tuple((n + 2 * p - r) // s + 1 for n, p, r, s in zip(size, pad, reach, stride, strict=True))
        self.windows = {
            tap: tuple(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, self.out, stride, strict=True))
            for tap in itertools.product(*map(range, taps))
        }
        self.axes = string.ascii_lowercase[-len(size) :]

    def grouped(self, x):
        return x.reshape(x.shape[0], self.groups, -1, *x.shape[2:])

    def padded(self, x):
        return np.pad(x, [(0, 0), (0, 0)] + [(p, p) for p in self.pad])

    def forward(self, x, w, b):
        x, total = self.padded(x), 0
        for tap, window in self.windows.items():
            part = self.grouped(x[(..., *window)])
            factor = w.reshape(self.groups, -1, *w.shape[1:])[(..., *tap)]
            total = total + np.einsum(f"ngc{self.axes},gmc->ngm{self.axes}", part, factor)
        return total.reshape(x.shape[0], -1, *self.out) + (0 if b is None else b.reshape(1, -1, *[1] * len(self.out)))

    def gradients(self, g, x, w):
        big = self.padded(x)
        gx, gw = np.zeros_like(big), np.zeros_like(w)
        g = self.grouped(g)
        factors, gw_groups = (a.reshape(self.groups, -1, *w.shape[1:]) for a in (w, gw))
        for tap, window in self.windows.items():
            gw_groups[(..., *tap)] = np.einsum(f"ngm{self.axes},ngc{self.axes}->gmc", g, self.grouped(big[(..., *window)]))
            back = np.einsum(f"ngm{self.axes},gmc->ngc{self.axes}", g, factors[(..., *tap)])
            gx[(..., *window)] += back.reshape(gx[(..., *window)].shape)
        inside = tuple(slice(p, p + n) for p, n in zip(self.pad, x.shape[2:], strict=True))
        return gx[(..., *inside)], gw, g.sum(axis=(0, *range(3, g.ndim))).reshape(-1)


def case(n, ci, co, size, taps, stride=1, pad=0, dilation=1, groups=1):
    each = [(v,) * len(size) if isinstance(v, int) else v for v in (taps, stride, pad, dilation)]
    return (n, ci, co, size, *each, groups)


CASES = {
    "1x1": case(2, 5, 7, (4, 6), 1), "1x1 strided": case(2, 20, 18, (7, 8), 1, 2), "1x1 padded": case(1, 3, 2, (4, 4), 1, 1, 1),
    "3x3": case(2, 3, 4, (8, 9), 3), "3x3 same": case(2, 16, 16, (14, 14), 3, 1, 1), "3x3 odd": case(3, 17, 19, (7, 5), 3, 1, 1),
    "3x3 wide": case(1, 20, 33, (6, 37), 3, 1, 1), "3x3 many": case(5, 32, 48, (4, 4), 3, 1, 1),
    "3x3 deep": case(2, 80, 20, (6, 6), 3, 1, 1), "3x3 pad 2": case(1, 16, 24, (5, 6), 3, 1, 2),
    "3x3 strided": case(2, 64, 80, (16, 16), 3, 2, 1), "3x3 strided odd": case(2, 80, 64, (15, 24), 3, 2, 1),
    "3x3 of many": case(24, 260, 258, (4, 4), 3, 1, 1), "3x3 strided of many": case(24, 258, 260, (7, 8), 3, 2, 1),
    "3x3 groups of 32": case(3, 64, 96, (10, 12), 3, 1, 1, 1, 2),
    "3x3 one row": case(2, 16, 17, (1, 9), 3, 1, 1), "3x3 one output": case(2, 18, 16, (3, 3), 3),
    "3x3 pads differ": case(2, 16, 16, (6, 9), 3, 1, (0, 1)), "3x3 groups": case(2, 40, 36, (6, 7), 3, 1, 1, 1, 2),
    "strided": case(2, 6, 20, (11, 13), 3, 2, 1), "stride 3": case(1, 9, 10, (12, 11), 3, 3, 1), "gap": case(1, 4, 5, (9, 9), 2, 3),
    "strides differ": case(2, 3, 12, (9, 10), (3, 2), (1, 2), (2, 0)), "unread edge": case(1, 2, 10, (8, 8), 3, 2),
    "dilated": case(2, 4, 11, (11, 12), 3, 1, 2, 2), "dilated strided": case(1, 3, 9, (12, 13), 3, 2, 2, 3),
    "stem": case(1, 3, 64, (21, 20), 7, 2, 3), "lenet 1": case(2, 3, 6, (12, 12), 5), "lenet 2": case(2, 6, 16, (14, 14), 5),
    "few outputs": case(2, 20, 8, (6, 21), 3, 1, 1), "narrow strided": case(1, 5, 3, (9, 40), 3, 2, 1),
    "groups": case(2, 12, 30, (6, 7), 3, 1, 1, 1, 3), "wide groups": case(1, 32, 40, (5, 5), 3, 2, 1, 1, 2),
    "depthwise": case(2, 10, 10, (9, 19), 3, 1, 1, 1, 10), "depthwise multiplied": case(1, 5, 15, (7, 7), (3, 5), 2, 2, 1, 5),
    "depthwise 9x9": case(1, 3, 3, (12, 14), 9, 1, 4, 1, 3), "depthwise dilated": case(1, 4, 4, (13, 18), 3, 2, 2, 2, 4),
    "depthwise 3d": case(1, 3, 3, (4, 6, 17), (3, 2, 3), (1, 2, 1), 1, 1, 3), "depthwise wide": case(1, 2, 34, (5, 20), 3, 1, 1, 1, 2),
    "rows": case(2, 40, 20, (11, 30), 3, 1, 1, 2), "rows strided": case(2, 22, 26, (15, 32), 3, 2, 1), "rows groups": case(1, 26, 52, (7, 28), 3, 1, 1, 1, 2),
    "long rows": case(1, 2, 3, (4, 1100), 3, 1, 1), "long rows strided": case(1, 2, 10, (3, 2100), (2, 5), 2, 1), "stride 3 dilated 6": case(1, 4, 9, (30, 46), 3, 3, 6, 6),
    "depthwise 5x5": case(1, 4, 4, (8, 35), 5, 1, 2, 1, 4), "1d": case(2, 3, 20, (17,), 4, 2, 1), "1d long": case(1, 1, 9, (131,), 9, 1, 4),
    "3d": case(2, 3, 10, (4, 5, 6), (2, 3, 3), 1, 1), "3d strided": case(1, 4, 4, (5, 6, 7), 3, 2, (1, 0, 1), 1, 2),
    "as many taps as steps": case(2, 16, 2, (7, 13), (1, 2), (1, 2)),
    "many positions": case(5, 6, 20, (33, 35), 3), "many positions strided": case(3, 5, 9, (70, 71), 3, 2, 1),
    "kernel is input": case(3, 6, 13, (4, 5), (4, 5)),
    **{f"{m} outputs": case(2, 7, m, (5, 5), 3) for m in (15, 16, 31, 47, 49, 65, 97)},
    **{f"{h} high": case(1, 5, 16, (h, 3), 3, 1, 1) for h in (1, 2, 4, 5, 11)},
}  # fmt: skip
LAYOUTS = ("dense", "channels last", "sliced", "expanded")


def laid_out(a, layout: str):
    """a's values in a tensor of a layout."""
    t = torch.from_numpy(np.array(a))
    last = (0, *range(2, a.ndim), 1)
    if layout == "channels last":
        return t.permute(*last).contiguous().permute(*np.argsort(last).tolist())
    return torch.cat([t, t], -1)[..., : a.shape[-1]] if layout == "sliced" else t


def operands(rng, n, ci, co, size, taps, stride, pad, dilation, groups):
    return rng.standard_normal((n, ci, *size)), rng.standard_normal((co, ci // groups, *taps)), rng.standard_normal(co)


def check(rng, spec, dtype, layout, slack):
    *_, size, taps, stride, pad, dilation, groups = spec
    x, w, b = (a.astype(dtype) for a in operands(rng, *spec))
    ref = Reference(size, taps, stride, pad, dilation, groups)
    y = ref.forward(*(a.astype(np.float64) for a in (x, w, b)))
    g = rng.standard_normal(y.shape).astype(dtype) if layout != "expanded" else np.full(y.shape, 0.75, dtype)
    wanted = ref.gradients(g.astype(np.float64), x.astype(np.float64), w.astype(np.float64))
    tx, tw, tb = laid_out(x, layout).requires_grad_(), torch.from_numpy(w).requires_grad_(), torch.from_numpy(b).requires_grad_()
    result = getattr(F, f"conv{len(size)}d")(tx, tw, tb, stride, pad, dilation, groups)
    tg = laid_out(g, layout) if layout != "expanded" else torch.tensor(0.75, dtype=tx.dtype).expand(*y.shape)
    got = torch.autograd.grad(result, (tx, tw, tb), tg)
    for mine, theirs in zip((result.detach(), *got), (y, *wanted), strict=True):
        size_of = max(1.0, np.abs(theirs).max())
        assert_close(mine.numpy() / size_of, theirs / size_of, dtype, slack)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_float64(name, layout, rng):
    check(rng, CASES[name], "float64", layout, 10)


@pytest.mark.parametrize("name", CASES)
def test_float32(name, rng):
    check(rng, CASES[name], "float32", "dense", 4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_do_not_depend_on_threads(threads, rng):
    before = torch.get_num_threads()
    x, w = (torch.from_numpy(rng.standard_normal(s).astype("f")) for s in ((6, 20, 20, 20), (70, 20, 3, 3)))
    try:
        torch.set_num_threads(threads)
        y = F.conv2d(x, w, padding=1, stride=2)
        torch.set_num_threads(1)
        assert torch.equal(y, F.conv2d(x, w, padding=1, stride=2))
    finally:
        torch.set_num_threads(before)


# (n, ci, co, size, stride) of 3x3 convolutions, least input: root mean square errors of PyTorch 2.13's outputs and gradients of
# input and weight in float32, relative to the values, on these inputs
PYTORCH = {
    (2, 64, 64, 28, 1, -9): (2.15e-7, 2.16e-7, 6.97e-7), (4, 256, 256, 8, 1, -9): (2.17e-7, 2.17e-7, 2.64e-7),
    (8, 512, 512, 4, 1, -9): (2.15e-7, 2.14e-7, 1.73e-7), (2, 64, 128, 28, 2, -9): (2.15e-7, 2.63e-7, 3.46e-7),
    (2, 128, 256, 16, 2, -9): (2.15e-7, 3.67e-7, 1.95e-7), (2, 64, 64, 28, 1, 0): (1.63e-7, 2.16e-7, 4.75e-7),
    (4, 256, 256, 8, 1, 0): (1.62e-7, 2.17e-7, 1.87e-7), (2, 64, 128, 28, 2, 0): (1.59e-7, 2.63e-7, 2.46e-7),
}  # fmt: skip


@pytest.mark.parametrize("layer", PYTORCH, ids=str)
def test_errors_are_no_larger_than_pytorchs(layer):
    n, ci, co, size, stride, least = layer
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((n, ci, size, size)), least).astype("f")
    w = (rng.standard_normal((co, ci, 3, 3)) / np.sqrt(ci * 9)).astype("f")
    g = rng.standard_normal((n, co, size // stride, size // stride)).astype("f")
    results = []
    for t in ("float32", "float64"):
        tx, tw, tg = (torch.from_numpy(a.astype(t)) for a in (x, w, g))
        y = F.conv2d(tx.requires_grad_(), tw.requires_grad_(), None, stride, 1)
        results.append([y.detach().numpy(), *(v.numpy() for v in torch.autograd.grad(y, (tx, tw), tg))])
    for mine, exact, theirs in zip(*results, PYTORCH[layer], strict=True):
        assert np.sqrt(((mine - exact) ** 2).mean() / (exact**2).mean()) < theirs


@pytest.mark.parametrize("ci,taps,width,way", [(6, 5, 10, conv_direct), (6, 5, 16, conv_planar), (3, 3, 10, conv_planar)])
def test_the_lanes_hold_what_fills_them(ci, taps, width, way):
    """16 channels do; rows of 10 do not, unless sums are too short to pay for the turn."""
    size = width + taps - 1
    s = shape_of("conv", torch.empty(2, ci, size, size), torch.empty(16, ci, taps, taps), None, (1, 1), (0, 0), (1, 1), 1)
    assert conv.way_of("forward", s, torch.float32) is way


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precisions_sum_in_float32(dtype, rng):
    x, w = (torch.from_numpy(rng.standard_normal(s).astype("f")).to(getattr(torch, dtype)) for s in ((2, 9, 7, 7), (10, 9, 3, 3)))
    y = F.conv2d(x, w, padding=1)
    assert y.dtype is x.dtype
    assert_close(y.float().numpy() / 30, F.conv2d(x.float(), w.float(), padding=1).numpy() / 30, dtype)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("stride,pad,extra,dilation", [(1, 0, 0, 1), (2, 1, 1, 1), (3, 2, 2, 2), (2, 0, 0, 2)])
def test_transposed_is_the_adjoint(dims, stride, pad, extra, dilation, rng):
    x = rng.standard_normal((2, 6, *(4, 5, 3)[:dims]))
    w = rng.standard_normal((6, 5, *[3] * dims))
    tx, tw = torch.from_numpy(x), torch.from_numpy(w)
    y = getattr(F, f"conv_transpose{dims}d")(tx, tw, None, stride, pad, extra, 2, dilation)
    assert y.shape[1] == 10
    probe = torch.from_numpy(rng.standard_normal(tuple(y.shape)))
    back = getattr(F, f"conv{dims}d")(probe, tw, None, stride, pad, dilation, 2)
    assert back.shape == tx.shape
    assert_close((y * probe).sum().item(), (back * tx).sum().item(), "float64", 100)


def test_same_padding_of_even_kernels(rng):
    x, w = rng.standard_normal((1, 3, 6, 7)), rng.standard_normal((4, 3, 2, 4))
    y = F.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding="same")
    padded = np.pad(x, [(0, 0), (0, 0), (0, 1), (1, 2)])
    assert_close(y.numpy(), Reference((7, 10), (2, 4), (1, 1), (0, 0), (1, 1), 1).forward(padded, w, None), "float64", 10)
    with pytest.raises(RuntimeError, match="padding='same' is not supported for strided convolutions"):
        F.conv2d(torch.from_numpy(x), torch.from_numpy(w), padding="same", stride=2)


def test_empty_batches_and_channels():
    x, w = torch.zeros(0, 3, 5, 5, requires_grad=True), torch.ones(4, 3, 3, 3, requires_grad=True)
    y = F.conv2d(x, w, padding=1)
    assert y.shape == (0, 4, 5, 5)
    gx, gw = torch.autograd.grad(y.sum(), (x, w))
    assert gx.shape == x.shape and torch.equal(gw, torch.zeros_like(w))


@pytest.mark.parametrize("groups,stride", [(1, 1), (2, 2)])
def test_second_gradients(groups, stride, rng):
    x, w, b = (torch.from_numpy(rng.standard_normal(s)).requires_grad_() for s in ((2, 4, 5, 4), (6, 4 // groups, 3, 3), (6,)))
    fn = lambda x, w, b: F.conv2d(x, w, b, stride, 1, 1, groups)  # noqa: E731
    assert gradcheck(fn, (x, w, b))
    assert gradgradcheck(fn, (x, w, b))


X, W = torch.zeros(1, 4, 5, 5), torch.zeros(6, 4, 3, 3)
ERRORS = {
    "stride": (lambda: F.conv2d(X, W, stride=0), RuntimeError, "non-positive stride"),
    "padding": (lambda: F.conv2d(X, W, padding=-1), RuntimeError, "negative padding"),
    "dilation": (lambda: F.conv2d(X, W, dilation=0), RuntimeError, "non-positive dilation"),
    "groups": (lambda: F.conv2d(X, W, groups=0), RuntimeError, "non-positive groups"),
    "groups divide": (lambda: F.conv2d(X, W, groups=4), RuntimeError, "divisible by it"),
    "channels": (lambda: F.conv2d(X[:, :3], W), RuntimeError, "to have 4 channels, but got 3"),
    "bias": (lambda: F.conv2d(X, W, torch.zeros(5)), RuntimeError, "bias to be 1-dimensional with 6 elements"),
    "kernel too large": (lambda: F.conv2d(X[..., :2], W), RuntimeError, "can't be greater than actual input size"),
    "dims": (lambda: F.conv2d(X[0, 0], W), RuntimeError, "3D .unbatched. or 4D .batched. input"),
    "weight dims": (lambda: F.conv2d(X, W[0]), RuntimeError, "conv2d"),
    "dtypes": (lambda: F.conv2d(X, W.double()), RuntimeError, "should be the same"),
    "stride list": (lambda: F.conv2d(X, W, stride=(1, 1, 1)), RuntimeError, "list of 2 values"),
    "not a tensor": (lambda: F.conv2d(X.numpy(), W), TypeError, "must be Tensor"),
    "padding word": (lambda: F.conv2d(X, W, padding="full"), RuntimeError, "Invalid padding string"),
    "output padding": (lambda: F.conv_transpose2d(X, W.transpose(0, 1), output_padding=1), RuntimeError, "must be smaller"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    fn, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        fn()
