"""Image data sets, read from files one has; nothing is downloaded. Digits comes with scikit-learn."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from flambeau.ops.random import Generator, randint, randn
from flambeau.serialization.reading import load_plain
from flambeau.tensor.interop import from_numpy
from flambeau.utils.data import Dataset
from flambeau.vision.transforms import pillow, to_pil_image

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class VisionDataset(Dataset):
    """A root folder and transforms of inputs and targets."""

    def __init__(self, root=None, transform=None, target_transform=None):
        self.root = None if root is None else Path(root).expanduser()
        self.transform, self.target_transform = transform, target_transform

    def _item(self, image, target):
        if self.transform is not None:
            image = self.transform(image)
        return image, target if self.target_transform is None else self.target_transform(target)


class Digits(VisionDataset):
    """1,797 real handwritten digits, 8x8, of scikit-learn; `train` takes the first 80 percent of each class.

    Source:   E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998
    """

    classes = [str(i) for i in range(10)]

    def __init__(self, train=True, transform=None, target_transform=None):
        super().__init__(None, transform, target_transform)
        try:
            from sklearn.datasets import load_digits
        except ImportError as e:
            raise ImportError("Digits needs scikit-learn, which ships them: pip install 'flambeau[demo]'") from e
        images, labels = load_digits(return_X_y=True)
        chosen = np.zeros(len(labels), bool)
        for c in range(10):
            at = np.nonzero(labels == c)[0]
            chosen[at[: int(0.8 * len(at))]] = True
        chosen = chosen if train else ~chosen
        self.data = from_numpy((images[chosen].reshape(-1, 1, 8, 8) / 16).astype(np.float32))
        self.targets = from_numpy(labels[chosen].astype(np.int64))

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        return self._item(self.data[i], int(self.targets[i]))


class MNIST(VisionDataset):
    """28x28 digits from the four IDX files in root/MNIST/raw (packed or not).

    Source:   torchvision.datasets.MNIST
    """

    classes = [f"{i} - {n}" for i, n in enumerate("zero one two three four five six seven eight nine".split())]

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform, target_transform)
        kind = "train" if train else "t10k"
        self.train = train
        self.data = from_numpy(self._read(f"{kind}-images-idx3-ubyte", 3))
        self.targets = from_numpy(self._read(f"{kind}-labels-idx1-ubyte", 1).astype(np.int64))

    def _read(self, name: str, dims: int) -> np.ndarray:
        folder = self.root / type(self).__name__ / "raw"
        for path, opener in ((folder / name, open), (folder / f"{name}.gz", gzip.open)):
            if path.exists():
                with opener(path, "rb") as f:
                    data = f.read()
                magic, *shape = struct.unpack_from(f">{dims + 1}I", data)
                if magic != 0x800 + dims or len(data) != 4 * (dims + 1) + int(np.prod(shape)):
                    raise RuntimeError(f"{path} is no IDX file of {dims} dimensions, or it is truncated")
                return np.frombuffer(data, np.uint8, offset=4 * (dims + 1)).reshape(shape).copy()
        raise RuntimeError(f"Dataset not found: {folder / name} (or .gz). Put the files there; nothing is downloaded")

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self._item(to_pil_image(self.data[i].unsqueeze(0)), int(self.targets[i]))


class FashionMNIST(MNIST):
    """28x28 pictures of clothes, in MNIST's format."""

    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class CIFAR10(VisionDataset):
    """32x32 photographs from the python version's batches in root/cifar-10-batches-py.

    Source:   torchvision.datasets.CIFAR10
    """

    folder, files, key = "cifar-10-batches-py", ([f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]), "labels"

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        super().__init__(root, transform, target_transform)
        images, self.targets = [], []
        for name in self.files[0 if train else 1]:
            path = self.root / self.folder / name
            if not path.exists():
                raise RuntimeError(f"Dataset not found: {path}. Put the files there; nothing is downloaded")
            batch = load_plain(path.read_bytes(), "latin1")
            images.append(batch["data"])
            self.targets += list(batch[self.key])
        self.data = np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self._item(pillow().fromarray(np.ascontiguousarray(self.data[i])), self.targets[i])


class CIFAR100(CIFAR10):
    """CIFAR10's format with 100 classes, in root/cifar-100-python."""

    folder, files, key = "cifar-100-python", (["train"], ["test"]), "fine_labels"


class DatasetFolder(VisionDataset):
    """root/class/file, read by `loader`.

    Source:   torchvision.datasets.DatasetFolder
    """

    def __init__(self, root, loader, extensions=None, transform=None, target_transform=None, is_valid_file=None):
        super().__init__(root, transform, target_transform)
        self.loader = loader
        self.classes = sorted(p.name for p in self.root.iterdir() if p.is_dir())
        if not self.classes:
            raise FileNotFoundError(f"Couldn't find any class folder in {self.root}.")
        self.class_to_idx = {c: i for i, c in enumerate(self.classes)}
        ok = is_valid_file or (lambda p: extensions is None or str(p).lower().endswith(tuple(extensions)))
        self.samples = [
            (str(p), self.class_to_idx[c]) for c in self.classes for p in sorted((self.root / c).rglob("*"))
            if p.is_file() and ok(str(p))
        ]  # fmt: skip
        if not self.samples:
            raise FileNotFoundError(f"Found no valid file in {self.root}" + (f": extensions {extensions}" if extensions else ""))
        self.targets = [t for _, t in self.samples]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        path, target = self.samples[i]
        return self._item(self.loader(path), target)


def read_image(path):
    """An image file in RGB."""
    with open(path, "rb") as f:
        return pillow().open(f).convert("RGB")


class ImageFolder(DatasetFolder):
    """Images in one folder per class.

    Source:   torchvision.datasets.ImageFolder
    """

    def __init__(self, root, transform=None, target_transform=None, loader=read_image, is_valid_file=None):
        super().__init__(root, loader, None if is_valid_file else EXTENSIONS, transform, target_transform, is_valid_file)
        self.imgs = self.samples


class FakeData(VisionDataset):
    """Random images, the same for each index.

    Source:   torchvision.datasets.FakeData
    """

    def __init__(self, size=1000, image_size=(3, 224, 224), num_classes=10, transform=None, target_transform=None,
                 random_offset=0):  # fmt: skip
        super().__init__(None, transform, target_transform)
        self.size, self.image_size, self.num_classes, self.random_offset = size, image_size, num_classes, random_offset

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        if i >= self.size:
            raise IndexError(f"{type(self).__name__} index out of range")
        g = Generator().manual_seed(i + self.random_offset)
        image = randn(*self.image_size, generator=g)
        target = randint(0, self.num_classes, (1,), generator=g).item()
        return self._item(to_pil_image(image), target)


__all__ = ["CIFAR10", "CIFAR100", "DatasetFolder", "Digits", "FakeData", "FashionMNIST", "ImageFolder", "MNIST"]
