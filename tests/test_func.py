"""torch.func, torch.testing and pytrees."""

import numpy as np
import pytest

import flambeau as torch
from flambeau import func
from flambeau.testing import assert_close
from flambeau.utils import _pytree as tree


def near(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b, rtol=1e-10, atol=1e-12)


X = np.linspace(-1, 1, 4)


def test_grad_nested_three_deep():
    x = torch.tensor(0.7, dtype=torch.float64)
    third = func.grad(func.grad(func.grad(torch.sin)))(x)
    near(third, -np.cos(0.7))
    assert not third.requires_grad and not x.requires_grad


def test_grad_of_a_closure_over_an_outer_argument():
    y = torch.tensor(3.0, dtype=torch.float64)
    inner = lambda y: func.grad(lambda x: x * x * y)(torch.tensor(2.0, dtype=torch.float64))
    near(func.grad(inner)(y), 4.0)


def test_grad_of_nests_aux_and_argnums():
    p = {"w": torch.tensor(X), "b": torch.tensor(1.0, dtype=torch.float64)}
    g, (value, aux) = func.grad_and_value(lambda p, s: ((p["w"] * p["b"] * s).sum(), "aux"), has_aux=True)(p, 2.0)
    near(g["w"], np.full(4, 2.0))
    near(g["b"], 2 * X.sum())
    assert aux == "aux"
    near(value, 2 * X.sum())
    a, b = func.grad(lambda a, b: (a * b * b).sum(), argnums=(0, 1))(torch.tensor(X), torch.tensor(X))
    near(a, X**2)
    near(b, 2 * X**2)


def test_grad_wants_a_scalar():
    with pytest.raises(RuntimeError, match="scalar"):
        func.grad(lambda x: x)(torch.ones(3))
    with pytest.raises(RuntimeError, match="argnum=2"):
        func.grad(lambda x: x.sum(), argnums=2)(torch.ones(3))


def test_jacobians_and_hessian():
    x = torch.tensor(X)
    near(func.jacrev(torch.sin)(x), np.diag(np.cos(X)))
    near(func.jacfwd(lambda a, b: a * b, argnums=1)(x, x), np.diag(X))
    near(func.hessian(lambda x: (x**3).sum())(x), np.diag(6 * X))


def test_vjp_and_jvp():
    x = torch.tensor(X)
    out, back = func.vjp(torch.sin, x)
    near(out, np.sin(X))
    near(back(torch.ones_like(x))[0], np.cos(X))
    out, change = func.jvp(torch.sin, (x,), (torch.tensor(X),))
    near(change, np.cos(X) * X)


def test_vmap_dims_nests_and_errors():
    a = torch.tensor(np.arange(6.0).reshape(2, 3))
    near(func.vmap(torch.dot)(a, a), (a.numpy() ** 2).sum(1))
    near(func.vmap(lambda x, s: x * s, in_dims=(1, None), out_dims=1)(a, 2.0), a.numpy() * 2)
    out = func.vmap(lambda d: {"s": d["x"].sum(), "t": d["x"]})({"x": a})
    near(out["s"], a.numpy().sum(1))
    assert out["t"].shape == (2, 3)
    assert torch.vmap is func.vmap
    with pytest.raises(ValueError, match="same size"):
        func.vmap(torch.dot)(a, a[:1])
    with pytest.raises(ValueError, match="in_dims"):
        func.vmap(torch.dot, in_dims=(0, 0, 0))(a, a)


def test_per_sample_gradients_of_a_module():
    net = torch.nn.Linear(3, 1).double()
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 1, dtype=torch.float64)
    params = {k: v.detach() for k, v in net.named_parameters()}
    loss = lambda p, x, y: ((func.functional_call(net, p, (x,)) - y) ** 2).sum()
    grads = func.vmap(func.grad(loss), in_dims=(None, 0, 0))(params, x, y)
    residual = 2 * (net(x) - y).detach().numpy()
    near(grads["weight"], (residual * x.numpy())[:, None, :])
    near(grads["bias"], residual)


def test_ensembles():
    nets = [torch.nn.Linear(3, 2) for _ in range(4)]
    params, buffers = func.stack_module_state(nets)
    x = torch.randn(5, 3)
    out = func.vmap(lambda p, b: func.functional_call(nets[0], (p, b), (x,)))(params, buffers)
    assert torch.equal(out, torch.stack([n(x) for n in nets]))
    with pytest.raises(RuntimeError, match="same class"):
        func.stack_module_state([nets[0], torch.nn.ReLU()])


def test_assert_close():
    assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.000001]))
    assert_close({"a": [1, torch.ones(2)]}, {"a": [1, torch.ones(2)]})
    with pytest.raises(AssertionError, match=r"Mismatched elements: 1 / 2 \(50.0%\)"):
        assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]))
    with pytest.raises(AssertionError, match="dtype"):
        assert_close(torch.ones(2), torch.ones(2).double())
    assert_close(torch.ones(2), torch.ones(2).double(), check_dtype=False)
    with pytest.raises(AssertionError, match="shape"):
        assert_close(torch.ones(2), torch.ones(3))
    with pytest.raises(AssertionError, match="keys"):
        assert_close({"a": 1}, {"b": 1})
    with pytest.raises(AssertionError, match="Scalars are not close"):
        assert_close(1.0, 1.1)
    nan = torch.tensor(float("nan"))
    with pytest.raises(AssertionError):
        assert_close(nan, nan)
    assert_close(nan, nan, equal_nan=True)
    with pytest.raises(ValueError, match="rtol and atol"):
        assert_close(1.0, 1.0, rtol=1e-3)
    with pytest.raises(TypeError, match="comparison pair"):
        assert_close("a", 1)
    with pytest.raises(AssertionError, match="^mine$"):
        assert_close(1, 2, msg="mine")


def test_pytrees():
    from collections import OrderedDict, namedtuple

    Point = namedtuple("Point", "x y")
    nest = {"a": [1, (2, 3)], "b": Point(4, OrderedDict(c=None))}
    leaves, spec = tree.tree_flatten(nest)
    assert leaves == [1, 2, 3, 4, None] and spec.num_leaves == 5
    assert tree.tree_unflatten(leaves, spec) == nest
    assert tree.tree_map_only(int, lambda v: v * 2, nest) == {"a": [2, (4, 6)], "b": Point(8, OrderedDict(c=None))}
    assert tree.tree_map(lambda a, b: a + b, [1, (2,)], [10, (20,)]) == [11, (22,)]
    with pytest.raises(ValueError, match="differ"):
        tree.tree_map(lambda a, b: a, [1], [1, 2])
    with pytest.raises(ValueError, match="length 1"):
        tree.tree_unflatten([1], spec)
