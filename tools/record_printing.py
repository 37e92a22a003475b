"""Record PyTorch's tensor texts for tests/tensor/test_printing.py (needs the `oracle` extra).

python tools/record_printing.py > tests/data/printing.json
"""

import json

import numpy as np
import torch

# NumPy expression, dtype, options of set_printoptions, requires_grad
CASES = [
    ("1.5", "float32", {}, False),
    ("3", "int64", {}, True),
    ("True", "bool", {}, False),
    ("np.nan", "float32", {}, False),
    ("2 - 1.5j", "complex64", {}, False),
    ("[1, 10000]", "float32", {}, False),
    ("[1, 1000]", "float32", {}, False),
    ("[0.0, -0.0, 5]", "float32", {}, False),
    ("[1e-5, 1]", "float32", {}, False),
    ("[1e-4, 0.05]", "float64", {}, False),
    ("[1e8, 1e6]", "float32", {}, False),
    ("[2e8]", "float32", {}, False),
    ("[0.1, 0.25, 99.5]", "float32", {}, False),
    ("[np.nan, np.inf, -np.inf]", "float32", {}, False),
    ("[np.nan, 1, -np.inf]", "float32", {}, False),
    ("[np.nan, 1.25, -np.inf]", "float32", {}, False),
    ("[1 / 3, 2 / 3]", "float16", {}, False),
    ("[1 / 3, 2 / 3, 1e30]", "bfloat16", {}, False),
    ("[1 / 3, 2 / 3]", "float64", {"precision": 10}, False),
    ("[1, -22, 333]", "int32", {}, False),
    ("[1, 22, 255]", "uint8", {}, False),
    ("[True, False]", "bool", {}, False),
    ("[1 + 2j, -3 - 4j, 0]", "complex64", {}, False),
    ("[1.5 + 2j, -3 - 400j, complex(np.nan, -0.0)]", "complex128", {}, False),
    ("np.arange(100)", "int64", {}, False),
    ("np.arange(24) / 7", "float32", {}, True),
    ("np.arange(60).reshape(3, 4, 5)", "int64", {}, False),
    ("np.arange(16).reshape(2, 2, 2, 2) * 0.5", "float32", {}, False),
    ("np.zeros((0,))", "float32", {}, False),
    ("np.zeros((0, 3))", "float32", {}, True),
    ("np.zeros((2, 0, 3))", "int16", {}, False),
    ("np.arange(2000)", "float32", {}, False),
    ("np.arange(1001)", "int64", {}, False),
    ("np.arange(1000)", "int64", {"linewidth": 120}, False),
    ("np.arange(4000).reshape(2, 10, 200)", "int64", {}, False),
    ("np.arange(4000).reshape(1000, 4) / 3", "float32", {}, True),
    ("np.arange(4000).reshape(4, 1000) * (1 + 1j)", "complex64", {}, False),
    ("np.arange(12).reshape(3, 4) / 7", "float32", {"profile": "short"}, False),
    ("np.arange(1200) / 7", "float32", {"profile": "full"}, False),
    ("np.arange(12).reshape(3, 4) / 7", "float32", {"threshold": 5, "edgeitems": 1}, False),
    ("np.arange(12).reshape(3, 4) / 7", "float32", {"threshold": 5, "edgeitems": 0}, False),
    ("np.arange(12).reshape(3, 4) / 7", "float32", {"linewidth": 20}, True),
    ("np.arange(12).reshape(3, 4) / 7", "float32", {"sci_mode": True, "precision": 2}, False),
    ("[1e-9, 1e9]", "float32", {"sci_mode": False}, False),
    ("[0.1] * 9", "float16", {}, True),
    ("[0.1] * 9", "float32", {"linewidth": 75}, True),
    ("[[1.0]]", "float64", {"linewidth": 20}, True),
]


def record(expression: str, dtype: str, options: dict, requires_grad: bool) -> dict:
    """One case with PyTorch's text."""
    kind = getattr(torch, dtype)
    tensor = torch.tensor(np.asarray(eval(expression)).tolist(), dtype=kind)
    tensor = tensor.reshape(np.shape(eval(expression)))
    if requires_grad and kind.is_floating_point:
        tensor.requires_grad_()
    torch.set_printoptions(profile="default")
    torch.set_printoptions(**options)
    return {
        "values": expression, "dtype": dtype, "options": options,
        "requires_grad": tensor.requires_grad, "text": repr(tensor),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps([record(*case) for case in CASES], indent=1))
