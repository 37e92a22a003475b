"""torch.onnx: nothing is exported, and programs that ask are told so."""

from __future__ import annotations

__all__ = ["is_in_onnx_export"]


def is_in_onnx_export() -> bool:
    """False: there is no export that could be running.

    Source:   torch.onnx.is_in_onnx_export
    """
    return False


def __getattr__(name: str):
    raise AttributeError(f"module 'flambeau.onnx' has no attribute {name!r}: networks are not exported; save a state_dict() with torch.save")
