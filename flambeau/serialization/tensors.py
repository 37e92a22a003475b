"""safetensors files: eight bytes for the header's length, the header (JSON), the tensors' bytes.

Source:   https://github.com/huggingface/safetensors, its description of the format
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import struct
from pickle import UnpicklingError

from flambeau.core import dtypes as dt
from flambeau.core.size import Size
from flambeau.runtime import memory
from flambeau.serialization.atomic import replaced
from flambeau.tensor.tensor import make

NAMES = {
    dt.float64: "F64", dt.float32: "F32", dt.float16: "F16", dt.bfloat16: "BF16", dt.int64: "I64", dt.int32: "I32",
    dt.int16: "I16", dt.int8: "I8", dt.uint8: "U8", dt.uint16: "U16", dt.uint32: "U32", dt.uint64: "U64", dt.bool: "BOOL",
    dt.complex64: "C64",
}  # fmt: skip
DTYPES = {name: d for d, name in NAMES.items()}
LONGEST = 100_000_000  # a header's bytes


def as_bytes(t) -> bytes:
    """A tensor's elements in order."""
    t = t.detach().contiguous()
    return ctypes.string_at(t._ptr, t.numel() * t.dtype.itemsize) if t.numel() else b""


def save(tensors: dict, metadata: dict | None = None) -> bytes:
    """The bytes of a safetensors file with these tensors.

    Source:   safetensors.torch.save
    """
    head, parts = encode(tensors, metadata)
    return head + b"".join(parts)


def encode(tensors: dict, metadata: dict | None):
    """The header, and the tensors' bytes one by one (largest elements first, so that all are aligned)."""
    header: dict[str, object] = {} if not metadata else {"__metadata__": metadata}
    if metadata and not all(isinstance(x, str) for pair in metadata.items() for x in pair):
        raise ValueError("save_file: metadata must map texts to texts")
    order = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    start = 0
    for name, t in order:
        if t.dtype not in NAMES:
            raise ValueError(f"save_file: {name!r} is of {t.dtype}, which safetensors files cannot hold")
        end = start + t.numel() * t.dtype.itemsize
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, (as_bytes(t) for _, t in order)


def save_file(tensors: dict, filename, metadata: dict | None = None) -> None:
    """Write named tensors to a .safetensors file, atomically.

    Source:   safetensors.torch.save_file
    """
    head, parts = encode(tensors, metadata)
    with replaced(filename) as file:
        file.write(head)
        for part in parts:
            file.write(part)


def load(data: bytes) -> dict:
    """The named tensors in the bytes of a safetensors file.

    Source:   safetensors.torch.load
    """
    view = memoryview(data)
    header, start = decode(bytes(view[:8]), lambda n: bytes(view[8 : 8 + n]), len(view))
    return {name: filled(d, shape, view[start + a : start + b]) for name, (d, shape, a, b) in header.items()}


def load_file(filename, device="cpu") -> dict:
    """The named tensors of a .safetensors file.

    Errors:   pickle.UnpicklingError if the file is damaged
    Source:   safetensors.torch.load_file
    """
    tensors = {}
    with open(filename, "rb") as file:
        header, start = decode(file.read(8), file.read, os.fstat(file.fileno()).st_size)
        for name, (d, shape, a, b) in sorted(header.items(), key=lambda item: item[1][2]):
            file.seek(start + a)
            tensors[name] = filled(d, shape, file.read(b - a)).to(device)
    return tensors


def decode(first: bytes, read, size: int):
    """{name: (dtype, shape, begin, end)} as the header says, checked; and where the tensors' bytes start."""
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else -1
    if not 2 <= length <= min(LONGEST, size - 8):
        raise UnpicklingError("load_file: this is no safetensors file, or it is truncated: the header's length is impossible")
    try:
        header = json.loads(read(length))
        header.pop("__metadata__", None)
        found = {name: entry(name, e, size - 8 - length) for name, e in header.items()}
    except UnpicklingError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as e:
        raise UnpicklingError(f"load_file: the header of the safetensors file is damaged: {type(e).__name__}") from e
    return found, 8 + length


def entry(name: str, e: dict, available: int):
    """One tensor of a header, if it is possible."""
    d, shape, (a, b) = DTYPES[e["dtype"]], e["shape"], e["data_offsets"]
    whole = all(type(n) is int and n >= 0 for n in (*shape, a, b))
    if not whole or b > available or b - a != math.prod(shape) * d.itemsize:
        raise UnpicklingError(f"load_file: tensor {name[:100]!r} has impossible sizes: the file is damaged or truncated")
    return d, tuple(shape), a, b


def filled(d, shape: tuple, data):
    """A tensor with a copy of bytes."""
    block = memory.allocate(len(data))
    if len(data):
        ctypes.memmove(block.ptr, bytes(data), len(data))
    strides, n = [], 1
    for size in reversed(shape):
        strides.append(n)
        n *= max(size, 1)
    return make(block, 0, Size(shape), tuple(reversed(strides)), d)
