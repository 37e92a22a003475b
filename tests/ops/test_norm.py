"""Batch normalisation's gradient in one pass and in two; values are tested by the op table."""

import importlib

import numpy as np
import pytest

import flambeau as torch

norm = importlib.import_module("flambeau.ops.norm")  # its package has a function of that name
F = torch.nn.functional


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_one_pass_gives_the_bits_of_two(dtype, affine, rng, monkeypatch):
    n, c, h, w = 3, 17, 5, 9
    d = getattr(torch, dtype)
    x, g = (torch.from_numpy(rng.standard_normal((n, c, h, w))).to(d) for _ in range(2))
    wide = torch.float64 if dtype == "float64" else torch.float32
    params = [torch.from_numpy(rng.standard_normal(c)).to(wide).requires_grad_() for _ in range(2 * affine)]
    leaves = [x.requires_grad_(), *params]
    y = F.batch_norm(x, None, None, *(params or (None, None)), True)
    one = torch.autograd.grad(y, leaves, g, retain_graph=True)
    monkeypatch.setattr(norm, "l2_bytes", lambda: 0)
    two = torch.autograd.grad(y, leaves, g)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    exact = [t.detach().double() for t in (x, g)]
    xh = (exact[0] - exact[0].mean((0, 2, 3), keepdim=True)) / (exact[0].var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    scaled = exact[1] * (params[0].detach().double().reshape(1, -1, 1, 1) if affine else 1)
    rstd = 1 / (exact[0].var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    gx = rstd * (scaled - scaled.mean((0, 2, 3), keepdim=True) - xh * (scaled * xh).mean((0, 2, 3), keepdim=True))
    np.testing.assert_allclose(one[0].double().numpy(), gx.numpy(), atol={"float32": 1e-5, "float64": 1e-13, "bfloat16": 0.05}[dtype])
