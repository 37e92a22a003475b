"""Transforms that move an image's points: mirror images, rotations, affine, perspective and elastic maps."""

from __future__ import annotations

from flambeau.ops.join import cat
from flambeau.ops.random import rand
from flambeau.vision.transforms import functional as T
from flambeau.vision.transforms.base import Transform, between, chance, whole
from flambeau.vision.transforms.basics import mode_of, size_of

BILINEAR, NEAREST = T.InterpolationMode.BILINEAR, T.InterpolationMode.NEAREST


class RandomHorizontalFlip(Transform):
    """Left and right exchanged with probability p."""

    shown = ("p",)

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p

    def forward(self, img):
        """The image or its mirror image."""
        return T.hflip(img) if chance(self.p) else img


class RandomVerticalFlip(Transform):
    """Top and bottom exchanged with probability p."""

    shown = ("p",)

    def __init__(self, p=0.5):
        super().__init__()
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
        super().__init__()
        self.degrees, self.interpolation = angles("degrees", degrees), mode_of(interpolation)
        self.expand, self.center, self.fill = expand, center, fill

    @staticmethod
    def get_params(degrees):
        """An angle of the range."""
        return between(*degrees)

    def forward(self, img):
        """The turned image."""
        angle = self.get_params(self.degrees)
        return T.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)


class RandomAffine(Transform):
    """Turned by up to `degrees`, moved by up to parts of the size, scaled, sheared."""

    def __init__(self, degrees, translate=None, scale=None, shear=None, interpolation=NEAREST, fill=0, center=None):
        super().__init__()
        self.degrees, self.translate, self.scale = angles("degrees", degrees), translate, scale
        for part in translate or ():
            if not 0.0 <= part <= 1.0:
                raise ValueError("translation values should be between 0 and 1")
        for factor in scale or ():
            if factor <= 0:
                raise ValueError("scale values should be positive")
        self.shear = None if shear is None else angles("shear", shear, (2, 4))
        self.interpolation, self.fill, self.center = mode_of(interpolation), fill, center

    @staticmethod
    def get_params(degrees, translate, scale_ranges, shears, img_size):
        """(angle, translations, scale, shear) for an image of (width, height)."""
        w, h = img_size
        angle, move, scale, shear = between(*degrees), (0, 0), 1.0, (0.0, 0.0)
        if translate is not None:
            mx, my = float(translate[0] * w), float(translate[1] * h)
            move = (round(between(-mx, mx)), round(between(-my, my)))
        if scale_ranges is not None:
            scale = between(*scale_ranges)
        if shears is not None:
            shear = (between(*shears[:2]), between(*shears[2:]) if len(shears) == 4 else 0.0)
        return angle, move, scale, shear

    def forward(self, img):
        """The image seen through a random affine map."""
        h, w = size_of(img)
        found = self.get_params(self.degrees, self.translate, self.scale, self.shear, [w, h])
        return T.affine(img, *found, self.interpolation, self.fill, self.center)

    def __repr__(self):
        parts = [f"degrees={self.degrees}"]
        parts += [f"{k}={getattr(self, k)}" for k in ("translate", "scale", "shear") if getattr(self, k) is not None]
        parts += [f"interpolation={self.interpolation.value}"] * (self.interpolation is not NEAREST)
        parts += [f"fill={self.fill}"] * (self.fill != 0) + [f"center={self.center}"] * (self.center is not None)
        return f"{type(self).__name__}({', '.join(parts)})"


class RandomPerspective(Transform):
    """Seen from another place, with probability p: every corner moves inwards by up to a part of half the size."""

    shown = ("p",)

    def __init__(self, distortion_scale=0.5, p=0.5, interpolation=BILINEAR, fill=0):
        super().__init__()
        if not isinstance(fill, (int, float, tuple, list)):
            raise TypeError("Fill should be either a sequence or a number.")
        self.distortion_scale, self.p = distortion_scale, p
        self.interpolation, self.fill = mode_of(interpolation), fill

    @staticmethod
    def get_params(width, height, distortion_scale):
        """(startpoints, endpoints): the four corners, clockwise from the top left, and where they go."""
        dx, dy = int(distortion_scale * (width // 2)), int(distortion_scale * (height // 2))
        low = ((0, dx + 1), (0, dy + 1))
        high = ((width - dx - 1, width), (height - dy - 1, height))
        sides = ((0, 0), (1, 0), (1, 1), (0, 1))  # right? below?
        ends = [[whole(*(low, high)[right][0]), whole(*(low, high)[below][1])] for right, below in sides]
        return [[right * (width - 1), below * (height - 1)] for right, below in sides], ends

    def forward(self, img):
        """The image, perhaps from elsewhere."""
        if not chance(self.p):
            return img
        h, w = size_of(img)
        start, end = self.get_params(w, h, self.distortion_scale)
        return T.perspective(img, start, end, self.interpolation, self.fill)


class ElasticTransform(Transform):
    """Every pixel moved by a smooth random field: uniform noise, blurred by sigma, times alpha.

    Source:   Simard, Steinkraus and Platt, Best practices for convolutional neural networks, 2003
    """

    shown = ("alpha", "sigma", "interpolation", "fill")

    def __init__(self, alpha=50.0, sigma=5.0, interpolation=BILINEAR, fill=0):
        super().__init__()
        self.alpha, self.sigma = self.two("alpha", alpha), self.two("sigma", sigma)
        self.interpolation, self.fill = mode_of(interpolation), [float(fill)] if isinstance(fill, (int, float)) else fill

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={getattr(self, k)}' for k in self.shown)})"

    @staticmethod
    def two(name: str, value) -> list[float]:
        """A setting by direction, from one number or two."""
        many = [value] if isinstance(value, (int, float)) else value
        if not isinstance(many, (list, tuple)):
            raise TypeError(f"{name} should be float or a sequence of floats. Got {type(value)}")
        if len(many) not in (1, 2) or not all(isinstance(v, (int, float)) for v in many):
            raise ValueError(f"{name} is a sequence its length should be one of 2 (or 1) and of numbers. Got {value}")
        return [float(many[0]), float(many[-1])]

    @staticmethod
    def get_params(alpha, sigma, size):
        """How far every pixel moves, (1, height, width, 2), in half sizes of the image."""
        moves = []
        for a, s, n in zip(alpha, sigma, reversed(size), strict=True):
            d = rand([1, 1, *size]) * 2 - 1
            if s > 0.0:
                reach = int(8 * s + 1)
                d = T.gaussian_blur(d, [reach + (reach % 2 == 0)] * 2, list(sigma))
            moves.append(d * a / n)
        return cat(moves, 1).permute(0, 2, 3, 1)

    def forward(self, img):
        """The image, warped."""
        field = self.get_params(self.alpha, self.sigma, list(size_of(img)))
        return T.elastic_transform(img, field, self.interpolation, self.fill)


__all__ = ["ElasticTransform", "RandomAffine", "RandomHorizontalFlip", "RandomPerspective", "RandomRotation", "RandomVerticalFlip"]
