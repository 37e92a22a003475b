"""Every expression of cases.py gives PyTorch's recorded values, gradients, dtypes, shapes, and exception types."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from tests.parity import cases

DATA = Path(__file__).parent.parent / "data"
TEXTS = json.loads((DATA / "parity.json").read_text())
ARRAYS = np.load(DATA / "parity.npz")

# Both sides round: a few units in the last place of float32, more where sums cancel.
RTOL = {"float32": 2e-5, "complex64": 2e-5, "float16": 2e-3, "float64": 1e-10, "complex128": 1e-10}
ATOL = {"float32": 5e-6, "complex64": 5e-6, "float16": 2e-3, "float64": 1e-11, "complex128": 1e-11}
# sin and cos of the recorded sums, ill-conditioned by nature: a looser bound, said here
LOOSE = {"torch.digamma(p)": 10, "torch.erfinv(u)": 4, "torch.corrcoef(x)": 4}


def keys():
    return [(f"{g}/{i}", e) for g in cases.GROUPS for i, e in enumerate(cases.cases(g))]


def compare(expression: str, want, got, what: str) -> None:
    assert got.shape == want.shape, f"{expression}: {what}: shape {got.shape}, PyTorch {want.shape}"
    assert got.dtype == want.dtype, f"{expression}: {what}: dtype {got.dtype}, PyTorch {want.dtype}"
    if want.dtype.kind in "fc":
        f = LOOSE.get(expression, 1) * (5 if what.startswith("grad") else 1)
        scale = np.max(np.abs(want[np.isfinite(want)]), initial=0.0)
        atol = f * ATOL[want.dtype.name] * max(1.0, float(scale))
        np.testing.assert_allclose(got, want, f * RTOL[want.dtype.name], atol, err_msg=f"{expression}: {what}")
    else:
        np.testing.assert_array_equal(got, want, err_msg=f"{expression}: {what}")


def check(key: str, expression: str, arrays: dict) -> None:
    texts = TEXTS[key]
    assert texts["expression"] == expression, "record again: tools/record_parity.py"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = cases.evaluate(torch, expression, arrays)
    if "error" in texts:
        assert result.get("error") == texts["error"], f"{expression}: {result}; PyTorch: {texts}"
        return
    assert "error" not in result, f"{expression}: {result}"
    for k, v in result.items():
        if "grad.error" in texts and k.startswith("grad."):
            continue  # PyTorch has no derivative there; ours may be 0 or an error
        if isinstance(v, str):
            assert v == texts.get(k), f"{expression}: {k}: {v}, PyTorch {texts.get(k)}"
        else:
            compare(expression, ARRAYS[f"{key}/{k}"], v, k)
    missing = {k for k in texts if k not in ("expression", "grad.error")} - set(result)
    missing |= {k.rpartition("/")[2] for k in ARRAYS.files if k.startswith(key + "/")} - set(result)
    assert not missing, f"{expression}: PyTorch also gives {missing}"


@pytest.mark.parametrize("key,expression", keys(), ids=lambda v: v if "/" not in v[:12] else None)
def test_as_pytorch(key, expression):
    check(key, expression, cases.inputs(expression))


DEPENDS_ON_LAYOUT = ("stride", "contiguous", "as_strided", "view", "nbytes", "offset", "dim_order")


@pytest.mark.parametrize(
    "key,expression", [k for k in keys() if cases.inputs(k[1]) and not any(w in k[1] for w in DEPENDS_ON_LAYOUT)]
)
def test_strided_inputs(key, expression):
    """The same values from memory with gaps and another order of dimensions."""
    check(key, expression, {n: cases.strided(a) for n, a in cases.inputs(expression).items()})
