"""LLVM's names of types, and its constants."""

from __future__ import annotations

import struct

from flambeau.core import dtypes as dt

SHORT = {"float": "f32", "double": "f64", "half": "f16", "i8": "i8", "i16": "i16", "i32": "i32", "i64": "i64"}


def llvm_type(dtype) -> str:
    """The LLVM type a value of dtype is computed in."""
    if dtype is dt.bool:
        return "i1"
    if dtype is dt.float32:
        return "float"
    if dtype is dt.float64:
        return "double"
    if dtype.kind in "iu":
        return f"i{8 * dtype.itemsize}"
    raise TypeError(f"emit: values of {dtype} are not computed in directly")


def memory_type(dtype) -> str:
    """The LLVM type a value of dtype has in memory."""
    if dtype is dt.bool:
        return "i8"
    if dtype is dt.float16:
        return "half"
    if dtype is dt.bfloat16:
        return "i16"
    if dtype.is_complex:
        return llvm_type(dtype.to_real())
    return llvm_type(dtype)


def literal(value, dtype) -> str:
    """A constant in LLVM's syntax."""
    if dtype is dt.bool:
        return "true" if value else "false"
    if dtype is dt.float32:
        try:
            value = struct.unpack("f", struct.pack("f", value))[0]
        except OverflowError:
            value = float("inf") if value > 0 else float("-inf")
    if dtype.is_floating_point:
        return "0x" + struct.pack(">d", value).hex().upper()
    return str(int(value))
