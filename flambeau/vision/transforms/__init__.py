"""torchvision.transforms: changes of Pillow images and tensors; random ones draw as torchvision's."""

from flambeau.vision.transforms import autoaugment, functional, transforms
from flambeau.vision.transforms.autoaugment import *  # noqa: F403
from flambeau.vision.transforms.basics import InterpolationMode, pillow
from flambeau.vision.transforms.functional import (
    convert_image_dtype,
    crop,
    pil_to_tensor,
    resize,
    to_pil_image,
    to_tensor,
)
from flambeau.vision.transforms.transforms import *  # noqa: F403

__all__ = ["InterpolationMode", "functional", "pillow", "to_pil_image", "to_tensor"]
__all__ += ["convert_image_dtype", "crop", "pil_to_tensor", "resize", *autoaugment.__all__, *transforms.__all__]
