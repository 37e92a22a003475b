"""torch.amp: autocast and gradient scaling. Both only do something on GPUs, so here they are off, as in PyTorch on a CPU."""

from __future__ import annotations

import contextlib
import warnings

from flambeau.core import dtypes as dt


class autocast(contextlib.ContextDecorator):  # noqa: N801 - PyTorch's name
    """Lower precision inside a block. Without CUDA it is disabled with a warning; for the CPU it is not implemented.

    Source:   torch.amp.autocast
    """

    def __init__(self, device_type="cuda", dtype=None, enabled=True, cache_enabled=None):
        if not isinstance(device_type, str):  # torch.cuda.amp.autocast(enabled)
            device_type, enabled = "cuda", bool(device_type)
        if device_type == "cuda" and enabled:
            warnings.warn("User provided device_type of 'cuda', but CUDA is not available. Disabling", stacklevel=2)
            enabled = False
        elif device_type == "cpu" and enabled:
            raise NotImplementedError(
                "autocast('cpu') is not implemented: compute in bfloat16 by converting the model, net.to(torch.bfloat16)"
            )
        elif enabled:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device, self.fast_dtype, self._enabled = device_type, dtype or dt.bfloat16, enabled

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """False."""
    return False


def is_autocast_available(device_type: str) -> bool:
    """False: no device here computes under autocast."""
    return False


def is_autocast_cpu_enabled() -> bool:
    """False."""
    return False


def is_autocast_cache_enabled() -> bool:
    """What set_autocast_cache_enabled was last given; nothing is cast, and nothing kept."""
    return _cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Remembered; nothing is cast, and nothing kept."""
    global _cache
    _cache = bool(enabled)


_cache = True


def clear_autocast_cache() -> None:
    """Nothing is kept."""


def get_autocast_dtype(device_type: str):
    """The dtype autocast would compute in: float16 on CUDA, bfloat16 else.

    Source:   torch.get_autocast_dtype
    """
    return dt.float16 if device_type == "cuda" else dt.bfloat16


def get_autocast_gpu_dtype():
    """get_autocast_dtype("cuda")."""
    return get_autocast_dtype("cuda")


def get_autocast_cpu_dtype():
    """get_autocast_dtype("cpu")."""
    return get_autocast_dtype("cpu")


def custom_fwd(fwd=None, *, device_type="cuda", cast_inputs=None):
    """Marks a Function's forward; nothing is cast here."""
    return (lambda f: f) if fwd is None else fwd


def custom_bwd(bwd=None, *, device_type="cuda"):
    """Marks a Function's backward; nothing is cast here."""
    return (lambda f: f) if bwd is None else bwd


class GradScaler:
    """Loss scaling for float16 on GPUs; disabled here with a warning, so every call passes its argument on.

    Source:   torch.amp.GradScaler
    """

    def __init__(self, device="cuda", init_scale=65536.0, growth_factor=2.0, backoff_factor=0.5, growth_interval=2000,
                 enabled=True):  # fmt: skip
        if not isinstance(device, str):  # torch.cuda.amp.GradScaler(init_scale)
            device = "cuda"
        if enabled and device == "cuda":
            warnings.warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
            enabled = False
        if enabled:
            raise NotImplementedError(f"GradScaler({device!r}): scaling is not implemented; float32 and bfloat16 need none")
        self._enabled = enabled

    def scale(self, outputs):
        """outputs."""
        return outputs

    def unscale_(self, optimizer) -> None:
        """Nothing to undo."""

    def step(self, optimizer, *args, **kwargs):
        """optimizer.step()."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale=None) -> None:
        """Nothing to update."""

    def get_scale(self) -> float:
        """1.0."""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return self._enabled

    def state_dict(self) -> dict:
        """{}: nothing is kept while disabled."""
        return {}

    def load_state_dict(self, state_dict: dict) -> None:
        """Nothing to load while disabled."""
