"""Augmentation by policies: random operations of random strength."""

from __future__ import annotations

import math
from enum import Enum

from flambeau.core import dtypes as dt
from flambeau.ops.create import arange, linspace
from flambeau.ops.gamma_random import sample_dirichlet
from flambeau.ops.random import rand, randint
from flambeau.tensor.interop import tensor
from flambeau.tensor.tensor import Tensor
from flambeau.vision.transforms import functional as T
from flambeau.vision.transforms.base import Transform, whole
from flambeau.vision.transforms.basics import mode_of, size_of

NEAREST, BILINEAR = T.InterpolationMode.NEAREST, T.InterpolationMode.BILINEAR
COLOURS = ("Brightness", "Color", "Contrast", "Sharpness")


class AutoAugmentPolicy(Enum):
    """The data set whose learnt policy is used."""

    IMAGENET = "imagenet"
    CIFAR10 = "cifar10"
    SVHN = "svhn"


# Pairs of (operation, probability, strength from 0 to 9), as published: Cubuk et al., AutoAugment, 2019, tables 7 to 9.
IMAGENET = """
Posterize .4 8 Rotate .6 9; Solarize .6 5 AutoContrast .6 -; Equalize .8 - Equalize .6 -; Posterize .6 7 Posterize .6 6;
Equalize .4 - Solarize .2 4; Equalize .4 - Rotate .8 8; Solarize .6 3 Equalize .6 -; Posterize .8 5 Equalize 1. -;
Rotate .2 3 Solarize .6 8; Equalize .6 - Posterize .4 6; Rotate .8 8 Color .4 0; Rotate .4 9 Equalize .6 -;
Equalize 0. - Equalize .8 -; Invert .6 - Equalize 1. -; Color .6 4 Contrast 1. 8; Rotate .8 8 Color 1. 2;
Color .8 8 Solarize .8 7; Sharpness .4 7 Invert .6 -; ShearX .6 5 Equalize 1. -; Color .4 0 Equalize .6 -;
Equalize .4 - Solarize .2 4; Solarize .6 5 AutoContrast .6 -; Invert .6 - Equalize 1. -; Color .6 4 Contrast 1. 8;
Equalize .8 - Equalize .6 -
"""
CIFAR10 = """
Invert .1 - Contrast .2 6; Rotate .7 2 TranslateX .3 9; Sharpness .8 1 Sharpness .9 3; ShearY .5 8 TranslateY .7 9;
AutoContrast .5 - Equalize .9 -; ShearY .2 7 Posterize .3 7; Color .4 3 Brightness .6 7; Sharpness .3 9 Brightness .7 9;
Equalize .6 - Equalize .5 -; Contrast .6 7 Sharpness .6 5; Color .7 7 TranslateX .5 8; Equalize .3 - AutoContrast .4 -;
TranslateY .4 3 Sharpness .2 6; Brightness .9 6 Color .2 8; Solarize .5 2 Invert 0. -; Equalize .2 - AutoContrast .6 -;
Equalize .2 - Equalize .6 -; Color .9 9 Equalize .6 -; AutoContrast .8 - Solarize .2 8; Brightness .1 3 Color .7 0;
Solarize .4 5 AutoContrast .9 -; TranslateY .9 9 TranslateY .7 9; AutoContrast .9 - Solarize .8 3; Equalize .8 - Invert .1 -;
TranslateY .7 9 AutoContrast .9 -
"""
SVHN = """
ShearX .9 4 Invert .2 -; ShearY .9 8 Invert .7 -; Equalize .6 - Solarize .6 6; Invert .9 - Equalize .6 -;
Equalize .6 - Rotate .9 3; ShearX .9 4 AutoContrast .8 -; ShearY .9 8 Invert .4 -; ShearY .9 5 Solarize .2 6;
Invert .9 - AutoContrast .8 -; Equalize .6 - Rotate .9 3; ShearX .9 4 Solarize .3 3; ShearY .8 8 Invert .7 -;
Equalize .9 - TranslateY .6 6; Invert .9 - Equalize .6 -; Contrast .3 3 Rotate .8 4; Invert .8 - TranslateY .0 2;
ShearY .7 6 Solarize .4 8; Invert .6 - Rotate .8 4; ShearY .3 7 TranslateX .9 3; ShearX .1 6 Invert .6 -;
Solarize .7 2 TranslateY .6 7; ShearY .8 4 Invert .8 -; ShearX .7 9 TranslateY .8 3; ShearY .8 5 AutoContrast .7 -;
ShearX .7 2 Invert .1 -
"""


def table_of(text: str):
    """((operation, probability, strength or None), twice) of every policy."""
    policies = []
    for line in text.split(";"):
        a = line.split()
        policies.append(tuple((a[i], float(a[i + 1]), None if a[i + 2] == "-" else int(a[i + 2])) for i in (0, 3)))
    return policies


POLICIES = {AutoAugmentPolicy.IMAGENET: IMAGENET, AutoAugmentPolicy.CIFAR10: CIFAR10, AutoAugmentPolicy.SVHN: SVHN}


def applied(img, name: str, strength: float, interpolation, fill):
    """The operation called `name`, of that strength."""

    def slanted(translate, x, y, center):
        shear = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
        return T.affine(img, 0.0, translate, 1.0, shear, interpolation, fill, center)

    match name:
        case "ShearX":
            return slanted([0, 0], strength, 0.0, [0, 0])
        case "ShearY":
            return slanted([0, 0], 0.0, strength, [0, 0])
        case "TranslateX":
            return slanted([int(strength), 0], 0.0, 0.0, None)
        case "TranslateY":
            return slanted([0, int(strength)], 0.0, 0.0, None)
        case "Rotate":
            return T.rotate(img, strength, interpolation, fill=fill)
        case "Posterize":
            return T.posterize(img, int(strength))
        case "Solarize":
            return T.solarize(img, strength)
        case "Brightness":
            return T.adjust_brightness(img, 1.0 + strength)
        case "Color":
            return T.adjust_saturation(img, 1.0 + strength)
        case "Contrast":
            return T.adjust_contrast(img, 1.0 + strength)
        case "Sharpness":
            return T.adjust_sharpness(img, 1.0 + strength)
        case "AutoContrast":
            return T.autocontrast(img)
        case "Equalize":
            return T.equalize(img)
        case "Invert":
            return T.invert(img)
        case "Identity":
            return img
    raise ValueError(f"The provided operator {name} is not recognized.")


def bits(count: int, most: int, fewest: int):
    """Bits to keep, fewer as strength grows."""
    return most - (arange(count) / ((count - 1) / (most - fewest))).round().int()


def space(count: int, shear: float, moves, turn: float, colour: float, kept, names) -> dict:
    """Of every operation in `names`, in their order: its `count` strengths, and whether it has a sign."""
    ranges = {"ShearX": shear, "ShearY": shear, "TranslateX": moves[0], "TranslateY": moves[1], "Rotate": turn}
    ranges |= dict.fromkeys(COLOURS, colour)
    found = {}
    for name in names:
        if name in ranges:
            found[name] = (linspace(0.0, ranges[name], count), True)
        elif name == "Posterize":
            found[name] = (bits(count, *kept), False)
        else:
            found[name] = (linspace(255.0, 0.0, count) if name == "Solarize" else tensor(0.0), False)
    return found


MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
TONES = ("Posterize", "Solarize", "AutoContrast", "Equalize")


class Policy(Transform):
    """Base of the policies: how the space left by moves is found, and filled."""

    shown: tuple[str, ...] = ()
    interpolation: T.InterpolationMode
    fill: object

    def apply(self, img, name: str, strength: float):
        """One operation."""
        return applied(img, name, strength, self.interpolation, self.fill)

    def drawn(self, operations: dict, strength):
        """A random operation, of the strength that `strength(its strengths)` says, of random sign."""
        name = list(operations)[whole(0, len(operations))]
        strengths, signed = operations[name]
        value = float(strengths[strength(strengths)].item()) if strengths.dim() else 0.0
        return name, -value if signed and whole(0, 2) else value

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={getattr(self, k)}' for k in self.shown)})"


class AutoAugment(Policy):
    """One of 25 pairs of operations, learnt for a data set, with the probabilities and strengths learnt.

    Source:   Cubuk et al., AutoAugment: Learning augmentation policies from data, 2019
    """

    shown = ("policy", "fill")

    def __init__(self, policy=AutoAugmentPolicy.IMAGENET, interpolation=NEAREST, fill=None):
        super().__init__()
        if policy not in POLICIES:
            raise ValueError(f"The provided policy {policy} is not recognized.")
        self.policy, self.interpolation, self.fill = policy, mode_of(interpolation), fill
        self.policies = table_of(POLICIES[policy])

    @staticmethod
    def get_params(transform_num):
        """(which policy, two probabilities, two signs)."""
        return whole(0, transform_num), rand((2,)), randint(2, (2,))

    def forward(self, img):
        """The image after the operations that were drawn."""
        h, w = size_of(img)
        moves = (150.0 / 331.0 * w, 150.0 / 331.0 * h)
        operations = space(10, 0.3, moves, 30.0, 0.9, (8, 4), (*MOVES, *COLOURS, *TONES, "Invert"))
        which, chances, signs = self.get_params(len(self.policies))
        for i, (name, p, level) in enumerate(self.policies[which]):
            if chances[i].item() <= p:
                strengths, signed = operations[name]
                strength = 0.0 if level is None else float(strengths[level].item())
                img = self.apply(img, name, -strength if signed and signs[i].item() == 0 else strength)
        return img


class RandAugment(Policy):
    """`num_ops` random operations, all of one strength.

    Source:   Cubuk et al., RandAugment: Practical automated data augmentation with a reduced search space, 2020
    """

    shown = ("num_ops", "magnitude", "num_magnitude_bins", "interpolation", "fill")

    def __init__(self, num_ops=2, magnitude=9, num_magnitude_bins=31, interpolation=NEAREST, fill=None):
        super().__init__()
        self.num_ops, self.magnitude, self.num_magnitude_bins = num_ops, magnitude, num_magnitude_bins
        self.interpolation, self.fill = mode_of(interpolation), fill

    def forward(self, img):
        """The image after the operations that were drawn."""
        h, w = size_of(img)
        moves = (150.0 / 331.0 * w, 150.0 / 331.0 * h)
        operations = space(self.num_magnitude_bins, 0.3, moves, 30.0, 0.9, (8, 4), ("Identity", *MOVES, *COLOURS, *TONES))
        for _ in range(self.num_ops):
            img = self.apply(img, *self.drawn(operations, lambda strengths: self.magnitude))
        return img


class TrivialAugmentWide(Policy):
    """One random operation of random strength.

    Source:   Mueller and Hutter, TrivialAugment: Tuning-free yet state-of-the-art data augmentation, 2021
    """

    shown = ("num_magnitude_bins", "interpolation", "fill")

    def __init__(self, num_magnitude_bins=31, interpolation=NEAREST, fill=None):
        super().__init__()
        self.num_magnitude_bins, self.interpolation, self.fill = num_magnitude_bins, mode_of(interpolation), fill

    def forward(self, img):
        """The image after the operation that was drawn."""
        operations = space(self.num_magnitude_bins, 0.99, (32.0, 32.0), 135.0, 0.99, (8, 2), ("Identity", *MOVES, *COLOURS, *TONES))
        return self.apply(img, *self.drawn(operations, lambda strengths: whole(0, len(strengths))))


class AugMix(Policy):
    """The image mixed with `mixture_width` chains of random operations, by Dirichlet and beta distributed weights.

    Source:   Hendrycks et al., AugMix: A simple data processing method to improve robustness and uncertainty, 2020
    """

    shown = ("severity", "mixture_width", "chain_depth", "alpha", "all_ops", "interpolation", "fill")

    def __init__(self, severity=3, mixture_width=3, chain_depth=-1, alpha=1.0, all_ops=True, interpolation=BILINEAR, fill=None):
        super().__init__()
        if not 1 <= severity <= 10:
            raise ValueError(f"The severity must be between [1, 10]. Got {severity} instead.")
        self.severity, self.mixture_width, self.chain_depth = severity, mixture_width, chain_depth
        self.alpha, self.all_ops, self.interpolation, self.fill = alpha, all_ops, mode_of(interpolation), fill

    def forward(self, orig_img):
        """The mixture."""
        img = orig_img if isinstance(orig_img, Tensor) else T.pil_to_tensor(orig_img)
        h, w = size_of(img)
        names = (*MOVES, *TONES, *COLOURS) if self.all_ops else (*MOVES, *TONES)
        operations = space(10, 0.3, (w / 3.0, h / 3.0), 30.0, 0.9, (4, 0), names)
        batch = img.reshape([1] * max(4 - img.dim(), 0) + list(img.shape))
        n = batch.shape[0]
        share = sample_dirichlet(tensor([self.alpha, self.alpha]).expand(n, -1))
        weights = sample_dirichlet(tensor([self.alpha] * self.mixture_width).expand(n, -1)) * share[:, 1].reshape(n, -1)
        mix = share[:, 0].reshape(-1, 1, 1, 1) * batch
        for i in range(self.mixture_width):
            changed = batch
            for _ in range(self.chain_depth if self.chain_depth > 0 else whole(1, 4)):
                changed = self.apply(changed, *self.drawn(operations, lambda strengths: whole(0, self.severity)))
            mix = mix + weights[:, i].reshape(-1, 1, 1, 1) * changed
        mix = mix.reshape(img.shape).to(dt.uint8 if img.dtype is dt.uint8 else img.dtype)
        return mix if isinstance(orig_img, Tensor) else T.to_pil_image(mix)


__all__ = ["AugMix", "AutoAugment", "AutoAugmentPolicy", "RandAugment", "TrivialAugmentWide"]
