"""torchvision's names: datasets, transforms, models, utils (extra `vision`: Pillow)."""

from flambeau.vision import datasets, models, transforms, utils

__all__ = ["datasets", "models", "transforms", "utils"]
