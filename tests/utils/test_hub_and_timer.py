"""Weights from a URL, and the statement timer."""

import hashlib

import pytest

import flambeau as torch
from flambeau import hub
from flambeau.utils.benchmark import Compare, Measurement, Timer


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "net.pt"
    torch.save({"w": torch.arange(3.0)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    named = path.rename(tmp_path / f"net-{digest}.pt")
    return named


def test_weights_are_downloaded_once_and_checked(weights, tmp_path):
    where = tmp_path / "cache"
    for _ in range(2):
        state = hub.load_state_dict_from_url(weights.as_uri(), str(where), progress=False, check_hash=True)
        assert state["w"].tolist() == [0.0, 1.0, 2.0]
    assert [p.name for p in where.iterdir()] == [weights.name]
    with pytest.raises(RuntimeError, match="invalid hash"):
        hub.download_url_to_file(weights.as_uri(), where / "other", "00000000", progress=False)
    assert [p.name for p in where.iterdir()] == [weights.name]
    with pytest.raises(AttributeError, match="not fetched and run"):
        _ = hub.load


def test_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert hub.get_dir() == str(tmp_path / "hub")


def test_timer():
    calls = []
    found = Timer("f()", globals={"f": lambda: calls.append(torch.get_num_threads())}, num_threads=1, label="x").timeit(50)
    assert found.number_per_run == 50 and len(calls) >= 50 and set(calls) == {1}
    assert 0 < found.median < 1 and found.mean > 0 and "Median" in repr(found)
    assert Timer("torch.ones(1)").blocked_autorange(min_run_time=0.01).median > 0
    with pytest.raises(NotImplementedError, match="Python"):
        Timer("x;", language="c++")


def test_compare_and_spread():
    a = Measurement(10, [1.0, 2.0, 3.0, 4.0], "a", description="left")
    assert a.median == 0.25 and a.iqr == pytest.approx(0.15)
    text = str(Compare([a, Measurement(10, [1.0], "a", description="right")]))
    assert "left" in text and "250000.00" in text and "100000.00" in text
