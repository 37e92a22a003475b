"""Element types: the dtype singletons, promotion, the default dtype. (Limits of dtypes: `limits`.)

Inside this module `bool`, `int` and `float` are dtypes; Python's are `builtins.bool` and so on.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable

import numpy as np


class dtype:  # noqa: N801 - PyTorch's name
    """An element type; there is one object of each, so compare with `is`.

    `kind` is one of b u i f c; `np` is the NumPy dtype of the storage (bfloat16: uint16); `index`
    is a small integer that is the same in every process.
    """

    __slots__ = (
        "abbr", "index", "is_complex", "is_floating_point", "is_signed", "itemsize", "kind", "name",
        "np",
    )  # fmt: skip
    __module__ = "flambeau"

    name: str
    kind: str
    itemsize: builtins.int
    index: builtins.int
    abbr: str
    is_floating_point: builtins.bool
    is_complex: builtins.bool
    is_signed: builtins.bool
    np: np.dtype

    def __new__(cls, *args, **kwargs):
        raise TypeError("cannot create 'torch.dtype' instances")

    def __setattr__(self, name, value):
        if name in dtype.__slots__:
            raise AttributeError(f"attribute {name!r} of 'torch.dtype' objects is not writable")
        raise AttributeError(f"'torch.dtype' object has no attribute {name!r}")

    def __delattr__(self, name):
        self.__setattr__(name, None)

    def __init_subclass__(cls):
        raise TypeError("type 'torch.dtype' is not an acceptable base type")

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name

    def to_real(self) -> dtype:
        """The dtype of a complex dtype's parts; every other dtype itself."""
        return _REAL.get(self, self)

    def to_complex(self) -> dtype:
        """The complex dtype whose parts hold this dtype (float16 too goes to complex64)."""
        if self.kind in "bui":
            raise RuntimeError(f"Unknown Complex ScalarType for {scalar_name(self)}")
        return complex128 if self is float64 or self is complex128 else complex64


def _make(index: builtins.int, name: str, kind: str, itemsize: builtins.int, abbr: str) -> dtype:
    self = object.__new__(dtype)
    storage = np.dtype(np.uint16 if name == "bfloat16" else name)
    for slot, value in {
        "name": name, "kind": kind, "itemsize": itemsize, "index": index, "abbr": abbr,
        "np": storage, "is_floating_point": kind == "f", "is_complex": kind == "c",
        "is_signed": kind in "ifc",
    }.items():  # fmt: skip
        object.__setattr__(self, slot, value)
    return self


# name, kind, bytes, abbreviation, the name PyTorch's errors use
_SPECS = (
    ("uint8", "u", 1, "u8", "Byte"), ("int8", "i", 1, "i8", "Char"),
    ("int16", "i", 2, "i16", "Short"), ("int32", "i", 4, "i32", "Int"),
    ("int64", "i", 8, "i64", "Long"), ("float16", "f", 2, "f16", "Half"),
    ("float32", "f", 4, "f32", "Float"), ("float64", "f", 8, "f64", "Double"),
    ("complex64", "c", 8, "c64", "ComplexFloat"), ("complex128", "c", 16, "c128", "ComplexDouble"),
    ("bool", "b", 1, "b8", "Bool"), ("bfloat16", "f", 2, "bf16", "BFloat16"),
    ("uint16", "u", 2, "u16", "UInt16"), ("uint32", "u", 4, "u32", "UInt32"),
    ("uint64", "u", 8, "u64", "UInt64"),
)  # fmt: skip
ALL = tuple(_make(i, *spec[:4]) for i, spec in enumerate(_SPECS))
BY_NAME = {d.name: d for d in ALL}
(uint8, int8, int16, int32, int64, float16, float32, float64, complex64, complex128, bool, bfloat16,
 uint16, uint32, uint64) = ALL  # fmt: skip
half, float, double, short, int, long = float16, float32, float64, int16, int32, int64
cfloat, cdouble = complex64, complex128

_REAL = {complex64: float32, complex128: float64}
_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}
_BAREBONES = (uint16, uint32, uint64)


def scalar_name(d: dtype) -> str:
    """The name by which PyTorch's errors call a dtype: 'Float', 'Long', ..."""
    return _SPECS[d.index][4]


def _larger(a: dtype, b: dtype) -> dtype:
    return a if a.itemsize >= b.itemsize else b


def _promote(a: dtype, b: dtype) -> dtype | None:
    """The row of the table for (a, b); None where PyTorch defines none."""
    if a is b:
        return a
    if _CATEGORY[a.kind] > _CATEGORY[b.kind]:
        a, b = b, a
    if a in _BAREBONES or b in _BAREBONES:
        return b if b.kind == "f" else None
    if b.kind == "c":
        return complex128 if float64 in (a.to_real(), b.to_real()) else complex64
    if a.kind == b.kind == "f":
        return float32 if a.itemsize == b.itemsize else _larger(a, b)
    if _CATEGORY[a.kind] != _CATEGORY[b.kind]:
        return b
    if a.kind == b.kind:
        return _larger(a, b)
    signed = a if a.kind == "i" else b  # the other is uint8
    return _larger(signed, int16)


_TABLE = tuple(tuple(_promote(a, b) for b in ALL) for a in ALL)


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype to which both convert without changing category.

    Errors: RuntimeError for uint16, uint32, uint64 with any other integer, bool or complex dtype.
    Source: torch.promote_types
    """
    try:
        found = _TABLE[type1.index][type2.index]
    except (AttributeError, TypeError):
        i = 1 if not isinstance(type1, dtype) else 2
        given = type(type1 if i == 1 else type2).__name__
        raise TypeError(
            f"promote_types(): argument 'type{i}' (position {i}) must be torch.dtype, not {given}"
        ) from None
    if found is None:
        raise RuntimeError(
            "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote "
            f"{scalar_name(type1)} and {scalar_name(type2)}"
        )
    return found


def can_cast(from_: dtype, to: dtype) -> builtins.bool:
    """True unless a category is dropped: complex to real, float to integer, anything to bool.

    Source: torch.can_cast
    """
    return _CATEGORY[from_.kind] <= _CATEGORY[to.kind]


def _combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
    """The dtype of a priority level with what the levels below it say."""
    if higher is None or lower is None:
        return higher or lower
    if higher.kind == "c":
        return higher
    if higher.kind == "f":
        return higher.to_complex() if lower.kind == "c" else higher
    if lower.kind in "fc":
        return lower
    return promote_types(higher, lower) if higher is bool else higher


def result_type(entries: Iterable[tuple[dtype, str]]) -> dtype:
    """The dtype in which an operation on operands of these (dtype, category) works.

    The categories are "tensor" (with dimensions), "zero" (0-d tensor) and "number" (Python scalar,
    given by its own default dtype). Within a level dtypes are promoted; a lower level counts only
    where it is of a higher kind than those above it.
    Source: torch.result_type
    """
    levels: dict[str, dtype] = {}
    for d, category in entries:
        seen = levels.get(category)
        levels[category] = d if seen is None else promote_types(seen, d)
    below = _combine(levels.get("zero"), levels.get("number"))
    found = _combine(levels.get("tensor"), below)
    if found is None:
        raise ValueError("result_type: at least one operand is needed")
    return found


_default = [float32]


def get_default_dtype() -> dtype:
    """The dtype of floats made from Python numbers alone.

    Source: torch.get_default_dtype
    """
    return _default[0]


def set_default_dtype(d: dtype) -> None:
    """Make d, a floating dtype, the default one.

    Source: torch.set_default_dtype
    """
    if not isinstance(d, dtype):
        raise TypeError(
            "invalid dtype object: only floating-point types are supported as the default type"
        )
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default[0] = d


_FROM_NUMPY = {d.np: d for d in ALL if d is not bfloat16}


def from_numpy(d) -> dtype:
    """The dtype of a NumPy dtype (or of what np.dtype accepts), in either byte order.

    Errors: TypeError where there is none (strings, objects, dates, longdouble, ...).
    """
    given = np.dtype(d)
    found = _FROM_NUMPY.get(given) or _FROM_NUMPY.get(given.newbyteorder("="))
    if found is None:
        known = ", ".join(sorted(str(k) for k in _FROM_NUMPY))
        raise TypeError(
            f"can't convert np.ndarray of type {given.type.__module__}.{given.type.__name__}. "
            f"The only supported types are: {known}."
        )
    return found


def to_numpy(d: dtype) -> np.dtype:
    """The NumPy dtype of the values; TypeError for bfloat16, which NumPy does not have."""
    if d is bfloat16:
        raise TypeError("Got unsupported ScalarType BFloat16")
    return d.np
