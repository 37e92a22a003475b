"""skip_init: a module without its initialisation."""

import inspect

from flambeau.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls, *args, **kwargs):
    """A ``module_cls(*args, **kwargs)`` whose parameters are left unset, and the random stream untouched.

    Errors: RuntimeError if it is no Module or takes no ``device``.
    """
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    final_device = kwargs.pop("device", "cpu")
    with _Uninitialised():
        made = module_cls(*args, **kwargs)
    return made.to_empty(device=final_device)


class _Uninitialised:
    """Within it, the drawing functions of nn.init leave their tensor as it is."""

    def __enter__(self):
        from flambeau.nn import init

        init.SKIPPING.append(True)

    def __exit__(self, *exc):
        from flambeau.nn import init

        init.SKIPPING.pop()
