"""What PyTorch calls things in its files, and what they are here."""

from __future__ import annotations

from flambeau.core import dtypes as dt

STORAGES = {
    "FloatStorage": dt.float32, "DoubleStorage": dt.float64, "HalfStorage": dt.float16, "BFloat16Storage": dt.bfloat16,
    "LongStorage": dt.int64, "IntStorage": dt.int32, "ShortStorage": dt.int16, "CharStorage": dt.int8,
    "ByteStorage": dt.uint8, "BoolStorage": dt.bool, "ComplexFloatStorage": dt.complex64,
    "ComplexDoubleStorage": dt.complex128,
}  # fmt: skip
STORAGE_OF = {d: name for name, d in STORAGES.items()}
NAMED_DTYPES = (*STORAGE_OF, dt.uint16, dt.uint32, dt.uint64)


HOMES = {
    "flambeau.nn.modules.multihead": "torch.nn.modules.activation", "flambeau.nn.modules.conv_lazy": "torch.nn.modules.conv",
    "flambeau.nn.modules.transformer_layers": "torch.nn.modules.transformer",
    "flambeau.nn.modules.container_params": "torch.nn.modules.container",
}  # fmt: skip
"""Modules of ours whose classes PyTorch has elsewhere."""


def to_pytorch(module: str) -> str:
    """Our modules under PyTorch's name."""
    ours = module == "flambeau" or module.startswith("flambeau.")
    return HOMES.get(module, "torch" + module[len("flambeau") :]) if ours else module


def from_pytorch(module: str) -> str:
    """PyTorch's modules under ours."""
    return "flambeau" + module[len("torch") :] if module == "torch" or module.startswith("torch.") else module
