"""Worker processes: PyTorch's order and numbers, shared memory that is used again, and every way a worker can fail."""

import gc
import glob
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import flambeau as torch
from flambeau.utils import data as D
from flambeau.utils.data import transfer


def left_behind():
    return [p for folder in transfer.folders() for p in glob.glob(os.path.join(folder, "flambeau-*-*-*"))]


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    before = left_behind()
    yield
    gc.collect()
    assert set(left_behind()) <= set(before)


class Filled(D.Dataset):
    def __init__(self, n=24, size=5000):
        self.n, self.size = n, size

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return torch.full((self.size,), float(i))


class Uneven(D.IterableDataset):
    def __iter__(self):
        w = D.get_worker_info()
        return iter(range(w.id * 100, w.id * 100 + 11 // (w.id + 1)))


class Draw(D.Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        return i, torch.rand(1).item()


# what PyTorch 2.13 gives
@pytest.mark.parametrize(
    "options, want",
    [
        ({"batch_size": 4}, [[0, 1, 2, 3], [100, 101, 102, 103], [200, 201, 202], [4, 5, 6, 7], [104], [8, 9, 10]]),
        (
            {"batch_size": 2, "drop_last": True},
            [[0, 1], [100, 101], [200, 201], [2, 3], [102, 103], [4, 5], [6, 7], [8, 9]],
        ),
        ({"batch_size": None}, [0, 100, 200, 1, 101, 201, 2, 102, 202, 3, 103, 4, 104, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_streams_that_end_at_different_times(options, want):
    got = [b.tolist() if options["batch_size"] else b for b in D.DataLoader(Uneven(), num_workers=3, **options)]
    assert got == want


def test_numbers_are_pytorchs():
    torch.manual_seed(3)
    g = torch.Generator().manual_seed(5)
    loader = D.DataLoader(Draw(), batch_size=None, shuffle=True, num_workers=2, persistent_workers=True, generator=g)
    epochs = [[(i, round(v, 6)) for i, v in loader] for _ in range(2)]
    assert epochs == [
        [(2, 0.710601), (0, 0.290519), (4, 0.348306), (3, 0.585715), (1, 0.638756)],
        [(4, 0.655748), (3, 0.293527), (0, 0.11608), (1, 0.288264), (2, 0.622262)],
    ]
    assert torch.rand(1).item() == 0.004263520240783691  # the workers' seed is of the given generator


def test_a_generator_of_ones_own_over_epochs():
    loader = D.DataLoader(range(5), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(5))
    assert [[b.tolist() for b in loader] for _ in range(3)] == [
        [[2, 0], [4, 3], [1]], [[1, 0], [2, 3], [4]], [[2, 4], [1, 0], [3]]
    ]  # fmt: skip


def test_blocks_are_used_again_but_never_while_a_tensor_lives():
    loader = D.DataLoader(Filled(), batch_size=4, num_workers=2, persistent_workers=True)
    kept = [b for _ in range(4) for b in loader]
    for i, b in enumerate(kept):
        assert b[:, -1].tolist() == [4.0 * (i % 6) + j for j in range(4)]
    most = max(len(w.inbox.blocks) for w in loader._workers.workers)
    assert most >= 12
    part = kept[5][1:2]
    del kept, b
    gc.collect()
    for _ in range(6):
        for i, b in enumerate(loader):
            assert b.sum(1).tolist() == [5000.0 * (4 * i + j) for j in range(4)]
    assert part[0, 0].item() == 21.0
    assert max(len(w.inbox.blocks) for w in loader._workers.workers) <= transfer.SPARE + 4  # the others were given up


def test_whatever_a_batch_holds_arrives():
    shared = torch.arange(9000.0)

    def collate(batch):
        table = torch.arange(90000.0)
        return {
            "views": [shared, shared[10:5000]], "row": table[5:7], "array": np.arange(3000.0).reshape(30, 100).T, "small": np.arange(3),
            "text": "x" * 100_000, "sub": torch.nn.Parameter(torch.ones(3000)), "empty": torch.zeros(0, 3), "mask": torch.ones(5000) > 0,
            "half": torch.ones(3000, dtype=torch.bfloat16), "batch": batch, "turned": table.reshape(300, 300).t(),
            "sparse": torch.eye(3000).to_sparse(),
        }  # fmt: skip

    (got,) = D.DataLoader([1, 2], batch_size=2, num_workers=1, collate_fn=collate)
    assert got["views"][0].untyped_storage() == got["views"][1].untyped_storage()
    got["views"][1][0] = -1.0
    assert got["views"][0][10].item() == -1.0
    assert got["row"].tolist() == [5.0, 6.0] and got["row"].untyped_storage().nbytes() == 8
    assert got["array"].shape == (100, 30) and got["array"][1, 0] == 1 and got["array"].flags.writeable
    assert isinstance(got["sub"], torch.nn.Parameter) and got["sub"].requires_grad and got["text"] == "x" * 100_000
    assert got["turned"].stride() == (1, 300) and got["turned"][1, 0].item() == 1.0 and got["empty"].shape == (0, 3)
    assert got["mask"].all() and got["half"].float().sum().item() == 3000 and got["batch"] == [1, 2]
    assert got["sparse"].is_coalesced() and got["sparse"].sum().item() == 3000


def test_out_of_order():
    class Sleepy(D.Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, i):
            time.sleep(0.3 if i == 0 else 0.0)
            return i

    got = [b.item() for b in D.DataLoader(Sleepy(), num_workers=2, in_order=False)]
    assert sorted(got) == list(range(8)) and got[0] != 0
    assert [b.item() for b in D.DataLoader(Sleepy(), num_workers=2)] == list(range(8))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start(method):
    loader = D.DataLoader(D.TensorDataset(torch.arange(6.0)), batch_size=3, num_workers=1, multiprocessing_context=method)
    assert [b[0].tolist() for b in loader] == [[0, 1, 2], [3, 4, 5]]


class Bad(Filled):
    """Item 5 does something bad."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def __getitem__(self, i):
        return self.what() if i == 5 else i


def local_error():
    class Odd(Exception):
        pass

    raise Odd("of its own")


def stop():
    raise StopIteration


class Two(Exception):
    def __init__(self, a, b):
        super().__init__(a, b)


def two():
    raise Two(1, 2)


@pytest.mark.parametrize(
    "what, error, text",
    [
        (lambda: {}["no"], KeyError, "worker process 1(.|\n)*KeyError: 'no'"), (local_error, RuntimeError, "of its own"),
        (stop, RuntimeError, "StopIteration"), (two, RuntimeError, r"Caught Two in DataLoader worker process 1(.|\n)*\(1, 2\)"),
        (lambda: (lambda: 0), (AttributeError, pickle.PicklingError), "worker process 1(.|\n)*lambda"),
        (lambda: torch.ones(2, requires_grad=True) * 2, RuntimeError, "non-leaf"),
        (lambda: os._exit(3), RuntimeError, r"worker 1 .*exited unexpectedly \(exit code 3\)"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), RuntimeError, r"worker 1 .*killed by signal 9"),
    ],
)  # fmt: skip
def test_failures(what, error, text):
    loader = D.DataLoader(Bad(what), num_workers=2, collate_fn=lambda batch: batch[0])
    with pytest.raises(error, match=text):
        list(loader)


def test_an_error_does_not_end_the_epoch():
    it = iter(D.DataLoader(Bad(local_error), num_workers=2))
    seen, errors = [], 0
    for _ in range(24):
        try:
            seen.append(next(it).item())
        except RuntimeError:
            errors += 1
    assert errors == 1 and seen == [i for i in range(24) if i != 5]
    with pytest.raises(StopIteration):
        next(it)


def test_init_functions():
    seen = [b.item() for b in D.DataLoader(range(4), num_workers=2, worker_init_fn=lambda i: np.random.seed(i))]  # noqa: NPY002
    assert seen == [0, 1, 2, 3]

    def bad(i):
        raise ValueError(f"init of {i}")

    with pytest.raises(ValueError, match="worker process 0(.|\n)*init of 0"):
        list(D.DataLoader(range(4), num_workers=2, worker_init_fn=bad))


def test_a_worker_killed_while_it_is_waited_for():
    loader = iter(D.DataLoader(Bad(lambda: time.sleep(60)), num_workers=2))
    killer = threading.Timer(0.2, lambda: os.kill(loader.workers[1].process.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(RuntimeError, match="worker 1"):
        list(loader)
    killer.join()


def test_timeout():
    with pytest.raises(RuntimeError, match="timed out after 0.2 seconds"):
        list(D.DataLoader(Bad(lambda: time.sleep(60)), num_workers=1, timeout=0.2))


def test_a_persistent_loader_starts_anew_after_a_death():
    loader = D.DataLoader(Bad(lambda: os._exit(1)), num_workers=2, persistent_workers=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="exited unexpectedly"):
            list(loader)


def test_pinning_without_an_accelerator_says_so():
    with pytest.warns(UserWarning, match="pin_memory"):
        assert len(list(D.DataLoader(range(2), pin_memory=True))) == 2


def test_many_indices_at_once():
    (batch,) = D.DataLoader(range(60_000), batch_size=60_000, num_workers=1)
    assert batch.sum().item() == 60_000 * 59_999 // 2
