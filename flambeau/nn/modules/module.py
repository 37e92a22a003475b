"""Module: the base of every network. Tree and attributes here; hooks, state and conversion in its mixins."""

import inspect
from collections import OrderedDict

from flambeau.nn._base import Tensor, typename
from flambeau.nn.modules._convert import ConvertMixin
from flambeau.nn.modules._hooks import (
    GLOBAL,
    HookMixin,
    RemovableHandle,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from flambeau.nn.modules._state import EXTRA_STATE, StateMixin, _IncompatibleKeys
from flambeau.nn.modules._tree import TreeMixin
from flambeau.nn.parameter import Buffer, Parameter

__all__ = [
    "EXTRA_STATE", "Module", "RemovableHandle", "_IncompatibleKeys",
    "register_module_backward_hook", "register_module_buffer_registration_hook",
    "register_module_forward_hook", "register_module_forward_pre_hook",
    "register_module_full_backward_hook", "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook", "register_module_parameter_registration_hook",
]  # fmt: skip

_TABLES = (
    ("_parameters", dict),
    ("_buffers", dict),
    ("_non_persistent_buffers_set", set),
    ("_backward_pre_hooks", OrderedDict),
    ("_backward_hooks", OrderedDict),
    ("_forward_hooks", OrderedDict),
    ("_forward_hooks_with_kwargs", OrderedDict),
    ("_forward_hooks_always_called", OrderedDict),
    ("_forward_pre_hooks", OrderedDict),
    ("_forward_pre_hooks_with_kwargs", OrderedDict),
    ("_state_dict_hooks", OrderedDict),
    ("_state_dict_pre_hooks", OrderedDict),
    ("_load_state_dict_pre_hooks", OrderedDict),
    ("_load_state_dict_post_hooks", OrderedDict),
    ("_modules", dict),
)

_ATTRIBUTES = ("_parameters", "_modules", "_buffers")


class _Registered:
    """Put on a class when `__getattr__` has found a name in a table: the next time the table is asked first.

    Looking in vain for an attribute, as Python does before it calls `__getattr__`, takes longer than a small op. What an
    instance or a subclass has under the name goes before this, and where the table has no such name, `__getattr__` comes after.
    """

    __slots__ = ("name", "table")

    def __init__(self, name, table):
        self.name, self.table = name, table

    def __get__(self, module, cls):
        try:
            return module.__dict__[self.table][self.name]
        except (KeyError, AttributeError):
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {self.name!r}") from None


# The tables themselves, so that a call without hooks looks at four names.
_FORWARD_PRE, _FORWARD = GLOBAL.forward_pre, GLOBAL.forward
_BACKWARD_PRE, _BACKWARD = GLOBAL.backward_pre, GLOBAL.backward


class Module(HookMixin, StateMixin, ConvertMixin, TreeMixin):
    """Base class of networks: parameters, buffers and submodules are what is assigned to its attributes.

    Subclasses call ``super().__init__()`` first and define ``forward``.
    """

    dump_patches = False
    call_super_init = False
    _version = 1
    _compiled_call_impl = None
    training: bool

    def __init__(self, *args, **kwargs):
        if not self.call_super_init and kwargs:
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                f"'{next(iter(kwargs))}'"
            )
        if not self.call_super_init and args:
            raise TypeError(
                f"{type(self).__name__}.__init__() takes 1 positional argument but "
                f"{len(args) + 1} were given"
            )
        own = self.__dict__
        own["training"] = True
        own["_is_full_backward_hook"] = None
        for name, make in _TABLES:
            own[name] = make()
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input):
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    # Calling -----------------------------------------------------------------

    def __call__(self, *args, **kwargs):
        own = self.__dict__
        if (
            own["_forward_hooks"] or own["_forward_pre_hooks"]
            or own["_backward_hooks"] or own["_backward_pre_hooks"]
            or _FORWARD_PRE or _FORWARD or _BACKWARD_PRE or _BACKWARD
            or self._compiled_call_impl is not None
        ):  # fmt: skip
            return self._wrapped_call_impl(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def _wrapped_call_impl(self, *args, **kwargs):
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        return self._call_impl(*args, **kwargs)

    def _call_impl(self, *args, **kwargs):
        return self._call_with_hooks(args, kwargs)

    def compile(self, *args, **kwargs):
        """Compile this module's call with ``flambeau.compile``, in place."""
        import flambeau

        if not hasattr(flambeau, "compile"):
            raise NotImplementedError(
                "Module.compile: this build of flambeau has no flambeau.compile; call the module "
                "as it is"
            )
        self._compiled_call_impl = flambeau.compile(self._call_impl, *args, **kwargs)

    # Attributes --------------------------------------------------------------

    def __getattr__(self, name):
        own = self.__dict__
        for table in _ATTRIBUTES if "_parameters" in own else ():
            if name in own[table]:
                if not hasattr(type(self), name):
                    setattr(type(self), name, _Registered(name, table))
                return own[table][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name, value):
        own = self.__dict__
        if isinstance(value, Parameter):
            self._require_init("parameters", "_parameters")
            self._forget(name, "_buffers", "_modules")
            self.register_parameter(name, value)
        elif name in own.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._require_init("module", "_modules")
            self._forget(name, "_parameters", "_buffers")
            own["_modules"][name] = GLOBAL.apply(GLOBAL.module_registration, self, name, value)
        elif name in own.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            own["_modules"][name] = GLOBAL.apply(GLOBAL.module_registration, self, name, value)
        elif isinstance(value, Buffer) or name in own.get("_buffers", ()):
            self._set_buffer(name, value)
        else:
            super().__setattr__(name, value)

    def _set_buffer(self, name, value):
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"cannot assign '{typename(value)}' as buffer '{name}' "
                "(torch.nn.Buffer, torch.Tensor or None expected)"
            )
        if isinstance(value, Buffer):
            self._require_init("buffer", "_buffers")
            self._forget(name, "_parameters", "_modules")
            self.register_buffer(name, value, value.persistent)
        else:
            self._buffers[name] = GLOBAL.apply(GLOBAL.buffer_registration, self, name, value)

    def _require_init(self, what, table):
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")

    def _forget(self, name, *tables):
        own = self.__dict__
        own.pop(name, None)
        for table in tables:
            own[table].pop(name, None)
        own["_non_persistent_buffers_set"].discard(name)

    def __delattr__(self, name):
        for table in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(table, ()):
                del self.__dict__[table][name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self):
        cls = type(self)
        names = [n for n in dir(cls) if not isinstance(inspect.getattr_static(cls, n, None), _Registered)]
        names += self.__dict__
        names += [*self._parameters, *self._modules, *self._buffers]
        return sorted(name for name in set(names) if not name[:1].isdigit())

    def __getstate__(self):
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state):
        self.__dict__.update(state)
        for name, make in _TABLES:
            self.__dict__.setdefault(name, make())
        self.__dict__.setdefault("_is_full_backward_hook", None)

    # Registering -------------------------------------------------------------

    def register_buffer(self, name, tensor, persistent=True):
        """Add a tensor that is state but does not train.

        Args: persistent: whether ``state_dict`` holds it.
        """
        self._require_init("buffer", "_buffers")
        self._check_name("buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = GLOBAL.apply(GLOBAL.buffer_registration, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name, param):
        """Add a parameter; None reserves the name."""
        self._require_init("parameter", "_parameters")
        self._check_name("parameter", name, "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            param = GLOBAL.apply(GLOBAL.parameter_registration, self, name, param)
        self._parameters[name] = param

    def add_module(self, name, module):
        """Add a submodule; None reserves the name."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'module name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError('module name can\'t be empty string ""')
        self._modules[name] = GLOBAL.apply(GLOBAL.module_registration, self, name, module)

    def register_module(self, name, module):
        """Another name of ``add_module``."""
        self.add_module(name, module)

    def _check_name(self, kind, name, table):
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in self.__dict__[table]:
            raise KeyError(f"attribute '{name}' already exists")

    # Showing -----------------------------------------------------------------

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """What the repr shows between the parentheses; override to show something."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [
            f"({name}): {_indent_rest(repr(module))}" for name, module in self._modules.items()
        ]
        if not extra_lines and not child_lines:
            return self._get_name() + "()"
        if len(extra_lines) == 1 and not child_lines:
            return f"{self._get_name()}({extra_lines[0]})"
        return self._get_name() + "(\n  " + "\n  ".join(extra_lines + child_lines) + "\n)"


def _indent_rest(text):
    """``text`` with every line but the first two spaces further in."""
    return text.replace("\n", "\n  ")
