"""The Tensor class: geometry over a storage, autograd fields, and Python's operators.

Methods that are ops are attached from the op records by `bind`; what is written here is what a record cannot
say: attributes, conversion protocols, gradients. Attribute names with an underscore are read by `ops`.
"""

from __future__ import annotations

import functools
import math
import operator

from flambeau.autograd import graph
from flambeau.autograd.engine import backward as run_backward
from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.core.device import device as Device
from flambeau.core.device import strided
from flambeau.core.size import Size
from flambeau.ops import by_geometry
from flambeau.ops.record import TENSORS, hooks, state
from flambeau.runtime import calls, launch, memory


class Tensor:
    """An n-dimensional array that remembers how it was computed."""

    __slots__ = (
        "__dict__", "__weakref__", "_accumulate", "_base", "_dense", "_dtype", "_grad", "_grad_fn", "_hooks",
        "_numel", "_offset", "_output_nr", "_post_hooks", "_ptr", "_requires_grad", "_shape", "_storage",
        "_strides", "_vc", "_view_version",
    )  # fmt: skip
    __array_priority__ = 1000

    def __new__(cls, *args, **kwargs):
        """torch.Tensor(...): legacy constructor (sizes, a sequence, or another tensor), default dtype."""
        from flambeau.tensor import interop

        t = interop.legacy(dt.get_default_dtype(), *args, **kwargs)
        return t if cls is Tensor else t.as_subclass(cls)

    def __init__(self, *args, **kwargs):
        pass

    # geometry -------------------------------------------------------------------------------------
    @property
    def shape(self) -> Size:
        """The sizes."""
        return self._shape

    @property
    def dtype(self):
        """The element type."""
        return self._dtype

    @property
    def device(self) -> Device:
        """Where the elements live."""
        return Device(self._storage.device)

    @property
    def layout(self):
        """torch.strided: how the elements are stored."""
        return strided

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._numel * self._dtype.itemsize

    def size(self, dim=None):
        """The sizes, or that of one dimension."""
        if dim is None:
            return self._shape
        return self._shape[S.wrap_dim(operator.index(dim), len(self._shape), "size")]

    def stride(self, dim=None):
        """The strides in elements, or that of one dimension."""
        if dim is None:
            return self._strides
        return self._strides[S.wrap_dim(operator.index(dim), len(self._shape), "stride")]

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._shape)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._numel

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._dtype.itemsize

    def storage_offset(self) -> int:
        """Elements before the first one in the storage."""
        return self._offset

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._ptr if self._numel else 0

    def is_contiguous(self, memory_format=None) -> bool:
        """True if the elements lie in row-major (or the given) order without gaps."""
        name = getattr(memory_format, "name", str(memory_format)).rpartition(".")[2]
        if name == "channels_last":
            return S.is_channels_last(self._shape, self._strides, 4)
        if name == "channels_last_3d":
            return S.is_channels_last(self._shape, self._strides, 5)
        return self._dense

    def is_floating_point(self) -> bool:
        """True for float dtypes."""
        return self._dtype.is_floating_point

    def is_complex(self) -> bool:
        """True for complex dtypes."""
        return self._dtype.is_complex

    def is_signed(self) -> bool:
        """True for dtypes with negative values."""
        return self._dtype.is_signed

    def is_same_size(self, other) -> bool:
        """True if the shapes are equal."""
        return self._shape == other._shape

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of a 0-d tensor")
        return self._shape[0]

    # autograd -------------------------------------------------------------------------------------
    @property
    def requires_grad(self) -> bool:
        """True if gradients with respect to this tensor are wanted."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True):
        """Ask for gradients of this leaf (or stop asking)."""
        if requires_grad and not (self._dtype.is_floating_point or self._dtype.is_complex):
            raise RuntimeError(
                "only Tensors of floating point dtype can require gradients, "
                f"but this one is {self._dtype}; use .float() first"
            )
        if not requires_grad and self._grad_fn is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed "
                "variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def grad_fn(self):
        """The node that made this tensor, or None for a leaf."""
        if self._base is not None and self._view_version != self._vc.version:
            from flambeau.autograd.views import refresh

            refresh(self)
        return self._grad_fn

    @property
    def is_leaf(self) -> bool:
        """True if no recorded operation made this tensor."""
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        """Which output of grad_fn this is."""
        return self._output_nr

    @property
    def grad(self):
        """The accumulated gradient, or None."""
        if self._grad is None and self._grad_fn is not None and not self.retains_grad:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
                "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.",
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got {type(value).__name__}")
            if value._shape != self._shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: grad {list(value._shape)}, "
                    f"tensor {list(self._shape)}"
                )
            if value._dtype is not self._dtype:
                raise RuntimeError(f"assigned grad has data of a different type: {value._dtype}, {self._dtype}")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def retains_grad(self) -> bool:
        """True if retain_grad was called on this non-leaf."""
        return bool(self._grad_fn is not None and self.__dict__.get("_retains"))

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in .grad."""
        if not self._requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._grad_fn is None or self.__dict__.get("_retains"):
            return
        import weakref

        self.__dict__["_retains"] = True
        me = weakref.ref(self)

        def keep(g):
            t = me()
            if t is not None:
                t._grad = g if t._grad is None else t._grad + g

        self.register_hook(keep)

    def register_hook(self, hook):
        """Call hook(grad) whenever this tensor's gradient is computed; it may return a replacement."""
        if not self._requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        fn = self.grad_fn
        if fn is None:
            if self._hooks is None:
                self._hooks = {}
            return graph.Handle(self._hooks, hook)
        i = self._output_nr

        def on_output(grads):
            if grads[i] is None:
                return None
            new = hook(grads[i])
            return None if new is None else (*grads[:i], new, *grads[i + 1 :])

        return fn.register_prehook(on_output)

    def register_post_accumulate_grad_hook(self, hook):
        """Call hook(tensor) after .grad of this leaf has been updated."""
        if self.grad_fn is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        if not self._requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._post_hooks is None:
            self._post_hooks = {}
        return graph.Handle(self._post_hooks, hook)

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None) -> None:
        """Accumulate the gradient of this tensor into the leaves it depends on (see autograd.backward)."""
        run_backward((self,), None if gradient is None else (gradient,), retain_graph, create_graph, inputs=inputs)

    def detach(self):
        """The same memory without history."""
        t = self._alias()
        return t

    def detach_(self):
        """Forget this tensor's history."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._grad_fn, self._requires_grad, self._output_nr = None, False, 0
        return self

    def _alias(self):
        """A plain tensor over the same elements: no history, same version counter."""
        t = new_tensor(Tensor)
        t._storage, t._offset, t._shape, t._strides = self._storage, self._offset, self._shape, self._strides
        t._dtype, t._ptr, t._numel, t._dense, t._vc = self._dtype, self._ptr, self._numel, self._dense, self._vc
        t._requires_grad = False
        t._grad_fn = t._grad = t._base = t._hooks = t._accumulate = t._post_hooks = None
        t._output_nr = t._view_version = 0
        return t

    @property
    def data(self):
        """The same memory without history and with a version count of its own."""
        t = self._alias()
        t._vc = Version()
        return t

    @data.setter
    def data(self, other) -> None:
        if not isinstance(other, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(other).__name__}")
        self._take(other)

    def _take(self, other) -> None:
        """Show the elements of another tensor from now on."""
        self._storage, self._offset, self._shape = other._storage, other._offset, other._shape
        self._strides, self._dtype, self._ptr = other._strides, other._dtype, other._ptr
        self._numel, self._dense = other._numel, other._dense
        if self._vc is self._storage or not isinstance(self._vc, Version):
            self._vc = Version(self._vc.version)

    @property
    def _version(self) -> int:
        return self._vc.version

    def _is_view(self) -> bool:
        return self._base is not None

    @property
    def is_inference_flag(self) -> bool:
        """False; see is_inference."""
        return False

    def is_inference(self) -> bool:
        """True for tensors made in inference mode (none are kept apart here)."""
        return False

    def share_memory_(self):
        """Move to shared memory, so that other processes see the same elements."""
        from flambeau.tensor import interop

        return interop.share_memory_(self)

    # Python numbers -------------------------------------------------------------------------------
    def item(self):
        """The only element as a Python number."""
        if self._numel != 1:
            raise RuntimeError(f"a Tensor with {self._numel} elements cannot be converted to Scalar")
        from flambeau.tensor import interop

        return interop.item(self)

    def __bool__(self) -> bool:
        if self._numel != 1:
            if self._numel == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.item())

    def _number(self):
        if self._numel != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __int__(self) -> int:
        return int(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __index__(self) -> int:
        if self._dtype.kind not in "iub" or self._numel != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        if not self._shape and type(self) is Tensor:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __contains__(self, x) -> bool:
        if isinstance(x, (Tensor, int, float, bool, complex)):
            return bool((self == x).any().item())
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(x)}."
        )

    __hash__ = object.__hash__

    def __iter__(self):
        if not self._shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __repr__(self, *, tensor_contents=None) -> str:
        from flambeau.tensor import printing

        return printing.tensor_str(self)

    def __deepcopy__(self, memo):
        from flambeau.tensor import interop

        return interop.deepcopy(self, memo)

    def __reduce_ex__(self, protocol):
        from flambeau.tensor import interop

        return interop.reduce(self)

    # interchange ----------------------------------------------------------------------------------
    def numpy(self, *, force: bool = False):
        """A NumPy array over the same memory."""
        from flambeau.tensor import interop

        return interop.numpy(self, force)

    def __array__(self, dtype=None, copy=None):
        a = self.numpy()
        if dtype is not None and a.dtype != dtype:
            return a.astype(dtype)
        return a.copy() if copy else a

    def tolist(self):
        """Nested lists of Python numbers."""
        from flambeau.tensor import interop

        return interop.tolist(self)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        from flambeau.tensor import interop

        return interop.to_dlpack(self)

    def __dlpack_device__(self):
        return (1, 0)

    @staticmethod
    def _make_subclass(cls, data, require_grad: bool = False):  # noqa: PLW0211 - PyTorch's signature
        """A tensor of class `cls` over data's memory, a leaf."""
        t = data.detach().as_subclass(cls)
        t._requires_grad = bool(require_grad)
        return t

    def as_subclass(self, cls):
        """The same elements and history as an instance of cls."""
        t = new_tensor(cls)
        for name in Tensor.__slots__[2:]:
            setattr(t, name, getattr(self, name))
        t._hooks = t._accumulate = t._post_hooks = None
        return t


class Version:
    """A version counter apart from the storage's own (for `.data`)."""

    __slots__ = ("version", "where")

    def __init__(self, version: int = 0):
        self.version = version
        self.where = None


new_tensor = object.__new__


def make(storage, offset: int, shape: Size, strides: tuple, dtype, version=None):
    """A tensor over part of a storage."""
    t = new_tensor(Tensor)
    t._storage, t._offset, t._shape, t._strides, t._dtype = storage, offset, shape, strides, dtype
    t._ptr = storage.ptr + offset * dtype.itemsize
    t._numel, t._dense = S.extent_of(shape, strides)
    t._vc = storage if version is None else version
    t._requires_grad = False
    t._grad_fn = t._grad = t._base = t._hooks = t._accumulate = t._post_hooks = None
    t._output_nr = t._view_version = 0
    return t


def alias(x, geometry: tuple):
    """A view of x: (numel, shape, strides, dense, offset from x in elements, and in bytes)."""
    t = new_tensor(Tensor)
    t._numel, t._shape, t._strides, t._dense, offset, distance = geometry
    t._storage, t._dtype = x._storage, x._dtype
    t._offset, t._ptr = x._offset + offset, x._ptr + distance
    t._base = x if x._base is None else x._base
    v = t._vc = x._vc
    t._view_version = v.version
    t._requires_grad = False
    t._grad_fn = t._grad = t._hooks = t._accumulate = t._post_hooks = None
    t._output_nr = 0
    return t


allocate = memory.allocate


def like(x, dtype):
    """A fresh tensor of x's (dense) geometry."""
    t = new_tensor(Tensor)
    n = t._numel = x._numel
    s = t._storage = t._vc = allocate(n * dtype.itemsize)
    t._ptr = s.ptr
    t._offset = 0
    t._shape = x._shape
    t._strides = x._strides
    t._dtype = dtype
    t._dense = True
    t._requires_grad = False
    t._grad_fn = t._grad = t._base = t._hooks = t._accumulate = t._post_hooks = None
    t._output_nr = t._view_version = 0
    return t


MAX_BYTES = (1 << 63) - 1


def bytes_of(n: int, shape, dtype) -> int:
    """The size of n elements, which a tensor of this shape needs."""
    if n * dtype.itemsize > MAX_BYTES:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")
    return n * dtype.itemsize


def geometry(shape, strides, dtype) -> tuple:
    """What `fresh` needs to know of a tensor to come (non-negative strides)."""
    shape = shape if type(shape) is Size else Size(shape)
    extent = 0 if 0 in shape else 1 + sum((d - 1) * s for d, s in zip(shape, strides, strict=True))
    return math.prod(shape), shape, strides, S.is_contiguous(shape, strides), dtype, bytes_of(extent, shape, dtype)


def fresh(geometry: tuple, take=None):
    """Fresh memory of a geometry, had by take(bytes) instead of `allocate` if given."""
    t = new_tensor(Tensor)
    t._numel, t._shape, t._strides, t._dense, t._dtype, nbytes = geometry
    s = t._storage = t._vc = allocate(nbytes) if take is None else take(nbytes)
    t._ptr = s.ptr
    t._requires_grad = False
    t._grad_fn = t._grad = t._base = t._hooks = t._accumulate = t._post_hooks = None
    t._offset = t._output_nr = t._view_version = 0
    return t


def quicken() -> None:
    """From the first kernel on, such things are done by builtins."""
    global alias, fresh
    made = calls.install(Tensor, graph.OpNode, graph.Recipe, graph.FREED)
    if made:
        by_geometry.quicken()
        alias, fresh = hooks.alias, hooks.fresh = made["alias"], made["fresh"]
        Tensor._alias, Tensor.item = made["plain"], made["number"]  # type: ignore[method-assign]


calls.fresh = fresh
launch.at_start.append(quicken)


def empty_strided(shape, strides, dtype, device=None):
    """Fresh memory for the given geometry (non-negative strides)."""
    shape = shape if type(shape) is Size else Size(shape)
    n = 0 if 0 in shape else 1 + sum((d - 1) * s for d, s in zip(shape, strides, strict=True))
    return make(allocate(bytes_of(n, shape, dtype)), 0, shape, tuple(strides), dtype)


def empty(shape, dtype, device=None):
    """Fresh contiguous memory, not initialised."""
    return fresh(dense(tuple(shape), dtype))


@functools.lru_cache(maxsize=8192)
def dense(shape: tuple, dtype) -> tuple:
    """The geometry of a contiguous tensor."""
    shape = Size(shape)
    n = math.prod(shape)
    return n, shape, S.contiguous_strides(shape), True, dtype, bytes_of(n, shape, dtype)


hooks.Tensor = Tensor
TENSORS.add(Tensor)
hooks.make, hooks.like, hooks.empty, hooks.empty_strided, hooks.Size = make, like, empty, empty_strided, Size
hooks.geometry, hooks.dense, hooks.fresh, hooks.alias = geometry, dense, fresh, alias
hooks.record, hooks.recorder = graph.record, graph.recorder
hooks.Version = Version

__all__ = ["Tensor", "Version", "empty", "empty_strided", "like", "make", "state"]
