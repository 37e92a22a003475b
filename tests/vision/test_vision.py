"""Transforms, data sets from files, models' parameter names, grids."""

import gzip
import pickle
import struct

import numpy as np
import pytest

import flambeau as torch

PIL = pytest.importorskip("PIL.Image")
from flambeau.vision import datasets, models, transforms, utils  # noqa: E402


def image(h=6, w=8):
    return PIL.fromarray(np.random.default_rng(0).integers(0, 256, (h, w, 3)).astype(np.uint8))


def test_tensors_and_back():
    t = transforms.to_tensor(image())
    assert t.shape == (3, 6, 8) and t.dtype is torch.float32 and t.max() <= 1
    assert np.array_equal(np.asarray(transforms.to_pil_image(t)), np.asarray(image()))
    n = transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))(t)
    assert torch.allclose(n, t * 2 - 1)


@pytest.mark.parametrize("make", [
    lambda: transforms.Resize((3, 4)), lambda: transforms.CenterCrop((3, 4)), lambda: transforms.RandomCrop((3, 4), padding=1),
    lambda: transforms.RandomResizedCrop((3, 4)),
], ids=["resize", "center", "crop", "resized"])  # fmt: skip
def test_sizes(make):
    torch.manual_seed(0)
    assert make()(image()).size == (4, 3)
    assert make()(transforms.to_tensor(image())).shape == (3, 3, 4)


def test_flips_padding_and_composition():
    t = transforms.to_tensor(image())
    assert torch.equal(transforms.RandomHorizontalFlip(1.0)(t), t.flip(2))
    assert torch.equal(transforms.to_tensor(transforms.RandomVerticalFlip(1.0)(image())), t.flip(1))
    assert transforms.Pad((1, 2))(t).shape == (3, 10, 10)
    both = transforms.Compose([transforms.Grayscale(), transforms.ToTensor(), transforms.RandomErasing(1.0)])
    assert both(image()).shape == (1, 6, 8) and "Grayscale(num_output_channels=1)" in repr(both)
    for jitter in (transforms.ColorJitter(0.3, 0.3, 0.3), transforms.RandomRotation(20)):
        assert jitter(image()).size == (8, 6) and jitter(t).shape == t.shape


def idx(array):
    return struct.pack(f">{array.ndim + 1}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def test_mnist_files(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pictures = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
    (raw / "train-images-idx3-ubyte").write_bytes(idx(pictures))
    (raw / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.uint8([1, 0, 9]))))
    data = datasets.MNIST(tmp_path, transform=transforms.ToTensor())
    x, y = data[2]
    assert len(data) == 3 and y == 9 and torch.equal((x * 255).round().byte()[0], data.data[2])
    with pytest.raises(RuntimeError, match="not found"):
        datasets.MNIST(tmp_path, train=False)
    (raw / "train-images-idx3-ubyte").write_bytes(idx(pictures)[:-5])
    with pytest.raises(RuntimeError, match="truncated"):
        datasets.MNIST(tmp_path)


def test_cifar_files_and_malice(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 256, (2, 3072)).astype(np.uint8)
    (folder / "test_batch").write_bytes(pickle.dumps({"data": rows, "labels": [3, 4]}, protocol=2))
    data = datasets.CIFAR10(tmp_path, train=False)
    assert data[1][1] == 4 and np.array_equal(np.asarray(data[1][0])[..., 0].ravel(), rows[1, :1024])
    (folder / "test_batch").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        datasets.CIFAR10(tmp_path, train=False)


def test_folders_and_fakes(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        image().save(tmp_path / name / "a.png")
    data = datasets.ImageFolder(tmp_path)
    assert data.classes == ["cat", "dog"] and data[1][1] == 1 and data[0][0].size == (8, 6)
    fake = datasets.FakeData(4, (3, 5, 5), 2)
    assert np.array_equal(np.asarray(fake[1][0]), np.asarray(fake[1][0])) and fake[3][1] in (0, 1)
    with pytest.raises(IndexError):
        fake[4]


def test_digits():
    pytest.importorskip("sklearn")
    train, test = datasets.Digits(), datasets.Digits(train=False)
    assert len(train) + len(test) == 1797 and train[0][0].shape == (1, 8, 8) and train.data.max() == 1


# sizes of torchvision's models
@pytest.mark.parametrize(("name", "count"), [("resnet18", 11689512), ("resnet50", 25557032), ("alexnet", 61100840)])
def test_models(name, count):
    net = getattr(models, name)()
    assert sum(p.numel() for p in net.parameters()) == count
    if name == "resnet18":
        keys = list(net.state_dict())
        assert keys[0] == "conv1.weight" and "layer2.0.downsample.1.running_var" in keys and keys[-1] == "fc.bias"
        assert net.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 1000)
    with pytest.raises(NotImplementedError):
        getattr(models, name)(weights="DEFAULT")


def test_grid(tmp_path):
    grid = utils.make_grid(torch.ones(5, 1, 4, 3), nrow=3, pad_value=0.5)
    assert grid.shape == (3, 14, 17) and grid[0, 0, 0] == 0.5 and grid[0, 2, 2] == 1
    utils.save_image(torch.rand(4, 3, 5, 5), tmp_path / "g.png")
    with PIL.open(tmp_path / "g.png") as saved:
        assert saved.size == (4 * 7 + 2, 9)


def test_cifar_as_python_2_wrote_it(tmp_path):
    """Protocol 2 with byte strings (BINSTRING), as the files one downloads have it."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    raw = np.random.default_rng(0).integers(0, 256, 2 * 3072).astype(np.uint8).tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    (folder / "test_batch").write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels](K\x03K\x04eu.")
    data = datasets.CIFAR10(tmp_path, train=False)
    assert data.targets == [3, 4] and data.data[1, 0, 0, 0] == raw[3072]
