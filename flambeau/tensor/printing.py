"""Tensors as text: number formats, summaries, line breaks, and the suffixes after the numbers.

`format_array` prints NumPy values; `tensor_str` is what Tensor.__repr__ returns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core.device import strided


@dataclasses.dataclass
class Options:
    """How tensors print; sci_mode None decides per tensor."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES: dict[str | None, dict[str, float]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
OPTIONS = Options()


def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
) -> None:
    """Change how tensors print: a profile ("default", "short", "full") and single values over it.

    Args:   precision (digits after the point), threshold (elements from which a tensor is
            summarised), edgeitems (elements shown at each end then), linewidth, sci_mode (True,
            False, or None to decide per tensor; every call sets it).
    Source: torch.set_printoptions
    """
    chosen = dict(PROFILES.get(profile, {}))
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
             "linewidth": linewidth}  # fmt: skip
    chosen.update({name: value for name, value in given.items() if value is not None})
    for name, value in chosen.items():
        setattr(OPTIONS, name, value)
    OPTIONS.sci_mode = sci_mode


def get_printoptions() -> dict:
    """The current options, as set_printoptions takes them."""
    return dataclasses.asdict(OPTIONS)


@contextlib.contextmanager
def printoptions(**kwargs) -> Iterator[None]:
    """set_printoptions for the length of a with block."""
    before = get_printoptions()
    try:
        set_printoptions(**kwargs)
        yield
    finally:
        set_printoptions(**before)


class NumberFormat:
    """One way to write all the numbers of a tensor, found from those numbers.

    Floats print as integers with a point if all are whole; in scientific notation if they span more
    than three decades or reach beyond [1e-4, 1e8]; with `precision` digits otherwise. Zeros,
    infinities and NaNs have no say in that.
    """

    def __init__(self, values: Sequence, is_float: bool, options: Options):
        self.point = ""
        self.spec = ""
        counted = values
        if is_float:
            counted = [v for v in values if v != 0 and math.isfinite(v)]
            self._choose_float(counted, options)
        self.width = max((len(self._digits(v)) for v in counted), default=1)

    def _choose_float(self, values: list[float], options: Options) -> None:
        whole = all(v == math.floor(v) for v in values)
        sci: bool | None = False
        if values:
            low, high = min(map(abs, values)), max(map(abs, values))
            sci = options.sci_mode
            if sci is None:
                sci = high / low > 1000 or high > 1e8 or low < 1e-4
        if sci:
            self.spec = f".{options.precision}e"
        elif whole:
            self.spec, self.point = ".0f", "."
        else:
            self.spec = f".{options.precision}f"

    def _digits(self, value) -> str:
        if not self.spec:
            return str(value)
        text = format(value, self.spec)
        return text + self.point if self.point and math.isfinite(value) else text

    def __call__(self, value) -> str:
        return self._digits(value).rjust(self.width)


class ComplexFormat:
    """Real and imaginary parts, each in a format of its own."""

    def __init__(self, values: Sequence[complex], options: Options):
        self.real = NumberFormat([v.real for v in values], True, options)
        self.imag = NumberFormat([v.imag for v in values], True, options)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = self.imag(value.imag).lstrip() + "j"
        return self.real(value.real) + ("" if imag[0] in "+-" else "+") + imag


def edges(values: np.ndarray, edgeitems: int) -> np.ndarray:
    """The corners of an array: of each dimension longer than two edges, only those."""
    keep = [
        np.r_[0:edgeitems, n - edgeitems : n] if n > 2 * edgeitems else np.arange(n)
        for n in values.shape
    ]
    return values[np.ix_(*keep)]


def format_array(values: np.ndarray, indent: int = 0, options: Options | None = None, shape=None):
    """The numbers of an array in nested brackets, continuation lines indented.

    `shape` is that of the whole array where `values` holds its `edges` only.
    """
    options = options or OPTIONS
    shape = tuple(values.shape if shape is None else shape)
    count = math.prod(shape)
    if count == 0:
        return "[]"
    cut = [False] * len(shape)
    if shape and count > options.threshold:
        if not options.edgeitems:
            return "[...]"
        cut = [n > 2 * options.edgeitems for n in shape]
        values = edges(values, options.edgeitems)
    number = _format_of(values, options)
    return _nested(values.tolist(), cut, indent, number, options)


def _format_of(values: np.ndarray, options: Options) -> NumberFormat | ComplexFormat:
    flat = values.reshape(-1).tolist()
    if values.dtype.kind == "c":
        return ComplexFormat(flat, options)
    return NumberFormat(flat, values.dtype.kind == "f", options)


def _nested(items, cut: list[bool], indent: int, number, options: Options) -> str:
    """Brackets around brackets; at the last level, numbers."""
    if not cut:
        return number(items)
    if len(cut) == 1:
        return _row([number(v) for v in items], cut[0], indent, number.width, options)
    parts = [_nested(x, cut[1:], indent + 1, number, options) for x in items]
    if cut[0]:
        parts.insert(options.edgeitems, "...")
    gap = "," + "\n" * (len(cut) - 1) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def _row(texts: list[str], cut: bool, indent: int, width: int, options: Options) -> str:
    """One row of numbers, broken into lines of equal count."""
    if cut:
        texts.insert(options.edgeitems, " ...")
    per_line = max(1, (options.linewidth - indent) // (width + 2))
    lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def tensor_str(tensor, *, tensor_contents: str | None = None) -> str:
    """The tensor's repr: `tensor(numbers, suffixes)`.

    Source: torch.Tensor.__repr__
    """
    prefix = _type_name(type(tensor)) + "("
    contents, suffixes = _contents(tensor, len(prefix))
    if tensor_contents is not None:
        contents = tensor_contents
    if _is_sparse(tensor):
        suffixes.append(f"layout={tensor.layout}")
    suffixes += _history(tensor)
    return _with_suffixes(prefix + contents, suffixes, len(prefix), _is_sparse(tensor))


def _is_sparse(tensor) -> bool:
    return getattr(tensor, "layout", strided) is not strided


def _type_name(kind: type) -> str:
    """`tensor` for Tensor and Parameter themselves, else the subclass's name."""
    ours = kind.__module__.split(".")[0] == "flambeau" and kind.__name__ in ("Tensor", "Parameter", "SparseTensor")
    return "tensor" if ours else kind.__name__


def _contents(tensor, indent: int) -> tuple[str, list[str]]:
    """The numbers, and the suffixes that say where they are and what they do not show."""
    shape, dtype, device = tuple(tensor.shape), tensor.dtype, tensor.device
    suffixes = [f"device='{device}'"] if device.type != "cpu" else []
    size, kind = f"size={shape}", f"dtype={dtype}"
    default = dt.get_default_dtype()
    if _is_sparse(tensor):
        kinds = [] if dtype in (default, _default_complex(default), dt.int64, dt.bool) else [kind]
        return _sparse_contents(tensor, indent), [*suffixes, size, f"nnz={tensor._nnz()}", *kinds]
    if device.type == "meta":
        return "...", [*suffixes, size, *([kind] if dtype is not default else [])]
    if 0 in shape:
        shown = [size] if len(shape) != 1 else []
        return "[]", [*suffixes, *shown, *([kind] if dtype is not default else [])]
    if not OPTIONS.edgeitems:
        suffixes.append(size)
    if dtype not in (default, _default_complex(default), dt.int64, dt.bool):
        suffixes.append(kind)
    return format_array(to_array(tensor), indent, shape=shape), suffixes


def _sparse_contents(tensor, indent: int) -> str:
    """The indices and the values of a sparse tensor, each as a tensor's numbers."""
    texts = []
    for name, part in (("indices", tensor._indices()), ("values", tensor._values())):
        start = f"{name}=tensor("
        shape = tuple(part.shape)
        numbers = f"[], size={shape}" if 0 in shape else format_array(to_array(part), indent + len(start), shape=shape)
        texts.append(start + numbers + ")")
    return (",\n" + " " * indent).join(texts)


def _default_complex(default: dt.dtype) -> dt.dtype:
    return dt.complex128 if default is dt.float64 else dt.complex64


def to_array(tensor) -> np.ndarray:
    """The tensor's values, or its edges where it will be summarised (bfloat16 as float32)."""
    from flambeau.tensor import interop

    values = interop.view_array(tensor.detach())
    if values.ndim and values.size > OPTIONS.threshold and OPTIONS.edgeitems:
        values = edges(values, OPTIONS.edgeitems)
    if tensor.dtype is dt.bfloat16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _history(tensor) -> list[str]:
    """grad_fn=<...> or requires_grad=True, if either applies."""
    try:
        node = tensor.grad_fn
    except RuntimeError:  # a view whose history an in-place write made meaningless
        return ["grad_fn=<Invalid>"]
    if node is not None:
        return [f"grad_fn=<{type(node).__name__}>"]
    return ["requires_grad=True"] if tensor.requires_grad else []


def _with_suffixes(text: str, suffixes: list[str], indent: int, apart: bool = False) -> str:
    """Append the suffixes, each on the last line if it fits there (the first on a new one if apart), and the closing bracket."""
    used = OPTIONS.linewidth if apart else len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > OPTIONS.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"
