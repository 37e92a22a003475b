"""Devices: parsing, texts, errors, defaults; memory formats and layouts."""

import copy
import pickle

import pytest

from flambeau.core import device as module
from flambeau.core.device import device


@pytest.mark.parametrize(
    ("args", "text", "shown"),
    [
        (("cpu",), "cpu", "device(type='cpu')"),
        (("cuda:0",), "cuda:0", "device(type='cuda', index=0)"),
        (("cuda", 1), "cuda:1", "device(type='cuda', index=1)"),
        (("cpu", None), "cpu", "device(type='cpu')"),
        (("meta",), "meta", "device(type='meta')"),
        ((device("xpu:3"),), "xpu:3", "device(type='xpu', index=3)"),
    ],
)
def test_parsing(args, text, shown):
    d = device(*args)
    assert (str(d), repr(d)) == (text, shown)
    assert d is device(text)


def test_keywords():
    assert device(type="cuda", index=2) == device("cuda:2") == device(device="cuda:2")


@pytest.mark.parametrize(
    ("args", "error", "words"),
    [
        (("foo",), RuntimeError, "Expected one of cpu, cuda, .* at start of device string: foo"),
        (("CUDA",), RuntimeError, "at start of device string: CUDA"),
        (("",), RuntimeError, "must not be empty"),
        (("cuda:",), RuntimeError, "Invalid device string: 'cuda:'"),
        (("cuda:01",), RuntimeError, "Invalid device string: 'cuda:01'"),
        (("cuda:-1",), RuntimeError, "Invalid device string: 'cuda:-1'"),
        (("cuda:1:2",), RuntimeError, "Invalid device string: 'cuda:1:2'"),
        (("cuda: 1",), RuntimeError, "Invalid device string: 'cuda: 1'"),
        (("cuda", -1), RuntimeError, "must not be negative"),
        (("cuda:0", 1), RuntimeError, "must not include an index"),
        ((-1,), RuntimeError, "must not be negative"),
        (("cuda", "1"), TypeError, "'index' .* must be int, not str"),
        ((device("cpu"), 1), TypeError, "'type' .* must be str"),
        ((None,), TypeError, "invalid combination of arguments"),
        ((1.5,), TypeError, r"got \(float\)"),
        ((True,), TypeError, r"got \(bool\)"),
        ((), TypeError, r"got \(\)"),
    ],
)
def test_errors(args, error, words):
    with pytest.raises(error, match=words):
        device(*args)


def test_numbers_mean_the_accelerator(monkeypatch):
    with pytest.raises(RuntimeError, match="none is available"):
        device(0)
    monkeypatch.setattr(module, "_accelerator", ["cuda"])
    assert device(1) == device("cuda:1")


def test_equality_and_hash():
    assert device("cpu") != "cpu" and device("cuda") != device("cuda:0")
    assert {device("cuda:1"): 1}[device("cuda", 1)] == 1


def test_copies_and_pickles():
    d = device("cuda:1")
    assert pickle.loads(pickle.dumps(d)) is d and copy.deepcopy(d) is d


def test_immutable():
    with pytest.raises(AttributeError, match="not writable"):
        device("cpu").type = "cuda"


def test_default_device():
    assert module.get_default_device() is device("cpu")
    with device("meta"):
        with device("cpu"):
            assert module.get_default_device() is device("cpu")
        assert module.get_default_device() is device("meta")
    module.set_default_device("meta")
    assert module.get_default_device() is device("meta")
    module.set_default_device(None)
    assert module.get_default_device() is device("cpu")


def test_formats_and_layouts():
    assert repr(module.channels_last) == "torch.channels_last"
    assert repr(module.strided) == "torch.strided"
    assert len(module.MEMORY_FORMATS) == 4 and len(module.LAYOUTS) == 8
    with pytest.raises(TypeError, match="cannot create 'torch.layout'"):
        module.layout()
    with pytest.raises(AttributeError, match="immutable"):
        module.strided.name = "x"
    for value in (module.channels_last, module.sparse_coo):
        assert copy.deepcopy(value) is value and pickle.loads(pickle.dumps(value)) is value
