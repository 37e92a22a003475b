"""torch._foreach_*, and the ops that came with them."""

import numpy as np
import pytest

import flambeau as torch


def test_every_unary_matches_the_op():
    from flambeau.ops.foreach import UNARY

    xs = [torch.tensor([0.3, 0.7]), torch.tensor([[0.1]])]
    for name in UNARY:
        want = [getattr(x, name)() for x in xs]
        got = getattr(torch, f"_foreach_{name}")(xs)
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True)), name
        copies = [x.clone() for x in xs]
        assert getattr(torch, f"_foreach_{name}_")(copies) is None
        assert all(torch.equal(a, b) for a, b in zip(copies, want, strict=True)), name


def test_lists_and_numbers():
    a, b = [torch.ones(2), torch.ones(3)], [torch.full((2,), 2.0), torch.full((3,), 3.0)]
    assert [t.tolist() for t in torch._foreach_add(a, b, alpha=2)] == [[5.0] * 2, [7.0] * 3]
    assert [t.tolist() for t in torch._foreach_mul(a, [2.0, 4.0])] == [[2.0] * 2, [4.0] * 3]
    torch._foreach_addcmul_(a, b, b, 0.5)
    assert [t.tolist() for t in a] == [[3.0] * 2, [5.5] * 3]
    torch._foreach_lerp_(a, b, 1.0)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    torch._foreach_zero_(a)
    torch._foreach_copy_(a, b)
    assert [t.item() for t in torch._foreach_norm(a)] == [pytest.approx(8**0.5), pytest.approx(27**0.5)]
    with pytest.raises(RuntimeError, match="same number of tensors"):
        torch._foreach_add(a, b[:1])
    with pytest.raises(RuntimeError, match="at least one tensor"):
        torch._foreach_add([], 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frexp(dtype):
    info = np.finfo(dtype)
    x = np.array(
        [0, -0.0, 1, 2, 0.5, -7.3, 1 - info.epsneg, 1 + info.eps, info.max, info.tiny, info.smallest_subnormal, np.inf, -np.inf, np.nan, 1024],
        dtype,
    )
    mantissa, exponent = torch.frexp(torch.from_numpy(x))
    want = np.frexp(x)
    np.testing.assert_array_equal(mantissa.numpy(), want[0])
    np.testing.assert_array_equal(exponent.numpy(), want[1])
    assert exponent.dtype is torch.int32
    with pytest.raises(RuntimeError, match="floating-point"):
        torch.frexp(torch.arange(3))


def test_mvlgamma():
    from scipy.special import multigammaln

    x = np.array([1.7, 3.0, 20.5])
    np.testing.assert_allclose(torch.mvlgamma(torch.from_numpy(x), 3).numpy(), [multigammaln(v, 3) for v in x], rtol=1e-13)
    with pytest.raises(RuntimeError, match="p has to be"):
        torch.mvlgamma(torch.ones(1), 0)


def test_nonzero_static():
    x = torch.tensor([[1, 0], [1, 1]])
    assert torch.nonzero_static(x, size=4).tolist() == [[0, 0], [1, 0], [1, 1], [-1, -1]]
    assert torch.nonzero_static(x, size=1).tolist() == [[0, 0]]
    with pytest.raises(RuntimeError, match="size"):
        torch.nonzero_static(x, size=-1)


def test_old_factorisations():
    x = torch.tensor([[2.0, 1.0], [0.0, 3.0]])
    u, s, v = torch.svd(x)
    np.testing.assert_allclose((u * s @ v.mT).numpy(), x.numpy(), atol=1e-6)
    q, r = torch.qr(x)
    np.testing.assert_allclose((q @ r).numpy(), x.numpy(), atol=1e-6)
    np.testing.assert_allclose(torch.cholesky(x @ x.mT).numpy(), np.linalg.cholesky((x @ x.mT).numpy()), atol=1e-6)
