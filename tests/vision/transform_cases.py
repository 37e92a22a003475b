"""Transforms to compare with torchvision's recorded answers: (name, positional arguments, keywords).

tools/record_vision.py writes the answers; test_transforms.py reads them.
"""

import numpy as np

CASES = [
    ("Resize", (20,), {}), ("Resize", ((13, 17),), {}), ("Resize", (20,), {"max_size": 22}), ("Resize", (9,), {"interpolation": "nearest"}),
    ("Resize", (9,), {"interpolation": "bicubic"}), ("CenterCrop", (30,), {}), ("CenterCrop", ((60, 71),), {}), ("Pad", (3,), {}),
    ("Pad", ((1, 2, 3, 4),), {"fill": 7}), ("Pad", (3,), {"padding_mode": "reflect"}), ("Pad", (3,), {"padding_mode": "edge"}),
    ("Pad", ((2, 3),), {"padding_mode": "symmetric"}), ("RandomCrop", (24,), {}), ("RandomCrop", (48,), {"padding": 8}),
    ("RandomCrop", (70,), {"pad_if_needed": True}), ("RandomHorizontalFlip", (), {}), ("RandomVerticalFlip", (), {}),
    ("RandomResizedCrop", (22,), {}), ("RandomResizedCrop", (22,), {"ratio": (3.0, 4.0), "scale": (2.0, 3.0)}), ("Grayscale", (), {}),
    ("Grayscale", (3,), {}), ("RandomGrayscale", (0.7,), {}), ("RandomRotation", (30,), {}), ("RandomRotation", (30,), {"expand": True}),
    ("RandomRotation", ((10, 20),), {"interpolation": "bilinear", "fill": 3, "center": (4, 5)}), ("RandomAffine", (20,), {}),
    ("RandomAffine", (20, (0.1, 0.2), (0.8, 1.2), 10), {}), ("RandomAffine", (0,), {"shear": (-5, 5, -9, 9), "interpolation": "bilinear", "fill": 3}),
    ("ColorJitter", (0.3, 0.3, 0.3), {}), ("ColorJitter", (0.3, (0.5, 0.9), 0.3, 0.2), {}), ("GaussianBlur", (5,), {}),
    ("GaussianBlur", ((3, 7), 1.5), {}), ("RandomInvert", (0.7,), {}), ("RandomErasing", (1.0,), {}), ("RandomErasing", (1.0,), {"value": "random"}),
    ("RandomErasing", (1.0,), {"value": (0.1, 0.2, 0.3)}), ("Normalize", ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), {}), ("PILToTensor", (), {}),
    ("ToTensor", (), {}), ("RandomPerspective", (0.6, 0.8), {}), ("RandomPerspective", (0.4, 1.0), {"interpolation": "nearest", "fill": 3}),
    ("ElasticTransform", (), {}), ("ElasticTransform", (80.0, [3.0, 4.0]), {"interpolation": "nearest", "fill": 9}),
    ("RandomAdjustSharpness", (2, 0.7), {}), ("RandomAdjustSharpness", (0.3, 0.7), {}), ("RandomAutocontrast", (0.7,), {}),
    ("RandomEqualize", (0.7,), {}), ("RandomPosterize", (3, 0.7), {}), ("RandomSolarize", (0.5, 0.7), {}),
    ("AutoAugment", (), {}), ("AutoAugment", (), {"policy": "cifar10", "fill": 5}),
    ("AutoAugment", (), {"policy": "svhn", "interpolation": "bilinear"}), ("RandAugment", (), {}),
    ("RandAugment", (5, 20), {"fill": (1, 2, 3), "interpolation": "bilinear"}), ("TrivialAugmentWide", (), {}), ("TrivialAugmentWide", (11,), {"interpolation": "bilinear"}),
    ("AugMix", (), {}), ("AugMix", (7, 2, 2), {"all_ops": False}),
]  # fmt: skip
KINDS, SEEDS = ("picture", "tensor", "bytes"), (0, 1, 2, 3, 4, 5)


def case_id(case):
    """A readable key."""
    return f"{case[0]}{case[1]}{case[2] or ''}".replace(" ", "")


def picture():
    """40 x 50 smooth colours with noise."""
    from PIL import Image

    y, x = np.mgrid[:40, :50]
    waves = np.stack([np.sin(x / 7 + c) + np.cos(y / 5 - c) for c in range(3)], -1) * 60 + 128
    noise = np.random.default_rng(0).integers(-8, 8, waves.shape)
    return Image.fromarray((waves + noise).astype(np.uint8))


def made(transforms, case):
    """The transform of a case."""
    name, args, keywords = case
    enums = {"interpolation": transforms.InterpolationMode, "policy": transforms.AutoAugmentPolicy}
    return getattr(transforms, name)(*args, **{k: enums[k](v) if k in enums else v for k, v in keywords.items()})


def run(lib, transforms, case):
    """[repr, then per kind and seed the error's class, or shape, mean, mean of squares and a weighted mean]."""
    t = made(transforms, case)
    kinds = {"picture": lambda x: x, "tensor": transforms.ToTensor(), "bytes": transforms.PILToTensor()}
    answers = [repr(t)]
    for kind in KINDS:
        for seed in SEEDS:
            lib.manual_seed(seed)
            try:
                y = t(kinds[kind](picture()))
            except Exception as error:  # noqa: BLE001 - the error is the answer
                answers.append(type(error).__name__)
                continue
            a = np.asarray(y.numpy() if hasattr(y, "numpy") else y).astype(np.float64)
            weights = np.sin(np.arange(a.size)).reshape(a.shape)
            answers.append([list(a.shape), *(round(float(v), 6) for v in (a.mean(), (a**2).mean(), (a * weights).mean()))])
    return answers
