"""Process-wide switches of the torch namespace, and what programs call once at their start."""

from __future__ import annotations

import os as _os

from flambeau.core import dtypes as _dt

_deterministic = _only_warned = False
_precision = "highest"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Every op here is deterministic for any number of threads; the switch is remembered.

    Source:   torch.use_deterministic_algorithms
    """
    global _deterministic, _only_warned
    _deterministic, _only_warned = bool(mode), bool(mode and warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms was last given."""
    return _deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """True if use_deterministic_algorithms was last given warn_only."""
    return _only_warned


def get_deterministic_debug_mode() -> int:
    """0 (off), 1 (warn) or 2 (raise), as use_deterministic_algorithms was last called.

    Source:   torch.get_deterministic_debug_mode
    """
    return (1 if _only_warned else 2) if _deterministic else 0


def set_deterministic_debug_mode(debug_mode) -> None:
    """use_deterministic_algorithms by 0 or "default", 1 or "warn", 2 or "error".

    Source:   torch.set_deterministic_debug_mode
    """
    names = ("default", "warn", "error")
    if debug_mode not in names and debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, 0, 1, 2, but got {debug_mode!r}")
    level = names.index(debug_mode) if debug_mode in names else debug_mode
    use_deterministic_algorithms(level > 0, warn_only=level == 1)


def set_float32_matmul_precision(precision: str) -> None:
    """float32 products are always computed in float32; the setting is remembered.

    Source:   torch.set_float32_matmul_precision
    """
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"float32 matmul precision must be 'highest', 'high' or 'medium', got {precision!r}")
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision was last given."""
    return _precision


def set_default_tensor_type(t) -> None:
    """The default dtype by a tensor type's name.

    Source:   torch.set_default_tensor_type
    """
    name = t if isinstance(t, str) else f"torch.{getattr(t, '__name__', t)}"
    kinds = {"FloatTensor": _dt.float32, "DoubleTensor": _dt.float64, "HalfTensor": _dt.float16, "BFloat16Tensor": _dt.bfloat16}
    kind = kinds.get(name.rpartition(".")[2])
    if kind is None or ".cuda." in name:
        raise TypeError(f"set_default_tensor_type: invalid type {name}")
    _dt.set_default_dtype(kind)


def set_num_interop_threads(num: int) -> None:
    """There is one pool of threads; see set_num_threads."""
    if num < 1:
        raise RuntimeError("set_num_interop_threads expects a positive integer")


def get_num_interop_threads() -> int:
    """1: ops run one after another."""
    return 1


def set_flush_denormal(mode: bool) -> bool:
    """False: denormal numbers are always computed."""
    return not mode


def set_warn_always(b: bool) -> None:
    """Python's warnings filters decide how often a warning shows."""


def is_warn_always_enabled() -> bool:
    """False: see set_warn_always."""
    return False


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Anomaly detection on or off; see autograd.set_detect_anomaly."""
    from flambeau.autograd import set_detect_anomaly

    set_detect_anomaly(mode)


def is_anomaly_enabled() -> bool:
    """True while anomaly detection is on."""
    from flambeau.ops.record import state

    return bool(state.anomaly)


def _assert(condition, message) -> None:
    """assert condition, message."""
    assert condition, message  # noqa: S101 - that is the function


def _check(condition, message=None) -> None:
    """RuntimeError unless condition."""
    if not condition:
        raise RuntimeError("Expected cond to be True" if message is None else message())


def _check_is_size(i, message=None, *, max=None) -> None:
    """RuntimeError for a negative number, or one above max."""
    _check(i >= 0 and (max is None or i <= max), message)


def _shape_as_tensor(t):
    """A tensor's sizes as a tensor."""
    from flambeau.tensor.interop import tensor

    return tensor(list(t.shape), dtype=_dt.int64)


# Sizes are plain numbers here: what PyTorch has for symbolic ones is Python's own.
class SymInt:
    """A symbolic whole number: there are none here, and isinstance says so."""


class SymFloat:
    """A symbolic number: there are none here, and isinstance says so."""


class SymBool:
    """A symbolic truth value: there are none here, and isinstance says so."""


def sym_int(a) -> int:
    """a as an int, cut towards 0."""
    return int(a)


def sym_float(a) -> float:
    """a as a float."""
    return float(a)


def sym_not(a) -> bool:
    """not a."""
    return not a


def sym_max(a, b):
    """The greater; a float if one of them is."""
    return type(a + b)(max(a, b))


def sym_min(a, b):
    """The smaller; a float if one of them is."""
    return type(a + b)(min(a, b))


def sym_ite(b, t, f):
    """t if b else f."""
    return t if b else f


def get_device_module(device=None):
    """The module of a device type."""
    import importlib

    return importlib.import_module(f"flambeau.{str(device or 'cpu').partition(':')[0]}")


def cpu_count() -> int:
    """Cores of this machine."""
    return _os.cpu_count() or 1
