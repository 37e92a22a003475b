"""What PyTorch calls things in its files, and what they are here."""

from __future__ import annotations

from flambeau.core import dtypes as dt

STORAGES = {
    "FloatStorage": dt.float32, "DoubleStorage": dt.float64, "HalfStorage": dt.float16, "BFloat16Storage": dt.bfloat16,
    "LongStorage": dt.int64, "IntStorage": dt.int32, "ShortStorage": dt.int16, "CharStorage": dt.int8,
    "ByteStorage": dt.uint8, "BoolStorage": dt.bool, "ComplexFloatStorage": dt.complex64,
    "ComplexDoubleStorage": dt.complex128, "UntypedStorage": dt.uint8,
}  # fmt: skip
STORAGE_OF = {d: name for name, d in STORAGES.items() if name != "UntypedStorage"}


def to_pytorch(module: str) -> str:
    """Our modules under PyTorch's name."""
    return "torch" + module[len("flambeau") :] if module == "flambeau" or module.startswith("flambeau.") else module


def from_pytorch(module: str) -> str:
    """PyTorch's modules under ours."""
    return "flambeau" + module[len("torch") :] if module == "torch" or module.startswith("torch.") else module
