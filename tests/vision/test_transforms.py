"""Every transform against torchvision 0.29's recorded answers: repr, draws, values, errors."""

import json
import pathlib

import numpy as np
import pytest

import flambeau as torch

pytest.importorskip("PIL.Image")
from flambeau.vision import transforms  # noqa: E402

from .transform_cases import CASES, KINDS, SEEDS, case_id, picture, run  # noqa: E402

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
            # a rounding that falls the other way changes a byte by one, at the nearest pixel's border by more
            step = 2e-4 if KINDS[i // len(SEEDS)] == "tensor" else 0.05
            assert g[1:] == pytest.approx(w[1:], rel=1e-3, abs=step), i


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


def test_parameters_as_programs_ask_for_them():
    x = torch.rand(3, 20, 30)
    torch.manual_seed(3)
    top, left, h, w = transforms.RandomCrop.get_params(x, (8, 9))
    torch.manual_seed(3)
    assert torch.equal(transforms.RandomCrop((8, 9))(x), x[:, top : top + h, left : left + w]) and (h, w) == (8, 9)
    assert transforms.RandomCrop.get_params(x, (20, 30)) == (0, 0, 20, 30)
    order, bright, contrast, saturation, hue = transforms.ColorJitter.get_params((0.5, 1.5), None, None, (-0.1, 0.1))
    assert sorted(order.tolist()) == [0, 1, 2, 3] and contrast is saturation is None and 0.5 <= bright < 1.5 and abs(hue) <= 0.1
    angle, move, scale, shear = transforms.RandomAffine.get_params([-9, 9], (0.1, 0.2), (0.5, 2), [0, 0, 5, 5], [30, 20])
    assert abs(angle) <= 9 and abs(move[0]) <= 3 and abs(move[1]) <= 4 and 0.5 <= scale <= 2 and shear == (0.0, 5.0)
    assert 3 <= transforms.RandomRotation.get_params([3, 4]) <= 4 and 1 <= transforms.GaussianBlur.get_params(1, 2) <= 2
    start, end = transforms.RandomPerspective.get_params(30, 20, 0.5)
    assert start == [[0, 0], [29, 0], [29, 19], [0, 19]]
    assert all(abs(a - b) <= half for s, e in zip(start, end, strict=True) for a, b, half in zip(s, e, (7, 5), strict=True))
    i, j, h, w, v = transforms.RandomErasing.get_params(x, (0.1, 0.2), (1, 1), [0.5])
    assert v.shape == (1, 1, 1) and i + h <= 20 and j + w <= 30
    assert transforms.RandomErasing.get_params(x, (0.9, 1.0), (9, 9), [0.5])[:4] == (0, 0, 20, 30)


def test_modules_and_names():
    pipeline = torch.nn.Sequential(transforms.CenterCrop(4), transforms.RandomInvert(1.0))
    assert torch.equal(pipeline(torch.zeros(3, 8, 8)), torch.ones(3, 4, 4))
    assert transforms.transforms.Compose is transforms.Compose and transforms.autoaugment.AugMix is transforms.AugMix
    assert transforms.RandomApply(torch.nn.ModuleList([transforms.RandomInvert(1.0)]), 1.0)(torch.zeros(1, 2, 2)).sum() == 4


def test_sharpness_contrast_gamma_by_hand():
    T = transforms.functional
    x = torch.zeros(1, 4, 4)
    x[0, 1, 1] = 1.0
    blurred = T.adjust_sharpness(x, 0.0)
    assert blurred[0, 1, 1] == pytest.approx(5 / 13) and blurred[0, 2, 2] == pytest.approx(1 / 13) and blurred[0, 0, 0] == 0
    assert torch.equal(T.adjust_sharpness(x, 1.0), x) and T.adjust_sharpness(x[:, :2], 0.0) is not None
    y = torch.tensor([[[0.2, 0.4], [0.3, 0.2]], [[0.7, 0.7], [0.7, 0.7]]])
    assert torch.allclose(T.autocontrast(y), torch.tensor([[[0.0, 1.0], [0.5, 0.0]], [[0.7, 0.7], [0.7, 0.7]]]))
    assert torch.allclose(T.adjust_gamma(y, 2.0, 0.5), y * y / 2)
    assert T.get_image_size(y) == [2, 2] and T.get_image_num_channels(y) == 2
    with pytest.raises(TypeError, match="uint8"):
        T.equalize(y)


def test_equalize_as_pillow():
    image = picture()
    want = torch.tensor(np.asarray(transforms.functional.equalize(image)).transpose(2, 0, 1).copy())
    assert torch.equal(transforms.functional.equalize(transforms.functional.pil_to_tensor(image)), want)


def test_perspective_moves_the_corners():
    x = torch.zeros(1, 21, 31)
    x[0, 0, 0] = x[0, 20, 30] = 1.0
    corners = [[0, 0], [30, 0], [30, 20], [0, 20]]
    same = transforms.functional.perspective(x, corners, corners, "nearest")
    assert torch.equal(same, x)
    shifted = transforms.functional.perspective(x, corners, [[u + 3, v + 2] for u, v in corners], "nearest", fill=[0.5])
    assert shifted[0, 2, 3] == 1 and shifted[0, 0, 0] == 0.5
    with pytest.raises(ValueError, match="four corners"):
        transforms.functional.perspective(x, corners[:3], corners)


def test_elastic_fields():
    x = torch.arange(20.0).reshape(1, 4, 5)
    field = torch.zeros(1, 4, 5, 2)
    assert torch.allclose(transforms.functional.elastic_transform(x, field), x, atol=1e-5)
    field[..., 0] = 0.4  # one pixel of five is 0.4 half sizes
    assert torch.allclose(transforms.functional.elastic_transform(x, field)[0, :, :4], x[0, :, 1:], atol=1e-5)
    for bad, error in ((None, TypeError), (field[:, :3], ValueError)):
        with pytest.raises(error):
            transforms.functional.elastic_transform(x, bad)


def test_linear_transformation():
    x, m, mean = torch.rand(2, 3, 2, 2), torch.rand(12, 12), torch.rand(12)
    want = torch.stack([((v.reshape(-1) - mean) @ m).reshape(3, 2, 2) for v in x])
    assert torch.allclose(transforms.LinearTransformation(m, mean)(x), want, atol=1e-6)
    for bad in (lambda: transforms.LinearTransformation(m[:2], mean), lambda: transforms.LinearTransformation(m, mean[:2]),
                lambda: transforms.LinearTransformation(m, mean.double()), lambda: transforms.LinearTransformation(m, mean)(x[:, :2])):  # fmt: skip
        with pytest.raises(ValueError):
            bad()


def test_policies_refuse():
    with pytest.raises(ValueError, match="policy"):
        transforms.AutoAugment("imagenet")
    with pytest.raises(ValueError, match="severity"):
        transforms.AugMix(11)
    with pytest.raises(TypeError, match="uint8"):
        torch.manual_seed(0)
        for _ in range(40):
            transforms.TrivialAugmentWide()(torch.rand(3, 8, 8))
