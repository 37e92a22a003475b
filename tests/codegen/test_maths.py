"""Vector maths within their bounds, in units in the last place, against SciPy in float64 or mpmath."""

import mpmath
import numpy as np
import pytest
import scipy.special as sp

import flambeau as torch

R = np.random.default_rng(7)
# name: (float64 reference, low, high, bound float32, bound float64). Bounds above 1.5 and 2 are where PyTorch's are too.
RANGES = {
    "exp": (np.exp, -87, 88, 1.5, 2), "exp2": (np.exp2, -125, 127, 1.5, 2), "expm1": (np.expm1, -10, 88, 1.5, 2),
    "log": (np.log, 1e-30, 1e30, 1.5, 2), "log2": (np.log2, 1e-30, 1e30, 1.5, 2), "log10": (np.log10, 1e-30, 1e30, 1.5, 2),
    "log1p": (np.log1p, -0.999, 100, 1.5, 2), "sin": (np.sin, -200, 200, 1.5, 2), "cos": (np.cos, -200, 200, 1.5, 2),
    "tan": (np.tan, -50, 50, 1.5, 4), "asin": (np.arcsin, -1, 1, 1.5, 2), "acos": (np.arccos, -1, 1, 1.5, 2),
    "atan": (np.arctan, -50, 50, 1.5, 2), "sinh": (np.sinh, -80, 80, 1.5, 2), "cosh": (np.cosh, -80, 80, 1.5, 2),
    "tanh": (np.tanh, -10, 10, 1.5, 2), "asinh": (np.arcsinh, -1e4, 1e4, 1.5, 2), "acosh": (np.arccosh, 1, 1e4, 1.5, 2),
    "atanh": (np.arctanh, -1, 1, 1.5, 3), "sigmoid": (sp.expit, -80, 80, 2.5, 2.5), "erf": (sp.erf, -5, 5, 1.5, 3),
    "erfinv": (sp.erfinv, -1, 1, 1.5, 6), "rsqrt": (lambda x: 1 / np.sqrt(x), 1e-3, 1e6, 1.5, 2),
}  # fmt: skip
DTYPES = {"float32": np.float32, "float64": np.float64}


def error(got, want, t) -> float:
    """The largest error in units in the last place of the reference."""
    unit = np.spacing(np.abs(want.astype(t))).astype(np.float64)
    return float(np.max(np.abs(got.astype(np.longdouble) - want) / unit))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RANGES)
def test_within_bounds(name, dtype):
    reference, low, high, single, double = RANGES[name]
    t = DTYPES[dtype]
    x = R.uniform(low, high, 20000).astype(t)
    x = x[(x > low) & (x < high)]
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
    keep = np.abs(want) > np.finfo(t).tiny
    got = getattr(torch, name)(torch.from_numpy(x)).numpy()
    assert error(got[keep], want[keep], t) <= (single if t is np.float32 else double)


@pytest.mark.parametrize("name", ["lgamma", "digamma", "erfc", "special_erfcx", "special_i0e", "special_i1e", "special_ndtri"])
def test_special_functions_against_mpmath(name):
    low, high = {"special_ndtri": (0.001, 0.999), "lgamma": (0.05, 30), "digamma": (2.0, 30)}.get(name, (0.05, 8))
    x = R.uniform(low, high, 300)
    reference = {
        "lgamma": mpmath.loggamma, "digamma": mpmath.digamma, "erfc": mpmath.erfc,
        "special_erfcx": lambda v: mpmath.exp(v * v) * mpmath.erfc(v),
        "special_i0e": lambda v: mpmath.exp(-v) * mpmath.besseli(0, v),
        "special_i1e": lambda v: mpmath.exp(-v) * mpmath.besseli(1, v),
        "special_ndtri": lambda v: mpmath.sqrt(2) * mpmath.erfinv(2 * v - 1),
    }[name]  # fmt: skip
    with mpmath.workdps(40):
        want = np.array([float(reference(mpmath.mpf(float(v)))) for v in x])
    got = getattr(torch.ops, name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, want, rtol=4e-15, atol=4e-16)
    single = getattr(torch.ops, name)(torch.from_numpy(x.astype(np.float32))).numpy()
    with mpmath.workdps(30):
        want32 = np.array([float(reference(mpmath.mpf(float(np.float32(v))))) for v in x])
    np.testing.assert_allclose(single, want32, rtol=2e-7, atol=1e-8)


INF, NAN = np.inf, np.nan
SPECIAL = {
    "exp": [(INF, INF), (-INF, 0.0), (0.0, 1.0), (-1000.0, 0.0), (1000.0, INF)],
    "log": [(0.0, -INF), (-1.0, NAN), (INF, INF), (1.0, 0.0), (5e-324, -744.4400719213812)],
    "tanh": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0)],
    "sin": [(INF, NAN), (-0.0, -0.0)],
    "cos": [(INF, NAN), (0.0, 1.0)],
    "tan": [(INF, NAN), (-0.0, -0.0)],
    "atan": [(INF, np.pi / 2), (-INF, -np.pi / 2), (-0.0, -0.0)],
    "erf": [(INF, 1.0), (-INF, -1.0), (-0.0, -0.0)],
    "erfc": [(INF, 0.0), (-INF, 2.0)],
    "erfinv": [(1.0, INF), (-1.0, -INF), (2.0, NAN)],
    "lgamma": [(0.0, INF), (1.0, 0.0), (2.0, 0.0), (-1.0, INF), (INF, INF)],
    "sqrt": [(-1.0, NAN), (INF, INF), (-0.0, -0.0)],
    "sigmoid": [(INF, 1.0), (-INF, 0.0), (0.0, 0.5)],
    "log1p": [(-1.0, -INF), (-2.0, NAN), (-0.0, -0.0)],
    "acosh": [(1.0, 0.0), (0.5, NAN), (INF, INF)],
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, dtype):
    pairs = [p for p in SPECIAL[name] if dtype is torch.float64 or not 0 < abs(p[0]) < 1e-300]
    x, want = (np.array(v) for v in zip(*[*pairs, (NAN, NAN)], strict=True))
    got = getattr(torch, name)(torch.tensor(x.tolist(), dtype=dtype)).double().numpy()
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=0)
    zero = want == 0
    np.testing.assert_array_equal(np.signbit(got[zero & (np.abs(x) == 0)]), np.signbit(want[zero & (np.abs(x) == 0)]))


def test_pow():
    x, y = R.uniform(0.01, 50, 20000), R.uniform(-20, 20, 20000)
    for t, bound in ((np.float32, 1.5), (np.float64, 2)):
        a, b = x.astype(t), y.astype(t)
        want = a.astype(np.longdouble) ** b.astype(np.longdouble)
        keep = (want > np.finfo(t).tiny) & (want < np.finfo(t).max)
        got = torch.pow(torch.from_numpy(a), torch.from_numpy(b)).numpy()
        assert error(got[keep], want[keep], t) <= bound
    base = torch.tensor([-2.0, -2.0, 0.0, 0.0, -8.0, float("inf"), 1.0])
    power = torch.tensor([3.0, 0.5, 0.0, -1.0, 2.0, -1.0, float("nan")])
    np.testing.assert_array_equal((base**power).numpy(), np.float32([-8, NAN, 1, INF, 64, 0, 1]))


@pytest.mark.parametrize(("name", "width"), [("tanh", 9 / 32), ("erf", 1 / 8)])
def test_pieces_meet(name, width):
    """At, just below and just above every boundary between the polynomials, and beyond the last."""
    edges = (np.arange(40) + 0.5) * width
    near = np.float32(edges)
    x = np.concatenate([np.nextafter(near, np.float32(0)), near, np.nextafter(near, np.float32(99)), np.float32([1e-38, 1e-20, 1e-3])])
    x = np.concatenate([x, -x])
    want = {"tanh": np.tanh, "erf": sp.erf}[name](x.astype(np.float64))
    assert error(getattr(torch, name)(torch.from_numpy(x)).numpy(), want, np.float32) <= 1.5


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_on_both_sides_of_the_short_reduction(name):
    near, quarters = R.uniform(2.0**16, 2.0**18, 300), np.arange(1, 80000, 31) * (np.pi / 2)
    x = np.float32(np.concatenate([near, quarters, R.uniform(-3, 3, 300), 2.0 ** np.arange(20, 127)]))
    with mpmath.workdps(60):
        want = np.array([float(getattr(mpmath, name)(mpmath.mpf(float(v)))) for v in x])
    assert error(getattr(torch, name)(torch.from_numpy(x)).numpy(), want, np.float32) <= 1.5


def test_logarithms_of_odd_and_usual_numbers_together():
    x = np.float32([1e-40, 3.0, 0.0, np.inf, -1.0, np.nan, 1.0, 2.0**-126, 1e-45] * 30)
    with np.errstate(all="ignore"):
        for name in ("log", "log2", "log10"):
            want = getattr(np, name)(x.astype(np.float64))
            np.testing.assert_allclose(getattr(torch, name)(torch.from_numpy(x)).numpy(), want, rtol=2e-7)
