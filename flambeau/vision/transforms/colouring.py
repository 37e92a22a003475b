"""Transforms of colours: grey, brightness and its like, blur, and what is done with probability p."""

from __future__ import annotations

import math

from flambeau.ops.random import randperm
from flambeau.vision.transforms import functional as T
from flambeau.vision.transforms.base import Transform, between, chance
from flambeau.vision.transforms.basics import pair


class Grayscale(Transform):
    """Grey, in one or three equal channels."""

    shown = ("num_output_channels",)

    def __init__(self, num_output_channels=1):
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img):
        """The grey image."""
        return T.rgb_to_grayscale(img, self.num_output_channels)


class ColorJitter(Transform):
    """Random brightness, contrast, saturation and hue, in random order."""

    shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(self, brightness=0, contrast=0, saturation=0, hue=0):
        super().__init__()
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

    @staticmethod
    def get_params(brightness, contrast, saturation, hue):
        """(the order as a tensor, and a factor of each range, None where there is no range)."""
        order = randperm(4)
        return order, *(None if r is None else between(*r) for r in (brightness, contrast, saturation, hue))

    def forward(self, img):
        """The changed image."""
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        steps = (T.adjust_brightness, T.adjust_contrast, T.adjust_saturation, T.adjust_hue)
        for i in order.tolist():
            if factors[i] is not None:
                img = steps[i](img, factors[i])
        return img


class GaussianBlur(Transform):
    """Blurred with a sigma from a range."""

    shown = ("kernel_size", "sigma")

    def __init__(self, kernel_size, sigma=(0.1, 2.0)):
        super().__init__()
        self.kernel_size = pair(kernel_size)
        if any(k <= 0 or k % 2 == 0 for k in self.kernel_size):
            raise ValueError("Kernel size value should be an odd and positive number.")
        self.sigma = (float(sigma), float(sigma)) if isinstance(sigma, (int, float)) else tuple(sigma)
        if not 0.0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma values should be positive and of the form (min, max). Got {self.sigma}")

    @staticmethod
    def get_params(sigma_min, sigma_max):
        """A sigma of the range."""
        return between(sigma_min, sigma_max)

    def forward(self, img):
        """The blurred image."""
        s = self.get_params(*self.sigma)
        return T.gaussian_blur(img, self.kernel_size, [s, s])


class Sometimes(Transform):
    """Base of those that do one thing with probability p."""

    shown = ("p",)

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p

    def forward(self, img):
        """The image, perhaps changed."""
        return self.change(img) if chance(self.p) else img

    def __repr__(self):
        return f"{type(self).__name__}({','.join(f'{k}={getattr(self, k)}' for k in self.shown)})"


class RandomGrayscale(Sometimes):
    """Grey with probability p, in as many channels as before."""

    def __init__(self, p=0.1):
        super().__init__(p)

    def change(self, img):
        """In grey."""
        return T.rgb_to_grayscale(img, T.get_dimensions(img)[0])


class RandomInvert(Sometimes):
    """The negative, with probability p."""

    def change(self, img):
        """Inverted."""
        return T.invert(img)


class RandomPosterize(Sometimes):
    """The upper bits only, with probability p."""

    shown = ("bits", "p")

    def __init__(self, bits, p=0.5):
        super().__init__(p)
        self.bits = bits

    def change(self, img):
        """With fewer colours."""
        return T.posterize(img, self.bits)


class RandomSolarize(Sometimes):
    """What is at least the threshold inverted, with probability p."""

    shown = ("threshold", "p")

    def __init__(self, threshold, p=0.5):
        super().__init__(p)
        self.threshold = threshold

    def change(self, img):
        """Solarised."""
        return T.solarize(img, self.threshold)


class RandomAdjustSharpness(Sometimes):
    """Sharper (factor above 1) or blurred (below), with probability p."""

    shown = ("sharpness_factor", "p")

    def __init__(self, sharpness_factor, p=0.5):
        super().__init__(p)
        self.sharpness_factor = sharpness_factor

    def change(self, img):
        """Of another sharpness."""
        return T.adjust_sharpness(img, self.sharpness_factor)


class RandomAutocontrast(Sometimes):
    """From the darkest to the brightest possible, with probability p."""

    def change(self, img):
        """Of full contrast."""
        return T.autocontrast(img)


class RandomEqualize(Sometimes):
    """Every brightness about equally often, with probability p."""

    def change(self, img):
        """Equalised."""
        return T.equalize(img)


__all__ = [
    "ColorJitter", "GaussianBlur", "Grayscale", "RandomAdjustSharpness", "RandomAutocontrast", "RandomEqualize", "RandomGrayscale",
    "RandomInvert", "RandomPosterize", "RandomSolarize",
]  # fmt: skip
