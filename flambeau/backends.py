"""torch.backends: switches of PyTorch's libraries. Those libraries are not here; the switches can be set and read."""

from __future__ import annotations

import types


class _Backend(types.SimpleNamespace):
    """Settings of one library."""

    def is_available(self) -> bool:
        return False

    def is_built(self) -> bool:
        return False

    def version(self):
        return None

    def flags(self, *args, **kwargs):
        from contextlib import nullcontext

        return nullcontext()


cudnn = _Backend(enabled=False, benchmark=False, deterministic=False, allow_tf32=False, benchmark_limit=10)
cuda = _Backend(matmul=types.SimpleNamespace(
    allow_tf32=False, allow_fp16_reduced_precision_reduction=False, allow_bf16_reduced_precision_reduction=False))  # fmt: skip
mps, mkl, mkldnn, openmp, opt_einsum = _Backend(), _Backend(), _Backend(), _Backend(), _Backend()
cuda.enable_flash_sdp = cuda.enable_mem_efficient_sdp = cuda.enable_math_sdp = lambda enabled: None
