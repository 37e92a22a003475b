"""What transforms are made of and combined with. Random ones draw from the default generator, as torchvision's."""

from __future__ import annotations

import random

from flambeau.nn import Module
from flambeau.ops.create import empty
from flambeau.ops.random import rand, randint
from flambeau.vision.transforms.basics import InterpolationMode


def chance(p: float) -> bool:
    """True with probability p."""
    return rand(1).item() < p


def between(low: float, high: float) -> float:
    """A number from [low, high), all equally likely."""
    return empty(1).uniform_(float(low), float(high)).item()


def whole(low: int, high: int) -> int:
    """A whole number from [low, high)."""
    return randint(low, high, (1,)).item()


class Transform(Module):
    """A transform whose repr shows the settings that `shown` names (those in `optional` only where they are not None)."""

    shown: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def __repr__(self):
        parts = [(k, getattr(self, k)) for k in self.shown]
        texts = [f"{k}={v.value if isinstance(v, InterpolationMode) else v}" for k, v in parts if v is not None or k not in self.optional]
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


class Lambda:
    """A function of your own as a transform."""

    def __init__(self, lambd):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img):
        return self.lambd(img)

    def __repr__(self):
        return f"{type(self).__name__}()"


class RandomApply(Module):
    """All of some transforms, with probability p."""

    def __init__(self, transforms, p=0.5):
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img):
        """The image, perhaps transformed."""
        if self.p < rand(1).item():
            return img
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self):
        return "\n".join([f"{type(self).__name__}(", f"    p={self.p}", *[f"    {t}" for t in self.transforms], ")"])


class Several(Compose):
    """Base of transforms that choose among others."""

    def __init__(self, transforms):
        if not isinstance(transforms, (list, tuple)):
            raise TypeError("Argument transforms should be a sequence")
        super().__init__(transforms)


class RandomOrder(Several):
    """All of some transforms, in random order (Python's generator, as torchvision's)."""

    def __call__(self, img):
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for i in order:
            img = self.transforms[i](img)
        return img


class RandomChoice(Several):
    """One of some transforms (Python's generator, as torchvision's)."""

    def __init__(self, transforms, p=None):
        super().__init__(transforms)
        if p is not None and not isinstance(p, (list, tuple)):
            raise TypeError("Argument p should be a sequence")
        self.p = p

    def __call__(self, img):
        return random.choices(self.transforms, weights=self.p)[0](img)

    def __repr__(self):
        return f"{super().__repr__()}(p={self.p})"


__all__ = ["Compose", "Lambda", "RandomApply", "RandomChoice", "RandomOrder", "Transform"]
