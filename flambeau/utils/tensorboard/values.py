"""What is shown, as arrays and pictures."""

from __future__ import annotations

import io

import numpy as np

from flambeau.tensor.tensor import Tensor


def array(x) -> np.ndarray:
    """Tensors (bfloat16 as float32), arrays and numbers as an array."""
    return x.detach().numpy(force=True) if isinstance(x, Tensor) else np.asarray(x)


def as_bytes(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1] (or already bytes) as uint8."""
    return image if image.dtype == np.uint8 else (np.clip(image, 0, 1) * 255).astype(np.uint8)


def pillow():
    """PIL.Image, or what to install."""
    try:
        from PIL import Image
    except ImportError as e:
        raise ImportError("images need Pillow: pip install 'flambeau[vision]'") from e
    return Image


def png(image: np.ndarray) -> bytes:
    """(H, W, C) bytes as a PNG file."""
    out = io.BytesIO()
    pillow().fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(out, "PNG")
    return out.getvalue()


def arranged(image: np.ndarray, formats: str) -> np.ndarray:
    """An image of the given dims ("CHW", "HW", ...) as (H, W, C)."""
    formats = formats.upper()
    if len(formats) != image.ndim:
        raise AssertionError(f"size of input tensor and input format are different. tensor shape: {image.shape}, input_format: {formats}")
    if "C" not in formats:
        image, formats = image[..., None], formats + "C"
    return image.transpose([formats.index(c) for c in "HWC"])
