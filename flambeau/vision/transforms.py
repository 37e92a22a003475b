"""Transforms of Pillow images and tensors, under torchvision's names. Random ones draw from the default generator."""

from __future__ import annotations

import math

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.nn import functional as F
from flambeau.ops.create import empty
from flambeau.ops.random import rand, randint
from flambeau.tensor.interop import from_numpy
from flambeau.tensor.tensor import Tensor


def pillow():
    """Pillow, or what to install."""
    try:
        from PIL import Image
    except ImportError as e:
        raise ImportError("vision needs Pillow: pip install 'flambeau[vision]'") from e
    return Image


def to_tensor(image):
    """A Pillow image or (H, W, C) array as a (C, H, W) tensor; bytes become floats in [0, 1]."""
    a = np.asarray(image)
    a = a.astype(np.uint8) * 255 if a.dtype == bool else a
    a = a[:, :, None] if a.ndim == 2 else a
    t = from_numpy(np.ascontiguousarray(a.transpose(2, 0, 1)))
    return t.to(dt.get_default_dtype()).div(255) if t.dtype is dt.uint8 else t


def to_pil_image(tensor, mode=None):
    """A (C, H, W) tensor or (H, W, C) array as a Pillow image."""
    if isinstance(tensor, Tensor):
        t = tensor.unsqueeze(0) if tensor.dim() == 2 else tensor
        a = t.mul(255).byte().numpy() if t.is_floating_point() else t.numpy()
        a = a.transpose(1, 2, 0)
    else:
        a = np.asarray(tensor)
    return pillow().fromarray(np.ascontiguousarray(a[:, :, 0] if a.ndim == 3 and a.shape[2] == 1 else a), mode)


def size_of(image) -> tuple[int, int]:
    """(height, width) of a Pillow image or tensor."""
    return tuple(image.shape[-2:]) if isinstance(image, Tensor) else (image.height, image.width)


def crop(image, top: int, left: int, height: int, width: int):
    """A rectangle of an image, zeros outside it."""
    if isinstance(image, Tensor):
        h, w = size_of(image)
        pads = (max(-left, 0), max(left + width - w, 0), max(-top, 0), max(top + height - h, 0))
        if any(pads):
            image, top, left = F.pad(image, pads), top + pads[2], left + pads[0]
        return image[..., top : top + height, left : left + width]
    return image.crop((left, top, left + width, top + height))


def resize(image, size, interpolation="bilinear"):
    """Another size; one number is the shorter edge's."""
    h, w = size_of(image)
    if isinstance(size, int) or len(size) == 1:
        short = size if isinstance(size, int) else size[0]
        size = (short, int(short * w / h)) if h <= w else (int(short * h / w), short)
    if isinstance(image, Tensor):
        x = image.unsqueeze(0)
        kw = {} if interpolation == "nearest" else {"antialias": True}
        return F.interpolate(x, tuple(size), mode=interpolation, **kw).squeeze(0)
    kinds = {"nearest": 0, "bilinear": 2, "bicubic": 3}
    return image.resize((size[1], size[0]), kinds[interpolation])


def chance(p: float) -> bool:
    """True with probability p."""
    return rand(1).item() < p


def between(low: float, high: float) -> float:
    """A number from [low, high), all equally likely."""
    return empty(1).uniform_(low, high).item()


class Compose:
    """One transform after another."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        for t in self.transforms:
            image = t(image)
        return image

    def __repr__(self):
        return "\n".join(["Compose(", *[f"    {t}" for t in self.transforms], ")"])


class Transform:
    """A transform whose repr shows its settings."""

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.__dict__.items())})"


class ToTensor(Transform):
    """A Pillow image or (H, W, C) array as a (C, H, W) tensor; bytes become floats in [0, 1]."""

    def __call__(self, image):
        return to_tensor(image)


class PILToTensor(Transform):
    """A Pillow image as a (C, H, W) tensor of its own dtype."""

    def __call__(self, image):
        a = np.asarray(image)
        return from_numpy(np.ascontiguousarray((a[:, :, None] if a.ndim == 2 else a).transpose(2, 0, 1)))


class ToPILImage(Transform):
    """A (C, H, W) tensor or (H, W, C) array as a Pillow image."""

    def __init__(self, mode=None):
        self.mode = mode

    def __call__(self, image):
        return to_pil_image(image, self.mode)


class Normalize(Transform):
    """(x - mean) / std by channel."""

    def __init__(self, mean, std, inplace=False):
        self.mean, self.std, self.inplace = mean, std, inplace

    def __call__(self, x):
        mean = x.new_tensor(self.mean).reshape(-1, 1, 1)
        std = x.new_tensor(self.std).reshape(-1, 1, 1)
        if bool((std == 0).any()):
            raise ValueError(f"std evaluated to zero after conversion to {x.dtype}, leading to division by zero.")
        return x.sub_(mean).div_(std) if self.inplace else (x - mean) / std


class Lambda(Transform):
    """A function of your own as a transform."""

    def __init__(self, lambd):
        self.lambd = lambd

    def __call__(self, image):
        return self.lambd(image)


class Resize(Transform):
    """Another size, (height, width); one number is the shorter edge's."""

    def __init__(self, size, interpolation="bilinear"):
        self.size, self.interpolation = size, interpolation

    def __call__(self, image):
        return resize(image, self.size, self.interpolation)


def pair(size) -> tuple[int, int]:
    """(height, width) of a size that may be one number."""
    return (size, size) if isinstance(size, int) else tuple(size)


class CenterCrop(Transform):
    """The middle of an image."""

    def __init__(self, size):
        self.size = pair(size)

    def __call__(self, image):
        h, w = size_of(image)
        return crop(image, round((h - self.size[0]) / 2), round((w - self.size[1]) / 2), *self.size)


class Pad(Transform):
    """A border: one number, (left/right, top/bottom), or (left, top, right, bottom)."""

    def __init__(self, padding, fill=0):
        self.padding, self.fill = padding, fill

    def __call__(self, image):
        p = self.padding
        left, top, right, bottom = (p,) * 4 if isinstance(p, int) else tuple(p) * 2 if len(p) == 2 else tuple(p)
        if isinstance(image, Tensor):
            return F.pad(image, (left, right, top, bottom), value=self.fill)
        from PIL import ImageOps

        return ImageOps.expand(image, (left, top, right, bottom), self.fill)


class RandomCrop(Transform):
    """A rectangle anywhere, of an image that may be padded first."""

    def __init__(self, size, padding=None, fill=0):
        self.size, self.padding, self.fill = pair(size), padding, fill

    def __call__(self, image):
        image = Pad(self.padding, self.fill)(image) if self.padding is not None else image
        h, w = size_of(image)
        if h < self.size[0] or w < self.size[1]:
            raise ValueError(f"Required crop size {self.size} is larger than input image size {(h, w)}")
        top = randint(0, h - self.size[0] + 1, (1,)).item()
        left = randint(0, w - self.size[1] + 1, (1,)).item()
        return crop(image, top, left, *self.size)


class RandomHorizontalFlip(Transform):
    """Left and right exchanged with probability p."""

    def __init__(self, p=0.5):
        self.p = p

    def __call__(self, image):
        if not chance(self.p):
            return image
        return image.flip(-1) if isinstance(image, Tensor) else image.transpose(0)


class RandomVerticalFlip(Transform):
    """Top and bottom exchanged with probability p."""

    def __init__(self, p=0.5):
        self.p = p

    def __call__(self, image):
        if not chance(self.p):
            return image
        return image.flip(-2) if isinstance(image, Tensor) else image.transpose(1)


class RandomResizedCrop(Transform):
    """A rectangle of random area and shape, at one size."""

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation="bilinear"):
        self.size, self.scale, self.ratio, self.interpolation = pair(size), scale, ratio, interpolation

    def __call__(self, image):
        h, w = size_of(image)
        for _ in range(10):
            area = h * w * between(*self.scale)
            aspect = math.exp(between(math.log(self.ratio[0]), math.log(self.ratio[1])))
            cw, ch = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < cw <= w and 0 < ch <= h:
                top, left = randint(0, h - ch + 1, (1,)).item(), randint(0, w - cw + 1, (1,)).item()
                break
        else:
            ch = cw = min(h, w)
            top, left = (h - ch) // 2, (w - cw) // 2
        return resize(crop(image, top, left, ch, cw), self.size, self.interpolation)


class RandomErasing(Transform):
    """A rectangle of a tensor set to `value`, with probability p."""

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0):
        self.p, self.scale, self.ratio, self.value = p, scale, ratio, value

    def __call__(self, x):
        if chance(self.p):
            h, w = size_of(x)
            for _ in range(10):
                area = h * w * between(*self.scale)
                aspect = math.exp(between(math.log(self.ratio[0]), math.log(self.ratio[1])))
                eh, ew = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
                if eh < h and ew < w:
                    top, left = randint(0, h - eh + 1, (1,)).item(), randint(0, w - ew + 1, (1,)).item()
                    x = x.clone()
                    x[..., top : top + eh, left : left + ew] = self.value
                    break
        return x


class Grayscale(Transform):
    """Grey by luminance, 0.2989 red + 0.587 green + 0.114 blue, in one or three equal channels."""

    def __init__(self, num_output_channels=1):
        self.num_output_channels = num_output_channels

    def __call__(self, image):
        if isinstance(image, Tensor):
            y = (image * image.new_tensor([0.2989, 0.587, 0.114]).reshape(3, 1, 1)).sum(-3, keepdim=True)
            return y.expand(*y.shape[:-3], self.num_output_channels, *y.shape[-2:])
        gray = image.convert("L")
        return gray if self.num_output_channels == 1 else gray.convert("RGB")


class RandomRotation(Transform):
    """A Pillow image turned by up to `degrees`."""

    def __init__(self, degrees):
        self.degrees = (-degrees, degrees) if isinstance(degrees, (int, float)) else tuple(degrees)

    def __call__(self, image):
        angle = between(*self.degrees)
        if isinstance(image, Tensor):
            a = math.radians(-angle)
            theta = image.new_tensor([[[math.cos(a), math.sin(a), 0], [-math.sin(a), math.cos(a), 0]]])
            x = image.unsqueeze(0)
            return F.grid_sample(x, F.affine_grid(theta, list(x.shape), False), "nearest", align_corners=False).squeeze(0)
        return image.rotate(angle)


class ColorJitter(Transform):
    """Random brightness, contrast and saturation of a Pillow image."""

    def __init__(self, brightness=0.0, contrast=0.0, saturation=0.0):
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    def __call__(self, image):
        from PIL import ImageEnhance

        if isinstance(image, Tensor):
            return to_tensor(self(to_pil_image(image)))
        for kind, amount in (("Brightness", self.brightness), ("Contrast", self.contrast), ("Color", self.saturation)):
            if amount:
                image = getattr(ImageEnhance, kind)(image).enhance(between(max(0.0, 1 - amount), 1 + amount))
        return image


class ConvertImageDtype(Transform):
    """Floats in [0, 1] and bytes into each other."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __call__(self, x):
        if x.is_floating_point() == self.dtype.is_floating_point:
            return x.to(self.dtype)
        return x.to(self.dtype) / 255 if self.dtype.is_floating_point else (x * 255.999).to(self.dtype)


class RandomApply(Transform):
    """Transforms, with probability p."""

    def __init__(self, transforms, p=0.5):
        self.transforms, self.p = transforms, p

    def __call__(self, image):
        if chance(self.p):
            for t in self.transforms:
                image = t(image)
        return image
