"""Parameter and Buffer: tensors that a Module registers by assignment; and their uninitialised forms."""

from collections import OrderedDict

from flambeau.nn._base import Tensor, ops
from flambeau.ops.record import TENSORS
from flambeau.runtime import calls

__all__ = [
    "Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter",
    "UninitializedTensorMixin", "is_lazy",
]  # fmt: skip


class Parameter(Tensor):
    """A tensor that trains: assigned to a Module's attribute, it appears in ``parameters()``.

    Args: data: the values (shared, not copied); requires_grad: whether gradients are wanted.
    """

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = ops.empty(0)
        return Tensor._make_subclass(cls, data.detach(), requires_grad)

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        copied = type(self)(self.data.clone(), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self):
        return "Parameter containing:\n" + Tensor.__repr__(self)

    def __reduce_ex__(self, protocol):
        state = dict(getattr(self, "__dict__", {}))
        return rebuild_parameter, (self.data, self.requires_grad, OrderedDict(), state)


# The ops' quick paths take these classes as they are: a Parameter is one of them.
TENSORS.add(Parameter)
calls.second.value = id(Parameter)


def rebuild_parameter(data, requires_grad, backward_hooks=None, state=None):
    """The Parameter that a pickle describes: what ``Parameter.__reduce_ex__`` names."""
    parameter = Parameter(data, requires_grad)
    if state:
        parameter.__dict__.update(state)
    return parameter


class _BufferMeta(type(Tensor)):
    """isinstance(x, Buffer) is true of every tensor that was marked as a buffer."""

    def __instancecheck__(cls, instance):
        if type.__instancecheck__(cls, instance):
            return True
        return (
            cls is Buffer
            and isinstance(instance, Tensor)
            and getattr(instance, "_is_buffer", False)
        )


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that is state but does not train: assigned to a Module's attribute, it appears in ``buffers()``.

    Args: data: the values; persistent: whether ``state_dict`` holds it.
    """

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = ops.empty(0)
        marked = data.detach().requires_grad_(data.requires_grad)
        marked._is_buffer = True
        marked.persistent = persistent
        return marked


_SHAPE_SLOT = Tensor._shape


class _NoShape:
    """In the place of the shape's slot: it can be set, but reading it, as every op does, is refused."""

    def __get__(self, tensor, owner=None):
        if tensor is None:
            return self
        raise ValueError(
            "Attempted to use an uninitialized parameter in an operation. This error happens when you are using a "
            "`LazyModule` or explicitly manipulating `torch.nn.parameter."
            f"{type(tensor).__name__}` objects. When using LazyModules Call `forward` with a dummy batch to "
            "initialize the parameters before calling torch functions"
        )

    def __set__(self, tensor, value):
        _SHAPE_SLOT.__set__(tensor, value)


class UninitializedTensorMixin:
    """A tensor with a dtype and a device but no shape yet; ``materialize(shape)`` gives it one.

    Casting and moving it is allowed, and gives a plain empty tensor; every other op raises ValueError.
    """

    _shape = _NoShape()

    def _alias(self):
        blank = ops.empty(0, dtype=self.dtype, device=self.device)
        return blank.detach()

    def materialize(self, shape, device=None, dtype=None):
        """Turn this into a real Parameter or buffer of ``shape``, its values unset."""
        device = self.device if device is None else device
        dtype = self.dtype if dtype is None else dtype
        self.data = ops.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        """Not known yet: RuntimeError."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. "
            "This error usually happens in `load_state_dict` when trying to load an uninitialized "
            "parameter into an initialized one. Call `forward` to initialize the parameters before "
            "accessing their attributes."
        )

    def share_memory_(self):
        """There is no memory yet: RuntimeError."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to "
            "initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, protocol):
        return type(self), (self.requires_grad,)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]


def _on_blank(name):
    """The method ``name``, of the plain empty tensor that stands for an uninitialised one."""

    def method(self, *args, **kwargs):
        return getattr(self._alias(), name)(*args, **kwargs)

    method.__name__ = name
    method.__doc__ = f"`{name}` of a plain empty tensor."
    return method


for _name in (
    "to", "cpu", "cuda", "half", "bfloat16", "float", "double", "char", "short", "int", "long", "type",
):  # fmt: skip
    setattr(UninitializedTensorMixin, _name, _on_blank(_name))


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A Parameter whose shape the first ``forward`` of its lazy module decides."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        data = ops.empty(0, device=device, dtype=dtype)
        return Tensor._make_subclass(cls, data, requires_grad)


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape the first ``forward`` of its lazy module decides."""

    cls_to_become = Tensor

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        data = ops.empty(0, device=device, dtype=dtype)
        made = Tensor._make_subclass(cls, data, requires_grad)
        made.persistent = persistent
        made._is_buffer = True
        return made


def is_lazy(param):
    """Whether ``param`` still waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)
