"""Containers of parameters: ParameterList and ParameterDict."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from flambeau.nn._base import Tensor, typename
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["ParameterDict", "ParameterList"]


def _describe(value, kind_of):
    """``Parameter containing: [torch.float32 of size 2x3]``, or the type's name of what is no tensor."""
    if not isinstance(value, Tensor):
        return "Object of type: " + type(value).__name__
    size = "x".join(str(n) for n in value.size())
    device = "" if value.device.type == "cpu" else f" ({value.device})"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    return f"{kind} containing: [{kind_of(value)} of size {size}{device}]"


def _as_parameter(value):
    """Plain tensors that are put in a container become Parameters."""
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return Parameter(value)
    return value


class _ReprLines(Module):
    def _lines(self):
        raise NotImplementedError

    def extra_repr(self):
        return "\n".join(f"  ({key}): {text}" for key, text in self._lines())


class ParameterList(_ReprLines):
    """A list of parameters (and of whatever else is put in it); tensors become Parameters."""

    def __init__(self, values=None):
        super().__init__()
        self._size = 0
        if values is not None:
            self += values

    def _get_abs_string_index(self, idx):
        from flambeau.nn.modules.container import wrap_index

        return str(wrap_index(idx, len(self)))

    def __getitem__(self, idx):
        if isinstance(idx, slice):
            out = type(self)()
            for i in range(len(self))[idx]:
                out.append(self[i])
            return out
        return getattr(self, self._get_abs_string_index(idx))

    def __setitem__(self, idx, param):
        setattr(self, self._get_abs_string_index(idx), _as_parameter(param))

    def __len__(self):
        return self._size

    def __iter__(self):
        return iter(self[i] for i in range(len(self)))

    def __iadd__(self, parameters):
        return self.extend(parameters)

    def __dir__(self):
        return [key for key in super().__dir__() if not key.isdigit()]

    def append(self, value):
        """Add a value at the end."""
        at = len(self)
        self._size += 1
        self[at] = value
        return self

    def extend(self, values):
        """Add every value of an iterable at the end."""
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(
                "ParameterList.extend should be called with an "
                "iterable, but got " + type(values).__name__
            )
        for value in values:
            self.append(value)
        return self

    def _lines(self):
        return ((i, _describe(p, lambda t: t.dtype)) for i, p in enumerate(self))

    def __call__(self, *args, **kwargs):
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(_ReprLines):
    """A dict of parameters (and of whatever else is put in it), in order of insertion."""

    def __init__(self, parameters=None):
        super().__init__()
        self._keys = {}
        if parameters is not None:
            self.update(parameters)

    def _key_to_attr(self, key):
        if not isinstance(key, str):
            raise TypeError(
                "Index given to ParameterDict cannot be used as a key as it is "
                f"not a string (type is '{type(key).__name__}'). Open an issue on "
                "github if you need non-string keys."
            )
        return key

    def __getitem__(self, key):
        return getattr(self, self._key_to_attr(key))

    def __setitem__(self, key, value):
        attribute = self._key_to_attr(key)
        self._keys[key] = None
        setattr(self, attribute, _as_parameter(value))

    def __delitem__(self, key):
        del self._keys[key]
        delattr(self, self._key_to_attr(key))

    def __len__(self):
        return len(self._keys)

    def __iter__(self):
        return iter(self._keys)

    def __reversed__(self):
        return reversed(list(self._keys))

    def __contains__(self, key):
        return key in self._keys

    def copy(self):
        """A new ParameterDict of the same values."""
        return ParameterDict(OrderedDict(self.items()))

    def setdefault(self, key, default=None):
        """The value under ``key``, put there first if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self):
        """Remove every value."""
        for key in list(self._keys):
            del self[key]

    def pop(self, key):
        """Remove and return the value under ``key``."""
        value = self[key]
        del self[key]
        return value

    def popitem(self):
        """Remove and return the (key, value) that was put in last."""
        key, _ = self._keys.popitem()
        self._keys[key] = None
        return key, self.pop(key)

    def get(self, key, default=None):
        """The value under ``key``, or ``default``."""
        return self[key] if key in self else default  # noqa: SIM401

    def fromkeys(self, keys, default=None):
        """A new ParameterDict with ``default`` under each of ``keys``."""
        return ParameterDict((key, default) for key in keys)

    def keys(self):
        """The keys."""
        return self._keys.keys()

    def items(self):
        """The (key, value) pairs."""
        return ((key, self[key]) for key in self._keys)

    def values(self):
        """The values."""
        return (self[key] for key in self._keys)

    def update(self, parameters):
        """Add every (key, value) of a mapping or of an iterable of pairs."""
        from flambeau.nn.modules.container import pairs_of

        pairs = pairs_of(parameters, "ParameterDict", "ParametersDict")
        plain = isinstance(parameters, Mapping) and not isinstance(parameters, ParameterDict)
        if plain and not isinstance(parameters, OrderedDict):
            pairs = sorted(pairs)
        for key, value in pairs:
            self[key] = value

    def _lines(self):
        return ((key, _describe(p, typename)) for key, p in self.items())

    def __call__(self, input):
        raise RuntimeError("ParameterDict should not be called.")

    def __or__(self, other):
        joined = self.copy()
        joined.update(other)
        return joined

    def __ror__(self, other):
        joined = other.copy()
        joined.update(self)
        return joined

    def __ior__(self, other):
        self.update(other)
        return self
