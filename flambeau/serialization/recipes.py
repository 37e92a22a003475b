"""What names in a file mean: types of data, and recipes that check what they are given before making anything.

A recipe can be called by a file; a type here is only a value (a defaultdict's factory, say), unless it has a recipe.
"""

from __future__ import annotations

import collections
import ctypes
import math
import re
from pickle import UnpicklingError

import numpy as np

from flambeau import return_types
from flambeau.core import device as places
from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.core.size import Size
from flambeau.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter
from flambeau.nn.utils.rnn import PackedSequence
from flambeau.ops.create import empty
from flambeau.ops.random import Generator
from flambeau.serialization.machine import checked_keys
from flambeau.serialization.names import NAMED_DTYPES, STORAGES
from flambeau.sparse import sparse_coo_tensor
from flambeau.tensor.storages import UntypedStorage, typed
from flambeau.tensor.tensor import Tensor, make

CONTAINERS = (list, tuple, dict, set, frozenset)


class Recipe:
    """A function that a file may call: it checks its arguments."""

    def __init__(self, make):
        self.make = make


def need(fact: bool, what: str) -> None:
    """Refuse what is no such thing."""
    if not fact:
        raise UnpicklingError(f"load: the file has {what}")


# tensors ------------------------------------------------------------------------------------------
def rebuild_tensor(stored, offset, size, stride, requires_grad=False, hooks=None, metadata=None):
    """torch._utils._rebuild_tensor_v2, with every number checked."""
    need(isinstance(stored, UntypedStorage), "a tensor without a storage")
    return over(stored, stored.dtype, offset, size, stride, requires_grad, metadata)


def rebuild_tensor_v3(stored, offset, size, stride, requires_grad, hooks, dtype, metadata=None):
    """torch._utils._rebuild_tensor_v3: of a dtype that has no storage type."""
    need(isinstance(stored, UntypedStorage) and isinstance(dtype, dt.dtype), "a tensor without a storage")
    return over(stored, dtype, offset, size, stride, requires_grad, metadata)


def over(stored, dtype, offset, size, stride, requires_grad, metadata):
    """The tensor of a geometry over a storage, if the geometry stays inside."""
    need(isinstance(size, tuple) and isinstance(stride, tuple), "a tensor whose sizes are no tuples")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
        raise UnpicklingError(f"load: a tensor in the file has impossible sizes: {len(size)} sizes, {len(stride)} strides")
    shape, nbytes = tuple(size), stored.nbytes()
    if 0 not in shape and (offset + S.extent(shape, stride)[1] + 1) * dtype.itemsize > nbytes:
        raise UnpicklingError(
            f"load: a tensor in the file reaches beyond its storage: shape {shape}, strides {stride}, offset {offset}, "
            f"{nbytes} bytes of {dtype}"
        )
    t = make(stored._all._storage, offset, Size(shape), stride, dtype)
    if isinstance(metadata, dict):  # PyTorch's lazy conjugates and negatives
        t = t.conj_physical() if metadata.get("conj") else t
        t = t.neg() if metadata.get("neg") else t
    return t.requires_grad_() if requires_grad is True else t


def rebuild_meta(dtype, size, stride, requires_grad):
    """torch._utils._rebuild_meta_tensor_no_storage."""
    need(isinstance(dtype, dt.dtype) and isinstance(size, tuple), "a meta tensor without a dtype")
    return empty(size, dtype=dtype, device="meta").requires_grad_(requires_grad is True)


def rebuild_sparse(kind, data):
    """torch._utils._rebuild_sparse_tensor: indices, values, size, and (later) whether they are coalesced."""
    need(kind is places.sparse_coo, f"a tensor layout that is not supported, {kind!s:.40}")
    need(isinstance(data, tuple) and len(data) in (3, 4), "a sparse tensor without its parts")
    indices, values, size, is_coalesced = (*data, None)[:4]
    need(isinstance(indices, Tensor) and isinstance(values, Tensor) and isinstance(size, tuple), "a sparse tensor without its parts")
    try:
        return sparse_coo_tensor(indices, values, size, is_coalesced=is_coalesced is True, check_invariants=True)
    except (RuntimeError, TypeError) as e:
        raise UnpicklingError(f"load: the file has a sparse tensor that does not fit together: {e}") from None


def rebuild_parameter(data, requires_grad=True, hooks=None, state=None):
    """torch._utils._rebuild_parameter, and _with_state: the attributes a program gave it."""
    need(isinstance(data, Tensor), "a parameter without a tensor")
    return with_attributes(Parameter(data, requires_grad is True), state)


def rebuild_from_type(recipe, cls, args, state):
    """torch._tensor._rebuild_from_type_v2: a tensor and the attributes a program gave it."""
    need(isinstance(recipe, Recipe) and cls in (Tensor, Parameter) and isinstance(args, tuple), "a tensor of an unknown class")
    t = recipe.make(*args)
    need(isinstance(t, Tensor), "a tensor of an unknown class")
    return with_attributes(t, state)


def with_attributes(t, state):
    """The tensor with attributes in its __dict__ (never its slots, which say where its memory is)."""
    state = state[0] if isinstance(state, tuple) and len(state) == 2 else state
    need(state is None or isinstance(state, dict) and all(isinstance(k, str) for k in state), "a tensor with a strange state")
    t.__dict__.update(state or {})
    return t


def rebuild_generator(device=None):
    """torch.Generator; its state follows."""
    return Generator()


def set_generator(generator, state) -> None:
    """The state of a generator: (seed, offset, bytes)."""
    need(isinstance(state, tuple) and len(state) == 3 and isinstance(state[2], Tensor), "a generator without a state")
    generator.set_state(state[2])


# Python's own -------------------------------------------------------------------------------------
def from_list(cls):
    """A constructor of one list or tuple (nothing that could make very much of very little)."""

    def make(items=()):
        need(isinstance(items, (list, tuple)), f"a {cls.__name__} that is made of no list")
        return cls(checked_keys(items) if cls in (set, frozenset) else items)

    return make


def ordered(pairs=()):
    """collections.OrderedDict."""
    need(isinstance(pairs, (list, tuple)), "an OrderedDict that is made of no list")
    pairs = [tuple(p) for p in pairs]
    checked_keys([p[0] for p in pairs])
    return collections.OrderedDict(pairs)


def double_ended(items=(), longest=None):
    """collections.deque."""
    need(isinstance(items, (list, tuple)) and (longest is None or type(longest) is int), "a strange deque")
    return collections.deque(items, longest)


def default_dict(factory=None):
    """collections.defaultdict."""
    need(factory is None or factory in (*CONTAINERS, int, float, str, bool, complex), "a defaultdict with a factory that is no type")
    return collections.defaultdict(factory)


def counter(counts=None):
    """collections.Counter."""
    need(counts is None or isinstance(counts, dict), "a Counter that is made of no dict")
    return collections.Counter(counts)


def encode(text, encoding="latin1"):
    """_codecs.encode, which stands for bytes before protocol 3."""
    need(isinstance(text, str) and encoding in ("latin1", "utf-8", "ascii"), "bytes in an unknown encoding")
    return text.encode(encoding)


def byte_array(data=b"", encoding=None):
    """bytearray, of bytes or of text."""
    need(isinstance(data, (bytes, str)), "a bytearray that is made of no bytes")
    return bytearray(data if isinstance(data, bytes) else encode(data, encoding or "latin1"))


def of_numbers(cls):
    """A constructor of a few numbers or None."""

    def make(*args):
        need(len(args) <= 3 and all(a is None or isinstance(a, (int, float)) for a in args), f"a strange {cls.__name__}")
        return cls(*args)

    return make


def place(*args):
    """torch.device."""
    need(0 < len(args) <= 2 and isinstance(args[0], str), "a device without a name")
    return places.device(*args)


def layout(name):
    """torch.serialization._get_layout."""
    need(name in ("torch.strided", "torch.sparse_coo"), f"a tensor layout that is not supported, {name!r:.40}")
    return places.strided if name == "torch.strided" else places.sparse_coo


# NumPy's, for files one trusts (weights_only=False), as PyTorch has it --------------------------------
def numpy_dtype(name, *flags):
    """numpy.dtype, of numbers and texts: never of objects."""
    need(isinstance(name, str) and re.fullmatch(r"[<>=|]?[biufcSUV?]\d{0,9}", name) is not None, "a NumPy dtype that is no data")
    return np.dtype(name)


def numpy_scalar(dtype, data):
    """numpy.core.multiarray.scalar."""
    need(isinstance(dtype, np.dtype) and isinstance(data, bytes) and len(data) == dtype.itemsize, "a damaged NumPy scalar")
    return np.frombuffer(data, dtype)[0]


def numpy_array(cls, shape, code):
    """numpy.core.multiarray._reconstruct: an array that set_array fills."""
    return np.ndarray(0, np.uint8)


def set_array(array, state) -> None:
    """The state of an array: (version, shape, dtype, is_fortran, bytes)."""
    need(isinstance(state, tuple) and len(state) == 5, "a NumPy array without a state")
    _, shape, dtype, fortran, data = state
    data = data.encode("latin1") if isinstance(data, str) else data  # Python 2's
    sizes = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    need(sizes and isinstance(dtype, np.dtype) and isinstance(data, bytes), "a damaged NumPy array")
    need(math.prod(shape) * dtype.itemsize == len(data), "a NumPy array of the wrong size")
    array.__setstate__((1, shape, dtype, bool(fortran), data))


def copy_bytes(block, data) -> None:
    """Bytes into a block of memory of at least that size."""
    if len(data):
        ctypes.memmove(block.ptr, bytes(data), len(data))


GLOBALS: dict[str, object] = {
    "torch._utils._rebuild_tensor": Recipe(rebuild_tensor), "torch._utils._rebuild_tensor_v2": Recipe(rebuild_tensor),
    "torch._utils._rebuild_tensor_v3": Recipe(rebuild_tensor_v3), "torch._utils._rebuild_parameter": Recipe(rebuild_parameter),
    "torch._utils._rebuild_parameter_with_state": Recipe(rebuild_parameter),
    "torch._utils._rebuild_meta_tensor_no_storage": Recipe(rebuild_meta),
    "torch._utils._rebuild_sparse_tensor": Recipe(rebuild_sparse),
    "torch._tensor._rebuild_from_type_v2": Recipe(rebuild_from_type), "torch._C.Generator": Recipe(rebuild_generator),
    "torch.serialization._get_layout": Recipe(layout), "torch.device": Recipe(place), "torch.Size": Recipe(from_list(Size)),
    "torch.Tensor": Tensor, "torch.nn.parameter.Parameter": Parameter,
    "torch.nn.parameter.UninitializedParameter": Recipe(lambda *args: UninitializedParameter()),
    "torch.nn.parameter.UninitializedBuffer": Recipe(lambda *args: UninitializedBuffer()),
    "collections.OrderedDict": Recipe(ordered), "collections.defaultdict": Recipe(default_dict),
    "collections.Counter": Recipe(counter), "collections.deque": Recipe(double_ended),
    "_codecs.encode": Recipe(encode), "builtins.set": set, "builtins.frozenset": frozenset, "builtins.bytearray": Recipe(byte_array),
    "builtins.complex": complex, "builtins.slice": Recipe(of_numbers(slice)), "builtins.range": Recipe(of_numbers(range)),
    "builtins.Ellipsis": ...,
}  # fmt: skip
GLOBALS |= {f"builtins.{t.__name__}": t for t in (list, tuple, dict, int, float, str, bool, bytes)}
GLOBALS |= {f"torch.{d.name}": d for d in NAMED_DTYPES}
GLOBALS |= {f"{home}.{n}": typed(d) for n, d in STORAGES.items() for home in ("torch", "torch.storage")}
GLOBALS |= {f"{home}.UntypedStorage": UntypedStorage for home in ("torch", "torch.storage")}

CALLED: dict[object, Recipe] = {
    set: Recipe(from_list(set)), frozenset: Recipe(from_list(frozenset)), complex: Recipe(of_numbers(complex)),
    Parameter: Recipe(rebuild_parameter), PackedSequence: Recipe(PackedSequence),
}  # fmt: skip
"""The types above that may also be called."""

TRUSTED: dict[str, object] = {
    "numpy.dtype": Recipe(numpy_dtype), "numpy.ndarray": np.ndarray, "torch.nn.utils.rnn.PackedSequence": PackedSequence,
}  # fmt: skip
"""More names, which are data too, for weights_only=False."""
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
    TRUSTED |= {f"{_core}.scalar": Recipe(numpy_scalar), f"{_core}._reconstruct": Recipe(numpy_array)}
TRUSTED |= {f"torch.return_types.{name}": Recipe(from_list(getattr(return_types, name))) for name in return_types.FIELDS}
