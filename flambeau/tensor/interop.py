"""Tensors to and from the rest of Python: numbers, lists, NumPy, buffers, DLPack, pickles, shared memory."""

from __future__ import annotations

import copy as _copy
import ctypes
import math
from collections.abc import Sequence

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.core.device import device as Device
from flambeau.core.size import Size
from flambeau.ops.copying import copy_elements
from flambeau.ops.record import hooks, state
from flambeau.runtime import memory
from flambeau.tensor.tensor import Tensor, empty, make, new_tensor

_SCALAR = {
    name: getattr(ctypes, c)
    for name, c in {
        "float32": "c_float", "float64": "c_double", "int8": "c_int8", "int16": "c_int16", "int32": "c_int32",
        "int64": "c_int64", "uint8": "c_uint8", "uint16": "c_uint16", "uint32": "c_uint32", "uint64": "c_uint64",
    }.items()
}  # fmt: skip


def item(t: Tensor):
    """The one element as bool, int, float or complex."""
    d = t._dtype
    read = _SCALAR.get(d.name)
    if read is not None:
        return read.from_address(t._ptr).value
    if d is dt.bool:
        return ctypes.c_uint8.from_address(t._ptr).value != 0
    return view_array(t).reshape(())[()].item() if d is not dt.bfloat16 else float(values(t).reshape(()))


def view_array(t: Tensor) -> np.ndarray:
    """A NumPy array over the tensor's memory (bfloat16 as uint16), holding the storage alive."""
    d = t._dtype.np
    if t._numel == 0:
        return np.empty(tuple(t._shape), d)
    low, high = S.extent(t._shape, t._strides)
    size = d.itemsize
    count = high - low + 1
    raw = (ctypes.c_char * (count * size)).from_address(t._ptr + low * size)
    raw._storage = t._storage  # lives as long as the array does
    flat = np.frombuffer(raw, dtype=d, count=count)
    strides = tuple(s * size for s in t._strides)
    return np.lib.stride_tricks.as_strided(flat[-low:], tuple(t._shape), strides)


def values(t: Tensor) -> np.ndarray:
    """The elements as NumPy values of a dtype NumPy can show (bfloat16 becomes float32: a copy)."""
    a = view_array(t)
    if t._dtype is dt.bfloat16:
        return (a.astype(np.uint32) << 16).view(np.float32)
    return a


def numpy(t: Tensor, force: bool = False) -> np.ndarray:
    """A NumPy array over the same memory.

    Errors: RuntimeError if the tensor requires grad (detach first, or force=True); TypeError for bfloat16.
    """
    if t._requires_grad and not force:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if t._dtype is dt.bfloat16:
        if force:
            return values(t)
        raise TypeError("Got unsupported ScalarType BFloat16: NumPy has no such dtype; use .float().numpy()")
    return view_array(t)


def tolist(t: Tensor):
    """Nested lists (a number for 0-d)."""
    return values(t).tolist()


def from_array(a: np.ndarray, dtype=None) -> Tensor:
    """A new tensor with a copy of the array's elements."""
    source = dt.from_numpy(a.dtype.newbyteorder("=")) if dtype is None or a.dtype.kind != "O" else dtype
    out = empty(a.shape, source)
    if a.size:
        view_array(out)[...] = a
    if dtype is not None and dtype is not source:
        wide, out = out, empty(a.shape, dtype)
        copy_elements(out, wide)
    return out


def from_numpy(a) -> Tensor:
    """A tensor over a NumPy array's memory: changes show in both.

    Errors: TypeError for what is no array or has a dtype without a counterpart; ValueError for negative or
    uneven strides.
    Source: torch.from_numpy.
    """
    if not isinstance(a, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(a).__name__})")
    try:
        d = dt.from_numpy(a.dtype)
    except (KeyError, TypeError):
        raise TypeError(
            f"can't convert np.ndarray of type {a.dtype}. The only supported types are: float64, float32, float16, "
            "complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
        ) from None
    size = a.dtype.itemsize
    if any(s < 0 for s in a.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array with "
            "array.copy().)"
        )
    if any(s % size for s in a.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate "
            "the memory."
        )
    strides = tuple(s // size for s in a.strides)
    _, high = S.extent(a.shape, strides)
    storage = memory.from_external(a.ctypes.data, (high + 1) * size, a)
    return make(storage, 0, Size(a.shape), strides, d)


def frombuffer(buffer, *, dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor over an object with the buffer protocol.

    Source: torch.frombuffer.
    """
    n = memoryview(buffer).nbytes
    size = dtype.itemsize
    if n == 0 or count == 0:
        raise ValueError(f"both buffer length ({n}) and count ({count}) must not be 0")
    if offset < 0 or offset >= n:
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({n} bytes) minus 1")
    if count < 0:
        if (n - offset) % size:
            raise ValueError(f"buffer length ({n - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})")
        count = (n - offset) // size
    elif offset + count * size > n:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater "
            f"than actual buffer length ({n} bytes)"
        )
    raw = np.frombuffer(buffer, dtype=np.uint8)
    storage = memory.from_external(raw.ctypes.data + offset, count * size, raw)
    return make(storage, 0, Size((count,)), (1,), dtype).requires_grad_(requires_grad)


def starts_with(data, x) -> bool:
    """True if x is the first element at the bottom of nested lists (their depth is told by it)."""
    nested = isinstance(data, (list, tuple))
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return nested and data is x


def infer_dtype(data):
    """The dtype of nested Python data: bool < int64 < default float < its complex."""
    rank = -1
    stack = [data]
    seen_tensor = None
    while stack:
        x = stack.pop()
        if isinstance(x, (list, tuple)):
            stack.extend(x)
        elif isinstance(x, Tensor):
            seen_tensor = x._dtype if seen_tensor is None else dt.promote_types(seen_tensor, x._dtype)
        elif isinstance(x, (bool, np.bool_)):
            rank = max(rank, 0)
        elif isinstance(x, (int, np.integer)):
            rank = max(rank, 1)
        elif isinstance(x, (float, np.floating)):
            rank = max(rank, 2)
        elif isinstance(x, (complex, np.complexfloating)):
            rank = max(rank, 3)
        elif isinstance(x, np.ndarray):
            seen = dt.from_numpy(x.dtype)
            seen_tensor = seen if seen_tensor is None else dt.promote_types(seen_tensor, seen)
        elif isinstance(x, (str, bytes)):
            raise ValueError("too many dimensions 'str'") if starts_with(data, x) else TypeError(f"new(): invalid data type {type(x).__name__!r}")
        elif x is None:
            raise TypeError("must be real number, not NoneType")
        elif hasattr(x, "__array__"):
            stack.append(np.asarray(x))
        elif hasattr(x, "__getitem__") and hasattr(x, "__len__"):
            stack.extend(x[i] for i in range(len(x)))
        elif hasattr(x, "__index__"):
            rank = max(rank, 1)
        elif hasattr(x, "__float__"):
            rank = max(rank, 2)
        else:
            raise RuntimeError(f"Could not infer dtype of {type(x).__name__}")
    default = dt.get_default_dtype()
    plain = {-1: default, 0: dt.bool, 1: dt.int64, 2: default, 3: default.to_complex()}[rank]
    if seen_tensor is None:
        return plain
    return seen_tensor if rank < 0 else dt.promote_types(seen_tensor, plain)


def data_shape(data) -> tuple[int, ...]:
    """The shape of nested sequences, checked to be even."""
    shape = []
    x = data
    while isinstance(x, (list, tuple)) or (isinstance(x, Sequence) and not isinstance(x, (str, bytes))):
        shape.append(len(x))
        if not len(x):
            break
        x = x[0]
    if isinstance(x, (Tensor, np.ndarray)):
        shape.extend(x.shape)
    check_even(data, tuple(shape), 0)
    return tuple(shape)


def check_even(data, shape, depth) -> None:
    """Every sequence at one depth has the same length."""
    if isinstance(data, (list, tuple)):
        if depth >= len(shape):
            raise TypeError(f"not a sequence at dim {depth}")
        if len(data) != shape[depth]:
            raise ValueError(f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})")
        if depth + 1 < len(shape):
            for x in data:
                if not isinstance(x, (list, tuple, Tensor, np.ndarray)) and not hasattr(x, "__len__"):
                    raise TypeError(f"not a sequence: {type(x).__name__} at dim {depth + 1}")
                check_even(x, shape, depth + 1)
        elif data and isinstance(data[0], (int, float)):
            for x in data:
                if isinstance(x, (list, tuple)):
                    raise TypeError(f"must be real number, not {type(x).__name__}")


def plain(data):
    """Nested Python data with tensors replaced by NumPy values."""
    if isinstance(data, Tensor):
        return values(data.detach())
    if isinstance(data, (list, tuple)):
        return [plain(x) for x in data]
    return data


def tensor(data, *, dtype=None, device=None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A new tensor with a copy of data: numbers, nested sequences, NumPy arrays, tensors.

    Args:   dtype (inferred: bool, int64, the default float dtype or its complex), device, requires_grad.
    Errors: ValueError for uneven nesting; TypeError, RuntimeError for what is no data.
    Source: torch.tensor.
    """
    check_device(device)
    if isinstance(data, Tensor):
        import warnings

        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            stacklevel=2,
        )
    return build(data, dtype).requires_grad_(requires_grad)


def build(data, dtype=None) -> Tensor:
    """The tensor of any data, always copied."""
    kind = data.__class__
    if kind is float or kind is int or kind is bool:
        d = dtype or (dt.get_default_dtype() if kind is float else dt.int64 if kind is int else dt.bool)
        out = empty((), d)
        write = _SCALAR.get(d.name)
        if write is not None and (d.is_floating_point or kind is not float):
            check_range(data, d)
            write.from_address(out._ptr).value = data
            return out
    if isinstance(data, Tensor):
        with_grad, state.grad = state.grad, False
        try:
            out = empty(data._shape, dtype or data._dtype)
            copy_elements(out, data)
            return out
        finally:
            state.grad = with_grad
    if isinstance(data, (np.ndarray, np.generic)):
        a = np.asarray(data)
        if a.dtype.kind not in "OSU":
            return from_array(a, dtype)
        data = a.tolist()
    if not isinstance(data, (list, tuple, int, float, bool, complex)) and hasattr(data, "__array__"):
        return from_array(np.asarray(data), dtype)
    if not isinstance(data, (list, tuple)) and hasattr(data, "__len__") and not isinstance(data, (str, bytes, dict)):
        data = [data[i] for i in range(len(data))]
    inferred = infer_dtype(data)
    shape = data_shape(data)
    target = dtype or inferred
    if 0 in shape:
        return empty(shape, target)
    # NumPy parses the numbers: ints as int64, floats as float64, so nothing is lost before the final cast.
    wide = {"f": np.float64, "c": np.complex128, "b": np.bool_}.get(inferred.kind, np.int64)
    if inferred is dt.uint64:
        wide = np.uint64
    try:
        a = np.array(plain(data), dtype=wide)
    except OverflowError:
        raise ValueError("Overflow when unpacking long long: a value does not fit in int64") from None
    if a.shape != shape:
        raise ValueError(f"expected data of shape {list(shape)}, got {list(a.shape)}")
    return from_array(a, target)


def check_range(x, d) -> None:
    """Integers must fit their dtype."""
    if d.kind in "iu" and isinstance(x, int):
        low, high = (-(1 << 8 * d.itemsize - 1), (1 << 8 * d.itemsize - 1) - 1) if d.is_signed else (
            0, (1 << 8 * d.itemsize) - 1)  # fmt: skip
        if not low <= x <= high:
            if d is dt.int64:
                raise ValueError("Overflow when unpacking long long: a value does not fit in int64")
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow: {x}")


def check_device(device) -> None:
    """Only the CPU is there so far."""
    if device is None:
        return
    d = device if isinstance(device, Device) else Device(device)
    if d.type == "cuda":
        raise AssertionError("Torch not compiled with CUDA enabled: this flambeau has no CUDA device support yet")
    if d.type not in ("cpu",):
        raise RuntimeError(f"device {d} is not available: this flambeau computes on 'cpu'")


def as_tensor(data, dtype=None, device=None) -> Tensor:
    """data as a tensor, sharing memory where dtype and device allow (tensors, NumPy arrays).

    Source: torch.as_tensor.
    """
    check_device(device)
    if isinstance(data, Tensor):
        return data if dtype is None or data._dtype is dtype else data.to(dtype)
    if isinstance(data, np.ndarray) and data.dtype.kind not in "OSU":
        if dtype is None or dt.from_numpy(data.dtype) is dtype:
            if all(s >= 0 and s % data.dtype.itemsize == 0 for s in data.strides):
                return from_numpy(data)
        return from_array(data, dtype)
    return build(data, dtype)


def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad: bool = False) -> Tensor:
    """obj as a tensor; copy=True never shares, copy=False only shares.

    Source: torch.asarray.
    """
    shares = isinstance(obj, Tensor) or isinstance(obj, np.ndarray) or hasattr(obj, "__dlpack__")
    if copy:
        out = build(obj, dtype)
    else:
        out = as_tensor(obj, dtype, device)
        if copy is False and (not shares or dtype is not None and out._dtype is not getattr(obj, "_dtype", out._dtype)):
            raise ValueError("asarray: can't alias arbitrary data: pass copy=None or copy=True")
    return out.requires_grad_(requires_grad) if requires_grad else out


# legacy constructors ------------------------------------------------------------------------------
def legacy(dtype, *args, **kwargs) -> Tensor:
    """torch.Tensor / FloatTensor / ...: sizes give uninitialised memory, a sequence gives its values."""
    if kwargs:
        check_device(kwargs.pop("device", None))
        if kwargs:
            raise TypeError(f"new() got an unexpected keyword argument {next(iter(kwargs))!r}")
    if not args:
        return empty((0,), dtype)
    if len(args) == 1:
        x = args[0]
        if isinstance(x, Size):
            return empty(tuple(x), dtype)
        if isinstance(x, Tensor):
            if x._dtype is not dtype:
                raise TypeError(f"expected {dtype} (got {x._dtype})")
            return x._alias()
        if isinstance(x, (list, tuple, np.ndarray)):
            return build(x, dtype)
        if hasattr(x, "_all"):  # a storage: over the same memory
            return legacy(dtype, x._all)
        if isinstance(x, float):
            raise TypeError(f"new(): data must be a sequence (got {type(x).__name__})")
    sizes = [int(a) for a in args]
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(sizes)}: {sizes}")
    return empty(tuple(sizes), dtype)


class LegacyType(type):
    """FloatTensor and its like: constructors that isinstance understands."""

    def __instancecheck__(cls, x):
        return isinstance(x, Tensor) and x._dtype is cls.dtype

    def __call__(cls, *args, **kwargs):
        return legacy(cls.dtype, *args, **kwargs)


def legacy_type(name: str, dtype):
    """The class torch.<name>."""
    told = f"{name}(*sizes) or {name}(data): a tensor of {dtype}; isinstance(x, {name}) asks for the dtype."
    return LegacyType(name, (), {"dtype": dtype, "__module__": "torch", "is_cuda": False, "__doc__": told})


# DLPack, pickling, copies -------------------------------------------------------------------------
def to_dlpack(t: Tensor):
    """A DLPack capsule over the same memory (through NumPy's exporter)."""
    if t._requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if t._dtype is dt.bfloat16:
        raise BufferError("DLPack export of bfloat16 is not supported on the CPU")
    return view_array(t).__dlpack__()


def from_dlpack(x) -> Tensor:
    """A tensor over the memory of another library's CPU array.

    Source: torch.from_dlpack.
    """
    if isinstance(x, Tensor):
        return x._alias()
    a = np.from_dlpack(x)
    if not a.flags.writeable:
        a = a.view()
        try:
            a.flags.writeable = True
        except ValueError:
            pass
    return from_numpy(a)


def deepcopy(t: Tensor, memo):
    """A copy with its own memory; tensors that shared a storage share the copied one."""
    if id(t) in memo:
        return memo[id(t)]
    if t._grad_fn is not None:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001"
        )
    key = ("storage", id(t._storage))
    storage = memo.get(key)
    if storage is None:
        old = t._storage
        storage = memo[key] = memory.allocate(old.nbytes)
        memo[("keep", key)] = old
        ctypes.memmove(storage.ptr, old.ptr, old.nbytes)
    out = make(storage, t._offset, t._shape, t._strides, t._dtype)
    if type(t) is not Tensor:
        out = out.as_subclass(type(t))
    out._requires_grad = t._requires_grad
    memo[id(t)] = out
    if t._grad is not None:
        out._grad = _copy.deepcopy(t._grad, memo)
    extra = {k: v for k, v in t.__dict__.items() if not k.startswith("_retains")}
    if extra:
        out.__dict__.update(_copy.deepcopy(extra, memo))
    return out


def reduce(t: Tensor):
    """Pickle as raw bytes and geometry."""
    if t._grad_fn is not None and t._requires_grad:
        raise RuntimeError("Only leaf tensors can be pickled: detach() this one first")
    raw = ctypes.string_at(t._storage.ptr, t._storage.nbytes) if t._storage.nbytes else b""
    args = (type(t), raw, t._offset, tuple(t._shape), t._strides, t._dtype, t._requires_grad, dict(t.__dict__))
    return rebuild, args


def rebuild(cls, raw: bytes, offset: int, shape, strides, dtype, requires_grad: bool, extra: dict) -> Tensor:
    """The inverse of `reduce`; validates the geometry against the bytes."""
    low, high = S.extent(shape, strides)
    if offset + low < 0 or (offset + high + 1) * dtype.itemsize > len(raw) and math.prod(shape):
        raise RuntimeError("tensor pickle: geometry reaches outside the stored bytes")
    storage = memory.allocate(len(raw))
    ctypes.memmove(storage.ptr, raw, len(raw))
    t = make(storage, offset, Size(shape), tuple(strides), dtype)
    if cls is not Tensor:
        t = t.as_subclass(cls)
    t._requires_grad = requires_grad
    t.__dict__.update(extra)
    return t


def share_memory_(t: Tensor) -> Tensor:
    """Move the elements into an anonymous shared mapping: forked processes see each other's changes."""
    import mmap

    size = max(1, t._storage.nbytes)
    block = mmap.mmap(-1, size)
    address = ctypes.addressof(ctypes.c_char.from_buffer(block))
    ctypes.memmove(address, t._storage.ptr, t._storage.nbytes)
    storage = memory.from_external(address, t._storage.nbytes, block)
    t._storage, t._ptr = storage, address + t._offset * t._dtype.itemsize
    t._vc = storage
    t.__dict__["_shared"] = True
    return t


hooks.tensor, hooks.legacy, hooks.from_array, hooks.view_array = tensor, legacy, from_array, view_array

__all__ = ["new_tensor"]
