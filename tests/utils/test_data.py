"""Data sets, samplers and the loader, its worker processes and their failures."""

import os

import numpy as np
import pytest

import flambeau as torch
from flambeau.utils import data as D
from flambeau.utils.data import worker as W


class Numbers(D.Dataset):
    def __init__(self, n=23):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.tensor([float(i)]), i, {"half": i / 2, "name": str(i)}


class Stream(D.IterableDataset):
    def __iter__(self):
        w = D.get_worker_info()
        return iter(range(20)) if w is None else iter(range(w.id, 20, w.num_workers))


class Faulty(Numbers):
    def __getitem__(self, i):
        if i == 5:
            raise ValueError("sample 5 is bad")
        return i


class Deadly(Numbers):
    def __getitem__(self, i):
        if i == 5:
            os._exit(3)
        return i


def order(loader):
    return [b[1].tolist() for b in loader]


# what PyTorch 2.13 gives after manual_seed(0)
def test_shuffles_are_pytorchs():
    torch.manual_seed(0)
    first = order(D.DataLoader(Numbers(10), batch_size=4, shuffle=True))
    assert first == [[6, 7, 1, 4], [2, 0, 9, 8], [3, 5]]
    torch.manual_seed(0)
    assert order(D.DataLoader(Numbers(10), batch_size=4, shuffle=True, num_workers=2)) == first
    torch.manual_seed(0)
    assert [s.indices for s in D.random_split(range(10), [0.3, 0.7])] == [[4, 1, 7], [5, 3, 9, 0, 8, 6, 2]]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(workers):
    loader = D.DataLoader(Numbers(), batch_size=5, num_workers=workers)
    assert len(loader) == 5
    batches = list(loader)
    x, i, extra = batches[-1]
    assert x.shape == (3, 1) and i.dtype is torch.int64 and extra["half"].dtype is torch.float64
    assert extra["name"] == ["20", "21", "22"]
    assert len(list(D.DataLoader(Numbers(), batch_size=5, drop_last=True, num_workers=workers))) == 4
    single = list(D.DataLoader(Numbers(3), batch_size=None, num_workers=workers))
    assert [s[1] for s in single] == [0, 1, 2]


def test_iterable():
    assert [b.tolist() for b in D.DataLoader(Stream(), batch_size=6)] == [list(range(0, 6)), list(range(6, 12)), list(range(12, 18)), [18, 19]]
    got = sorted(v for b in D.DataLoader(Stream(), batch_size=3, num_workers=2) for v in b.tolist())
    assert got == list(range(20))


def test_persistent_workers():
    loader = D.DataLoader(Numbers(), batch_size=4, num_workers=2, persistent_workers=True)
    first = iter(loader)
    next(first)  # an epoch left early
    pids = [w.process.pid for w in loader._workers.workers]
    for _ in range(2):
        assert sum(order(loader), []) == list(range(23))
    assert [w.process.pid for w in loader._workers.workers] == pids


def test_failures_name_the_worker(monkeypatch):
    monkeypatch.setattr(W, "CHECK", 0.2)
    with pytest.raises(ValueError, match="worker process 1.*\n(.*\n)*.*sample 5 is bad"):
        list(D.DataLoader(Faulty(), num_workers=2))
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(D.DataLoader(Deadly(), num_workers=2))


def seeded(worker_id):
    import random

    return random.random()


class Draw(Numbers):
    """A random number, and the worker that drew it."""

    def __getitem__(self, i):
        return torch.rand(1).item(), D.get_worker_info().id


def test_worker_seeds_differ():
    values = [v for v, _ in D.DataLoader(Draw(4), batch_size=None, num_workers=2)]
    assert len(set(values)) == 4


def test_samplers():
    torch.manual_seed(0)
    assert sorted(D.SubsetRandomSampler([3, 5, 9])) == [3, 5, 9]
    drawn = list(D.WeightedRandomSampler([0.0, 1.0, 0.0], 10))
    assert drawn == [1] * 10
    assert list(D.BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    parts = [list(D.DistributedSampler(range(7), 3, r, shuffle=False)) for r in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    assert len(list(D.RandomSampler(range(4), replacement=True, num_samples=70))) == 70


def test_datasets():
    t = D.TensorDataset(torch.arange(4), torch.arange(4) * 2)
    assert t[1][1].item() == 2 and len(t) == 4
    both = t + D.TensorDataset(torch.arange(2), torch.arange(2))
    assert len(both) == 6 and both[5][0].item() == 1 and both[-1][0].item() == 1
    assert D.Subset(t, [3, 1])[0][0].item() == 3
    assert list(D.ChainDataset([Stream(), Stream()]))[20] == 0
    assert D.StackDataset(a=t, b=t)[1]["b"][0].item() == 1


def test_collate():
    assert D.default_collate([1.5, 2.5]).dtype is torch.float64
    assert D.default_collate([np.float32(1), np.float32(2)]).dtype is torch.float32
    assert D.default_collate([(1, "a"), (2, "b")])[1] == ["a", "b"] or D.default_collate([(1, "a"), (2, "b")])[1] == ("a", "b")
    with pytest.raises(RuntimeError, match="equal size"):
        D.default_collate([[1, 2], [1]])
    with pytest.raises(TypeError):
        D.default_collate([object()])


def test_bad_options():
    for kw in ({"num_workers": -1}, {"timeout": -1}, {"prefetch_factor": 2}, {"shuffle": True, "sampler": range(3)},
               {"batch_sampler": [[0]], "batch_size": 3}, {"persistent_workers": True}, {"batch_size": 0}):  # fmt: skip
        with pytest.raises(ValueError):
            D.DataLoader(Numbers(), **kw)
    with pytest.raises(ValueError):
        D.random_split(range(4), [1, 1])
