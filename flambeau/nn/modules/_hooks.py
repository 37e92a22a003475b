"""Registered hooks: the removable handle, the global tables, and the hook-registering half of Module."""

import warnings
import weakref
from collections import OrderedDict

__all__ = ["GLOBAL", "HookMixin", "RemovableHandle"]


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away; a ``with`` block does so at its end."""

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        extras = () if extra_dict is None else extra_dict
        extras = (extras,) if isinstance(extras, dict) else extras
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extras)

    def remove(self):
        """Take the hook away; nothing happens if it is gone."""
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            table = ref()
            if table is not None:
                table.pop(self.id, None)

    def __getstate__(self):
        return self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref)

    def __setstate__(self, state):
        hooks, self.id, extras = state
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(OrderedDict() if d is None else d) for d in extras)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


def add_hook(table, hook, *, flags=(), prepend=False):
    """Put ``hook`` in ``table`` (first, if ``prepend``), mark it in each table of ``flags``; its handle."""
    handle = RemovableHandle(table, extra_dict=tuple(flags))
    table[handle.id] = hook
    for flag in flags:
        flag[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


class _GlobalHooks:
    """Hooks that every module runs, before its own."""

    def __init__(self):
        self.forward_pre = OrderedDict()
        self.forward = OrderedDict()
        self.forward_with_kwargs = OrderedDict()
        self.forward_always_called = OrderedDict()
        self.backward_pre = OrderedDict()
        self.backward = OrderedDict()
        self.is_full_backward = None
        self.buffer_registration = OrderedDict()
        self.module_registration = OrderedDict()
        self.parameter_registration = OrderedDict()

    def apply(self, table, module, name, value):
        """The value to register after every registration hook of ``table`` has seen it."""
        for hook in table.values():
            replaced = hook(module, name, value)
            if replaced is not None:
                value = replaced
        return value


GLOBAL = _GlobalHooks()


def register_module_forward_pre_hook(hook):
    """Run ``hook(module, args)`` before the forward of every module."""
    return add_hook(GLOBAL.forward_pre, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Run ``hook(module, args, output)`` after the forward of every module."""
    flags = [GLOBAL.forward_with_kwargs] * with_kwargs
    flags += [GLOBAL.forward_always_called] * always_call
    return add_hook(GLOBAL.forward, hook, flags=flags)


def register_module_full_backward_pre_hook(hook):
    """Run ``hook(module, grad_output)`` before the backward of every module."""
    return add_hook(GLOBAL.backward_pre, hook)


def register_module_backward_hook(hook):
    """Run ``hook(module, grad_input, grad_output)`` on the last node of every module (older form)."""
    return _add_global_backward(hook, full=False)


def register_module_full_backward_hook(hook):
    """Run ``hook(module, grad_input, grad_output)`` when every module's input gradients are known."""
    return _add_global_backward(hook, full=True)


def _add_global_backward(hook, full):
    if GLOBAL.is_full_backward is (not full):
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a "
            "global Module hook. Please use only one of them."
        )
    GLOBAL.is_full_backward = full
    return add_hook(GLOBAL.backward, hook)


def register_module_buffer_registration_hook(hook):
    """Run ``hook(module, name, buffer)`` when a buffer is registered; what it returns takes its place."""
    return add_hook(GLOBAL.buffer_registration, hook)


def register_module_module_registration_hook(hook):
    """Run ``hook(module, name, submodule)`` when a submodule is registered."""
    return add_hook(GLOBAL.module_registration, hook)


def register_module_parameter_registration_hook(hook):
    """Run ``hook(module, name, param)`` when a parameter is registered."""
    return add_hook(GLOBAL.parameter_registration, hook)


class HookMixin:
    """The methods of Module that register hooks around forward and backward, and the call that runs them."""

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Run ``hook(module, args)`` before forward; what it returns replaces the arguments.

        Args: prepend: before the hooks already there; with_kwargs: call ``hook(module, args, kwargs)``.
        """
        flags = [self._forward_pre_hooks_with_kwargs] * with_kwargs
        return add_hook(self._forward_pre_hooks, hook, flags=flags, prepend=prepend)

    def register_forward_hook(
        self, hook, *, prepend=False, with_kwargs=False, always_call=False
    ):
        """Run ``hook(module, args, output)`` after forward; what it returns replaces the output.

        Args: prepend: before the hooks already there; with_kwargs: call ``hook(module, args, kwargs,
        output)``; always_call: run it also when forward raised.
        """
        flags = [self._forward_hooks_with_kwargs] * with_kwargs
        flags += [self._forward_hooks_always_called] * always_call
        return add_hook(self._forward_hooks, hook, flags=flags, prepend=prepend)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Run ``hook(module, grad_output)`` before backward; what it returns replaces ``grad_output``."""
        return add_hook(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Run ``hook(module, grad_input, grad_output)``; what it returns replaces ``grad_input``."""
        self._claim_backward_hooks(full=True)
        return add_hook(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook):
        """Run ``hook(module, grad_input, grad_output)`` on the node that made the output (older form)."""
        self._claim_backward_hooks(full=False)
        return add_hook(self._backward_hooks, hook)

    def _claim_backward_hooks(self, full):
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a "
                "single Module. Please use only one of them."
            )
        self._is_full_backward_hook = full

    def _get_backward_hooks(self):
        """(full hooks, older hooks) that apply to this module, global ones first."""
        tables = ((GLOBAL.backward, GLOBAL.is_full_backward),
                  (self._backward_hooks, self._is_full_backward_hook))  # fmt: skip
        full = [h for table, is_full in tables if is_full is True for h in table.values()]
        older = [h for table, is_full in tables if is_full is False for h in table.values()]
        return full, older

    def _get_backward_pre_hooks(self):
        return [*GLOBAL.backward_pre.values(), *self._backward_pre_hooks.values()]

    # The call with hooks -----------------------------------------------------

    def _call_with_hooks(self, args, kwargs):
        already_run = set()
        result = None
        try:
            args, kwargs = self._run_forward_pre_hooks(args, kwargs)
            boundary, args = self._open_backward(args)
            result = self.forward(*args, **kwargs)
            for key, hook, with_kwargs, always in self._forward_hook_rows():
                if always:
                    already_run.add(key)
                replaced = _call_forward_hook(hook, self, args, kwargs, result, with_kwargs)
                result = result if replaced is None else replaced
            return self._close_backward(boundary, args, result)
        except Exception:
            self._run_always_called(already_run, args, kwargs, result)
            raise

    def _forward_hook_rows(self):
        for key, hook in list(GLOBAL.forward.items()):
            yield ("global", key), hook, key in GLOBAL.forward_with_kwargs, (
                key in GLOBAL.forward_always_called
            )
        for key, hook in list(self._forward_hooks.items()):
            yield ("own", key), hook, key in self._forward_hooks_with_kwargs, (
                key in self._forward_hooks_always_called
            )

    def _run_forward_pre_hooks(self, args, kwargs):
        rows = [(hook, False) for hook in GLOBAL.forward_pre.values()]
        rows += [
            (hook, key in self._forward_pre_hooks_with_kwargs)
            for key, hook in self._forward_pre_hooks.items()
        ]
        for hook, with_kwargs in rows:
            if with_kwargs:
                replaced = hook(self, args, kwargs)
                if replaced is None:
                    continue
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        "forward pre-hook must return None or a tuple "
                        f"of (new_args, new_kwargs), but got {replaced}."
                    )
                args, kwargs = replaced
            else:
                replaced = hook(self, args)
                if replaced is not None:
                    args = replaced if isinstance(replaced, tuple) else (replaced,)
        return args, kwargs

    def _run_always_called(self, already_run, args, kwargs, result):
        for key, hook, with_kwargs, always in self._forward_hook_rows():
            if not always or key in already_run:
                continue
            try:
                replaced = _call_forward_hook(hook, self, args, kwargs, result, with_kwargs)
                result = result if replaced is None else replaced
            except Exception as error:  # noqa: BLE001 - the first error is the one to show
                which = "global module" if key[0] == "global" else "module"
                warnings.warn(
                    f"{which} forward hook with ``always_call=True`` raised an exception "
                    f"that was silenced as another error was raised in forward: {error}",
                    stacklevel=2,
                )

    def _open_backward(self, args):
        """The boundary that will watch this call's gradients (None if no hook wants it), and the arguments."""
        full, _ = self._get_backward_hooks()
        pre = self._get_backward_pre_hooks()
        if not (full or pre):
            return None, args
        from flambeau.nn.modules._backward import BackwardBoundary

        boundary = BackwardBoundary(self, full, pre)
        return boundary, boundary.watch_inputs(args)

    def _close_backward(self, boundary, args, result):
        if boundary is not None:
            result = boundary.watch_outputs(result)
        _, older = self._get_backward_hooks()
        if older:
            from flambeau.nn.modules._backward import hook_last_node

            hook_last_node(self, older, args, result)
        return result


def _call_forward_hook(hook, module, args, kwargs, result, with_kwargs):
    if with_kwargs:
        return hook(module, args, kwargs, result)
    return hook(module, args, result)
