"""Moving elements: copies, clones, dtype conversion, contiguity, filling, resizing."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.core.device import device as Device
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ops.by_geometry import by_geometry
from flambeau.ops.calling import dispatcher, layout, result_strides
from flambeau.ops.elementwise import SCALAR_NAMES
from flambeau.ops.record import KERNEL, POINTWISE, Op, hooks, op
from flambeau.runtime import calls


def _identity(x):
    return x


_move = Op(_identity, POINTWISE, {})
_move.name = "copy"
move = dispatcher(_move)


@kernel
def transposing(
    k, y: Ptr, x: Ptr, rows: Int, cols: Int, y_row: Int, x_col: Int, y_batch: Int, x_batch: Int, groups: Int,
    *, side: int, along: bool,
):  # fmt: skip
    """y[b, i, j] = x[b, i, j] where j is contiguous in y and i in x: squares turned in registers, whole lines written.

    A task goes down `side` columns, or (along) along `side` rows of y.
    """
    with k.parallel() as task:
        batch = task // groups
        first = (task - batch * groups) * side
        source, target = x.at(batch * x_batch), y.at(batch * y_batch)
        count, length = (rows, cols) if along else (cols, rows)
        whole = E.where(first + side <= count, length - length % side, 0)
        with k.seq(0, whole, side) as at, k.lanes(side) as lane:
            p, j = (first, at) if along else (at, first)
            for i, v in enumerate(k.transpose([source[(j + i) * x_col + p + lane] for i in range(side)])):
                target[(p + i) * y_row + j + lane] = v
        with k.seq(first, E.minimum(first + side, count)) as here, k.seq(whole, length) as at:
            p, j = (here, at) if along else (at, here)
            target[p * y_row + j] = source[p + j * x_col]


NEAR = 256  # elements: steps through memory that stay within a few lines


def transposed(shape, to, of, d) -> tuple | None:
    """The launch of a copy where source and destination are contiguous along different dims; None if that is not so."""
    sizes, (to, of) = S.coalesce(shape, (to, of))
    side = min(16, 64 // d.itemsize)
    if len(sizes) not in (2, 3) or to[-1] != 1 or of[-2] != 1 or min(sizes[-2:]) < side or min(*to, *of) < 1:
        return None
    batch, y_batch, x_batch = (1, 0, 0) if len(sizes) == 2 else (sizes[0], to[0], of[0])
    rows, cols = sizes[-2:]
    along = of[-1] <= NEAR < to[-2]  # then reading jumps less than writing
    groups = -(-(rows if along else cols) // side)
    grain = max(1, 32768 // (side * (cols if along else rows)))
    return transposing((d, d), side=side, along=along), batch * groups, grain, (rows, cols, to[-2], of[-1], y_batch, x_batch, groups)


def copy_launch(shape, to, of, d) -> tuple:
    """(kernel, extent, grain, what follows the two pointers) of a copy within a dtype, from and to elements of these strides."""
    found = transposed(shape, to, of, d) if math.prod(shape) >= 4096 and not d.is_complex else None
    return found or layout(_move.elementwise.plan((hooks.empty((1,), d),)), shape, [(shape, to), (shape, of)], (d,))


def copies(shape, strides, d, pieces) -> Callable:
    """call(x) -> a new tensor, given pieces of x: (sizes, where it lies in the new tensor, and in x), both (offset, strides)."""
    launches = []
    for sizes, (at, to), (start, of) in pieces:
        kernel, extent, grain, tail = copy_launch(sizes, to, of, d)
        if kernel is not None:
            places = calls.out() + at * d.itemsize, calls.operand(0) + start * d.itemsize
            launches.append((kernel, extent, grain, (*places, *tail)))
    return calls.bind((hooks.geometry(shape, strides, d),), 1, 0, launches)


def copy_elements(dst, src) -> None:
    """dst[...] = src for broadcastable shapes and any dtypes; nothing is recorded."""
    if dst._numel == 0:
        return
    if dst._dense and src._dense and dst._shape == src._shape:
        run, grain = dense_copy(dst._dtype, src._dtype)
        run(dst._numel, grain, dst._ptr, src._ptr)
        return
    if (
        not src._dense and src._dtype is dst._dtype and not src._dtype.is_complex and dst._numel >= 4096
        and (found := transposed(tuple(dst._shape), dst._strides, S.expand_strides(src._shape, src._strides, tuple(dst._shape)), dst._dtype))
    ):  # fmt: skip
        kernel, extent, grain, tail = found
        kernel(extent, grain, dst._ptr, src._ptr, *tail)
        return
    _move.elementwise.run((src,), (dst,), checked=False)


@functools.cache
def dense_copy(to, of) -> tuple:
    """(kernel, grain) of copies from one block to another; kernels do not depend on where a tensor lies."""
    plan = _move.elementwise.plan((hooks.empty((1,), of),))
    return plan.kernel(("dense", (False,)), (to,)), plan.grain


def resize(t, shape) -> None:
    """Give t a contiguous shape in place, growing its storage if needed."""
    shape = hooks.Size(shape)
    n = math.prod(shape)
    fresh = t
    if (t._offset + n) * t._dtype.itemsize > t._storage.nbytes:
        fresh = hooks.empty(shape, t._dtype)
        keep = min(t._numel, n)
        if keep and t._dense:
            head = hooks.make(fresh._storage, 0, hooks.Size((keep,)), (1,), t._dtype)
            copy_elements(head, hooks.make(t._storage, t._offset, hooks.Size((keep,)), (1,), t._dtype))
    t._storage, t._offset, t._ptr = fresh._storage, fresh._offset, fresh._ptr
    t._shape, t._strides, t._numel = shape, S.contiguous_strides(shape), n
    t._dense = True
    t._vc = t._storage if t._vc.__class__ is not hooks.Version else t._vc


def layout_for(t, memory_format) -> tuple:
    """Strides of a copy of t in a memory format (preserved by default)."""
    name = getattr(memory_format, "name", str(memory_format)).rpartition(".")[2]
    if name in ("channels_last", "channels_last_3d"):
        need = 4 if name == "channels_last" else 5
        if len(t._shape) != need:
            raise RuntimeError(f"required rank {need} tensor to use {name} format")
        return S.channels_last_strides(t._shape)
    if name == "contiguous_format":
        return S.contiguous_strides(t._shape)
    if t._dense or S.is_dense(tuple(t._shape), t._strides):
        return t._strides
    return result_strides(t._shape, [t])


# copies -------------------------------------------------------------------------------------------
@op(KERNEL)
def clone(input, *, memory_format=None):
    """A copy with its own memory.

    Source:   torch.clone
    """
    if input._dense and memory_format is None:
        return move(input)
    return arranged.record.fn(input, layout_for(input, memory_format))


@op(KERNEL, function=False, method=False, node="CloneBackward0")
@by_geometry
def arranged(input, strides):
    """A copy with these strides."""
    shape = tuple(input._shape)
    return copies(input._shape, strides, input._dtype, [(shape, (0, strides), (0, input._strides))])


for _op in (clone, arranged):
    _op.derivative(input=lambda g: g)


def contiguous(input, memory_format=None):
    """input itself if its elements lie in order, else a copy that does.

    Source:   torch.Tensor.contiguous
    """
    if memory_format is None:
        return input if input._dense else arranged(input, S.contiguous_strides(input._shape))
    return input if input.is_contiguous(memory_format=memory_format) else clone(input, memory_format=memory_format)


@op(KERNEL, function=False, method=False, node="ToCopyBackward0")
def to_copy(input, dtype, memory_format):
    """A copy in another dtype; see `to`."""
    if input._dtype.is_complex and not dtype.is_complex and dtype is not dt.bool:
        import warnings

        warnings.warn("Casting complex values to real discards the imaginary part", stacklevel=4)
    out = hooks.empty_strided(input._shape, layout_for(input, memory_format), dtype)
    copy_elements(out, input)
    return out


def cast_back(g, input_dtype):
    """The gradient in the input's dtype: of a complex one, what moves along the real axis."""
    return to(g.real if g.is_complex() and not input_dtype.is_complex else g, input_dtype)


to_copy.derivative(input=cast_back)


def to(input, *args, dtype=None, device=None, other=None, non_blocking=False, copy=False, memory_format=None):
    """input with another dtype, device or memory format; input itself if nothing would change.

    Called as to(dtype), to(device, dtype), to(other), or with keywords.
    Source:   torch.Tensor.to
    """
    args = list(args)
    if args and isinstance(args[0], hooks.Tensor):
        other = args.pop(0)
    elif args and (isinstance(args[0], (str, Device, int)) and not isinstance(args[0], bool) or args[0] is None):
        device = args.pop(0)
        if args and (isinstance(args[0], dt.dtype) or args[0] is None):
            dtype = args.pop(0)
    elif args and isinstance(args[0], dt.dtype):
        dtype = args.pop(0)
    if args:
        args.pop(0)  # non_blocking: copies are finished when they return
    if args:
        copy = args.pop(0)
    if args or not (dtype is None or isinstance(dtype, dt.dtype)):
        shown = args[0] if args else dtype
        raise TypeError(f"to() received an invalid combination of arguments: {type(shown).__name__} is no dtype, device or tensor")
    if other is not None:
        dtype, device = dtype or other._dtype, device or other.device
    if device is not None:
        from flambeau.ops.create import check_options

        check_options("to", device)
    dtype = dtype or input._dtype
    if dtype is input._dtype and not copy:
        if memory_format is None or keeps_format(input, memory_format):
            return input
    if dtype is input._dtype:
        return clone(input, memory_format=memory_format)
    return to_copy(input, dtype, memory_format)


def keeps_format(t, memory_format) -> bool:
    name = getattr(memory_format, "name", str(memory_format)).rpartition(".")[2]
    return name == "preserve_format" or t.is_contiguous(memory_format=memory_format)


def shorthand(name: str, dtype):
    """Tensor.float() and its like."""

    def method(self, memory_format=None):
        if self._dtype is dtype and (memory_format is None or keeps_format(self, memory_format)):
            return self
        return to(self, dtype, memory_format=memory_format)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"This tensor as {dtype}."
    return method


SHORTHANDS = {
    "float": dt.float32, "double": dt.float64, "half": dt.float16, "bfloat16": dt.bfloat16, "int": dt.int32,
    "long": dt.int64, "short": dt.int16, "char": dt.int8, "byte": dt.uint8, "bool": dt.bool, "cfloat": dt.complex64,
    "cdouble": dt.complex128,
}  # fmt: skip


def type_as(input, other):
    """input in other's dtype.

    Source:   torch.Tensor.type_as
    """
    return to(input, other._dtype)


TYPE_NAMES = {f"torch.{n}Tensor": getattr(dt, d) for d, n in SCALAR_NAMES.items()}


def type_(input, dtype=None, non_blocking=False):
    """The type's name ("torch.FloatTensor"), or input converted to a type or dtype.

    Source:   torch.Tensor.type
    """
    if dtype is None:
        return f"torch.{SCALAR_NAMES[input._dtype.name]}Tensor"
    if isinstance(dtype, str):
        if dtype not in TYPE_NAMES:
            raise ValueError(f"invalid type: '{dtype}'")
        return to(input, TYPE_NAMES[dtype])
    return to(input, dtype if isinstance(dtype, dt.dtype) else dtype.dtype)


def cpu(input, memory_format=None):
    """input on the CPU.

    Source:   torch.Tensor.cpu
    """
    return to(input, "cpu", memory_format=memory_format)


def cuda(input, device=None, non_blocking=False, memory_format=None):
    """input on a CUDA device.

    Source:   torch.Tensor.cuda
    """
    return to(input, "cuda" if device is None else device)


# in place -----------------------------------------------------------------------------------------
@op(KERNEL, function=False, method=False, node="CopyBackwards")
def copied(input, src):
    """src in input's shape and dtype: what copy_ leaves in input."""
    out = hooks.empty(input._shape, input._dtype)
    copy_elements(out, src)
    return out


copied.derivative(input=lambda g: g.new_zeros(g._shape), src=lambda g: g)


def copy_(self, src, non_blocking=False):
    """Copy src's elements here, broadcast and converted.

    Source:   torch.Tensor.copy_
    """
    if not isinstance(src, hooks.Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    if src is self:
        return self
    shape = tuple(self._shape)
    if tuple(src._shape) != shape:
        try:
            fits = S.broadcast(tuple(src._shape), shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise RuntimeError(
                f"The size of tensor a ({shape}) must match the size of tensor b ({tuple(src._shape)}): copy_ cannot "
                "broadcast the source to the destination"
            )
    hooks.check_overlap(self, (src,))
    if src._storage is self._storage and overlapping(self, src):  # of strides that PyTorch does not judge either
        src = src.clone() if src._requires_grad else clone.record.fn(src)
    return hooks.inplace(copied.record, (self, src), lambda: copy_elements(self, src))


def overlapping(a, b) -> bool:
    """True if elements of a and b may share memory at different places."""
    if a._ptr == b._ptr and a._strides == b._strides and a._shape == b._shape:
        return False
    low_a, high_a = S.extent(a._shape, a._strides)
    low_b, high_b = S.extent(b._shape, b._strides)
    return a._offset + low_a <= b._offset + high_b and b._offset + low_b <= a._offset + high_a


@op(KERNEL, function=False, method=False, node="FillBackward0")
def filled(input, value):
    """What fill_ leaves in input."""
    out = hooks.empty(input._shape, input._dtype)
    fill_with(out, value)
    return out


filled.derivative(input=lambda g: g.new_zeros(g._shape), value=lambda g: g.sum())


def fill_with(t, value) -> None:
    from flambeau.ops.create import fill

    if isinstance(value, hooks.Tensor):
        copy_elements(t, value)
    else:
        fill(t, value)


def fill_(self, value):
    """Every element becomes `value`.

    Source:   torch.Tensor.fill_
    """
    if isinstance(value, hooks.Tensor) and value._shape:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {len(value._shape)} dimensions."
        )
    if not isinstance(value, hooks.Tensor) and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, (int, float, complex, hooks.Tensor)):
        raise TypeError(f"fill_(): argument 'value' (position 1) must be Number, not {type(value).__name__}")
    hooks.check_writable(self)
    return hooks.inplace(filled.record, (self, value), lambda: fill_with(self, value))


def zero_(self):
    """Every element becomes 0.

    Source:   torch.Tensor.zero_
    """
    return hooks.inplace(filled.record, (self, 0), lambda: fill_with(self, 0))


def fill_diagonal_(self, fill_value, wrap=False):
    """The main diagonal becomes fill_value (wrap: starting again every `columns` rows of a tall matrix).

    Source:   torch.Tensor.fill_diagonal_
    """
    if len(self._shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(self._shape) > 2 and len(set(self._shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step = sum(self._strides)
    rows, cols = self._shape[0], self._shape[1]
    self.as_strided((min(self._shape),), (step,), self._offset).fill_(fill_value)
    if wrap and len(self._shape) == 2 and rows > cols + 1:
        at = cols + 1
        while at < rows:
            n = min(cols, rows - at)
            self.as_strided((n,), (step,), self._offset + at * self._strides[0]).fill_(fill_value)
            at += cols + 1
    return self


def resize_(self, *sizes, memory_format=None):
    """Another shape in place; new elements are uninitialised.

    Source:   torch.Tensor.resize_
    """
    from flambeau.ops.view import ints

    if self._requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = ints(sizes, "resize_")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"resize_(): sizes must be non-negative, got {list(shape)}")
    if tuple(self._shape) != shape:
        resize(self, shape)
        hooks.note_change(self)
    return self


def resize_as_(self, other, memory_format=None):
    """resize_ to other's shape.

    Source:   torch.Tensor.resize_as_
    """
    return resize_(self, tuple(other._shape))


def set_(self, source=None, storage_offset=0, size=None, stride=None):
    """Show the elements of another tensor or storage.

    Source:   torch.Tensor.set_
    """
    if source is None:
        self._take(hooks.empty((0,), self._dtype))
        return self
    tensor = source if isinstance(source, hooks.Tensor) else getattr(source, "_tensor", None)
    if tensor is None:
        raise TypeError(f"set_(): argument 'source' must be Tensor or Storage, not {type(source).__name__}")
    if tensor._dtype is not self._dtype:
        raise RuntimeError(f"Could not set tensor of type {tensor._dtype} to a tensor of type {self._dtype}")
    if size is None:
        self._take(tensor)
    else:
        self._take(tensor.detach().as_strided(tuple(size), stride or S.contiguous_strides(tuple(size)), storage_offset))
    hooks.note_change(self)
    return self


METHODS = {
    "contiguous": contiguous, "to": to, "type_as": type_as, "type": type_, "cpu": cpu, "cuda": cuda, "copy_": copy_,
    "fill_": fill_, "zero_": zero_, "fill_diagonal_": fill_diagonal_, "resize_": resize_, "resize_as_": resize_as_,
    "set_": set_,
} | {n: shorthand(n, d) for n, d in SHORTHANDS.items()}  # fmt: skip
__all__ = ["copy_elements", "resize"]
