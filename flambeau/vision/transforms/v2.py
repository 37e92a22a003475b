"""torchvision.transforms.v2 of images: transforms take samples (pictures with labels, nested as they are) and change the pictures.

Pictures of a sample are changed alike. They are Pillow images; where there is none, the first tensor is taken for one, as
torchvision does; ToImage returns a plain tensor. Boxes, masks and videos are not there, nor what is only for them.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.nn import Module
from flambeau.nn import functional as F
from flambeau.ops.gamma_random import sample_dirichlet
from flambeau.ops.random import default_generator, multinomial, rand, randn_like, randperm
from flambeau.support.pytree import tree_flatten, tree_unflatten
from flambeau.tensor.interop import tensor
from flambeau.tensor.tensor import Tensor
from flambeau.vision.transforms import functional, transforms
from flambeau.vision.transforms.base import Transform, whole
from flambeau.vision.transforms.basics import InterpolationMode, channels_first

ALIKE = (
    "CenterCrop", "ColorJitter", "ElasticTransform", "FiveCrop", "GaussianBlur", "Grayscale", "LinearTransformation", "Normalize",
    "PILToTensor", "Pad", "RandomAdjustSharpness", "RandomAffine", "RandomAutocontrast", "RandomCrop", "RandomEqualize",
    "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomPerspective", "RandomPosterize",
    "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip", "Resize", "TenCrop", "ToPILImage", "ToTensor",
)  # fmt: skip


def is_picture(x) -> bool:
    """True for Pillow images."""
    return hasattr(x, "getbands")


def changed(inputs: tuple, change):
    """The sample with its pictures changed, each with the same random numbers."""
    leaves, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
    places = [i for i, x in enumerate(leaves) if is_picture(x)] or [i for i, x in enumerate(leaves) if isinstance(x, Tensor)][:1]
    state = default_generator.get_state() if len(places) > 1 else None
    for n, i in enumerate(places):
        if n:
            default_generator.set_state(state)
        leaves[i] = change(leaves[i])
    return tree_unflatten(leaves, spec)


def lifted(cls: type) -> type:
    """A transform of one image as one of samples."""

    def forward(self, *inputs):
        """The sample, its pictures changed."""
        if cls in (transforms.ToTensor, transforms.PILToTensor):  # tensors stay
            return changed(inputs, lambda x: x if isinstance(x, Tensor) else cls.forward(self, x))
        return changed(inputs, lambda x: cls.forward(self, x))

    return type(cls.__name__, (cls,), {"forward": forward, "__doc__": cls.__doc__, "__module__": __name__})


for _name in ALIKE:
    globals()[_name] = lifted(getattr(transforms, _name))


# kinds --------------------------------------------------------------------------------------------
def to_image(inpt):
    """A Pillow image or (H, W[, C]) array as a (C, H, W) tensor of the same numbers; tensors as they are."""
    return inpt if isinstance(inpt, Tensor) else channels_first(inpt)


def to_dtype(inpt, dtype=dt.float32, scale=False):
    """A tensor of another dtype; scale: [0, 1] of floats and [0, 255] of bytes become each other."""
    return functional.convert_image_dtype(inpt, dtype) if scale else inpt.to(dtype)


class ToImage(Transform):
    """Pillow images and arrays as (C, H, W) tensors of the same numbers."""

    def forward(self, *inputs):
        """The sample, its pictures as tensors."""
        leaves, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        return tree_unflatten([to_image(x) if is_picture(x) or hasattr(x, "__array_interface__") else x for x in leaves], spec)


class ToDtype(Transform):
    """A picture of another dtype; scale: [0, 1] of floats and [0, 255] of bytes become each other."""

    shown = ("scale",)

    def __init__(self, dtype, scale=False):
        super().__init__()
        if not isinstance(dtype, dt.dtype):
            raise ValueError(f"ToDtype(dtype): expected a dtype, got {dtype!r}; a dtype for each kind of tv_tensor is not implemented")
        self.dtype, self.scale = dtype, scale

    def forward(self, *inputs):
        """The sample, its picture of that dtype."""
        return changed(inputs, lambda x: to_dtype(x, self.dtype, self.scale) if isinstance(x, Tensor) else x)


class ConvertImageDtype(ToDtype):
    """ToDtype(dtype, scale=True)."""

    def __init__(self, dtype=dt.float32):
        super().__init__(dtype, True)


class Identity(Transform):
    """The sample as it is."""

    def forward(self, *inputs):
        """The sample."""
        return inputs if len(inputs) > 1 else inputs[0]


class ToPureTensor(Identity):
    """The sample as it is: tensors are plain ones."""


class Lambda(Transform):
    """A function of your own, applied to the values of a sample that are of the given types."""

    def __init__(self, lambd, *types):
        super().__init__()
        self.lambd, self.types = lambd, types or (object,)

    def forward(self, *inputs):
        """The sample, its values changed."""
        leaves, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        return tree_unflatten([self.lambd(x) if isinstance(x, self.types) else x for x in leaves], spec)


class GaussianNoise(Transform):
    """Normal noise added to a float picture, and clamped to [0, 1]."""

    shown = ("mean", "sigma", "clip")

    def __init__(self, mean=0.0, sigma=0.1, clip=True):
        super().__init__()
        self.mean, self.sigma, self.clip = mean, sigma, clip

    def forward(self, *inputs):
        """The sample, its picture noisy."""

        def noisy(x):
            if not isinstance(x, Tensor) or not x.is_floating_point():
                raise ValueError("GaussianNoise: expected a tensor of floats in [0, 1]; apply ToDtype(torch.float32, scale=True) before")
            y = x + self.mean + randn_like(x) * self.sigma
            return y.clamp(0, 1) if self.clip else y

        return changed(inputs, noisy)


# of transforms ------------------------------------------------------------------------------------
class Compose(Module):
    """One transform after another."""

    def __init__(self, transforms):
        super().__init__()
        if not isinstance(transforms, (list, tuple, Module)) or not len(transforms):  # type: ignore[arg-type]
            raise ValueError("Pass at least one transform")
        self.transforms = transforms

    def forward(self, *inputs):
        """The sample after all of them."""
        for t in self.chosen():
            result = t(*inputs)
            inputs = result if len(inputs) > 1 else (result,)
        return inputs if len(inputs) > 1 else inputs[0]

    def chosen(self):
        """The transforms of this call."""
        return self.transforms

    def __repr__(self):
        return "\n".join([f"{type(self).__name__}(", *[f"      {t}" for t in self.transforms], ")"])


class RandomApply(Compose):
    """All of some transforms, with probability p."""

    def __init__(self, transforms, p=0.5):
        super().__init__(transforms)
        if not 0.0 <= p <= 1.0:
            raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
        self.p = p

    def chosen(self):
        """All or none."""
        return [] if rand(1).item() >= self.p else self.transforms


class RandomChoice(Compose):
    """One of some transforms."""

    def __init__(self, transforms, p=None):
        super().__init__(transforms)
        weights = [1.0] * len(transforms) if p is None else list(p)
        if len(weights) != len(transforms):
            raise ValueError(f"Length of p doesn't match the number of transforms: {len(weights)} != {len(transforms)}")
        self.p = [w / sum(weights) for w in weights]

    def chosen(self):
        """One of them."""
        return [self.transforms[multinomial(tensor(self.p), 1).item()]]


class RandomOrder(Compose):
    """All of some transforms, in random order."""

    def chosen(self):
        """All of them."""
        return [self.transforms[i] for i in randperm(len(self.transforms)).tolist()]


# batches ------------------------------------------------------------------------------------------
class Mixing(Module):
    """Base of transforms that mix every image of a batch, and its label, with the one before it."""

    def __init__(self, *, alpha=1.0, num_classes=None, labels_getter="default"):
        super().__init__()
        if labels_getter != "default":
            raise NotImplementedError(f"{type(self).__name__}(labels_getter): pass (images, labels), whose labels are found; got {labels_getter!r}")
        self.alpha, self.num_classes = float(alpha), num_classes

    def forward(self, *inputs):
        """(images, labels) mixed; labels become weights of all classes."""
        images, labels = inputs if len(inputs) > 1 else inputs[0]
        if images.dim() != 4:
            raise ValueError(f"Expected a batched input with 4 dims, but got {images.dim()} dimensions instead.")
        if labels.dim() == 1:
            if self.num_classes is None:
                raise ValueError("num_classes must be passed if the labels are index-based (not one-hot).")
            labels = F.one_hot(labels, self.num_classes)
        share = sample_dirichlet(tensor([self.alpha, self.alpha]))[0].item()
        images, share = self.mixed(images, images.roll(1, 0), share)
        labels = labels.float()
        return images, labels.roll(1, 0).mul(1.0 - share).add(labels.mul(share))


class MixUp(Mixing):
    """Images and labels as weighted means with the ones before them in the batch.

    Source:   Zhang et al., mixup: Beyond empirical risk minimization, 2018
    """

    def mixed(self, images, others, share):
        """(the means, the share of the images)."""
        return others.mul(1.0 - share).add(images.mul(share)), share


class CutMix(Mixing):
    """A rectangle of every image from the one before it in the batch, labels by area.

    Source:   Yun et al., CutMix: Regularization strategy to train strong classifiers, 2019
    """

    def mixed(self, images, others, share):
        """(the images with their rectangles, the share that is theirs)."""
        h, w = images.shape[-2:]
        x, y = whole(0, w), whole(0, h)
        half = 0.5 * (1.0 - share) ** 0.5
        rw, rh = int(half * w), int(half * h)
        left, top, right, bottom = max(x - rw, 0), max(y - rh, 0), min(x + rw, w), min(y + rh, h)
        images = images.clone()
        images[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        return images, float(1.0 - (right - left) * (bottom - top) / (w * h))


def __getattr__(name: str):
    raise AttributeError(
        f"module 'torchvision.transforms.v2' has no attribute {name!r} here: {'policies are in torchvision.transforms' if 'Aug' in name else 'boxes, masks, videos and their transforms are not implemented'}"
    )


__all__ = [
    *ALIKE, "Compose", "ConvertImageDtype", "CutMix", "GaussianNoise", "Identity", "InterpolationMode", "Lambda", "MixUp",
    "RandomApply", "RandomChoice", "RandomOrder", "ToDtype", "ToImage", "ToPureTensor", "functional",
]  # fmt: skip
