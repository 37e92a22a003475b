"""Devices, memory formats and layouts as values: where and how elements lie, not memory itself."""

from __future__ import annotations

import operator
import re

TYPES = (
    "cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia",
    "xla", "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone",
)  # fmt: skip
_INDEX = re.compile(r"(?:0|[1-9][0-9]*)\Z")
_known: dict = {}  # (type, index) and device string -> device
_accelerator: list[str | None] = [None]
_defaults: list[device] = []


class device:  # noqa: N801 - PyTorch's name
    """A place for tensors: `device("cpu")`, `device("cuda:1")`, `device("cuda", 1)`, `device(1)`.

    A bare number means that accelerator. Equal devices are one object. As a context manager a
    device is the default for tensors made inside.

    Errors: RuntimeError for unknown types, bad indices; TypeError for other arguments.
    Source: torch.device
    """

    __slots__ = ("index", "type")
    __module__ = "flambeau"

    type: str
    index: int | None

    def __new__(cls, *args, **kwargs):
        if len(args) == 1 and not kwargs:
            try:
                return _known[args[0]]
            except (KeyError, TypeError):
                pass
        return _intern(*_parse(args, kwargs))

    def __init_subclass__(cls):
        raise TypeError("type 'torch.device' is not an acceptable base type")

    def __setattr__(self, name, value):
        if name in device.__slots__:
            raise AttributeError(f"attribute {name!r} of 'torch.device' objects is not writable")
        raise AttributeError(f"'torch.device' object has no attribute {name!r}")

    def __eq__(self, other):
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self):
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self):
        return device, (self.type,) if self.index is None else (self.type, self.index)

    def __enter__(self):
        _defaults.append(self)
        return self

    def __exit__(self, *_):
        _defaults.pop()


def _intern(kind: str, index: int | None) -> device:
    found = _known.get((kind, index))
    if found is None:
        found = object.__new__(device)
        object.__setattr__(found, "type", kind)
        object.__setattr__(found, "index", index)
        _known[(kind, index)] = _known[str(found)] = found
    return found


def _parse(args: tuple, kwargs: dict) -> tuple[str, int | None]:
    """(type, index) from the arguments of device()."""
    given = dict(zip(("type", "index"), args, strict=False))
    wrong = [k for k in kwargs if k not in ("type", "index", "device") or k in given]
    given.update(kwargs)
    what = given.pop("device", given.get("type"))
    if wrong or len(args) > 2 or what is None or isinstance(what, bool | float):
        shown = [type(a).__name__ for a in args] + [
            f"{k}={type(v).__name__}" for k, v in kwargs.items()
        ]
        raise TypeError(
            f"device() received an invalid combination of arguments - got ({', '.join(shown)}), "
            "but expected one of:\n * (torch.device device)\n * (str type, int index = -1)\n"
        )
    if given.get("index") is not None:
        return _typed(what, given["index"])
    if isinstance(what, device):
        return what.type, what.index
    if isinstance(what, str):
        return _from_text(what)
    return _numbered(what)


def _typed(kind, index) -> tuple[str, int]:
    """device(type, index)."""
    if not isinstance(kind, str):
        raise TypeError(
            f"device(): argument 'type' (position 1) must be str, not {type(kind).__name__}"
        )
    if not isinstance(index, int):
        raise TypeError(
            f"device(): argument 'index' (position 2) must be int, not {type(index).__name__}"
        )
    kind, had = _from_text(kind)
    if had is not None:
        raise RuntimeError(
            "type (string) must not include an index because index was passed explicitly: "
            f"{kind}:{had}"
        )
    return kind, _checked_index(index)


def _from_text(text: str) -> tuple[str, int | None]:
    if not text:
        raise RuntimeError("Device string must not be empty")
    kind, colon, index = text.partition(":")
    if kind not in TYPES:
        raise RuntimeError(
            f"Expected one of {', '.join(TYPES)} device type at start of device string: {kind}"
        )
    if colon and not _INDEX.match(index):
        raise RuntimeError(f"Invalid device string: '{text}'")
    return kind, int(index) if colon else None


def _numbered(number) -> tuple[str, int]:
    """device(n): the n-th accelerator."""
    try:
        index = operator.index(number)
    except TypeError:
        raise TypeError(
            f"device(): argument must be a str, int or torch.device, not {type(number).__name__}"
        ) from None
    _checked_index(index)
    if _accelerator[0] is None:
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return _accelerator[0], index


def _checked_index(index: int) -> int:
    if index < 0:
        raise RuntimeError("Device index must not be negative")
    return index


def set_accelerator(kind: str | None) -> None:
    """Say which device type a bare number means; for the layer that finds the hardware."""
    _accelerator[0] = kind


CPU = device("cpu")
_defaults.append(CPU)


def get_default_device() -> device:
    """The device of tensors made without one.

    Source: torch.get_default_device
    """
    return _defaults[-1]


def set_default_device(where) -> None:
    """Make a device the default; None means the CPU.

    Source: torch.set_default_device
    """
    _defaults[0] = CPU if where is None else device(where)


class _Named:
    """One of a closed set of named values that print as torch.<name>."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, *args, **kwargs):
        raise TypeError(f"cannot create 'torch.{cls.__name__}' instances")

    @classmethod
    def _make(cls, name: str):
        self = object.__new__(cls)
        object.__setattr__(self, "name", name)
        return self

    def __setattr__(self, name, value):
        raise AttributeError(f"'torch.{type(self).__name__}' objects are immutable")

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format(_Named):  # noqa: N801 - PyTorch's name
    """The order in memory of an image batch's dimensions."""

    __slots__ = ()
    __module__ = "flambeau"


class layout(_Named):  # noqa: N801 - PyTorch's name
    """How a tensor keeps its elements: strided, or one of the sparse forms."""

    __slots__ = ()
    __module__ = "flambeau"


MEMORY_FORMATS = tuple(
    memory_format._make(n)
    for n in ("contiguous_format", "preserve_format", "channels_last", "channels_last_3d")
)
contiguous_format, preserve_format, channels_last, channels_last_3d = MEMORY_FORMATS
LAYOUTS = tuple(
    layout._make(n)
    for n in (
        "strided",
        "sparse_coo",
        "sparse_csr",
        "sparse_csc",
        "sparse_bsr",
        "sparse_bsc",
        "jagged",
        "_mkldnn",
    )
)
strided, sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc, jagged, _mkldnn = LAYOUTS
