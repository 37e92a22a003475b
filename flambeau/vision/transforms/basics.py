"""Images as tensors and back; sizes, rectangles, borders: Pillow images or (C, H, W) tensors."""

from __future__ import annotations

from enum import Enum

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.nn import functional as F
from flambeau.tensor.interop import from_numpy
from flambeau.tensor.tensor import Tensor


class InterpolationMode(Enum):
    """How values between pixels are found."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PILLOW = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def mode_of(interpolation) -> InterpolationMode:
    """An interpolation by its name, Pillow's number, or itself."""
    if isinstance(interpolation, int):
        return {0: InterpolationMode.NEAREST, 2: InterpolationMode.BILINEAR, 3: InterpolationMode.BICUBIC}.get(
            interpolation, InterpolationMode.LANCZOS
        )
    return InterpolationMode(interpolation)


def pillow():
    """Pillow, or what to install."""
    try:
        from PIL import Image
    except ImportError as e:
        raise ImportError("vision needs Pillow: pip install 'flambeau[vision]'") from e
    return Image


def channels_first(image) -> Tensor:
    """A Pillow image or (H, W[, C]) array as a (C, H, W) tensor of the same numbers."""
    a = np.asarray(image)
    a = a.astype(np.uint8) * 255 if a.dtype == bool else a
    a = a[:, :, None] if a.ndim == 2 else a
    return from_numpy(np.array(a.transpose(2, 0, 1), order="C"))


def to_tensor(pic):
    """A Pillow image or (H, W, C) array as a (C, H, W) tensor; bytes become floats in [0, 1]."""
    if isinstance(pic, Tensor) or not hasattr(pic, "__array_interface__"):
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    t = channels_first(pic)
    return t.to(dt.get_default_dtype()).div(255) if t.dtype is dt.uint8 else t


def pil_to_tensor(pic):
    """A Pillow image as a (C, H, W) tensor of its own dtype."""
    if isinstance(pic, (Tensor, np.ndarray)):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    return channels_first(pic)


def to_pil_image(pic, mode=None):
    """A (C, H, W) tensor or (H, W, C) array as a Pillow image."""
    if isinstance(pic, Tensor):
        t = pic.unsqueeze(0) if pic.dim() == 2 else pic
        a = t.mul(255).byte().numpy() if t.is_floating_point() else t.numpy()
        a = a.transpose(1, 2, 0)
    else:
        a = np.asarray(pic)
    made = pillow().fromarray(np.ascontiguousarray(a[:, :, 0] if a.ndim == 3 and a.shape[2] == 1 else a))
    return made if mode is None or mode == made.mode else made.convert(mode)


def need_tensor(x, what: str = "img should be Tensor Image") -> None:
    """Refuse what is no tensor, in torchvision's words."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{what}. Got {type(x)}")


def get_dimensions(img) -> list[int]:
    """[channels, height, width]."""
    if isinstance(img, Tensor):
        return [1 if img.dim() == 2 else img.shape[-3], *img.shape[-2:]]
    return [len(img.getbands()), img.height, img.width]


def get_image_size(img) -> list[int]:
    """[width, height]."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img) -> int:
    """How many channels."""
    return get_dimensions(img)[0]


def size_of(image) -> tuple[int, int]:
    """(height, width) of a Pillow image or tensor."""
    return tuple(get_dimensions(image)[1:])  # type: ignore[return-value]


def normalize(tensor, mean, std, inplace=False):
    """(x - mean) / std by channel."""
    need_tensor(tensor, "img should be Tensor Image")
    if not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {tensor.dtype}.")
    middle, scale = (tensor.new_tensor(v).reshape(-1, 1, 1) for v in (mean, std))
    if bool((scale == 0).any()):
        raise ValueError(f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by zero.")
    return tensor.sub_(middle).div_(scale) if inplace else tensor.sub(middle).div_(scale)


def convert_image_dtype(image, dtype=dt.float32):
    """Floats in [0, 1] and bytes into each other."""
    need_tensor(image, "Input img should be Tensor Image")
    if image.is_floating_point() == dtype.is_floating_point:
        return image.to(dtype)
    return image.to(dtype) / 255 if dtype.is_floating_point else (image * 255.999).to(dtype)


# geometry -----------------------------------------------------------------------------------------
def resize(img, size, interpolation=InterpolationMode.BILINEAR, max_size=None, antialias=True):
    """Another size, (height, width); one number is the shorter edge's, of which the longer is at most max_size."""
    h, w = size_of(img)
    mode = mode_of(interpolation).value
    if isinstance(size, int) or len(size) == 1:
        short = size if isinstance(size, int) else size[0]
        size = (short, int(short * w / h)) if h <= w else (int(short * h / w), short)
        if max_size is not None and max(size) > max_size:
            longest = max(size)
            size = tuple(max_size if s == longest else int(max_size * s / longest) for s in size)
    if not isinstance(img, Tensor):
        return img.resize((size[1], size[0]), PILLOW[mode])
    x = img.unsqueeze(0) if img.dim() == 3 else img
    whole = not x.is_floating_point()
    options = {} if mode.startswith("nearest") else {"antialias": bool(antialias)}
    y = F.interpolate(x.float() if whole else x, tuple(size), mode=mode, **options)
    y = y.round().clamp(0, 255).to(img.dtype) if whole else y
    return y.squeeze(0) if img.dim() == 3 else y


def crop(img, top: int, left: int, height: int, width: int):
    """A rectangle of an image, zeros outside it."""
    if isinstance(img, Tensor):
        h, w = size_of(img)
        pads = (max(-left, 0), max(left + width - w, 0), max(-top, 0), max(top + height - h, 0))
        if any(pads):
            img, top, left = F.pad(img, pads), top + pads[2], left + pads[0]
        return img[..., top : top + height, left : left + width]
    return img.crop((left, top, left + width, top + height))


def center_crop(img, output_size):
    """The middle of an image, zeros outside it."""
    (h, w), (height, width) = size_of(img), pair(output_size)
    if height > h or width > w:
        left, top = max(width - w, 0) // 2, max(height - h, 0) // 2
        img = pad(img, [left, top, max(width - w + 1, 0) // 2, max(height - h + 1, 0) // 2])
        h, w = size_of(img)
    return crop(img, round((h - height) / 2), round((w - width) / 2), height, width)


def resized_crop(img, top, left, height, width, size, interpolation=InterpolationMode.BILINEAR, antialias=True):
    """A rectangle, at another size."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def pair(size) -> tuple[int, int]:
    """(height, width) of a size that may be one number."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "symmetric": "symmetric"}


def pad(img, padding, fill=0, padding_mode="constant"):
    """A border: one number, (left/right, top/bottom), or (left, top, right, bottom)."""
    if padding_mode not in MODES:
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    p = [padding] * 4 if isinstance(padding, int) else list(padding) * (4 // len(padding))
    left, top, right, bottom = p
    if isinstance(img, Tensor) and padding_mode == "constant":
        return F.pad(img, (left, right, top, bottom), value=fill)
    if not isinstance(img, Tensor) and padding_mode == "constant":
        from PIL import ImageOps

        color = tuple([fill] * len(img.getbands())) if isinstance(fill, (int, float)) and len(img.getbands()) > 1 else fill
        return ImageOps.expand(img, (left, top, right, bottom), color)
    a = np.asarray(img.numpy() if isinstance(img, Tensor) else img)
    rows = (a.ndim - 2) if isinstance(img, Tensor) else 0
    widths = [(0, 0)] * a.ndim
    widths[rows], widths[rows + 1] = (top, bottom), (left, right)
    b = np.pad(a, widths, padding_mode)
    return from_numpy(b) if isinstance(img, Tensor) else pillow().fromarray(b)


def hflip(img):
    """Left and right exchanged."""
    return img.flip(-1) if isinstance(img, Tensor) else img.transpose(0)


def vflip(img):
    """Top and bottom exchanged."""
    return img.flip(-2) if isinstance(img, Tensor) else img.transpose(1)


def five_crop(img, size):
    """The four corners and the middle."""
    (h, w), (height, width) = size_of(img), pair(size)
    if height > h or width > w:
        raise ValueError(f"Requested crop size {(height, width)} is bigger than input size {(h, w)}")
    corners = [(0, 0), (0, w - width), (h - height, 0), (h - height, w - width)]
    return (*(crop(img, top, left, height, width) for top, left in corners), center_crop(img, (height, width)))


def ten_crop(img, size, vertical_flip=False):
    """five_crop of the image and of its mirror image."""
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


def erase(img, i, j, h, w, v, inplace=False):
    """A rectangle of a tensor set to v."""
    need_tensor(img, "Currently erasing only supports Tensor images")
    img = img if inplace else img.clone()
    img[..., i : i + h, j : j + w] = v
    return img
