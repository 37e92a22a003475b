"""torch.cuda on a build without CUDA: what programs ask before they choose a device, and clear errors for the rest.

Kernels are emitted and assembled for NVIDIA GPUs (see codegen/ptx.py), but no runtime launches them yet.
"""

from __future__ import annotations

from contextlib import contextmanager

NONE = "Torch not compiled with CUDA enabled: this flambeau has no CUDA device support yet"


def is_available() -> bool:
    """False: there is no CUDA runtime here yet."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def _nothing(name: str):
    def call(*args, **kwargs):
        return None

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"torch.cuda.{name}: nothing to do without CUDA."
    return call


def _zero(name: str):
    def call(device=None) -> int:
        return 0

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"torch.cuda.{name}: 0 bytes without CUDA."
    return call


def _unavailable(name: str):
    def call(*args, **kwargs):
        raise AssertionError(f"torch.cuda.{name}: {NONE}")

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"torch.cuda.{name}: needs CUDA."
    return call


for _name in ("empty_cache", "manual_seed", "manual_seed_all", "seed", "seed_all", "reset_peak_memory_stats", "ipc_collect",
              "reset_max_memory_allocated", "init"):  # fmt: skip
    globals()[_name] = _nothing(_name)
for _name in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved", "memory_cached"):
    globals()[_name] = _zero(_name)
for _name in ("current_device", "set_device", "synchronize", "get_device_name", "get_device_capability",
              "get_device_properties", "current_stream", "default_stream", "stream", "mem_get_info", "Stream", "Event",
              "CUDAGraph", "get_rng_state", "set_rng_state", "memory_summary", "memory_stats", "FloatTensor", "LongTensor",
              "HalfTensor", "DoubleTensor", "IntTensor", "ByteTensor", "BoolTensor"):  # fmt: skip
    globals()[_name] = _unavailable(_name)


def get_rng_state_all() -> list:
    """[]: no devices."""
    return []


def set_rng_state_all(new_states) -> None:
    """No devices: nothing to set."""


@contextmanager
def device(device):
    """A device for the block; only None and negative indices mean something without CUDA."""
    if device is not None and not (isinstance(device, int) and device < 0):
        raise AssertionError(f"torch.cuda.device: {NONE}")
    yield


class OutOfMemoryError(RuntimeError):
    """Raised by CUDA allocations, which do not happen here."""


class nvtx:  # noqa: N801 - PyTorch's name
    """Markers for NVIDIA's profiler: nothing without it."""

    range_push = staticmethod(_nothing("range_push"))
    range_pop = staticmethod(_nothing("range_pop"))
    mark = staticmethod(_nothing("mark"))


def __getattr__(name: str):
    if name == "amp":
        from flambeau import amp

        return amp
    raise AttributeError(f"module 'flambeau.cuda' has no attribute {name!r}: {NONE}")
