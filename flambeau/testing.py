"""Comparing results in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Number

from flambeau.core import dtypes as dt
from flambeau.tensor.interop import as_tensor
from flambeau.tensor.tensor import Tensor

# (relative, absolute) tolerance per dtype; 0 for what is exact.
TOLERANCES = {
    dt.float16: (1e-3, 1e-5), dt.bfloat16: (1.6e-2, 1e-5), dt.float32: (1.3e-6, 1e-5), dt.float64: (1e-7, 1e-7),
    dt.complex64: (1.3e-6, 1e-5), dt.complex128: (1e-7, 1e-7),
}  # fmt: skip

__all__ = ["assert_allclose", "assert_close"]


def assert_close(actual, expected, *, allow_subclasses=True, rtol=None, atol=None, equal_nan=False, check_device=True,
                 check_dtype=True, check_layout=True, check_stride=False, msg: str | Callable | None = None) -> None:  # fmt: skip
    """Raise AssertionError unless |actual - expected| <= atol + rtol |expected| everywhere.

    Compares tensors, numbers, arrays, and sequences and mappings of them. rtol and atol are given together, or follow the
    dtypes: the looser of the two sides' (float32: 1.3e-6 and 1e-5).
    Raises:   AssertionError where values, shapes or (unless switched off) dtypes differ; ValueError for half a tolerance;
              TypeError for what cannot be compared
    Source:   torch.testing.assert_close
    """
    if (rtol is None) != (atol is None):
        raise ValueError(f"rtol and atol must both be specified or both be unspecified, got rtol={rtol} and atol={atol}.")
    problem = difference(actual, expected, "", rtol, atol, equal_nan, check_dtype, check_stride, allow_subclasses)
    if problem:
        raise AssertionError(msg(problem) if callable(msg) else msg if msg is not None else problem)


def difference(actual, expected, where: str, rtol, atol, equal_nan, check_dtype, check_stride, subclasses) -> str:
    """What keeps two (nested) values from being close, or ''. `where` is the place in the containers."""
    rest = rtol, atol, equal_nan, check_dtype, check_stride, subclasses
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            return f"The keys of the mappings do not match: {sorted(map(str, set(actual) ^ set(expected)))}{where}"
        pairs = [(f"[{key!r}]", actual[key], expected[key]) for key in actual]
    elif all(isinstance(v, Sequence) and not isinstance(v, str) for v in (actual, expected)):
        if len(actual) != len(expected):
            return f"The length of the sequences mismatch: {len(actual)} != {len(expected)}{where}"
        pairs = [(f"[{i}]", *p) for i, p in enumerate(zip(actual, expected, strict=True))]
    else:
        return leaf_difference(actual, expected, where, *rest)
    found = (difference(a, e, f"{where or ' at '}{key}", *rest) for key, a, e in pairs)
    return next(filter(None, found), "")


def leaf_difference(actual, expected, where, rtol, atol, equal_nan, check_dtype, check_stride, subclasses) -> str:
    """The same for two tensors or numbers."""
    if actual is None and expected is None:
        return ""
    if not subclasses and type(actual) is not type(expected):
        raise TypeError(f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.")
    scalars = all(isinstance(v, Number) and not isinstance(v, Tensor) for v in (actual, expected))
    try:
        a, e = (v.detach() if isinstance(v, Tensor) else as_tensor(v) for v in (actual, expected))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
        ) from error
    if a.shape != e.shape:
        return f"The values for attribute 'shape' do not match: {a.shape} != {e.shape}{where}."
    if check_dtype and not scalars and a.dtype is not e.dtype:
        return f"The values for attribute 'dtype' do not match: {a.dtype} != {e.dtype}{where}."
    if check_stride and a.stride() != e.stride():
        return f"The values for attribute 'stride()' do not match: {a.stride()} != {e.stride()}{where}."
    if rtol is None:
        rtol, atol = (max(TOLERANCES.get(t.dtype, (0.0, 0.0))[k] for t in (a, e)) for k in (0, 1))
    common = dt.promote_types(a.dtype, e.dtype)
    wide = dt.complex128 if common.is_complex else dt.float64 if common.is_floating_point or common is dt.bool else dt.int64
    a, e = a.to(wide), e.to(wide)
    bad = ~a.isclose(e, rtol=rtol, atol=atol, equal_nan=equal_nan)
    count = int(bad.sum())
    if not count:
        return ""
    off = (a - e).abs()[bad]
    size = e.abs()[bad]
    if scalars:
        return f"Scalars are not close{where}!\n\nExpected {expected} but got {actual}."
    kind = "close" if rtol or atol else "equal"
    return (
        f"Tensor-likes are not {kind}{where}!\n\nMismatched elements: {count} / {bad.numel()} ({100 * count / bad.numel():.1f}%)\n"
        f"Greatest absolute difference: {off.max().item()} (up to {atol} allowed)\n"
        f"Greatest relative difference: {(off / size).max().item()} (up to {rtol} allowed)"
    )


def assert_allclose(actual, expected, rtol=None, atol=None, equal_nan=True, msg="") -> None:
    """assert_close on anything as_tensor takes, dtypes free and NaNs equal, as older programs call it."""
    expected = as_tensor(expected)
    actual = as_tensor(actual, dtype=expected.dtype)
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)
