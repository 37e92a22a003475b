"""Every transform against torchvision 0.28's recorded answers: repr, draws, values, errors."""

import json
import pathlib

import pytest

import flambeau as torch

pytest.importorskip("PIL.Image")
from flambeau.vision import transforms  # noqa: E402

from .transform_cases import CASES, case_id, run  # noqa: E402

ANSWERS = json.loads((pathlib.Path(__file__).resolve().parent.parent / "data" / "vision.json").read_text())["answers"]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_transform(case):
    want, got = ANSWERS[case_id(case)], run(torch, transforms, case)
    assert got[0] == want[0]
    for i, (g, w) in enumerate(zip(got[1:], want[1:], strict=True)):
        if isinstance(w, str):
            assert isinstance(g, str), (i, w)
        else:
            assert g[0] == w[0], i
            assert g[1:] == pytest.approx(w[1:], rel=1e-4, abs=1e-5), i


def test_combinations(monkeypatch):
    shrink, mirror = transforms.Resize((4, 4)), transforms.RandomHorizontalFlip(1.0)
    x = torch.rand(3, 8, 8)
    assert transforms.Compose([shrink, mirror])(x).shape == (3, 4, 4)
    assert transforms.RandomOrder([shrink, mirror])(x).shape == (3, 4, 4)
    assert transforms.RandomChoice([shrink], p=[1.0])(x).shape == (3, 4, 4)
    assert transforms.RandomApply([shrink], p=0.0)(x) is x
    assert repr(transforms.RandomApply([mirror], p=0.3)) == "RandomApply(\n    p=0.3\n    RandomHorizontalFlip(p=1.0)\n)"
    assert [c.shape for c in transforms.FiveCrop(4)(x)] == [(3, 4, 4)] * 5 and len(transforms.TenCrop(4)(x)) == 10
    assert transforms.Lambda(lambda t: t * 2)(x)[0, 0, 0] == x[0, 0, 0] * 2


def test_bytes():
    x = (torch.rand(3, 8, 8) * 255).byte()
    for t in (transforms.Resize((4, 4)), transforms.GaussianBlur(3), transforms.RandomRotation(20), transforms.ColorJitter(0.2, 0.2, 0.2, 0.1),
              transforms.RandomPosterize(2, 1.0), transforms.RandomSolarize(100, 1.0), transforms.Grayscale(3)):  # fmt: skip
        assert t(x).dtype is torch.uint8 and t(x).shape[0] == 3


def test_bad_settings():
    x = torch.rand(3, 8, 8)
    for bad in (
        lambda: transforms.ColorJitter(-1), lambda: transforms.ColorJitter(hue=0.7), lambda: transforms.RandomRotation(-3),
        lambda: transforms.GaussianBlur(4)(x), lambda: transforms.Pad(1, padding_mode="what")(x), lambda: transforms.FiveCrop(20)(x),
        lambda: transforms.RandomCrop(20)(x), lambda: transforms.Normalize([0.0], [0.0])(x), lambda: transforms.Grayscale(2)(x),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            bad()
    for bad in (lambda: transforms.ToTensor()(x), lambda: transforms.PILToTensor()(x), lambda: transforms.Normalize([0], [1])(0),
                lambda: transforms.ColorJitter("a"), lambda: transforms.RandomPosterize(2, 1.0)(x)):  # fmt: skip
        with pytest.raises(TypeError):
            bad()
