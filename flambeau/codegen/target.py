"""What the emitter must know of a processor: vector width, masked memory operations."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass

from flambeau.support import config


@dataclass(frozen=True)
class Target:
    """A processor as the emitter sees it."""

    name: str
    vector_bytes: int  # of one register
    masks: bool  # lane-masked loads and stores are cheap for 1- to 8-byte elements
    permutes: int = 0  # floats that one instruction can choose from by lane; with 32, x * 2^n is one too (AVX-512)


LANE_BYTES = 64  # of the lanes that a sum of floats is kept in, whatever the registers' size
SCALAR = Target("scalar", 4, False)


@functools.cache
def features():
    """What this processor can do, in LLVM's words, less what config.vector_bits leaves out."""
    import llvmlite.binding as llvm

    found = llvm.get_host_cpu_features()
    if 0 < config.vector_bits < 512:
        found.update({name: False for name in found if name.startswith(("avx512", "avx10", "evex512"))})
    return found


@functools.cache
def host() -> Target:
    """The machine this process runs on."""
    have = features()
    if have.get("avx512f") and have.get("avx512bw") and have.get("avx512vl"):
        return Target("avx512", 64, True, 32)
    if have.get("avx2") and not 0 < config.vector_bits < 256:
        return Target("avx2", 32, False, 8)
    return Target(platform.machine(), 16, False)


@functools.cache
def l2_bytes() -> int:
    """Bytes of the second-level cache of one core; a small machine's where the system does not tell."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index2/size", encoding="ascii") as file:
            return int(file.read().strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return 512 << 10
