"""torchvision.transforms.v2: samples, pictures changed alike, the stream of random numbers, batches."""

import numpy as np
import pytest

import flambeau as torch

PIL = pytest.importorskip("PIL.Image")
from flambeau.vision import transforms as v1  # noqa: E402
from flambeau.vision.transforms import v2  # noqa: E402

from .transform_cases import picture  # noqa: E402


def test_samples_keep_their_form():
    flip = v2.RandomHorizontalFlip(1.0)
    image, target = flip(picture(), {"label": 3, "box": torch.arange(4)})
    assert target["label"] == 3 and target["box"].tolist() == [0, 1, 2, 3]
    assert np.array_equal(np.asarray(image), np.asarray(picture())[:, ::-1])
    x = torch.rand(3, 4, 5)
    assert torch.equal(flip(x), x.flip(-1)) and torch.equal(flip([x, x])[0], x.flip(-1)) and torch.equal(flip([x, x])[1], x)


def test_pictures_are_changed_alike_and_as_single_ones():
    for name, args in (("RandomCrop", (20,)), ("RandomResizedCrop", (22,)), ("ColorJitter", (0.3, 0.3)), ("RandomRotation", (30,))):
        torch.manual_seed(2)
        want = np.asarray(getattr(v1, name)(*args)(picture()))
        after = torch.rand(1)
        torch.manual_seed(2)
        a, b = getattr(v2, name)(*args)(picture(), picture())
        assert np.array_equal(np.asarray(a), want) and np.array_equal(np.asarray(b), want) and torch.equal(torch.rand(1), after)


def test_the_usual_pipeline():
    steps = [v2.ToImage(), v2.ToDtype(torch.uint8, scale=True), v2.Resize((8, 9)), v2.ToDtype(torch.float32, scale=True)]
    x, label = v2.Compose([*steps, v2.Normalize([0.5] * 3, [0.2] * 3)])(picture(), 7)
    assert x.shape == (3, 8, 9) and x.dtype is torch.float32 and label == 7
    assert v2.ToImage()(np.zeros((4, 5), np.uint8)).shape == (1, 4, 5) and v2.ToDtype(torch.float32)(torch.tensor([[[255]]])).item() == 255
    assert torch.equal(v2.ToTensor()(x), x) and v2.Identity()(x) is x and v2.Lambda(lambda v: v + 1, int)(x, 1)[1] == 2
    assert repr(v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])) == "Compose(\n      ToImage()\n      ToDtype(scale=True)\n)"


def test_choices():
    x = torch.rand(3, 6, 6)
    flips = [v2.RandomHorizontalFlip(1.0), v2.RandomVerticalFlip(1.0)]
    torch.manual_seed(0)
    found = {tuple(v2.RandomChoice(flips)(x).reshape(-1).tolist()) for _ in range(20)}
    assert found == {tuple(x.flip(d).reshape(-1).tolist()) for d in (-1, -2)}
    assert torch.equal(v2.RandomOrder(flips)(x), x.flip((-1, -2)))
    assert torch.equal(v2.RandomApply(flips, 0.0)(x), x) and torch.equal(v2.RandomApply(flips, 1.0)(x), x.flip((-1, -2)))


def test_mixed_batches():
    x, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 1])
    torch.manual_seed(1)
    y, w = v2.MixUp(num_classes=3)(x, labels)
    share = w[0, 0].item()
    assert torch.allclose(y, x * share + x.roll(1, 0) * (1 - share), atol=1e-6) and torch.allclose(w.sum(1), torch.ones(4))
    y, w = v2.CutMix(num_classes=3)(x, labels)
    same = (y == x).all(1).float().mean((1, 2))
    assert torch.allclose(same, torch.full((4,), same[0].item())) and torch.allclose(w[0, 0], same[0], atol=1e-6)


def test_refused():
    x = torch.rand(2, 3, 4, 4)
    for bad in (lambda: v2.MixUp()(x, torch.tensor([0, 1])), lambda: v2.MixUp(num_classes=2)(x[0], torch.tensor([0])), lambda: v2.Compose([]),
                lambda: v2.RandomApply([v2.Identity()], 2.0), lambda: v2.RandomChoice([v2.Identity()], [1, 2]), lambda: v2.ToDtype({}),
                lambda: v2.GaussianNoise()(picture())):  # fmt: skip
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(AttributeError, match="boxes, masks, videos"):
        v2.SanitizeBoundingBoxes  # noqa: B018
    with pytest.raises(TypeError, match="Tensor images"):
        v1.RandomErasing(1.0)(picture())
