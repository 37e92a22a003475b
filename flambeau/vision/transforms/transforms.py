"""torchvision.transforms.transforms: every transform. Here are those of kinds and sizes; others are imported from beside."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ops.create import empty
from flambeau.tensor.interop import tensor
from flambeau.vision.transforms import base, colouring, moving
from flambeau.vision.transforms import functional as T
from flambeau.vision.transforms.base import *  # noqa: F403
from flambeau.vision.transforms.base import Transform, between, chance, whole
from flambeau.vision.transforms.basics import mode_of, pair, size_of
from flambeau.vision.transforms.colouring import *  # noqa: F403
from flambeau.vision.transforms.moving import *  # noqa: F403

BILINEAR = T.InterpolationMode.BILINEAR


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
        super().__init__()
        self.mode = mode

    def forward(self, img):
        """The image."""
        return T.to_pil_image(img, self.mode)


class ConvertImageDtype(Transform):
    """Floats in [0, 1] and bytes into each other."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, img):
        """The tensor of that dtype."""
        return T.convert_image_dtype(img, self.dtype)


class Normalize(Transform):
    """(x - mean) / std by channel."""

    shown = ("mean", "std")

    def __init__(self, mean, std, inplace=False):
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, img):
        """The normalised tensor."""
        return T.normalize(img, self.mean, self.std, self.inplace)


class LinearTransformation(Transform):
    """(x - mean) M of the flattened image x, of the image's shape: whitening, for one."""

    def __init__(self, transformation_matrix, mean_vector):
        super().__init__()
        m, mean = transformation_matrix, mean_vector
        if m.shape[0] != m.shape[1]:
            raise ValueError(f"transformation_matrix should be square. Got {list(m.shape)} rectangular matrix.")
        if mean.shape[0] != m.shape[0]:
            raise ValueError(f"mean_vector should have the same length {mean.shape[0]} as any one of the dimensions of the transformation_matrix [{list(m.shape)}]")
        if m.dtype is not mean.dtype:
            raise ValueError(f"Input tensors should have the same dtype. Got {m.dtype} and {mean.dtype}")
        self.transformation_matrix, self.mean_vector = m, mean

    def forward(self, tensor):
        """The transformed tensor."""
        size, m = tensor.shape[-3] * tensor.shape[-2] * tensor.shape[-1], self.transformation_matrix
        if size != m.shape[0]:
            raise ValueError(f"Input tensor and transformation matrix have incompatible shape.[{tensor.shape[-3]} x {tensor.shape[-2]} x {tensor.shape[-1]}] != {m.shape[0]}")
        return (tensor.reshape(-1, size) - self.mean_vector).mm(m).reshape(tensor.shape)

    def __repr__(self):
        return f"{type(self).__name__}(transformation_matrix={self.transformation_matrix.tolist()}, mean_vector={self.mean_vector.tolist()})"


# sizes --------------------------------------------------------------------------------------------
class Resize(Transform):
    """Another size, (height, width); one number is the shorter edge's."""

    shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(self, size, interpolation=BILINEAR, max_size=None, antialias=True):
        super().__init__()
        self.size, self.interpolation, self.max_size, self.antialias = size, mode_of(interpolation), max_size, antialias

    def forward(self, img):
        """The image at that size."""
        return T.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """The middle of an image."""

    shown = ("size",)

    def __init__(self, size):
        super().__init__()
        self.size = pair(size)

    def forward(self, img):
        """The rectangle."""
        return T.center_crop(img, self.size)


class FiveCrop(Transform):
    """The four corners and the middle."""

    shown = ("size",)

    def __init__(self, size):
        super().__init__()
        self.size = pair(size)

    def forward(self, img):
        """Five rectangles."""
        return T.five_crop(img, self.size)


class TenCrop(Transform):
    """The four corners and the middle, of the image and its mirror image."""

    shown = ("size", "vertical_flip")

    def __init__(self, size, vertical_flip=False):
        super().__init__()
        self.size, self.vertical_flip = pair(size), vertical_flip

    def forward(self, img):
        """Ten rectangles."""
        return T.ten_crop(img, self.size, self.vertical_flip)


class Pad(Transform):
    """A border: one number, (left/right, top/bottom), or (left, top, right, bottom)."""

    shown = ("padding", "fill", "padding_mode")

    def __init__(self, padding, fill=0, padding_mode="constant"):
        super().__init__()
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img):
        """The image with its border."""
        return T.pad(img, self.padding, self.fill, self.padding_mode)


class RandomCrop(Transform):
    """A rectangle anywhere, of an image that may be padded first."""

    shown = ("size", "padding")

    def __init__(self, size, padding=None, pad_if_needed=False, fill=0, padding_mode="constant"):
        super().__init__()
        self.size, self.padding, self.pad_if_needed = pair(size), padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    @staticmethod
    def get_params(img, output_size):
        """(top, left, height, width) of a rectangle."""
        (h, w), (height, width) = size_of(img), output_size
        if h < height or w < width:
            raise ValueError(f"Required crop size {(height, width)} is larger than input image size {(h, w)}")
        if (h, w) == (height, width):
            return 0, 0, h, w
        return whole(0, h - height + 1), whole(0, w - width + 1), height, width

    def forward(self, img):
        """The rectangle."""
        if self.padding is not None:
            img = T.pad(img, self.padding, self.fill, self.padding_mode)
        (h, w), (height, width) = size_of(img), self.size
        if self.pad_if_needed and w < width:
            img = T.pad(img, [width - w, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and h < height:
            img = T.pad(img, [0, height - h], self.fill, self.padding_mode)
        return T.crop(img, *self.get_params(img, self.size))


def attempts(area: int, scale, ratio):
    """Ten random sizes (height, width): of parts of an area from `scale`, of shapes from `ratio`."""
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        part, aspect = area * between(*scale), math.exp(between(low, high))
        yield round(math.sqrt(part / aspect)), round(math.sqrt(part * aspect))


class RandomResizedCrop(Transform):
    """A rectangle of random area and shape, at one size."""

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation=BILINEAR, antialias=True):
        super().__init__()
        self.size, self.scale, self.ratio, self.antialias = pair(size), scale, ratio, antialias
        self.interpolation = mode_of(interpolation)

    @staticmethod
    def get_params(img, scale, ratio):
        """(top, left, height, width) of a rectangle."""
        h, w = size_of(img)
        for ch, cw in attempts(h * w, scale, ratio):
            if 0 < cw <= w and 0 < ch <= h:
                return whole(0, h - ch + 1), whole(0, w - cw + 1), ch, cw
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
        super().__init__()
        if not isinstance(value, (int, float, str, tuple, list)):
            raise TypeError("Argument value should be either a number or str or a sequence")
        if isinstance(value, str) and value != "random":
            raise ValueError("If value is str, it should be 'random'")
        for name, pair_of in (("Scale", scale), ("Ratio", ratio)):
            if not isinstance(pair_of, (tuple, list)):
                raise TypeError(f"{name} should be a sequence")
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError("Scale should be between 0 and 1")
        if not 0 <= p <= 1:
            raise ValueError("Random erasing probability should be between 0 and 1")
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    @staticmethod
    def get_params(img, scale, ratio, value=None):
        """(top, left, height, width, what it is set to); a value of None is normal noise."""
        h, w = size_of(img)
        for ew, eh in attempts(h * w, scale, ratio):  # here the ratio is height to width
            if eh < h and ew < w:
                if value is None:
                    fill = empty((T.get_dimensions(img)[0], eh, ew), dtype=dt.float32).normal_()
                else:
                    fill = tensor(value, dtype=dt.float32).reshape(-1, 1, 1)
                return whole(0, h - eh + 1), whole(0, w - ew + 1), eh, ew, fill
        return 0, 0, h, w, img

    def forward(self, img):
        """The tensor, a rectangle of it perhaps erased."""
        if not chance(self.p):
            return img
        value = None if self.value == "random" else [float(self.value)] if isinstance(self.value, (int, float)) else list(self.value)
        if value is not None and len(value) not in (1, channels := T.get_dimensions(img)[0]):
            raise ValueError(f"If value is a sequence, it should have either a single value or {channels} (number of input channels)")
        return T.erase(img, *self.get_params(img, self.scale, self.ratio, value), self.inplace)


__all__ = ["CenterCrop", "ConvertImageDtype", "FiveCrop", "LinearTransformation", "Normalize", "PILToTensor", "Pad", "RandomCrop"]
__all__ += ["RandomErasing", "RandomResizedCrop", "Resize", "TenCrop", "ToPILImage", "ToTensor"]
__all__ += [*base.__all__, *colouring.__all__, *moving.__all__]
