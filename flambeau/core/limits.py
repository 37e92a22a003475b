"""Numeric limits of dtypes: torch.finfo and torch.iinfo."""

from __future__ import annotations

from flambeau.core import dtypes

# mantissa bits, largest exponent, decimal digits that survive
_FLOATS = {
    "float16": (10, 15, 3), "bfloat16": (7, 127, 2), "float32": (23, 127, 6),
    "float64": (52, 1023, 15),
}  # fmt: skip


class _Info:
    """What finfo and iinfo share: immutable, equal when of one dtype, unhashable."""

    __slots__ = ("bits", "dtype", "max", "min")
    bits: int
    dtype: str
    max: float
    min: float

    def _set(self, **fields) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name, value):
        raise AttributeError(
            f"attribute {name!r} of 'torch.{type(self).__name__}' objects is not writable"
        )

    def __eq__(self, other):
        return (
            type(self) is type(other) and self.dtype == other.dtype
            if isinstance(other, _Info)
            else NotImplemented
        )

    __hash__ = None  # type: ignore[assignment]


class finfo(_Info):  # noqa: N801 - PyTorch's name
    """Limits of a floating dtype, or of the parts of a complex one: eps = 2^-m, max = (2-eps) 2^e.

    Source: torch.finfo
    """

    __slots__ = ("eps", "resolution", "smallest_normal", "tiny")
    __module__ = "flambeau"

    def __init__(self, type: dtypes.dtype | None = None):
        d = dtypes.get_default_dtype() if type is None else _checked(type, "finfo")
        name = d.to_real().name
        if name not in _FLOATS:
            raise TypeError(
                "torch.finfo() requires a floating point input type. "
                "Use torch.iinfo to handle 'torch.finfo'"
            )
        mantissa, exponent, digits = _FLOATS[name]
        eps = 2.0**-mantissa
        largest, smallest = (2 - eps) * 2.0**exponent, 2.0 ** (1 - exponent)
        self._set(
            bits=d.to_real().itemsize * 8, dtype=name, eps=eps, max=largest, min=-largest,
            smallest_normal=smallest, tiny=smallest, resolution=float(f"1e-{digits}"),
        )  # fmt: skip

    def __repr__(self) -> str:
        fields = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        return (
            f"finfo({', '.join(f'{f}={getattr(self, f):g}' for f in fields)}, dtype={self.dtype})"
        )


class iinfo(_Info):  # noqa: N801 - PyTorch's name
    """Limits of an integer dtype: [-2^(bits-1), 2^(bits-1) - 1] signed, [0, 2^bits - 1] unsigned.

    Source: torch.iinfo
    """

    __slots__ = ()
    __module__ = "flambeau"

    def __init__(self, type: dtypes.dtype):
        d = _checked(type, "iinfo")
        if d.is_floating_point or d.is_complex:
            raise TypeError(
                "torch.iinfo() requires an integer input type. "
                "Use torch.finfo to handle 'torch.iinfo'"
            )
        if d is dtypes.bool:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        bits = d.itemsize * 8
        low = -(1 << bits - 1) if d.is_signed else 0
        self._set(bits=bits, dtype=d.name, min=low, max=low + (1 << bits) - 1)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def _checked(given, name: str) -> dtypes.dtype:
    if not isinstance(given, dtypes.dtype):
        raise TypeError(
            f"{name}(): argument 'type' (position 1) must be torch.dtype, "
            f"not {type(given).__name__}"
        )
    return given
