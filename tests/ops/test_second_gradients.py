"""First and second gradients of differentiable ops against finite differences, in float64."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck

F = torch.nn.functional


def values(*shape, seed=0, low=-1.0, high=1.0):
    r = np.random.default_rng(seed)
    return torch.from_numpy(r.uniform(low, high, shape) + 0.013).requires_grad_()


A, B, P = values(2, 3), values(2, 3, seed=1), values(2, 3, seed=2, low=0.3, high=1.5)
IMG = values(1, 2, 5, 4, seed=3)
CASES = {
    "mul": (lambda x, y: x * y, A, B),
    "div": (lambda x, y: x / y, A, P),
    "pow": (lambda x, y: x**y, P, B),
    "exp": (torch.exp, A), "log": (torch.log, P), "tanh": (torch.tanh, A), "sigmoid": (torch.sigmoid, A),
    "erf": (torch.erf, A), "sin": (torch.sin, A), "sqrt": (torch.sqrt, P), "rsqrt": (torch.rsqrt, P),
    "atan2": (torch.atan2, A, P), "lgamma": (torch.lgamma, P), "gelu": (F.gelu, A), "silu": (F.silu, A),
    "softplus": (F.softplus, A), "elu": (F.elu, A), "mish": (F.mish, A),
    "sum": (lambda x: x.sum(0), A), "mean": (lambda x: x.mean(1), A), "prod": (lambda x: x.prod(1), P),
    "var": (lambda x: x.var(1), A), "std": (lambda x: x.std(1), A), "norm": (lambda x: x.norm(dim=1), A),
    "logsumexp": (lambda x: x.logsumexp(1), A), "cumsum": (lambda x: x.cumsum(1), A), "cumprod": (lambda x: x.cumprod(1), P),
    "amax": (lambda x: x.amax(1), A), "max": (lambda x: x.max(1)[0], A),
    "softmax": (lambda x: x.softmax(1), A), "log_softmax": (lambda x: x.log_softmax(0), A),
    "matmul": (lambda x, y: x @ y.t(), A, B), "outer": (lambda x, y: torch.outer(x[0], y[0]), A, B),
    "einsum": (lambda x, y: torch.einsum("ij,kj->ik", x, y), A, B),
    "index": (lambda x: x[[0, 0, 1], [1, 2, 2]], A), "gather": (lambda x: x.gather(1, torch.tensor([[0, 2], [1, 1]])), A),
    "cat": (lambda x, y: torch.cat([x, y], 1), A, B), "permute": (lambda x: x.permute(1, 0), A),
    "where": (lambda x, y: torch.where(x > 0, x * x, y), A, B), "clamp": (lambda x: x.clamp(-0.5, 0.5) * x, A),
    "layer_norm": (lambda x, w: F.layer_norm(x, (3,), w[0], w[1]), A, B),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), IMG),
    "group_norm": (lambda x: F.group_norm(x, 2), IMG),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding=1, stride=2), IMG, values(2, 2, 3, 3, seed=4)),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w), IMG, values(2, 2, 2, 2, seed=4)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), IMG), "max_pool2d": (lambda x: F.max_pool2d(x, 2), IMG),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), IMG),
    "cross_entropy": (lambda x: F.cross_entropy(x, torch.tensor([2, 0])), A),
    "bce": (lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor([[1.0, 0, 1], [0, 1, 0]], dtype=torch.float64)), A),
    "mse": (F.mse_loss, A, B), "smooth_l1": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.3), A, B),
    "cosine_similarity": (F.cosine_similarity, A, B), "cdist": (torch.cdist, A, B),
    "attention": (lambda q, k: F.scaled_dot_product_attention(q, k, q * k, is_causal=False), A, B),
    "inv": (lambda x: torch.linalg.inv(x @ x.t() + torch.eye(2, dtype=torch.float64)), A),
    "det": (lambda x: torch.linalg.det(x @ x.t() + torch.eye(2, dtype=torch.float64)), A),
    "cholesky": (lambda x: torch.linalg.cholesky(x @ x.t() + torch.eye(2, dtype=torch.float64)), A),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    fn, *inputs = CASES[name]
    assert gradcheck(fn, tuple(inputs))


# piecewise linear ones have no second derivative to speak of; what is left is checked
@pytest.mark.parametrize("name", [n for n in CASES if n not in ("amax", "max", "max_pool2d")])
def test_second_gradients(name):
    fn, *inputs = CASES[name]
    assert gradgradcheck(fn, tuple(inputs))


def test_lstm_second_gradients():
    torch.manual_seed(0)
    net = torch.nn.LSTM(2, 3, dtype=torch.float64)
    x = values(3, 2, 2, seed=5)
    assert gradcheck(lambda x: net(x)[0], (x,))
    assert gradgradcheck(lambda x: net(x)[0], (x,))
