"""torch.utils: data loading, checkpointing, TensorBoard."""

import importlib as _importlib

_LAZY = ("data", "checkpoint", "tensorboard", "training", "draw", "model_zoo", "benchmark", "dlpack", "_pytree", "cpp_extension")


def __getattr__(name: str):
    if name in _LAZY:
        return _importlib.import_module(f"flambeau.utils.{name}")
    raise AttributeError(f"module 'flambeau.utils' has no attribute {name!r}")
