"""Transforms: inverses, Jacobians by automatic differentiation, constraints, registries."""

import numpy as np
import pytest

import flambeau as torch

D = torch.distributions
C = D.constraints


def t(*values):
    return torch.tensor(list(values), dtype=torch.float64)


REAL = t(-1.3, 0.4, 2.0)
ELEMENTWISE = {
    "exp": (D.ExpTransform(), REAL), "sigmoid": (D.SigmoidTransform(), REAL), "tanh": (D.TanhTransform(), REAL),
    "softplus": (D.SoftplusTransform(), REAL), "affine": (D.AffineTransform(1.0, -2.0), REAL),
    "power": (D.PowerTransform(t(2.5)), t(0.3, 1.2, 4.0)), "cdf": (D.CumulativeDistributionTransform(D.Normal(t(0.5), t(2.0))), REAL),
    "composed": (D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.SigmoidTransform()]), REAL),
    "inverse": (D.ExpTransform().inv, t(0.3, 1.2, 4.0)),
}  # fmt: skip
VECTORS = {
    "stick breaking": (D.StickBreakingTransform(), REAL), "correlations": (D.CorrCholeskyTransform(), REAL),
    "reshape": (D.ReshapeTransform((3,), (1, 3)), REAL), "independent": (D.IndependentTransform(D.ExpTransform(), 1), REAL),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slopes(name):
    transform, x = ELEMENTWISE[name]
    x = x.clone().requires_grad_()
    y = transform(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(transform.log_abs_det_jacobian(x, y).detach().numpy(), slope.abs().log().numpy(), rtol=1e-9)
    np.testing.assert_allclose(transform.inv(y).detach().numpy(), x.detach().numpy(), rtol=1e-9)
    assert transform.codomain.check(y).all() and (transform.sign * slope > 0).all()


@pytest.mark.parametrize("name", VECTORS)
def test_volumes(name):
    transform, x = VECTORS[name]
    y = transform(x)
    assert tuple(y.shape) == tuple(transform.forward_shape(x.shape)) and tuple(transform.inverse_shape(y.shape)) == tuple(x.shape)
    np.testing.assert_allclose(transform.inv(y).numpy(), x.numpy(), rtol=1e-9)

    def free(v):  # the coordinates that are not determined by the others
        w = transform(v)
        if name == "stick breaking":
            return w[:-1]
        return w[torch.tril_indices(3, 3, -1).unbind()] if name == "correlations" else w.reshape(-1)

    jacobian = torch.autograd.functional.jacobian(free, x)
    np.testing.assert_allclose(transform.log_abs_det_jacobian(x, y).item(), torch.linalg.slogdet(jacobian)[1].item(), rtol=1e-9, atol=1e-12)


def test_parts():
    x = torch.stack([REAL, REAL + 1])
    for transform in (D.CatTransform([D.ExpTransform(), D.TanhTransform()], 0, [1, 1]), D.StackTransform([D.ExpTransform(), D.TanhTransform()])):
        y = transform(x)
        np.testing.assert_allclose(y[0].numpy(), np.exp(REAL.numpy()))
        np.testing.assert_allclose(y[1].numpy(), np.tanh(REAL.numpy() + 1))
        np.testing.assert_allclose(transform.inv(y).numpy(), x.numpy())
        assert transform.log_abs_det_jacobian(x, y).shape == (2, 3)


def test_a_cache_keeps_the_pair():
    transform = D.TanhTransform(cache_size=1)
    x = t(30.0)  # tanh has lost it: only the cache gives it back
    assert transform.inv(transform(x)) is x
    assert D.TanhTransform().inv(D.TanhTransform()(x)).isinf().all()


@pytest.mark.parametrize(
    "constraint",
    [C.real, C.positive, C.greater_than(2.0), C.less_than(-1.0), C.interval(1.0, 3.0), C.unit_interval, C.simplex, C.real_vector,
     C.half_open_interval(-1.0, 1.0), C.greater_than_eq(1.0), C.nonnegative],
    ids=repr,
)  # fmt: skip
def test_registries(constraint):
    for registry in (D.biject_to, D.transform_to):
        transform = registry(constraint)
        y = transform(REAL)
        assert constraint.check(y).all()
        again = transform(transform.inv(y))
        np.testing.assert_allclose(again.numpy(), y.numpy(), rtol=1e-9)
    assert D.biject_to(constraint).bijective


def test_matrices():
    x = torch.tensor([[0.3, 9.0], [0.5, -0.2]], dtype=torch.float64)
    assert C.lower_cholesky.check(D.transform_to(C.lower_cholesky)(x)) and C.positive_definite.check(D.transform_to(C.positive_definite)(x))
    assert C.corr_cholesky.check(D.transform_to(C.corr_cholesky)(t(0.3, -0.5, 1.0)))
    assert not C.positive_definite.check(-torch.eye(2)) and not C.symmetric.check(x) and C.square.check(x)


def test_constraints():
    x = t(-1, 0, 0.5, 1, 2)
    assert C.boolean.check(x).tolist() == [False, True, False, True, False]
    assert C.nonnegative_integer.check(x).tolist() == [False, True, False, True, True]
    assert C.integer_interval(0, 1).check(x).tolist() == [False, True, False, True, False]
    assert C.one_hot.check(t(0, 1, 0)) and not C.one_hot.check(t(0.5, 0.5, 0)) and C.simplex.check(t(0.5, 0.5, 0))
    assert C.is_dependent(C.dependent) and C.is_dependent(D.Uniform.support) and not C.is_dependent(C.real)
    assert repr(C.interval(0.0, 2.0)) == "Interval(lower_bound=0.0, upper_bound=2.0)" and repr(C.real) == "Real()"


def test_transformed():
    base = D.Normal(t(0.0, 1.0), t(1.0, 2.0))
    logit = D.TransformedDistribution(base, [D.SigmoidTransform()])
    x = t(0.2, 0.7)
    want = base.log_prob(torch.logit(x)) - (x * (1 - x)).log()
    np.testing.assert_allclose(logit.log_prob(x).numpy(), want.numpy())
    np.testing.assert_allclose(logit.cdf(x).numpy(), base.cdf(torch.logit(x)).numpy())
    np.testing.assert_allclose(logit.icdf(logit.cdf(x)).numpy(), x.numpy())
    vectors = D.TransformedDistribution(base, D.StickBreakingTransform())
    assert vectors.event_shape == (3,) and vectors.batch_shape == () and vectors.sample((4,)).shape == (4, 3)
