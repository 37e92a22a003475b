"""How closely results must agree, in one place."""

import numpy as np

# dtype -> (relative, absolute): a few units in the last place, with room for sums of a few hundred terms.
TOLERANCES = {
    "float64": (1e-12, 1e-13),
    "float32": (1e-5, 1e-6),
    "float16": (2e-3, 1e-4),
    "bfloat16": (1.6e-2, 1e-3),
    "complex128": (1e-12, 1e-13),
    "complex64": (1e-5, 1e-6),
}
EXACT = (0.0, 0.0)  # integers and bool
GRADIENT = (1e-5, 1e-7)  # analytic against central differences, both in float64


def tolerance(dtype, slack: float = 1.0) -> tuple[float, float]:
    """(rtol, atol) of a dtype, given as torch.<name>, a NumPy dtype or a name; slack times wider."""
    rtol, atol = TOLERANCES.get(str(dtype).removeprefix("torch."), EXACT)
    return rtol * slack, atol * slack


def assert_close(actual, expected, dtype=None, slack: float = 1.0) -> None:
    """Arrays agree within the tolerance of dtype (of actual's, if not given), NaNs included."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    rtol, atol = tolerance(actual.dtype if dtype is None else dtype, slack)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
