"""Files made to harm: nothing in them is run, no memory outside their storages is read, no little file takes much memory.

Pickles are written by hand here, as an attacker would.
"""

import io
import os
import pickle
import random
import struct
import zipfile

import pytest

import flambeau as torch

REFUSALS = (RuntimeError, pickle.UnpicklingError, EOFError, NotImplementedError, MemoryError)
DAMAGED = [pickle.MARK, pickle.STOP, pickle.POP, pickle.DUP, pickle.REDUCE, pickle.BUILD, pickle.NEWOBJ, pickle.TUPLE, pickle.APPENDS]


def archive(payload: bytes, *storages: bytes, compression=zipfile.ZIP_STORED) -> bytes:
    """A checkpoint with this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as out:
        out.writestr("a/data.pkl", payload)
        out.writestr("a/version", "3\n")
        for i, data in enumerate(storages):
            out.writestr(f"a/data/{i}", data)
    return buffer.getvalue()


def read(data: bytes, **options):
    return torch.load(io.BytesIO(data), **options)


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def number(n):
    return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)


STORAGE = b"(" + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x04tQ"
TENSOR = name("torch._utils", "_rebuild_tensor_v2") + b"(" + STORAGE + b"K\x00K\x04\x85K\x01\x85\x89N" + b"tR"


def slots(**values):
    """A BUILD state that sets attributes, as pickle's default does for classes with slots."""
    return b"N}(" + b"".join(text(k) + v for k, v in values.items()) + b"u\x86b"


def sparse(indices: bytes, size: bytes, parts: bytes = b"") -> bytes:
    """A sparse tensor of the four zeros, with these indices (four numbers, as a matrix of one row)."""
    kind = name("torch.serialization", "_get_layout") + b"(" + text("torch.sparse_coo") + b"tR"
    numbers = b"(" + text("storage") + name("torch", "LongStorage") + text("1") + text("cpu") + b"K\x04tQ"
    rows = name("torch._utils", "_rebuild_tensor_v2") + b"(" + numbers + b"K\x00K\x01K\x04\x86K\x04K\x01\x86\x89N" + b"tR"
    data = b"(" + rows + TENSOR + size + parts + b"t"
    return archive(b"\x80\x02" + name("torch._utils", "_rebuild_sparse_tensor") + b"(" + kind + data + b"tR.", bytes(16), indices)


def test_sparse_tensors_fit_together():
    ordered = struct.pack("<4q", 0, 1, 2, 3)
    assert read(sparse(ordered, b"K\x04\x85")).shape == (4,)
    assert read(sparse(ordered, b"K\x04\x85", b"\x88")).is_coalesced()
    for indices, size, parts in (
        (struct.pack("<4q", 0, 1, 2, 4), b"K\x04\x85", b""), (struct.pack("<4q", 0, -1, 2, 3), b"K\x04\x85", b""),
        (struct.pack("<4q", 0, 1, 1, 2), b"K\x04\x85", b"\x88"), (ordered, b"K\x04K\x02\x86", b""), (ordered, b"N", b""),
        (ordered, number(-4) + b"\x85", b""), (ordered, text("a") + b"\x85", b""), (ordered, b"K\x04\x85", b"\x88\x88"),
    ):  # fmt: skip
        with pytest.raises(pickle.UnpicklingError):
            read(sparse(indices, size, parts))


def test_the_hand_made_tensor_is_read():
    assert read(archive(b"\x80\x02" + TENSOR + b".", bytes(16))).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "target, state",
    [
        (TENSOR, slots(_ptr=number(64))),  # a tensor elsewhere in memory
        (TENSOR, b"}" + text("_ptr") + number(64) + b"sb"),
        (STORAGE, slots(ptr=number(64), nbytes=number(1 << 40))),
        (name("torch", "float32"), slots(itemsize=b"K\x01")),  # what every bounds check relies on
        (name("torch", "Tensor"), slots(shape=b"K\x01")),
        (name("torch", "FloatStorage"), slots(_dtype=b"K\x01")),
        (name("torch.nn.parameter", "Parameter"), slots(data=b"K\x01")),
        (name("torch._utils", "_rebuild_tensor_v2"), b"}" + text("make") + name("builtins", "set") + b"sb"),
        (name("torch.nn.modules.linear", "Linear"), slots(forward=name("builtins", "set"))),
        (name("torch.nn.functional", "relu"), b"}" + text("__wrapped__") + b"Nsb"),
        (b"]", slots(append=b"N")),
        (b"}", b"}" + text("get") + b"Nsb"),
    ],
)  # fmt: skip
def test_only_data_of_the_file_is_changed(target, state, trusted):
    with pytest.raises(pickle.UnpicklingError, match="not allowed|which data does not need"):
        read(archive(b"\x80\x02" + target + state + b"0N.", bytes(16)), weights_only=not trusted)
    assert torch.float32.itemsize == 4 and torch.ones(2).tolist() == [1, 1]


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "payload",
    [
        name("builtins", "list") + name("builtins", "range") + number(1 << 50) + b"\x85R\x85R",
        name("builtins", "bytearray") + number(1 << 50) + b"\x85R",
        name("builtins", "bytes") + number(1 << 50) + b"\x85R",
        name("builtins", "set") + name("builtins", "range") + number(1 << 50) + b"\x85R\x85R",
        name("builtins", "int") + text("9" * 10000) + b"\x85R",
        name("torch.nn.functional", "relu") + TENSOR + b"\x85R",
        name("torch.nn.modules.linear", "Linear") + number(1 << 50) + number(1 << 50) + b"\x86R",
        name("torch", "Tensor") + number(1 << 50) + b"\x85R",
        name("torch", "FloatStorage") + number(1 << 50) + b"\x85R",
        name("torch", "FloatStorage") + b")\x81",
        name("torch", "Tensor") + b")\x81",
        name("_codecs", "encode") + text("x") + text("zip") + b"\x86R",
        name("numpy", "dtype") + text("O") + b"\x85R",
        name("numpy", "ndarray") + b")\x81",
        name("builtins", "getattr") + b"NN\x86R",
        b"\x82\x01",  # extension registry
        b"(S'true'\nios\nsystem\n",  # INST
        b"(" + name("os", "system") + b"o",
    ],
)
def test_little_files_make_little(payload, trusted):
    with pytest.raises((pickle.UnpicklingError, RuntimeError)):
        read(archive(b"\x80\x02" + payload + b".", bytes(16)), weights_only=not trusted)


def test_deep_structures_are_refused_or_built_without_recursion():
    deep = b"\x80\x02]" + b"]" * 200_000 + b"a" * 200_000 + b"."
    found = read(archive(deep))
    while found:
        found = found.pop()
    key = b"\x80\x02})" + b"\x85" * 200_000 + b"Ns."
    with pytest.raises(pickle.UnpicklingError, match="tuple"):
        read(archive(key))
    wide = b"\x80\x02})" + b"2\x86" * 60 + b"Ns."  # 2^60 parts
    with pytest.raises(pickle.UnpicklingError, match="tuple"):
        read(archive(wide))


def test_geometries_are_checked():
    def tensor(offset, size, stride):
        parts = [name("torch._utils", "_rebuild_tensor_v2") + b"(" + STORAGE, offset]
        return b"\x80\x02" + b"".join(parts) + size + stride + b"\x89NtR."

    four = b"K\x04\x85"
    for bad in (
        tensor(b"K\x01", four, b"K\x01\x85"), tensor(b"K\x00", four, b"K\x02\x85"), tensor(b"K\x00", four, b")"),
        tensor(b"K\x00", number(1 << 62) + b"\x85", b"K\x04\x85"), tensor(b"K\x00", number(-4) + b"\x85", b"K\x01\x85"),
        tensor(b"K\x00", four, number(-1) + b"\x85"), tensor(number(-4), four, b"K\x01\x85"),
        tensor(b"\x88", four, b"K\x01\x85"), tensor(b"K\x00", b"]", b"]"), tensor(b"K\x00", text("a") + b"\x85", four),
    ):  # fmt: skip
        with pytest.raises(pickle.UnpicklingError):
            read(archive(bad, bytes(16)))
    with pytest.raises(RuntimeError, match="expected"):
        read(archive(b"\x80\x02" + TENSOR + b".", bytes(12)))
    huge = TENSOR.replace(b"K\x04tQ", number(1 << 60) + b"tQ")
    with pytest.raises(RuntimeError, match="expected"):
        read(archive(b"\x80\x02" + huge + b".", bytes(16)))


@pytest.mark.filterwarnings("ignore:Overlapped entries")  # Python 3.14 warns before it refuses
def test_zip_tricks_are_refused(tmp_path):
    zeros = b"\x80\x02" + TENSOR + b"."
    with pytest.raises(RuntimeError, match="compressed"):
        read(archive(zeros, bytes(1 << 20), compression=zipfile.ZIP_DEFLATED))
    good = archive(zeros, bytes(range(16)))
    at = good.rindex(b"a/data/0") - 46  # its entry in the directory at the end
    assert good[at : at + 4] == b"PK\x01\x02"

    def changed(where, value, form="<I"):
        bad = bytearray(good)
        struct.pack_into(form, bad, at + where, value)
        return bytes(bad)

    for bad in (
        changed(24, 0x7FFFFFFF), changed(42, 0x7FFFFFFF), changed(42, 0), changed(10, 8, "<H"),
        changed(16, 1), changed(8, 1, "<H"),
    ):  # fmt: skip
        with pytest.raises(REFUSALS):
            read(bad)
        (tmp_path / "bad.pt").write_bytes(bad)
        try:  # a mapped file's checksums are not looked at, its extents are
            t = torch.load(tmp_path / "bad.pt", mmap=True)
        except REFUSALS:
            continue
        assert t.sum().item() is not None
    twice = io.BytesIO(good)
    with zipfile.ZipFile(twice, "a") as out, pytest.warns(UserWarning, match="Duplicate"):
        out.writestr("a/data/0", bytes(16))
    with pytest.raises(RuntimeError, match="two entries"):
        read(twice.getvalue())


def test_an_allowed_class_gives_no_way_further():
    class Plain:
        pass

    make = b"\x80\x02" + name("app", "Plain") + b")\x81"
    with torch.serialization.safe_globals([(Plain, "app.Plain")]):
        assert read(archive(make + b"}" + text("x") + b"K\x05sb.")).x == 5
        with pytest.raises(pickle.UnpicklingError, match="__class__"):
            read(archive(make + slots(__class__=name("builtins", "set")) + b"."))
        with pytest.raises(pickle.UnpicklingError, match="changes a type"):
            read(archive(b"\x80\x02" + name("app", "Plain") + slots(x=b"N") + b"."))
    for never in ((os.system, "os.system"), (eval, "builtins.eval"), os.system):
        with pytest.raises(ValueError, match="may never name it"):
            torch.serialization.add_safe_globals([never])


def mutations(data: bytes, r: random.Random, count: int):
    """Damaged copies: bits flipped, bytes changed, removed, repeated, the end cut off."""
    for _ in range(count):
        bad = bytearray(data)
        for _ in range(r.choice((1, 1, 2, 5))):
            at = r.randrange(len(bad))
            kind = r.randrange(5)
            if kind == 0:
                bad[at] ^= 1 << r.randrange(8)
            elif kind == 1:
                bad[at] = r.choice(DAMAGED)[0]
            elif kind == 2:
                del bad[at : at + r.randrange(1, 8)]
            elif kind == 3:
                bad[at:at] = bad[at : at + r.randrange(1, 20)]
            else:
                struct.pack_into("<I", bad, min(at, len(bad) - 4), r.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, r.randrange(1 << 32))))
        yield bytes(bad)


def touch(obj) -> None:
    """Read every tensor there is in what was loaded."""
    stack, seen = [obj], set()
    while stack:
        x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, torch.Tensor):
            assert x.numel() > 1 << 20 or x.tolist() is not None
        elif isinstance(x, dict):
            stack += [*x.values()]
        elif isinstance(x, (list, tuple)):
            stack += x


def try_to_read(data: bytes) -> bool:
    """Whether it loaded; only the documented errors are let through."""
    try:
        touch(read(data, weights_only=False))
    except REFUSALS:
        return False
    return True


def sample() -> dict:
    x = torch.arange(12.0).reshape(3, 4)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    return {"x": x, "t": x.t(), "n": [1, "a", None, {2}, b"xy", 1j], "p": torch.nn.Parameter(x), "u": torch.zeros(2, dtype=torch.uint16),
            "net": net.state_dict(), "whole": net}  # fmt: skip


def test_mutated_checkpoints(seed):
    """The whole file, and the pickle alone in a sound archive (so that no checksum comes first)."""
    buffer = io.BytesIO()
    torch.save(sample(), buffer)
    data = buffer.getvalue()
    with zipfile.ZipFile(buffer) as whole:
        pickled = whole.read("archive/data.pkl")
        names = [n for n in whole.namelist() if "/data/" in n]
        storages = [whole.read(n) for n in sorted(names, key=lambda n: int(n.rpartition("/")[2]))]
    assert try_to_read(data) and try_to_read(archive(pickled, *storages))
    r = random.Random(seed)
    for bad in mutations(data, r, 150):
        try_to_read(bad)
    loaded = sum(try_to_read(archive(bad, *storages)) for bad in mutations(pickled, r, 400))
    assert loaded < 400


def test_random_programs_for_the_machine(seed):
    """Opcodes at random, with the names and numbers an attacker would choose."""
    r = random.Random(seed)
    pieces = [
        *DAMAGED, b"N", b"}", b"]", b")", b"\x85", b"\x86", b"\x87", b"K\x01", b"J\xff\xff\xff\xff", b"s", b"a", b"u", b"e", b"Q", b"\x8f",
        b"\x90", b"\x91", b"q\x01", b"h\x01", b"\x94", number(1 << 62), number(-1), text("storage"), text("0"), text("cpu"), text("__class__"),
        STORAGE, TENSOR, name("torch", "Tensor"), name("torch", "float64"), name("torch", "FloatStorage"), name("builtins", "set"),
        name("torch._utils", "_rebuild_tensor_v2"), name("torch._utils", "_rebuild_tensor_v3"), name("torch._tensor", "_rebuild_from_type_v2"),
        name("torch._utils", "_rebuild_parameter_with_state"), name("collections", "OrderedDict"), name("collections", "defaultdict"),
        name("torch.nn.modules.linear", "Linear"), name("torch", "Size"), name("torch", "device"), name("_codecs", "encode"),
        name("numpy._core.multiarray", "_reconstruct"), name("numpy", "dtype"), slots(_ptr=number(64)),
    ]  # fmt: skip
    for _ in range(1500):
        program = b"\x80\x02" + b"".join(r.choice(pieces) for _ in range(r.randrange(1, 25))) + b"."
        try_to_read(archive(program, bytes(16)))


def test_random_bytes_and_old_files(seed):
    r = random.Random(seed)
    for _ in range(200):
        for start in (b"", b"PK\x03\x04", b"\x80\x02", pickle.dumps(0x1950A86A20F9469CFC6C, 2)):
            with pytest.raises(REFUSALS):
                read(start + r.randbytes(r.randrange(200)))


def test_damaged_safetensors(tmp_path, seed):
    path = tmp_path / "a.safetensors"
    torch.serialization.save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}, path)
    data, r = path.read_bytes(), random.Random(seed)
    for bad in mutations(data, r, 300):
        path.write_bytes(bad)
        try:
            touch(torch.serialization.load_file(path))
        except (pickle.UnpicklingError, MemoryError):
            pass
    for header in (b"{", b"[]", b"[" * 5000, b'{"a":1}', b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
                   b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', b'{"a":{"dtype":"X","shape":[],"data_offsets":[0,4]}}'):  # fmt: skip
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        with pytest.raises(pickle.UnpicklingError):
            torch.serialization.load_file(path)
