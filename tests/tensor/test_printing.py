"""Tensor texts against those recorded from PyTorch (tools/record_printing.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import dtypes as dt
from flambeau.core.device import device
from flambeau.tensor import printing

CASES = json.loads((Path(__file__).parent.parent / "data" / "printing.json").read_text())


@pytest.fixture(autouse=True)
def default_options():
    printing.set_printoptions(profile="default")
    yield
    printing.set_printoptions(profile="default")


def tensor_of(case):
    values = np.asarray(eval(case["values"]))
    dtype = dt.BY_NAME[case["dtype"]]
    made = torch.tensor(values.astype(np.float32) if dtype is dt.bfloat16 else values, dtype=dtype)
    return made.requires_grad_(case["requires_grad"])


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['values']}-{c['dtype']}")
def test_recorded(case):
    tensor = tensor_of(case)
    printing.set_printoptions(**case["options"])
    assert repr(tensor) == case["text"]


class Described:
    """What tensor_str asks of a tensor, for places that have no memory here."""

    requires_grad = False
    grad_fn = None

    def __init__(self, shape, dtype, where):
        self.shape, self.dtype, self.device = shape, dtype, device(where)


def test_meta_tensors_show_their_size():
    text = printing.tensor_str(Described((2, 3), dt.float16, "meta"))
    assert text == "Described(..., device='meta', size=(2, 3), dtype=torch.float16)"


def test_empty_on_another_device():
    text = printing.tensor_str(Described((0,), dt.float32, "cuda:1"))
    assert text.endswith("([], device='cuda:1')")


def test_grad_fn_is_named():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x * 2) == "tensor([2., 4.], grad_fn=<MulBackward0>)"


def test_invalid_history_is_said():
    class Broken(Described):
        @property
        def grad_fn(self):
            raise RuntimeError("view modified in no_grad mode")

    assert "grad_fn=<Invalid>" in printing.tensor_str(Broken((0,), dt.float32, "cpu"))


def test_subclass_prints_its_name():
    class Waves(torch.Tensor):
        pass

    assert repr(torch.tensor([1.5]).as_subclass(Waves)) == "Waves([1.5000])"


def test_contents_may_be_given():
    assert printing.tensor_str(torch.tensor([1.5]), tensor_contents="...") == "tensor(...)"


def test_default_dtype_is_not_shown():
    x = torch.tensor([0.5], dtype=torch.float64)
    assert repr(x) == "tensor([0.5000], dtype=torch.float64)"
    torch.set_default_dtype(torch.float64)
    try:
        assert repr(x) == "tensor([0.5000])"
        assert (
            repr(torch.tensor([0.5], dtype=torch.float32))
            == "tensor([0.5000], dtype=torch.float32)"
        )
    finally:
        torch.set_default_dtype(torch.float32)


def test_summary_reads_edges_only():
    values = np.arange(10_000.0).reshape(100, 100)
    few = printing.edges(values, 3)
    assert few.shape == (6, 6)
    assert printing.format_array(few, shape=values.shape) == printing.format_array(values)


def test_options_context_restores():
    before = printing.get_printoptions()
    with printing.printoptions(precision=1, sci_mode=True):
        assert repr(torch.tensor([0.25])) == "tensor([2.5e-01])"
    assert printing.get_printoptions() == before
