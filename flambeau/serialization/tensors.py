"""safetensors files, over the safetensors package (extra `safetensors`)."""

from __future__ import annotations

from flambeau.tensor.interop import from_numpy, view_array


def _package():
    try:
        import safetensors.numpy as package
    except ImportError as e:
        raise ImportError("safetensors files need the package safetensors: pip install 'flambeau[safetensors]'") from e
    return package


def save_file(tensors: dict, filename, metadata: dict | None = None) -> None:
    """Write named tensors to a .safetensors file."""
    arrays = {k: view_array(t.detach().contiguous()) for k, t in tensors.items()}
    _package().save_file(arrays, filename, metadata)


def load_file(filename, device="cpu") -> dict:
    """The named tensors of a .safetensors file."""
    return {k: from_numpy(a.copy()) for k, a in _package().load_file(filename).items()}
