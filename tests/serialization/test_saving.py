"""Saving and loading: round trips, sharing, refusal of code, damaged files, atomic writes, PyTorch's own files."""

import collections
import io
import os
import pickle
import random
import zipfile

import pytest

import flambeau as torch


def sample():
    x = torch.randn(3, 4)
    return {
        "x": x, "view": x[1:], "turned": x.t(), "int": torch.arange(5), "half": torch.ones(2, dtype=torch.float16),
        "bf": torch.ones(2, dtype=torch.bfloat16), "complex": torch.ones(2, dtype=torch.complex64), "mask": x > 0,
        "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "dtype": torch.float64, "size": x.shape,
        "device": x.device, "list": [1, "text", None, True, 2.5, (1, 2)], "ordered": collections.OrderedDict(a=1),
        "parameter": torch.nn.Parameter(torch.ones(2)), "set": {1, 2}, "bytes": b"abc",
    }  # fmt: skip


def saved(obj) -> bytes:
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    return buffer.getvalue()


def test_round_trip(tmp_path):
    before = sample()
    torch.save(before, tmp_path / "a.pt")
    after = torch.load(tmp_path / "a.pt")
    assert after.keys() == before.keys()
    for key, value in before.items():
        if isinstance(value, torch.Tensor):
            assert type(after[key]) is type(value) and after[key].dtype is value.dtype, key
            assert after[key].stride() == value.stride() and after[key].requires_grad == value.requires_grad
            assert torch.equal(after[key], value), key
        else:
            assert after[key] == value and type(after[key]) is type(value), key
    assert after["view"].data_ptr() == after["x"].data_ptr() + 16  # they share memory still


def test_module_and_optimizer_states():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    state = torch.load(io.BytesIO(saved({"net": net.state_dict(), "opt": optimizer.state_dict()})))
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    assert str(other.load_state_dict(state["net"])) == "<All keys matched successfully>"
    torch.optim.Adam(other.parameters()).load_state_dict(state["opt"])
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
    whole = torch.load(io.BytesIO(saved(net)), weights_only=False)
    assert repr(whole) == repr(net)


class Evil:
    def __reduce__(self):
        return os.system, ("echo owned",)


def malicious(payload) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", payload)
        archive.writestr("a/version", "3\n")
    return buffer.getvalue()


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize(
    "payload",
    [pickle.dumps(Evil()), b"cbuiltins\neval\n(S'1+1'\ntR.", b"cos\nsystem\n(S'true'\ntR.", b"cflambeau\nsave\n.",
     b"csubprocess\nPopen\n(S'true'\ntR.", b"c__main__\nmain\n."],
)  # fmt: skip
def test_code_is_refused(payload, weights_only):
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        torch.load(io.BytesIO(malicious(payload)), weights_only=weights_only)


class Settings:
    def __init__(self):
        self.width = 3


def test_allow_list():
    data = saved({"s": Settings()})
    with pytest.raises(pickle.UnpicklingError, match="Settings"):
        torch.load(io.BytesIO(data))
    with torch.serialization.safe_globals([Settings]):
        assert torch.load(io.BytesIO(data))["s"].width == 3
    with pytest.raises(pickle.UnpicklingError):
        torch.load(io.BytesIO(data))


def test_impossible_tensors_are_refused():
    """A tensor whose sizes reach beyond its storage would read foreign memory."""
    good = zipfile.ZipFile(io.BytesIO(saved(torch.zeros(3))))
    pickled = good.read("archive/data.pkl")
    for size in (b"K\x04", b"J\xff\xff\xff\x7f"):
        bad = pickled.replace(b"K\x03\x85", size + b"\x85", 1)
        assert bad != pickled
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", bad)
            archive.writestr("archive/data/0", good.read("archive/data/0"))
            archive.writestr("archive/version", "3\n")
        with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
            torch.load(io.BytesIO(buffer.getvalue()))


def test_damaged_files_give_errors_only():
    data, r = saved(sample()), random.Random(0)
    for i in range(150):
        bad = bytearray(data)
        if i % 2:
            del bad[r.randrange(len(bad)) :]
        else:
            for _ in range(4):
                bad[r.randrange(len(bad))] = r.randrange(256)
        try:
            torch.load(io.BytesIO(bytes(bad)))
        except (RuntimeError, pickle.UnpicklingError, EOFError, NotImplementedError):
            pass
    with pytest.raises(RuntimeError, match="neither a zip archive"):
        torch.load(io.BytesIO(b"not a file of ours"))
    with pytest.raises(FileNotFoundError):
        torch.load("/nonexistent/file.pt")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"v": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        torch.save({"v": lambda: 0}, path)
    assert torch.load(path) == {"v": 1}
    assert os.listdir(tmp_path) == ["a.pt"]


def test_map_location_and_types():
    data = saved(torch.ones(2))
    for where in ("cpu", torch.device("cpu"), lambda storage, location: storage, {"cuda:0": "cpu"}):
        assert torch.load(io.BytesIO(data), map_location=where).tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="cuda"):
        torch.load(io.BytesIO(data), map_location="cuda")
    with pytest.raises(RuntimeError, match="different types"):
        x = torch.zeros(4)
        saved([x, x.view(torch.int32)])
