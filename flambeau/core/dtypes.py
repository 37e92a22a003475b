"""Element types: the dtype singletons, promotion, limits, and the default dtype."""

from __future__ import annotations

import numpy as np


class dtype:  # noqa: N801 - PyTorch's name
    """An element type; compare with `is`. `kind` is b, u, i, f or c; `np` the NumPy dtype of its storage."""

    __slots__ = ("index", "is_complex", "is_floating_point", "is_signed", "itemsize", "kind", "name", "np")

    def __init__(self, name: str, kind: str, itemsize: int, index: int):
        self.name, self.kind, self.itemsize, self.index = name, kind, itemsize, index
        self.is_floating_point, self.is_complex = kind == "f", kind == "c"
        self.is_signed = kind in "ifc"
        self.np = np.dtype(np.uint16 if name == "bfloat16" else name)

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return self.name

    def to_real(self):
        """The dtype of a complex dtype's parts; itself for others."""
        return _REAL.get(self, self)

    def to_complex(self):
        """The complex dtype with parts of this dtype."""
        return self if self.is_complex else complex128 if self is float64 else complex64


_SPECS = (
    ("uint8", "u", 1), ("int8", "i", 1), ("int16", "i", 2), ("int32", "i", 4), ("int64", "i", 8),
    ("float16", "f", 2), ("float32", "f", 4), ("float64", "f", 8), ("complex64", "c", 8),
    ("complex128", "c", 16), ("bool", "b", 1), ("bfloat16", "f", 2), ("uint16", "u", 2), ("uint32", "u", 4),
    ("uint64", "u", 8),
)  # fmt: skip
ALL = tuple(dtype(*spec, i) for i, spec in enumerate(_SPECS))
BY_NAME = {d.name: d for d in ALL}
(uint8, int8, int16, int32, int64, float16, float32, float64, complex64, complex128, bool, bfloat16, uint16,
 uint32, uint64) = ALL  # noqa: A001
_REAL = {complex64: float32, complex128: float64}
half, float, double, short, int, long = float16, float32, float64, int16, int32, int64  # noqa: A001
cfloat, cdouble = complex64, complex128
_ORDER = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype to which both convert."""
    if a is b:
        return a
    if _ORDER[a.kind] > _ORDER[b.kind]:
        a, b = b, a
    if b.kind == "c":
        real = promote_types(a.to_real(), b.to_real()) if a.kind in "fc" else b.to_real()
        return complex128 if real is float64 else complex64
    if a.kind != b.kind and _ORDER[a.kind] < _ORDER[b.kind]:
        return b
    if b.kind == "f":
        if {a, b} == {float16, bfloat16}:
            return float32
        return a if a.itemsize > b.itemsize else b
    if a.kind == b.kind:
        return a if a.itemsize > b.itemsize else b
    u, i = (a, b) if a.kind == "u" else (b, a)
    if u is not uint8:
        raise RuntimeError(f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a} and {b}")
    return int16 if i is int8 else i


def can_cast(a: dtype, b: dtype) -> object:
    """True if a result of dtype a may be stored as b without changing its category downwards."""
    return _ORDER[a.kind] <= _ORDER[b.kind] and not (b.kind == "u" and a.kind == "i" and False)


def result_type(entries) -> dtype:
    """Promote (dtype, category) entries; category: "tensor" > "zero" (0-d tensor) > "number"."""
    best: dict = {}
    for d, category in entries:
        best[category] = d if category not in best else promote_types(best[category], d)
    out = None
    for category in ("tensor", "zero", "number"):
        d = best.get(category)
        if d is None:
            continue
        if out is None:
            out = d
        elif _ORDER[d.kind] > _ORDER[out.kind]:
            if category == "number" or True:
                if d.kind == "c" and out.kind == "f":
                    out = out.to_complex() if category == "number" else promote_types(out, d)
                    out = complex128 if out is complex128 else complex64
                else:
                    out = d
    return out


_default = [float32]


def get_default_dtype() -> dtype:
    """The dtype of float results made from nothing but Python numbers."""
    return _default[0]


def set_default_dtype(d: dtype) -> None:
    """Change it (a floating dtype)."""
    if not isinstance(d, dtype):
        raise TypeError("invalid dtype object: only floating-point types are supported as the default type")
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default[0] = d


_FROM_NUMPY = {d.np: d for d in ALL if d.name != "bfloat16"}


def from_numpy(d) -> dtype:
    """The dtype of a NumPy dtype."""
    return _FROM_NUMPY[np.dtype(d)]
