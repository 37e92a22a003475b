"""Switches of recording: no_grad, enable_grad, set_grad_enabled, inference_mode, anomaly mode."""

from __future__ import annotations

import functools
import inspect
import warnings

from flambeau.ops.record import hooks, state


class _Mode:
    """Context manager and decorator; also decorates generators and classes' methods."""

    def __enter__(self):
        raise NotImplementedError

    def __exit__(self, *exc):
        raise NotImplementedError

    def clone(self):
        return self.__class__()

    def __call__(self, fn):
        if inspect.isclass(fn):
            fn.__init__ = self(fn.__init__)
            return fn
        if inspect.isgeneratorfunction(fn):
            return self._wrap_generator(fn)

        @functools.wraps(fn)
        def wrapped(*args, **kwargs):
            with self.clone():
                return fn(*args, **kwargs)

        return wrapped

    def _wrap_generator(self, fn):
        """The mode holds while the generator runs, not while its user does."""

        @functools.wraps(fn)
        def wrapped(*args, **kwargs):
            gen = fn(*args, **kwargs)
            sent = None
            try:
                while True:
                    with self.clone():
                        try:
                            item = gen.send(sent)
                        except StopIteration as stop:
                            return stop.value
                    sent = yield item
            finally:
                gen.close()

        return wrapped


class no_grad(_Mode):  # noqa: N801 - PyTorch's name
    """Nothing inside is recorded; results do not require grad. Context manager or decorator."""

    def __new__(cls, orig_func=None):
        self = object.__new__(cls)
        return self if orig_func is None else self(orig_func)

    def __init__(self, orig_func=None):
        pass

    def __enter__(self):
        self.before, state.grad = state.grad, False

    def __exit__(self, *exc):
        state.grad = self.before


class enable_grad(no_grad):  # noqa: N801
    """Record again inside a `no_grad` block."""

    def __enter__(self):
        self.before, state.grad = state.grad, True


class set_grad_enabled(_Mode):  # noqa: N801
    """Switch recording on or off, at once or for a block."""

    def __init__(self, mode: bool):
        self.mode = bool(mode)
        self.before, state.grad = state.grad, self.mode

    def __call__(self, fn):
        state.grad = self.before
        return super().__call__(fn)

    def __enter__(self):
        state.grad = self.mode

    def __exit__(self, *exc):
        state.grad = self.before

    def clone(self):
        return self.__class__(self.mode)


class inference_mode(_Mode):  # noqa: N801
    """Like no_grad, for code whose results never meet autograd."""

    def __new__(cls, mode=True):
        self = object.__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        return self

    def __init__(self, mode: bool = True):
        self.mode = bool(mode)

    def __enter__(self):
        self.before = state.grad, state.inference
        state.grad, state.inference = not self.mode and state.grad, self.mode

    def __exit__(self, *exc):
        state.grad, state.inference = self.before

    def clone(self):
        return self.__class__(self.mode)


def is_grad_enabled() -> bool:
    """True if operations are being recorded (in this thread)."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """True inside inference_mode."""
    return state.inference


class detect_anomaly:  # noqa: N801
    """Within the block, a failing backward shows its forward call, and a NaN gradient is an error."""

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled "
            "for debugging.",
            stacklevel=2,
        )

    def __enter__(self):
        hooks.watched = True
        self.before, state.anomaly = state.anomaly, True

    def __exit__(self, *exc):
        state.anomaly = self.before


class set_detect_anomaly:  # noqa: N801
    """Switch anomaly mode on or off, at once or for a block."""

    def __init__(self, mode: bool, check_nan: bool = True):
        hooks.watched = True
        self.before, state.anomaly = state.anomaly, bool(mode)

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        state.anomaly = self.before


def is_anomaly_enabled() -> bool:
    """True while anomaly mode is on."""
    return state.anomaly
