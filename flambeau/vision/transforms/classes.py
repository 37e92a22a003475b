"""The transforms: objects that change an image when called. Random ones draw from the default generator, as torchvision's."""

from __future__ import annotations

import math
import random

from flambeau.core import dtypes as dt
from flambeau.ops.create import empty
from flambeau.ops.random import rand, randint, randperm
from flambeau.vision.transforms import functional as T
from flambeau.vision.transforms.basics import mode_of, pair, size_of

BILINEAR, NEAREST = T.InterpolationMode.BILINEAR, T.InterpolationMode.NEAREST


def chance(p: float) -> bool:
    """True with probability p."""
    return rand(1).item() < p


def between(low: float, high: float) -> float:
    """A number from [low, high), all equally likely."""
    return empty(1).uniform_(float(low), float(high)).item()


class Transform:
    """A transform whose repr shows the settings that `shown` names (those in `optional` only where they are not None)."""

    shown: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def __call__(self, img):
        return self.forward(img)

    def __repr__(self):
        parts = [(k, getattr(self, k)) for k in self.shown]
        texts = [f"{k}={v.value if isinstance(v, T.InterpolationMode) else v}" for k, v in parts if v is not None or k not in self.optional]
        return f"{type(self).__name__}({', '.join(texts)})"


class Compose:
    """One transform after another."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, img):
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self):
        return "\n".join([f"{type(self).__name__}(", *[f"    {t}" for t in self.transforms], ")"])


class ToTensor(Transform):
    """A Pillow image or (H, W, C) array as a (C, H, W) tensor; bytes become floats in [0, 1]."""

    def forward(self, img):
        """The tensor."""
        return T.to_tensor(img)


class PILToTensor(Transform):
    """A Pillow image as a (C, H, W) tensor of its own dtype."""

    def forward(self, img):
        """The tensor."""
        return T.pil_to_tensor(img)


class ToPILImage(Transform):
    """A (C, H, W) tensor or (H, W, C) array as a Pillow image."""

    shown = optional = ("mode",)

    def __init__(self, mode=None):
        self.mode = mode

    def forward(self, img):
        """The image."""
        return T.to_pil_image(img, self.mode)


class ConvertImageDtype(Transform):
    """Floats in [0, 1] and bytes into each other."""

    def __init__(self, dtype):
        self.dtype = dtype

    def forward(self, img):
        """The tensor of that dtype."""
        return T.convert_image_dtype(img, self.dtype)


class Normalize(Transform):
    """(x - mean) / std by channel."""

    shown = ("mean", "std")

    def __init__(self, mean, std, inplace=False):
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, img):
        """The normalised tensor."""
        return T.normalize(img, self.mean, self.std, self.inplace)


class Lambda(Transform):
    """A function of your own as a transform."""

    def __init__(self, lambd):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def forward(self, img):
        """What the function makes of it."""
        return self.lambd(img)

    def __repr__(self):
        return f"{type(self).__name__}()"


# sizes --------------------------------------------------------------------------------------------
class Resize(Transform):
    """Another size, (height, width); one number is the shorter edge's."""

    shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(self, size, interpolation=BILINEAR, max_size=None, antialias=True):
        self.size, self.interpolation, self.max_size, self.antialias = size, mode_of(interpolation), max_size, antialias

    def forward(self, img):
        """The image at that size."""
        return T.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """The middle of an image."""

    shown = ("size",)

    def __init__(self, size):
        self.size = pair(size)

    def forward(self, img):
        """The rectangle."""
        return T.center_crop(img, self.size)


class FiveCrop(Transform):
    """The four corners and the middle."""

    shown = ("size",)

    def __init__(self, size):
        self.size = pair(size)

    def forward(self, img):
        """Five rectangles."""
        return T.five_crop(img, self.size)


class TenCrop(Transform):
    """The four corners and the middle, of the image and its mirror image."""

    shown = ("size", "vertical_flip")

    def __init__(self, size, vertical_flip=False):
        self.size, self.vertical_flip = pair(size), vertical_flip

    def forward(self, img):
        """Ten rectangles."""
        return T.ten_crop(img, self.size, self.vertical_flip)


class Pad(Transform):
    """A border: one number, (left/right, top/bottom), or (left, top, right, bottom)."""

    shown = ("padding", "fill", "padding_mode")

    def __init__(self, padding, fill=0, padding_mode="constant"):
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img):
        """The image with its border."""
        return T.pad(img, self.padding, self.fill, self.padding_mode)


class RandomCrop(Transform):
    """A rectangle anywhere, of an image that may be padded first."""

    shown = ("size", "padding")

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode="constant"):
        self.size, self.padding, self.pad_if_needed = pair(size), padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    def forward(self, img):
        """The rectangle."""
        if self.padding is not None:
            img = T.pad(img, self.padding, self.fill, self.padding_mode)
        (h, w), (height, width) = size_of(img), self.size
        if self.pad_if_needed and w < width:
            img = T.pad(img, [width - w, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and h < height:
            img = T.pad(img, [0, height - h], self.fill, self.padding_mode)
        h, w = size_of(img)
        if h < height or w < width:
            raise ValueError(f"Required crop size {self.size} is larger than input image size {(h, w)}")
        if (h, w) == (height, width):
            return img
        top, left = randint(0, h - height + 1, (1,)).item(), randint(0, w - width + 1, (1,)).item()
        return T.crop(img, top, left, height, width)


class RandomResizedCrop(Transform):
    """A rectangle of random area and shape, at one size."""

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation=BILINEAR, antialias=True):
        self.size, self.scale, self.ratio, self.antialias = pair(size), scale, ratio, antialias
        self.interpolation = mode_of(interpolation)

    @staticmethod
    def get_params(img, scale, ratio):
        """(top, left, height, width) of a rectangle."""
        h, w = size_of(img)
        low, high = math.log(ratio[0]), math.log(ratio[1])
        for _ in range(10):
            area, aspect = h * w * between(*scale), math.exp(between(low, high))
            cw, ch = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < cw <= w and 0 < ch <= h:
                return randint(0, h - ch + 1, (1,)).item(), randint(0, w - cw + 1, (1,)).item(), ch, cw
        cw, ch = w, h
        if w / h < min(ratio):
            ch = round(w / min(ratio))
        elif w / h > max(ratio):
            cw = round(h * max(ratio))
        return (h - ch) // 2, (w - cw) // 2, ch, cw

    def forward(self, img):
        """The rectangle at that size."""
        return T.resized_crop(img, *self.get_params(img, self.scale, self.ratio), self.size, self.interpolation, self.antialias)

    def __repr__(self):
        scale, ratio = (tuple(round(v, 4) for v in values) for values in (self.scale, self.ratio))
        mode = self.interpolation.value
        return f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, interpolation={mode}, antialias={self.antialias})"


class RandomErasing(Transform):
    """A rectangle of a tensor set to `value` (a number, one per channel, or "random"), with probability p."""

    shown = ("p", "scale", "ratio", "value", "inplace")

    def __init__(self, p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False):
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    def forward(self, img):
        """The tensor, a rectangle of it perhaps erased."""
        if not chance(self.p):
            return img
        h, w = size_of(img)
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(10):
            area, aspect = h * w * between(*self.scale), math.exp(between(low, high))
            eh, ew = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if eh < h and ew < w:
                value = self.fill(img, eh, ew)
                top, left = randint(0, h - eh + 1, (1,)).item(), randint(0, w - ew + 1, (1,)).item()
                return T.erase(img, top, left, eh, ew, value, self.inplace)
        return img

    def fill(self, img, height: int, width: int):
        """What the rectangle is set to."""
        if self.value == "random":
            return empty((img.shape[-3], height, width), dtype=dt.float32).normal_()
        if isinstance(self.value, (int, float)):
            return self.value
        if len(self.value) not in (1, img.shape[-3]):
            raise ValueError(f"If value is a sequence, it should have either a single value or {img.shape[-3]} (number of input channels)")
        return img.new_tensor(self.value).reshape(-1, 1, 1)


# geometry -----------------------------------------------------------------------------------------
class RandomHorizontalFlip(Transform):
    """Left and right exchanged with probability p."""

    shown = ("p",)

    def __init__(self, p=0.5):
        self.p = p

    def forward(self, img):
        """The image or its mirror image."""
        return T.hflip(img) if chance(self.p) else img


class RandomVerticalFlip(Transform):
    """Top and bottom exchanged with probability p."""

    shown = ("p",)

    def __init__(self, p=0.5):
        self.p = p

    def forward(self, img):
        """The image or its mirror image."""
        return T.vflip(img) if chance(self.p) else img


def angles(name: str, value, sizes=(2,)) -> list[float]:
    """A range of degrees; one number means from minus it to plus it."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        value = [-value, value]
    elif len(value) not in sizes:
        raise ValueError(f"{name} should be a sequence of length {' or '.join(map(str, sizes))}.")
    return [float(v) for v in value]


class RandomRotation(Transform):
    """Turned by up to `degrees`."""

    shown, optional = ("degrees", "interpolation", "expand", "center", "fill"), ("center", "fill")

    def __init__(self, degrees, interpolation=NEAREST, expand=False, center=None, fill=0):
        self.degrees, self.interpolation = angles("degrees", degrees), mode_of(interpolation)
        self.expand, self.center, self.fill = expand, center, fill

    def forward(self, img):
        """The turned image."""
        return T.rotate(img, between(*self.degrees), self.interpolation, self.expand, self.center, self.fill)


class RandomAffine(Transform):
    """Turned by up to `degrees`, moved by up to parts of the size, scaled, sheared."""

    def __init__(self, degrees, translate=None, scale=None, shear=None, interpolation=NEAREST, fill=0, center=None):
        self.degrees, self.translate, self.scale = angles("degrees", degrees), translate, scale
        self.shear = None if shear is None else angles("shear", shear, (2, 4))
        self.interpolation, self.fill, self.center = mode_of(interpolation), fill, center

    def forward(self, img):
        """The image seen through a random affine map."""
        h, w = size_of(img)
        angle, move, scale, shear = between(*self.degrees), (0, 0), 1.0, [0.0, 0.0]
        if self.translate is not None:
            mx, my = self.translate[0] * w, self.translate[1] * h
            move = (round(between(-mx, mx)), round(between(-my, my)))
        if self.scale is not None:
            scale = between(*self.scale)
        if self.shear is not None:
            shear = [between(*self.shear[:2]), between(*self.shear[2:]) if len(self.shear) == 4 else 0.0]
        return T.affine(img, angle, move, scale, shear, self.interpolation, self.fill, self.center)

    def __repr__(self):
        parts = [f"degrees={self.degrees}"]
        parts += [f"{k}={getattr(self, k)}" for k in ("translate", "scale", "shear") if getattr(self, k) is not None]
        parts += [f"interpolation={self.interpolation.value}"] * (self.interpolation is not NEAREST)
        parts += [f"fill={self.fill}"] * (self.fill != 0) + [f"center={self.center}"] * (self.center is not None)
        return f"{type(self).__name__}({', '.join(parts)})"


# colours ------------------------------------------------------------------------------------------
class Grayscale(Transform):
    """Grey, in one or three equal channels."""

    shown = ("num_output_channels",)

    def __init__(self, num_output_channels=1):
        self.num_output_channels = num_output_channels

    def forward(self, img):
        """The grey image."""
        return T.rgb_to_grayscale(img, self.num_output_channels)


class RandomGrayscale(Transform):
    """Grey with probability p, in as many channels as before."""

    shown = ("p",)

    def __init__(self, p=0.1):
        self.p = p

    def forward(self, img):
        """The image, perhaps in grey."""
        return T.rgb_to_grayscale(img, T.get_dimensions(img)[0]) if chance(self.p) else img


class ColorJitter(Transform):
    """Random brightness, contrast, saturation and hue, in random order."""

    shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        self.brightness, self.contrast = self.range_of("brightness", brightness), self.range_of("contrast", contrast)
        self.saturation, self.hue = self.range_of("saturation", saturation), self.range_of("hue", hue, 0, (-0.5, 0.5))

    @staticmethod
    def range_of(name: str, value, center: float = 1, bounds=(0.0, math.inf)):
        """(low, high) of a setting, None if it changes nothing."""
        if isinstance(value, (int, float)):
            if value < 0:
                raise ValueError(f"If {name} is a single number, it must be non negative.")
            low = center - float(value)
            value = [low if center == 0 else max(low, 0.0), center + float(value)]
        elif not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(f"{name} should be a single number or a list/tuple with length 2.")
        low, high = float(value[0]), float(value[1])
        if not bounds[0] <= low <= high <= bounds[1]:
            raise ValueError(f"{name} values should be between {bounds}, but got {[low, high]}.")
        return None if low == high == center else (low, high)

    def forward(self, img):
        """The changed image."""
        order = randperm(4).tolist()
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        factors = [None if r is None else between(*r) for r in ranges]
        steps = (T.adjust_brightness, T.adjust_contrast, T.adjust_saturation, T.adjust_hue)
        for i in order:
            if factors[i] is not None:
                img = steps[i](img, factors[i])
        return img


class GaussianBlur(Transform):
    """Blurred with a sigma from a range."""

    shown = ("kernel_size", "sigma")

    def __init__(self, kernel_size, sigma=(0.1, 2.0)):
        self.kernel_size = pair(kernel_size)
        self.sigma = (float(sigma), float(sigma)) if isinstance(sigma, (int, float)) else tuple(sigma)
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma values should be positive and of the form (min, max). Got {self.sigma}")

    def forward(self, img):
        """The blurred image."""
        s = between(*self.sigma)
        return T.gaussian_blur(img, self.kernel_size, [s, s])


class RandomInvert(Transform):
    """The negative, with probability p."""

    shown = ("p",)

    def __init__(self, p=0.5):
        self.p = p

    def forward(self, img):
        """The image or its negative."""
        return T.invert(img) if chance(self.p) else img


class RandomPosterize(Transform):
    """The upper bits only, with probability p."""

    shown = ("bits", "p")

    def __init__(self, bits, p=0.5):
        self.bits, self.p = bits, p

    def forward(self, img):
        """The image, perhaps with fewer colours."""
        return T.posterize(img, self.bits) if chance(self.p) else img


class RandomSolarize(Transform):
    """What is at least the threshold inverted, with probability p."""

    shown = ("threshold", "p")

    def __init__(self, threshold, p=0.5):
        self.threshold, self.p = threshold, p

    def forward(self, img):
        """The image, perhaps solarised."""
        return T.solarize(img, self.threshold) if chance(self.p) else img


# of transforms ------------------------------------------------------------------------------------
class RandomApply(Compose):
    """All of some transforms, with probability p."""

    def __init__(self, transforms, p=0.5):
        super().__init__(transforms)
        self.p = p

    def __call__(self, img):
        return img if self.p < rand(1).item() else super().__call__(img)

    def __repr__(self):
        return "\n".join([f"{type(self).__name__}(", f"    p={self.p}", *[f"    {t}" for t in self.transforms], ")"])


class RandomOrder(Compose):
    """All of some transforms, in random order (Python's generator, as torchvision's)."""

    def __call__(self, img):
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for i in order:
            img = self.transforms[i](img)
        return img


class RandomChoice(Compose):
    """One of some transforms (Python's generator, as torchvision's)."""

    def __init__(self, transforms, p=None):
        super().__init__(transforms)
        self.p = p

    def __call__(self, img):
        return random.choices(self.transforms, weights=self.p)[0](img)


__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "FiveCrop", "GaussianBlur", "Grayscale", "Lambda", "Normalize",
    "PILToTensor", "Pad", "RandomAffine", "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing", "RandomGrayscale",
    "RandomHorizontalFlip", "RandomInvert", "RandomOrder", "RandomPosterize", "RandomResizedCrop", "RandomRotation",
    "RandomSolarize", "RandomVerticalFlip", "Resize", "TenCrop", "ToPILImage", "ToTensor", "Transform",
]  # fmt: skip
