"""Making tensors: zeros, ones, full, empty, ranges, eye, and their *_like and new_* forms.

All take dtype=, device=, layout=, requires_grad= and pin_memory= (accepted; there is nothing to pin), and the filling
ones out=.
"""

from __future__ import annotations

import builtins
import math
import operator

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.core.device import CPU, get_default_device
from flambeau.core.device import device as Device
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel
from flambeau.ops.by_geometry import MAX_CALLS
from flambeau.ops.record import COMPOSITE, POINTWISE, SparseOperand, hooks, op
from flambeau.runtime import calls, memory

GRAIN = 32768


# kernels ------------------------------------------------------------------------------------------
@kernel
def fill_float(k, y: Ptr, v: Float):
    """y[...] = v."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(v, y.compute)


@kernel
def fill_int(k, y: Ptr, v: Int):
    """y[...] = v, exactly, for integers."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(v, y.compute)


@kernel
def fill_complex(k, y: Ptr, re: Float, im: Float):
    """y[...] = re + i im."""
    real = y.compute.to_real()
    with k.parallel(vector=True) as i:
        y[i] = E.Complex(E.cast(re, real), E.cast(im, real))


@kernel
def ramp_float(k, y: Ptr, start: Float, step: Float):
    """y[i] = start + i step, in float64."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(start + E.cast(i, dt.float64) * step, y.compute)


@kernel
def ramp_int(k, y: Ptr, start: Int, step: Int):
    """y[i] = start + i step, for integers."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(start + i * step, y.compute)


@kernel
def spaced(k, y: Ptr, start: Float, end: Float, step: Float, n: Int):
    """Evenly spaced values, counted from the nearer end so that both ends are exact, each rounded once."""
    d = y.compute if y.compute.is_floating_point else dt.float64
    with k.parallel(vector=True) as i:
        a, b, s = (E.cast(v, d) for v in (start, end, step))
        low, high = E.fma(s, E.cast(i, d), a), E.fma(-s, E.cast(n - i - 1, d), b)
        y[i] = E.cast(E.where(i < n // 2, low, high), y.compute)


def spaced_halves(y, start: float, end: float, step: float) -> None:
    """The same in float16 or bfloat16, every operation rounded to it."""
    count, half = arange(y._numel).to(y._dtype), y._numel // 2
    y[:half] = count[:half] * step + start
    y[half:] = end - count[: y._numel - half].flip(0) * step


# helpers ------------------------------------------------------------------------------------------
def check_options(name: str, device=None, layout=None, pin_memory=False) -> None:
    """The device must be there, the layout strided."""
    if device is None:
        device = get_default_device()
    d = device if isinstance(device, Device) else Device(device)
    if d.type == "cuda":
        raise AssertionError("Torch not compiled with CUDA enabled: this flambeau has no CUDA device support yet")
    if d.type != "cpu":
        raise NotImplementedError(f"{name}(): device {d} is not available: this flambeau computes on 'cpu'")
    if layout is not None and str(layout) != "torch.strided" and getattr(layout, "name", "strided") != "strided":
        raise NotImplementedError(f"{name}(): layout {layout} is not implemented; only torch.strided is")


def given(args: tuple, size) -> tuple:
    """The sizes, positional or as size=."""
    return args if size is None else (size,)


def sizes_of(name: str, args: tuple) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence; negative ones are refused."""
    if len(args) == 1 and hasattr(args[0], "__iter__") and not isinstance(args[0], hooks.Tensor):
        args = tuple(args[0])
    out = []
    for i, a in enumerate(args):
        try:
            n = operator.index(a)
        except TypeError:
            raise TypeError(
                f"{name}(): argument 'size' (position {i + 1}) must be tuple of ints, not {type(a).__name__}"
            ) from None
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(args)}")
        out.append(n)
    return tuple(out)


def finish(t, requires_grad: bool):
    """requires_grad= of a fresh tensor."""
    return t.requires_grad_() if requires_grad else t


def fresh(name: str, shape, dtype, device, layout, requires_grad: bool, out=None):
    """An uninitialised tensor of the shape, or `out` resized."""
    if out is not None:
        if dtype is not None and out._dtype is not dtype:
            raise RuntimeError(f"{name}(): dtype {dtype} does not match dtype of out= ({out._dtype})")
        if tuple(out._shape) != tuple(shape):
            from flambeau.ops.copying import resize

            resize(out, shape)
        hooks.note_change(out)
        return out
    check_options(name, device, layout)
    return finish(hooks.empty(hooks.Size(shape), dtype or dt.get_default_dtype()), requires_grad)


def fill(t, value) -> None:
    """Every element of t becomes `value` (nothing is recorded)."""
    if t._numel == 0:
        return
    d = t._dtype
    if not (t._dense or S.is_dense(tuple(t._shape), t._strides)):
        from flambeau.ops.copying import copy_elements

        one = hooks.empty((), d)
        fill(one, value)
        copy_elements(t, one)
    elif d.is_complex:
        value = complex(value)
        fill_complex((d,))(t._numel, GRAIN, t._ptr, value.real, value.imag)
    elif isinstance(value, int) and d.kind in "iub":
        if not -(1 << 63) <= value < 1 << 64:
            raise OverflowError(f"fill: {value} is too big to convert to {d.name}")
        fill_int((d,))(t._numel, GRAIN, t._ptr, value if value < 1 << 63 else value - (1 << 64))
    else:
        if isinstance(value, complex):
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        fill_float((d,))(t._numel, GRAIN, t._ptr, float(value))


known_zeros: dict = {}  # (sizes, dtype) -> call() -> zeros, for what is small


def small_zeros(sizes: tuple, dtype):
    """The call that makes zeros of these sizes; None where they are not plain ints, or many."""
    if len(sizes) == 1 and sizes[0].__class__ is hooks.Size:
        sizes = sizes[0]
    for n in sizes:
        if n.__class__ is not int or n < 0:
            return None
    made = known_zeros.get((sizes, dtype))
    if made is None:
        geometry = hooks.dense(tuple(sizes), dtype)
        if geometry[-1] > memory.SMALL:
            return None
        if len(known_zeros) >= MAX_CALLS:
            known_zeros.clear()
        fill = (memory.fill(), geometry[-1], memory.FILL_GRAIN, (calls.out(),))
        made = known_zeros[sizes, dtype] = calls.bind((geometry,), 0, 0, [fill])
    return made


def zeroed(shape, dtype):
    """A contiguous tensor of zeros (fresh pages are zero already)."""
    return hooks.fresh(hooks.dense(tuple(shape), dtype), memory.zeroed)


# constant fills -----------------------------------------------------------------------------------
def empty(*args, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
          memory_format=None):  # fmt: skip
    """A tensor whose elements are whatever the memory held.

    Source:   torch.empty
    """
    shape = sizes_of("empty", given(args, size))
    t = fresh("empty", shape, dtype, device, layout, requires_grad, out)
    return with_format(t, memory_format)


def with_format(t, memory_format):
    """A fresh tensor in another memory format."""
    from flambeau.ops.copying import layout_for

    if memory_format is None or str(memory_format).rpartition(".")[2] in ("contiguous_format", "preserve_format"):
        return t
    new = hooks.empty_strided(t._shape, layout_for(t, memory_format), t._dtype)
    return finish(new, t._requires_grad)


def empty_strided(size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """An uninitialised tensor of given sizes and strides.

    Source:   torch.empty_strided
    """
    shape, strides = sizes_of("empty_strided", (size,)), tuple(stride)
    if len(shape) != len(strides):
        raise RuntimeError(
            f"dimensionality of sizes ({len(shape)}) must match dimensionality of strides ({len(strides)})"
        )
    if builtins.any(s < 0 for s in strides):
        raise RuntimeError(f"empty_strided(): strides must be non-negative, got {list(strides)}")
    check_options("empty_strided", device, layout)
    return finish(hooks.empty_strided(hooks.Size(shape), strides, dtype or dt.get_default_dtype()), requires_grad)


def zeros(*args, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """A tensor of zeros.

    Source:   torch.zeros
    """
    if size is out is layout is device is None and not requires_grad and get_default_device() is CPU:
        made = small_zeros(args, dtype or dt.get_default_dtype())
        if made is not None:
            return made()
    shape = sizes_of("zeros", given(args, size))
    if out is not None:
        t = fresh("zeros", shape, dtype, device, layout, False, out)
        fill(t, 0)
        return t
    check_options("zeros", device, layout)
    return finish(zeroed(shape, dtype or dt.get_default_dtype()), requires_grad)


def ones(*args, size=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """A tensor of ones.

    Source:   torch.ones
    """
    t = fresh("ones", sizes_of("ones", given(args, size)), dtype, device, layout, requires_grad, out)
    fill(t, 1)
    return t


def dtype_of_number(value):
    """bool, int64, the default float dtype or its complex counterpart."""
    if isinstance(value, bool):
        return dt.bool
    if isinstance(value, int):
        return dt.int64
    return dt.get_default_dtype().to_complex() if isinstance(value, complex) else dt.get_default_dtype()


def number(value):
    """A 0-d tensor as its number."""
    return value.item() if isinstance(value, hooks.Tensor) or hasattr(value, "item") else value


def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """A tensor filled with one value; its dtype is the value's unless given.

    Source:   torch.full
    """
    value = number(fill_value)
    d = dtype or (out._dtype if out is not None else dtype_of_number(value))
    t = fresh("full", sizes_of("full", (size,)), d, device, layout, requires_grad, out)
    fill(t, value)
    return t


def scalar_tensor(s, *, dtype=None, device=None, requires_grad=False):
    """A 0-d tensor of the default dtype.

    Source:   torch.scalar_tensor
    """
    return full((), s, dtype=dtype or dt.get_default_dtype(), device=device, requires_grad=requires_grad)


# *_like and new_* ---------------------------------------------------------------------------------
def like(name: str, input, dtype, device, layout, requires_grad, memory_format):
    """An uninitialised tensor of input's shape and (by default) layout."""
    from flambeau.ops.copying import layout_for

    check_options(name, device, layout)
    strides = layout_for(input, memory_format)
    return finish(hooks.empty_strided(input._shape, strides, dtype or input._dtype), requires_grad)


def empty_like(input, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
               memory_format=None):  # fmt: skip
    """empty with input's shape, dtype and layout.

    Source:   torch.empty_like
    """
    try:
        return like("empty_like", input, dtype, device, layout, requires_grad, memory_format)
    except SparseOperand:
        return finish(hooks.sparse().nothing_like(input, dtype), requires_grad)


def filled_like(name: str, value):
    """zeros_like and ones_like."""

    def make(input, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, memory_format=None):
        try:
            t = like(name, input, dtype, device, layout, False, memory_format)
        except SparseOperand:
            if value:
                raise
            return empty_like(input, dtype=dtype, requires_grad=requires_grad)
        fill(t, value)
        return finish(t, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{name.partition('_')[0]} with input's shape, dtype and layout.\n\n    Source:   torch.{name}\n    "
    return make


zeros_like, ones_like = filled_like("zeros_like", 0), filled_like("ones_like", 1)


def full_like(input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
              memory_format=None):  # fmt: skip
    """full with input's shape, dtype and layout.

    Source:   torch.full_like
    """
    t = like("full_like", input, dtype, device, layout, False, memory_format)
    fill(t, number(fill_value))
    return finish(t, requires_grad)


def new_form(name: str):
    """Tensor.new_zeros and its like: the function with self's dtype by default."""
    make = globals()[name]

    def method(self, *args, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, **kwargs):
        if "size" in kwargs:
            args = (kwargs.pop("size"), *args)
        if "fill_value" in kwargs:
            args = (*args, kwargs.pop("fill_value"))
        return make(*args, dtype=dtype or self._dtype, device=device, requires_grad=requires_grad, layout=layout, **kwargs)

    method.__name__ = method.__qualname__ = "new_" + name
    method.__doc__ = f"torch.{name} with this tensor's dtype and device by default."
    return method


def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """data as a tensor of this tensor's dtype by default.

    Source:   torch.Tensor.new_tensor
    """
    return hooks.tensor(data, dtype=dtype or self._dtype, device=device, requires_grad=requires_grad)


def new(self, *args, **kwargs):
    """The legacy constructor with this tensor's dtype.

    Source:   torch.Tensor.new
    """
    return hooks.legacy(self._dtype, *args, **kwargs)


# ranges -------------------------------------------------------------------------------------------
def range_dtype(values):
    """int64 if all bounds are integers, else the default dtype."""
    return dt.int64 if builtins.all(isinstance(v, int) for v in values) else dt.get_default_dtype()


def arange(*args, start=0, end=None, step=1, out=None, dtype=None, layout=None, device=None, requires_grad=False,
           pin_memory=False):  # fmt: skip
    """start, start + step, ... below end.

    Source:   torch.arange
    """
    if len(args) == 1 and end is None:
        end = args[0]
    elif args:
        names = dict(zip(("start", "end", "step"), args, strict=False))
        if len(args) > 3:
            raise TypeError(f"arange() takes from 1 to 3 positional arguments but {len(args)} were given")
        start, end, step = names.get("start", start), names.get("end", end), names.get("step", step)
    if end is None:
        raise TypeError("arange() missing required argument 'end'")
    start, end, step = number(start), number(end), number(step)
    for what, v in (("start", start), ("end", end), ("step", step)):
        if not isinstance(v, (int, float)):
            raise TypeError(f"arange(): argument '{what}' must be Number, not {type(v).__name__}")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    d = dtype or (out._dtype if out is not None else range_dtype((start, end, step)))
    if builtins.all(isinstance(v, int) for v in (start, end, step)):
        n = -((start - end) // step)
    else:
        n = math.ceil((end - start) / step)
    t = fresh("arange", (n,), d, device, layout, requires_grad, out)
    return ramp(t, start, step)


def ramp(t, start, step):
    """Fill a contiguous vector with start + i step."""
    if t._numel == 0:
        return t
    y = t if t._dense else hooks.empty(t._shape, t._dtype)
    if t._dtype.kind in "iub":
        ramp_int((t._dtype,))(y._numel, GRAIN, y._ptr, int(start), int(step))
    elif t._dtype.is_complex:
        raise RuntimeError(f"\"arange_cpu\" not implemented for {t._dtype}")
    else:
        ramp_float((t._dtype,))(y._numel, GRAIN, y._ptr, float(start), float(step))
    if y is not t:
        from flambeau.ops.copying import copy_elements

        copy_elements(t, y)
    return t


def range_(start=0, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """start, start + step, ... up to and including end (deprecated; use arange).

    Source:   torch.range
    """
    if end is None:
        raise TypeError("range() missing required argument 'end'")
    n = int((end - start) / step) + 1
    t = fresh("range", (n,), dtype or dt.get_default_dtype(), device, layout, requires_grad, out)
    return ramp(t, start, step)


def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False,
             pin_memory=False):  # fmt: skip
    """`steps` evenly spaced values from start to end, both included.

    Source:   torch.linspace
    """
    start, end = number(start), number(end)
    steps = operator.index(steps)
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    t = fresh("linspace", (steps,), dtype, device, layout, requires_grad, out)
    if steps == 1:
        fill(t, start)
    elif steps:
        y = t.detach() if t._dense else hooks.empty(t._shape, t._dtype)
        if y._dtype.is_floating_point:  # the step is a number of that dtype
            ends = hooks.tensor([start, end, steps - 1], dtype=dt.float64).to(y._dtype)
            start, end, step = *ends[:2].tolist(), ((ends[1] - ends[0]) / ends[2]).item()
        else:
            step = (end - start) / (steps - 1)
        if y._dtype.is_floating_point and y._dtype.itemsize == 2:
            spaced_halves(y, start, end, step)
        else:
            spaced((y._dtype,))(steps, GRAIN, y._ptr, float(start), float(end), float(step), steps)
        if not t._dense:
            from flambeau.ops.copying import copy_elements

            copy_elements(t, y)
    return t


def logspace(start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """base ** linspace(start, end, steps).

    Source:   torch.logspace
    """
    d = dtype or dt.get_default_dtype()
    wide = dt.float64 if d.kind in "iu" else d
    check_options("logspace", device, layout)
    values = (float(base) ** linspace(start, end, steps, dtype=dt.float64)).to(wide).to(d)
    if out is not None:
        t = fresh("logspace", values._shape, d, device, layout, False, out)
        return t.copy_(values)
    return finish(values, requires_grad)


def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Ones on the diagonal, zeros elsewhere.

    Source:   torch.eye
    """
    m = n if m is None else m
    if n < 0 or m < 0:
        raise RuntimeError(f"{'n' if n < 0 else 'm'} must be greater or equal to 0, got {builtins.min(n, m)}")
    t = zeros(n, m, out=out, dtype=dtype, layout=layout, device=device)
    fill(t.detach().diagonal(), 1)
    return finish(t, requires_grad)


# from parts ---------------------------------------------------------------------------------------
@op(POINTWISE, method=False)
def complex_(real, imag):
    """real + i imag.

    Source:   torch.complex
    """
    return E.Complex(real, imag)


complex_.derivative(eager=True, real=lambda g: g.real, imag=lambda g: g.imag)


@op(POINTWISE, method=False)
def polar(abs, angle):  # noqa: A002
    """abs (cos angle + i sin angle).

    Source:   torch.polar
    """
    return E.Complex.polar(abs, angle)


polar.derivative(
    eager=True,
    abs=lambda g, angle: (g * polar(angle * 0 + 1, -angle)).real,
    angle=lambda g, result: (g * (result * 1j).conj()).real,
)


# indices ------------------------------------------------------------------------------------------
def triangle_indices(name: str, keep):
    """tril_indices and triu_indices."""

    def make(row, col, offset=0, *, dtype=dt.int64, device=None, layout=None):
        check_options(name, device, layout)
        if row < 0 or col < 0:
            raise RuntimeError(f"{name}: row and col must be non-negative, got {row}, {col}")
        r = arange(row).reshape(row, 1).expand(row, col)
        c = arange(col).reshape(1, col).expand(row, col)
        mask = keep(r, c, offset)
        from flambeau.ops.join import stack

        return stack([r.masked_select(mask), c.masked_select(mask)]).to(dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"(2, n) indices of the {'lower' if name[3] == 'l' else 'upper'} triangle.\n\n    Source:   torch.{name}\n    "
    return make


tril_indices = triangle_indices("tril_indices", lambda r, c, k: c - r <= k)


triu_indices = triangle_indices("triu_indices", lambda r, c, k: c - r >= k)


@op(COMPOSITE, method=False)
def vander(x, N=None, increasing=False):  # noqa: N803 - PyTorch's name
    """Powers of x as columns.

    Source:   torch.vander
    """
    if len(x._shape) != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    return powers_of(x, x._shape[0] if N is None else N, increasing)


def powers_of(x, n: int, increasing: bool):
    """The first n powers of each element along a new last dim."""
    powers = arange(n, dtype=dt.int64)
    if not increasing:
        powers = n - 1 - powers
    return x.unsqueeze(-1) ** powers


METHODS = {"new_" + n: new_form(n) for n in ("zeros", "ones", "empty", "full", "empty_strided")} | {
    "new_tensor": new_tensor, "new": new,
}  # fmt: skip


range = range_  # the name is PyTorch's; nothing below uses the builtin


__all__ = [
    "range", "arange", "empty", "empty_like", "empty_strided", "eye", "full", "full_like", "linspace", "logspace", "ones",
    "ones_like", "scalar_tensor", "tril_indices", "triu_indices", "zeros", "zeros_like",
]  # fmt: skip
