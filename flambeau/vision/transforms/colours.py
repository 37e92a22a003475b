"""Brightness, contrast, saturation, hue, grey and blur of images."""

from __future__ import annotations

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.nn import functional as F
from flambeau.ops.compare import where
from flambeau.ops.create import linspace, zeros_like
from flambeau.ops.join import stack
from flambeau.tensor.interop import tensor
from flambeau.tensor.tensor import Tensor
from flambeau.vision.transforms import basics as I


def blend(a, b, ratio: float):
    """ratio a + (1 - ratio) b, within the dtype's range."""
    most = 1.0 if a.is_floating_point() else 255
    ratio = float(ratio)
    return (ratio * a + (1.0 - ratio) * b).clamp(0, most).to(a.dtype)


def enhanced(img, kind: str, factor: float):
    """Pillow's ImageEnhance."""
    from PIL import ImageEnhance

    return getattr(ImageEnhance, kind)(img).enhance(factor)


def not_negative(name: str, factor: float) -> None:
    """Factors below 0 mean nothing."""
    if factor < 0:
        raise ValueError(f"{name} ({factor}) is not non-negative.")


def adjust_brightness(img, brightness_factor):
    """Black mixed in (factor below 1) or taken out."""
    not_negative("brightness_factor", brightness_factor)
    return blend(img, zeros_like(img), brightness_factor) if isinstance(img, Tensor) else enhanced(img, "Brightness", brightness_factor)


def adjust_contrast(img, contrast_factor):
    """The mean grey mixed in (factor below 1) or taken out."""
    not_negative("contrast_factor", contrast_factor)
    if not isinstance(img, Tensor):
        return enhanced(img, "Contrast", contrast_factor)
    gray = rgb_to_grayscale(img) if img.shape[-3] == 3 else img
    kind = img.dtype if img.is_floating_point() else dt.float32
    return blend(img, gray.to(kind).mean((-3, -2, -1), keepdim=True), contrast_factor)


def adjust_saturation(img, saturation_factor):
    """The image's own grey mixed in (factor below 1) or taken out."""
    not_negative("saturation_factor", saturation_factor)
    if not isinstance(img, Tensor):
        return enhanced(img, "Color", saturation_factor)
    return img if img.shape[-3] == 1 else blend(img, rgb_to_grayscale(img), saturation_factor)


def adjust_hue(img, hue_factor):
    """Hues turned by a part (from -0.5 to 0.5) of the circle of colours."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if not isinstance(img, Tensor):
        if img.mode in ("L", "1", "I", "F"):
            return img
        h, s, v = img.convert("HSV").split()
        turned = np.array(h, dtype=np.uint8) + np.int32(hue_factor * 255).astype(np.uint8)  # goes round, as it should
        return I.pillow().merge("HSV", (I.pillow().fromarray(turned), s, v)).convert(img.mode)
    if img.shape[-3] == 1:
        return img
    x = I.convert_image_dtype(img, dt.float32)
    h, s, v = hsv_of(x)
    return I.convert_image_dtype(rgb_of((h + hue_factor) % 1.0, s, v), img.dtype)


def hsv_of(x):
    """Hue, saturation and value, all in [0, 1]."""
    r, g, b = x.unbind(-3)
    high, low = x.amax(-3), x.amin(-3)
    gray = high == low
    spread = high - low
    s = spread / where(gray, 1.0, high)
    by = where(gray, 1.0, spread)
    rc, gc, bc = (high - r) / by, (high - g) / by, (high - b) / by
    red, green = high == r, (high == g) & (high != r)
    h = where(red, bc - gc, where(green, 2.0 + rc - bc, 4.0 + gc - rc))
    return (where(gray, 0.0, h) / 6.0 + 1.0).fmod(1.0), s, high


def rgb_of(h, s, v):
    """The inverse of hsv_of."""
    sector = (h * 6.0).floor()
    f = h * 6.0 - sector
    i = sector.to(dt.int32) % 6
    p, q, t = ((v * (1.0 - part)).clamp(0.0, 1.0) for part in (s, s * f, s * (1.0 - f)))
    rows = ((v, q, p, p, t, v), (t, v, v, q, p, p), (p, p, t, v, v, q))
    channels = []
    for row in rows:
        channel = row[0]
        for k in range(1, 6):
            channel = where(i == k, row[k], channel)
        channels.append(channel)
    return stack(channels, -3)


def rgb_to_grayscale(img, num_output_channels=1):
    """Grey by luminance, 0.2989 red + 0.587 green + 0.114 blue, in one or three equal channels."""
    if not isinstance(img, Tensor):
        return to_grayscale(img, num_output_channels)
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    if img.shape[-3] == 3:
        r, g, b = img.unbind(-3)
        img = (0.2989 * r + 0.587 * g + 0.114 * b).to(img.dtype).unsqueeze(-3)
    return img.expand(*img.shape[:-3], num_output_channels, *img.shape[-2:]) if num_output_channels == 3 else img


def to_grayscale(img, num_output_channels=1):
    """A Pillow image in grey."""
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    gray = img.convert("L")
    return gray if num_output_channels == 1 else gray.convert("RGB")


def adjust_gamma(img, gamma, gain=1):
    """gain x^gamma, of values in [0, 1]."""
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    if not isinstance(img, Tensor):
        table = [int((255 + 1 - 1e-3) * gain * pow(v / 255.0, gamma)) for v in range(256)]
        return img.convert("RGB").point(table * 3).convert(img.mode)
    x = img if img.is_floating_point() else I.convert_image_dtype(img, dt.float32)
    return I.convert_image_dtype((gain * x**gamma).clamp(0, 1), img.dtype)


def adjust_sharpness(img, sharpness_factor):
    """The image's blur (each pixel weighs 5, its 8 neighbours 1) mixed in (factor below 1) or taken out; the border stays."""
    not_negative("sharpness_factor", sharpness_factor)
    if not isinstance(img, Tensor):
        return enhanced(img, "Sharpness", sharpness_factor)
    if min(img.shape[-2:]) <= 2:
        return img
    kind = img.dtype if img.is_floating_point() else dt.float32
    kernel = tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]], dtype=kind)
    x = img.reshape(-1, 1, *img.shape[-2:]).to(kind)
    inner = F.conv2d(x, (kernel / kernel.sum()).reshape(1, 1, 3, 3))
    blurred = img.clone()
    blurred[..., 1:-1, 1:-1] = (inner if img.is_floating_point() else inner.round()).to(img.dtype).reshape(*img.shape[:-2], *inner.shape[-2:])
    return blend(img, blurred, sharpness_factor)


def autocontrast(img):
    """Every channel stretched, its least value to 0, its greatest to 1 (255 of bytes)."""
    if not isinstance(img, Tensor):
        return _by_pillow("autocontrast", img)
    bound = 1.0 if img.is_floating_point() else 255.0
    x = img.to(img.dtype if img.is_floating_point() else dt.float32)
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    flat = high == low
    scale = where(flat, 1.0, where(flat, 1.0, high - low).reciprocal() * bound)
    return ((x - where(flat, 0.0, low)) * scale).clamp(0, bound).to(img.dtype)


def equalize(img):
    """The values of every channel changed so that each is about equally frequent."""
    if not isinstance(img, Tensor):
        return _by_pillow("equalize", img)
    need_bytes(img)
    planes = [equalized(c) for c in img.reshape(-1, *img.shape[-2:])]
    return stack(planes).reshape(img.shape)


def equalized(plane):
    """One channel with the values that follow from how many pixels are at most as bright."""
    counts = plane.reshape(-1).to(dt.int64).bincount(minlength=256)
    seen = counts[counts != 0]
    step = int(seen[:-1].sum()) // 255
    if step == 0:
        return plane
    below = (counts.cumsum(0) - counts + step // 2) // step
    return below.clamp(0, 255).to(dt.uint8)[plane.to(dt.int64)]


def need_bytes(img) -> None:
    """Refuse tensors that aren't of bytes, in torchvision's words."""
    if img.dtype is not dt.uint8:
        raise TypeError(f"Only torch.uint8 image tensors are supported, but found {img.dtype}")


def gaussian_blur(img, kernel_size, sigma=None):
    """Every pixel the mean of those around it, weighted by exp(-d^2 / 2 sigma^2)."""
    kx, ky = (kernel_size, kernel_size) if isinstance(kernel_size, int) else (kernel_size[0], kernel_size[-1])
    if kx % 2 == 0 or ky % 2 == 0 or min(kx, ky) < 1:
        raise ValueError(f"kernel_size should have odd and positive integers. Got {[kx, ky]}")
    if sigma is None:
        sigma = [0.15 * k + 0.35 for k in (kx, ky)]
    sx, sy = (sigma, sigma) if isinstance(sigma, (int, float)) else (sigma[0], sigma[-1])
    if min(sx, sy) <= 0:
        raise ValueError(f"sigma should have positive values. Got {[sx, sy]}")
    x = img if isinstance(img, Tensor) else I.pil_to_tensor(img)
    kind = x.dtype if x.is_floating_point() else dt.float32
    kernel = bell(ky, sy).to(kind).unsqueeze(1) * bell(kx, sx).to(kind)
    c = x.shape[-3]
    y = F.pad((x if x.dim() == 4 else x.unsqueeze(0)).to(kind), (kx // 2, kx // 2, ky // 2, ky // 2), mode="reflect")
    y = F.conv2d(y, kernel.expand(c, 1, ky, kx), groups=c)
    y = y if x.is_floating_point() else y.round().to(x.dtype)
    y = y if x.dim() == 4 else y.squeeze(0)
    return y if isinstance(img, Tensor) else I.to_pil_image(y, img.mode)


def bell(count: int, sigma: float):
    """Weights that fall off on both sides, of sum 1."""
    half = (count - 1) * 0.5
    w = (-0.5 * (linspace(-half, half, count) / sigma) ** 2).exp()
    return w / w.sum()


def _by_pillow(name: str, img, *args):
    from PIL import ImageOps

    return getattr(ImageOps, name)(img, *args)


def invert(img):
    """The negative."""
    return (1 if img.is_floating_point() else 255) - img if isinstance(img, Tensor) else _by_pillow("invert", img)


def posterize(img, bits: int):
    """The upper `bits` bits of every byte."""
    if not isinstance(img, Tensor):
        return _by_pillow("posterize", img, bits)
    need_bytes(img)
    return img & (255 - 2 ** (8 - bits) + 1)


def solarize(img, threshold: float):
    """What is at least the threshold, inverted."""
    if not isinstance(img, Tensor):
        return _by_pillow("solarize", img, threshold)
    if threshold > (1 if img.is_floating_point() else 255):
        raise TypeError("Threshold should be less than bound of img.")
    return where(img >= threshold, invert(img), img)
