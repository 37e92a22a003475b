"""torch.utils.dlpack."""

from flambeau.tensor.interop import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
