"""What the emitter must know of a processor: vector width, masked memory operations."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A processor as the emitter sees it."""

    name: str
    vector_bytes: int  # of one register
    masks: bool  # lane-masked loads and stores are cheap for 1- to 8-byte elements


SCALAR = Target("scalar", 4, False)


@functools.cache
def host() -> Target:
    """The machine this process runs on."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512bw") and features.get("avx512vl"):
        return Target("avx512", 64, True)
    if features.get("avx2"):
        return Target("avx2", 32, False)
    return Target(platform.machine(), 16, False)
