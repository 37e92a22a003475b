"""Files of PyTorch's and ours, both ways: against PyTorch itself where it is installed, and against files it wrote.

tools/record_files.py wrote tests/data/pytorch_files.zip.
"""

import collections
import io
import mmap
import pathlib
import zipfile

import numpy as np
import pytest

import flambeau
from flambeau.serialization import load_file, save_file, set_default_mmap_options

from .file_cases import sparse_tree, tree

FILES = pathlib.Path(__file__).resolve().parent.parent / "data" / "pytorch_files.zip"


def file(name: str, folder) -> pathlib.Path:
    """One of the files PyTorch wrote."""
    with zipfile.ZipFile(FILES) as all_files:
        return pathlib.Path(all_files.extract(name, folder))


def shown(v):
    """Anything in a checkpoint as plain values, the same for either library."""
    if hasattr(v, "detach"):
        plain = v.detach().numpy() if str(v.dtype) != "torch.bfloat16" and "bfloat16" not in str(v.dtype) else v.detach().float().numpy()
        kept = {k: x for k, x in v.__dict__.items() if not k.startswith("_retains")}
        return type(v).__name__, str(v.dtype).rpartition(".")[2], tuple(v.shape), tuple(v.stride()), v.requires_grad, plain.tolist(), kept
    if isinstance(v, dict):
        return type(v).__name__, {k: shown(x) for k, x in v.items()}, dict(getattr(v, "__dict__", {}))
    if isinstance(v, (list, tuple)):
        return type(v).__name__, [shown(x) for x in v]
    return repr(v).replace("flambeau", "torch")


def same(a, b):
    """Compare two trees part by part."""
    for key in {**a, **b}:
        assert shown(a[key]) == shown(b[key]), key


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("name", ["protocol2.pt", "protocol5.pt"])
def test_files_of_pytorch(name, mapped, tmp_path):
    found = flambeau.load(file(name, tmp_path), mmap=mapped)
    same(found, tree(flambeau))
    assert found["view"].untyped_storage() == found["x"].untyped_storage() == found["turned"].untyped_storage()


@pytest.mark.parametrize("mapped", [False, True])
def test_sparse_tensors(mapped, tmp_path):
    want = sparse_tree(flambeau)
    assert repr(flambeau.load(file("sparse.pt", tmp_path), mmap=mapped)) == repr(want)
    for protocol in (2, 5):
        flambeau.save(want, tmp_path / "ours.pt", pickle_protocol=protocol)
        assert repr(flambeau.load(tmp_path / "ours.pt", mmap=mapped)) == repr(want)


def test_files_from_before_1_6(tmp_path):
    want = {k: v for k, v in tree(flambeau).items() if k not in ("uint16", "uint32", "uint64")}
    path = file("legacy.pt", tmp_path)
    same(flambeau.load(path), want)
    with pytest.raises(RuntimeError, match="mmap can only"):
        flambeau.load(path, mmap=True)
    data = path.read_bytes()
    for cut in (10, 1000, len(data) - 1):
        with pytest.raises((RuntimeError, flambeau.serialization.reading.UnpicklingError)):
            flambeau.load(io.BytesIO(data[:cut]))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_own_files(protocol, tmp_path):
    flambeau.save(tree(flambeau), tmp_path / "a.pt", pickle_protocol=protocol)
    same(flambeau.load(tmp_path / "a.pt"), tree(flambeau))
    same(flambeau.load(tmp_path / "a.pt", mmap=True), tree(flambeau))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_pytorch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    for protocol in (2, 5):
        flambeau.save(tree(flambeau), tmp_path / "ours.pt", pickle_protocol=protocol)
        same(torch.load(tmp_path / "ours.pt", weights_only=protocol == 2), tree(torch))
        torch.save(tree(torch), tmp_path / "theirs.pt", pickle_protocol=protocol)
        same(flambeau.load(tmp_path / "theirs.pt"), tree(torch))
        flambeau.save(sparse_tree(flambeau), tmp_path / "sparse.pt", pickle_protocol=protocol)
        assert repr(torch.load(tmp_path / "sparse.pt", weights_only=protocol == 2)) == repr(sparse_tree(torch))
    same(torch.load(tmp_path / "ours.pt", weights_only=False, mmap=True), tree(torch))


def test_whole_models_of_pytorch(tmp_path):
    for name, want in (
        ("encoder.pt", flambeau.nn.TransformerEncoderLayer(4, 2)), ("lstm.pt", flambeau.nn.LSTM(2, 3, 2)),
        ("sequential.pt", flambeau.nn.Sequential(flambeau.nn.Conv2d(1, 2, 3), flambeau.nn.ReLU())),
    ):  # fmt: skip
        path = file(name, tmp_path)
        with pytest.raises(flambeau.serialization.reading.UnpicklingError, match="weights_only=False"):
            flambeau.load(path)
        found = flambeau.load(path, weights_only=False)
        assert repr(found) == repr(want)
        x = flambeau.ones(1, 1, 4, 4) if name == "sequential.pt" else flambeau.ones(5, 1, 4 if name == "encoder.pt" else 2)
        assert (found(x)[0] if name == "lstm.pt" else found(x)).requires_grad


@pytest.mark.filterwarnings("ignore")
def test_whole_models_for_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    nn = flambeau.nn
    for net, shape in (
        (nn.LSTM(2, 3, 2, bidirectional=True), (4, 1, 2)), (nn.GRU(2, 3), (4, 1, 2)), (nn.MultiheadAttention(4, 2), (3, 1, 4)),
        (nn.TransformerEncoderLayer(4, 2, activation="gelu").eval(), (3, 1, 4)), (nn.Transformer(4, 2, 1, 1, 8).eval(), (3, 1, 4)),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()), (2, 1, 4, 4)),
    ):  # fmt: skip
        flambeau.save(net, tmp_path / "a.pt")
        theirs = torch.load(tmp_path / "a.pt", weights_only=False)
        assert repr(theirs) == repr(net)
        count = 3 if isinstance(net, nn.MultiheadAttention) else 2 if isinstance(net, nn.Transformer) else 1
        got = net(*[flambeau.ones(shape)] * count)
        want = theirs(*[torch.ones(shape)] * count)
        got, want = (got[0], want[0]) if isinstance(got, tuple) else (got, want)
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), atol=1e-5)
        again = flambeau.load(tmp_path / "a.pt", weights_only=False)
        assert repr(again) == repr(net)


def test_more_of_python_and_numpy_for_trusted_files(tmp_path):
    for value in (np.float64(2.5), np.arange(6).reshape(2, 3).T, np.array("ab"), collections.deque([1, 2], 5), range(3), ..., slice(1, 2)):
        flambeau.save({"v": value}, tmp_path / "a.pt")
        found = flambeau.load(tmp_path / "a.pt", weights_only=False)["v"]
        assert type(found) is type(value) and np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value
    flambeau.save(np.arange(3), tmp_path / "a.pt")
    names = flambeau.serialization.get_unsafe_globals_in_checkpoint(tmp_path / "a.pt")
    assert any(n.endswith("multiarray._reconstruct") for n in names) and "numpy.ndarray" in names
    with pytest.raises(flambeau.serialization.reading.UnpicklingError, match="multiarray._reconstruct"):
        flambeau.load(tmp_path / "a.pt")


def test_generators_and_functions(tmp_path):
    g = flambeau.Generator().manual_seed(3)
    flambeau.rand(5, generator=g)
    layer = flambeau.nn.TransformerEncoderLayer(4, 2, activation="gelu")
    flambeau.save([g, layer, flambeau.nn.functional.gelu], tmp_path / "a.pt")
    h, other, function = flambeau.load(tmp_path / "a.pt", weights_only=False)
    assert flambeau.equal(flambeau.rand(3, generator=g), flambeau.rand(3, generator=h))
    assert function is flambeau.nn.functional.gelu and other.activation is function


def test_results_of_the_graph_are_saved_as_values():
    buffer = io.BytesIO()
    flambeau.save(flambeau.ones(2, requires_grad=True) * 2, buffer)
    buffer.seek(0)
    found = flambeau.load(buffer)
    assert found.tolist() == [2, 2] and found.is_leaf and found.requires_grad


def test_mapped_files(tmp_path):
    path = tmp_path / "a.pt"
    flambeau.save([flambeau.arange(4.0), flambeau.zeros(0)], path)
    mapped, empty = flambeau.load(path, mmap=True)
    mapped[0] = 9
    assert flambeau.load(path)[0].tolist() == [0, 1, 2, 3] and empty.shape == (0,)
    path.unlink()
    assert mapped.tolist() == [9, 1, 2, 3]
    flambeau.save(flambeau.arange(4.0), path)
    with set_default_mmap_options(mmap.MAP_SHARED):
        flambeau.load(path, mmap=True)[0] = 9
    with pytest.raises(RuntimeError, match="CRC"):  # the checksum is that of the values saved
        flambeau.load(path)
    assert flambeau.load(path, mmap=True).tolist() == [9, 1, 2, 3]
    with pytest.raises(ValueError, match="file path"), path.open("rb") as f:
        flambeau.load(f, mmap=True)
    with pytest.raises(ValueError, match="MAP_PRIVATE"):
        set_default_mmap_options(77)


def test_map_location_as_a_function():
    buffer = io.BytesIO()
    x = flambeau.ones(2)
    flambeau.save({"a": x, "b": x[:1]}, buffer)
    seen = []

    def place(storage, location):
        seen.append((type(storage).__name__, storage.nbytes(), location))
        return storage.clone()

    buffer.seek(0)
    found = flambeau.load(buffer, map_location=place)
    assert seen == [("UntypedStorage", 8, "cpu")] and found["b"].data_ptr() == found["a"].data_ptr()
    buffer.seek(0)
    assert flambeau.load(buffer, map_location=lambda storage, location: None)["a"].tolist() == [1, 1]
    buffer.seek(0)
    with pytest.raises(TypeError, match="map_location"):
        flambeau.load(buffer, map_location=3)


def test_safetensors(tmp_path):
    names = "float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64".split()
    tensors = {n: flambeau.tensor([0, 1, 1]).to(getattr(flambeau, n)) for n in names}
    tensors |= {"turned": flambeau.arange(6.0).reshape(2, 3).t(), "empty": flambeau.zeros(0, 3), "scalar": flambeau.tensor(2.0)}
    save_file(tensors, tmp_path / "a.safetensors", {"format": "pt"})
    for found in (load_file(tmp_path / "a.safetensors"), flambeau.load(tmp_path / "a.safetensors")):
        assert found.keys() == tensors.keys()
        for k, t in tensors.items():
            assert (found[k].dtype, found[k].shape) == (t.dtype, t.shape) and found[k].is_contiguous(), k
            assert shown(found[k])[5] == shown(t)[5], k
    with pytest.raises(ValueError, match="complex128"):
        save_file({"a": flambeau.ones(1, dtype=flambeau.complex128)}, tmp_path / "b.safetensors")


def test_safetensors_of_the_package(tmp_path):
    package = pytest.importorskip("safetensors.numpy")
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False]), "c": np.zeros((0, 2), np.int64)}
    package.save_file(arrays, tmp_path / "theirs.safetensors", {"who": "them"})
    found = load_file(tmp_path / "theirs.safetensors")
    assert all(np.array_equal(found[k].numpy(), a) and found[k].numpy().dtype == a.dtype for k, a in arrays.items())
    save_file(found, tmp_path / "ours.safetensors")
    again = package.load_file(tmp_path / "ours.safetensors")
    assert all(np.array_equal(again[k], a) for k, a in arrays.items())


def test_links_modes_and_pipes(tmp_path):
    real, link = tmp_path / "real.pt", tmp_path / "link.pt"
    flambeau.save(1, real)
    real.chmod(0o640)
    link.symlink_to(real)
    flambeau.save(2, link)
    assert link.is_symlink() and flambeau.load(real) == 2 and real.stat().st_mode & 0o777 == 0o640
    with pytest.raises(RuntimeError, match="does not exist"):
        flambeau.save(1, tmp_path / "no" / "a.pt")
    flambeau.save(1, "/dev/null")
