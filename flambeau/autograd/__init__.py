"""Automatic differentiation: the tape (graph), the engine, grad modes, Function, checks."""

import importlib as _importlib


def __getattr__(name: str):
    home = _HOMES.get(name)
    if home is not None:
        return getattr(_importlib.import_module(f"flambeau.autograd.{home}"), name)
    if name in ("functional", "graph", "function", "forward_ad", "profiler"):
        return _importlib.import_module(f"flambeau.autograd.{name}")
    raise AttributeError(f"module 'flambeau.autograd' has no attribute {name!r}: it is not implemented (yet)")


_HOMES = {
    "backward": "engine", "grad": "engine", "Function": "function", "gradcheck": "checks",
    "gradgradcheck": "checks", "no_grad": "modes", "enable_grad": "modes", "set_grad_enabled": "modes",
    "inference_mode": "modes", "detect_anomaly": "modes", "set_detect_anomaly": "modes",
    "is_anomaly_enabled": "modes", "Variable": "variable", "checkpoint": "checkpoint",
}  # fmt: skip
