"""Reductions over any dimensions: sums, products, extremes, moments, norms, logic.

Every one is `fold(...)`: a choice of what is done to each element, how elements are combined, and what is done to the
total (the tables in reduce_kernels.py). A reduction over all elements and one over dims are two records, because their
grad_fn names differ in PyTorch.
"""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.by_geometry import by_geometry
from flambeau.ops.elementwise import SCALAR_NAMES
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.reduce_plan import accumulator, fold, fold_call, reduced_shape


# dims and shapes ----------------------------------------------------------------------------------
def wrap(name: str, dim, ndim: int) -> tuple:
    """Dims as a tuple of non-negative ints; None and () mean all."""
    if dim is None or dim.__class__ in (tuple, list) and not dim:
        return tuple(range(ndim))
    if dim.__class__ is int:
        dim = S.wrap_dim(dim, ndim, name)
        return (dim,) if ndim else ()
    dims = S.wrap_dims(tuple(dim), ndim, name)
    return dims if ndim else ()


def spread(g, shape, dims, keepdim):
    """g of a reduced result, over the input's shape."""
    if not keepdim and len(g._shape) != len(shape):
        g = g.reshape(reduced_shape(shape, dims, True))
    return g.expand(shape)


def reduction(name: str, node: str, known: Callable = lambda body: body):
    """Decorator: two KERNEL records of fn(input, dims, keepdim, ...): name_all (node 0) and name_over (node 1).

    known: by_geometry, where fn says what is to be done instead of doing it.
    """

    def make(fn):
        out = []
        for suffix, label in (("all", "0"), ("over", "1")):

            def body(input, dims, keepdim, dtype, fn=fn):
                return fn(input, dims, keepdim, dtype)

            body.__name__ = body.__qualname__ = f"{name}_{suffix}"
            body.__doc__ = fn.__doc__
            body.__signature__ = SIGNATURE
            out.append(op(KERNEL, function=False, method=False, node=f"{node}Backward{label}")(known(body)))
        return tuple(out)

    return make


def _signature(input, dims, keepdim, dtype):
    pass


import inspect  # noqa: E402 - only for the line below

SIGNATURE = inspect.signature(_signature)


def call(pair, name: str, input, dim, keepdim, dtype):
    """The record for all elements or for dims."""
    check_tensor(name, input)
    whole = dim is None and not keepdim
    return pair[0 if whole else 1](input, wrap(name, dim, len(input._shape)), keepdim, dtype)


def check_tensor(name: str, input) -> None:
    if not isinstance(input, hooks.Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")


def complex_parts(x, dims, keepdim, fn):
    """A linear reduction of a complex tensor: of its real and imaginary parts."""
    return fn(x.view_as_real(), dims, keepdim).view_as_complex()


# sums ---------------------------------------------------------------------------------------------
@reduction("sum", "Sum", by_geometry)
def sum_pair(input, dims, keepdim, dtype):
    """The sum over dims."""
    d = dtype or (input._dtype if input._dtype.kind in "fc" else dt.int64)
    if d.is_complex or input._dtype.is_complex:
        return lambda x: complex_sum(x.to(d), dims, keepdim)
    acc = accumulator(d) if d.is_floating_point else dt.int64
    return fold_call(input, dims, keepdim, "add", acc=acc, out=d)


def complex_sum(x, dims, keepdim):
    """The sum over dims of what may be complex."""
    if not x._dtype.is_complex:
        return fold(x, dims, keepdim, "add", acc=accumulator(x._dtype) if x._dtype.is_floating_point else dt.int64, out=x._dtype)
    return complex_parts(x, dims, keepdim, lambda r, ds, kd: fold(r, ds, kd, "add", out=r._dtype))


for _op in sum_pair:
    _op.derivative(
        input=lambda g, input_shape, input_dtype, dims, keepdim: spread(g, input_shape, dims, keepdim).to(input_dtype)
    )


@op(COMPOSITE)
def sum(input, dim=None, keepdim=False, *, dtype=None):
    """The sum of all elements, or over dims. Integers add up in int64.

    Numerics: float32 sums are made of blocks, so errors grow with the number of blocks; half precisions add in float32
    Source:   torch.sum
    """
    return call(sum_pair, "sum", input, dim, keepdim, dtype)


@op(COMPOSITE)
def sum_to_size(input, *size):
    """input summed to `size`, a shape that broadcasts to input's.

    Source:   torch.Tensor.sum_to_size
    """
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    if not builtins.all(isinstance(n, int) for n in size):
        raise TypeError(f"sum_to_size(): argument 'size' must be tuple of ints, got {size}")
    return sum_to(input, size)


sum_to_size.record.defaults["size"] = ()


def sum_to(x, shape):
    """x summed over the dims that broadcasting added."""
    if x._shape == shape:
        return x
    lead, dims = added_dims(tuple(x._shape), tuple(shape))
    if len(dims) <= lead:
        return sum_pair[1](x, dims, False, None)
    out = sum_pair[1](x, dims, True, None)
    return out.reshape(shape) if lead else out


@functools.lru_cache(maxsize=1024)
def added_dims(have: tuple, shape: tuple) -> tuple[int, tuple[int, ...]]:
    """(how many leading dims broadcasting `shape` to `have` added, all dims that it added or repeated)."""
    lead = len(have) - len(shape)
    if lead < 0 or builtins.any(a != b and b != 1 for a, b in zip(have[lead:], shape, strict=True)):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(have)}}}.")
    return lead, (*range(lead), *[d for d in range(lead, len(have)) if shape[d - lead] == 1 and have[d] != 1])


@reduction("mean", "Mean", by_geometry)
def mean_pair(input, dims, keepdim, dtype):
    """The mean over dims."""
    d = dtype or input._dtype
    if d.kind not in "fc":
        what = "Input" if dtype is None else "Optional"
        raise RuntimeError(
            f"mean(): could not infer output dtype. {what} dtype must be either a floating point or complex dtype. "
            f"Got: {SCALAR_NAMES[d.name]}"
        )
    n = math.prod([input._shape[i] for i in dims])
    if d.is_complex:
        return lambda x: complex_parts(x.to(d), dims, keepdim, lambda r, ds, kd: fold(
            r, ds, kd, "add", finish="divide", scale=float(n), out=r._dtype))  # fmt: skip
    return fold_call(input, dims, keepdim, "add", finish="divide", scale=float(n), acc=accumulator(d), out=d)


def mean_grad(g, input_shape, input_dtype, dims, keepdim):
    n = math.prod([input_shape[i] for i in dims])
    return (spread(g, input_shape, dims, keepdim) / builtins.max(n, 1)).to(input_dtype)


for _op in mean_pair:
    _op.derivative(input=mean_grad)


@op(COMPOSITE)
def mean(input, dim=None, keepdim=False, *, dtype=None):
    """The mean of all elements, or over dims.

    Errors:   RuntimeError for integers (pass dtype=)
    Source:   torch.mean
    """
    return call(mean_pair, "mean", input, dim, keepdim, dtype)


@op(COMPOSITE)
def nansum(input, dim=None, keepdim=False, *, dtype=None):
    """The sum with NaN as 0.

    Source:   torch.nansum
    """
    if input._dtype.is_floating_point:
        input = input.masked_fill(input.isnan(), 0)
    return sum(input, dim, keepdim, dtype=dtype)


@op(COMPOSITE)
def nanmean(input, dim=None, keepdim=False, *, dtype=None):
    """The mean of the elements that are not NaN.

    Source:   torch.nanmean
    """
    count = sum(~input.isnan(), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


# products -----------------------------------------------------------------------------------------
@reduction("prod", "Prod")
def prod_pair(input, dims, keepdim, dtype):
    """The product over dims."""
    x = input
    d = dtype or (x._dtype if x._dtype.kind in "fc" else dt.int64)
    if d.is_complex or x._dtype.is_complex:
        return complex_product(x.to(d), dims, keepdim)
    return fold(x, dims, keepdim, "mul", acc=accumulator(d) if d.is_floating_point else dt.int64, out=d)


def complex_product(x, dims, keepdim):
    """Halves multiplied until one element is left."""
    for d in dims:
        n = x._shape[d]
        if n == 0:
            shape = reduced_shape(x._shape, (d,), True)
            x = x.new_ones(shape)
        while n > 1:
            h = n // 2
            low = x.narrow(d, 0, h) * x.narrow(d, h, h)
            if n % 2:
                from flambeau.ops.join import cat

                low = cat([low, x.narrow(d, n - 1, 1)], d)
            x, n = low, h + n % 2
    return x.reshape(reduced_shape(x._shape, dims, keepdim))


def prod_grad(g, input, result, dims, keepdim):
    """g times the product of the others; exact where elements are 0."""
    g, y = (spread(t, input._shape, dims, keepdim) for t in (g, result))
    if not bool((input == 0).any()):
        return (g * (y / input).conj()).to(input._dtype)
    x = input
    moved = x.movedim(dims, tuple(range(-len(dims), 0)))
    lead = moved._shape[: len(x._shape) - len(dims)]
    flat = moved.reshape(*lead, -1)
    ones = flat.new_ones((*lead, 1))
    from flambeau.ops.arrange import flip
    from flambeau.ops.join import cat

    before = cat([ones, flat.narrow(-1, 0, flat._shape[-1] - 1)], -1).cumprod(-1)
    back = flip(flat, (-1,))
    after = flip(cat([ones, back.narrow(-1, 0, flat._shape[-1] - 1)], -1).cumprod(-1), (-1,))
    others = (before * after).reshape(moved._shape).movedim(tuple(range(-len(dims), 0)), dims)
    return g * others.conj()


for _op in prod_pair:
    _op.derivative(input=prod_grad)


@op(COMPOSITE)
def prod(input, dim=None, keepdim=False, *, dtype=None):
    """The product of all elements, or over one dim. Integers multiply in int64.

    Source:   torch.prod
    """
    return call(prod_pair, "prod", input, dim, keepdim, dtype)


# extremes -----------------------------------------------------------------------------------------
def extreme(x, dims, keepdim, how: str):
    """The largest or smallest over dims; NaN wins."""
    if x._dtype.is_complex:
        raise RuntimeError(f"{how}(): complex numbers have no order (got {x._dtype})")
    if x._numel == 0 and builtins.any(x._shape[d] == 0 for d in dims):
        raise IndexError(
            f"{how}(): Expected reduction dim to be specified for input.numel() == 0, or to have a non-zero size; "
            f"got shape {list(x._shape)}"
        )
    d = x._dtype
    acc = dt.uint8 if d is dt.bool else dt.float32 if d in (dt.float16, dt.bfloat16) else d
    return fold(x, dims, keepdim, how, acc=acc, out=d)


def evenly(g, input, result, dims, keepdim, nan_equal=False):
    """g shared among all elements that equal the extreme; an extreme NaN takes it all if nan_equal, else spreads NaN."""
    y, g = (spread(t, input._shape, dims, keepdim) for t in (result, g))
    mask = (input == y) | (input.isnan() & y.isnan()) if nan_equal else input == y
    return g / mask.sum(dims, True) * mask


def shared_extreme(name: str, how: str, node: str):
    """The KERNEL record of a reduction to the extreme, its gradient shared evenly."""

    def body(input, dims, keepdim):
        return extreme(input, dims, keepdim, how)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"The {how}imum over dims."
    made = op(KERNEL, function=False, method=False, node=node)(body)
    whole = name.endswith("_all")
    made.derivative(input=lambda g, input, result, dims, keepdim: evenly(g, input, result, dims, keepdim, whole))
    return made


amax_over, amin_over = shared_extreme("amax_over", "max", "AmaxBackward0"), shared_extreme("amin_over", "min", "AminBackward0")
max_all, min_all = shared_extreme("max_all", "max", "MaxBackward1"), shared_extreme("min_all", "min", "MinBackward1")


@op(COMPOSITE)
def amax(input, dim=(), keepdim=False):
    """The maximum over dims; its gradient is shared among equal elements.

    Source:   torch.amax
    """
    return amax_over(input, wrap("amax", dim, len(input._shape)), keepdim)


@op(COMPOSITE)
def amin(input, dim=(), keepdim=False):
    """The minimum over dims; its gradient is shared among equal elements.

    Source:   torch.amin
    """
    return amin_over(input, wrap("amin", dim, len(input._shape)), keepdim)


def first_of(x, known, dims, keepdim):
    """The flat index within dims of the first element equal to `known`."""
    return fold(x, dims, keepdim, "min", prepare="where", acc=dt.int64, known=known.contiguous(), ordered=True)


def with_index(x, dim: int, keepdim: bool, how: str):
    """(extreme values, indices of their first occurrence) along one dim."""
    if not x._shape:
        return x.clone(), x.new_zeros((), dtype=dt.int64)
    values = extreme(x, (dim,), keepdim, how)
    return values, first_of(x, values, (dim,), keepdim)


@op(KERNEL, function=False, method=False, node="MaxBackward0")
def max_along(input, dim, keepdim):
    """(values, indices) of the maximum along dim; see `max`."""
    return with_index(input, dim, keepdim, "max")


@op(KERNEL, function=False, method=False, node="MinBackward0")
def min_along(input, dim, keepdim):
    """(values, indices) of the minimum along dim; see `min`."""
    return with_index(input, dim, keepdim, "min")


def at_index(g, input_shape, dim, keepdim, result1):
    """g at the chosen index of each row, 0 elsewhere."""
    from flambeau.ops.sort import scatter_back

    if not input_shape:
        return g
    if not keepdim:
        g, result1 = g.unsqueeze(dim), result1.unsqueeze(dim)
    return scatter_back(g, input_shape, dim, result1)


for _op in (max_along, min_along):
    _op.derivative(input=at_index)


def named(name: str, values):
    """torch.return_types.<name>."""
    from flambeau import return_types

    return getattr(return_types, name)(values)


def overloaded_extreme(name: str, along, whole, input, dim, keepdim, other):
    from flambeau.ops import extremes

    if other is None and isinstance(dim, hooks.Tensor):
        other, dim = dim, None
    if other is not None:
        return getattr(extremes, name + "imum")(input, other)
    check_tensor(name, input)
    if dim is None:
        if input._numel == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        return whole(input, tuple(range(len(input._shape))), False)
    dim = S.wrap_dim(dim, len(input._shape), name)
    return named(name, along(input, dim, keepdim))


@op(COMPOSITE)
def max(input, dim=None, keepdim=False, *, other=None):  # noqa: A001
    """The largest element; with dim, (values, indices) along it; with a tensor, the pointwise maximum.

    Numerics: NaN wins; of equal elements the first is meant
    Source:   torch.max
    """
    return overloaded_extreme("max", max_along, max_all, input, dim, keepdim, other)


@op(COMPOSITE)
def min(input, dim=None, keepdim=False, *, other=None):  # noqa: A001
    """The smallest element; with dim, (values, indices) along it; with a tensor, the pointwise minimum.

    Source:   torch.min
    """
    return overloaded_extreme("min", min_along, min_all, input, dim, keepdim, other)


def arg_extreme(name: str, how: str, input, dim, keepdim):
    check_tensor(name, input)
    ndim = len(input._shape)
    dims = tuple(range(ndim)) if dim is None else (S.wrap_dim(dim, ndim, name),) if ndim else ()
    if any_empty(input, dims):
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    if not ndim:
        return input.new_zeros((), dtype=dt.int64)
    known = extreme(input, dims, keepdim, how)
    return first_of(input, known, dims, keepdim)


@op(KERNEL)
def argmax(input, dim=None, keepdim=False):
    """The index of the first largest element, of the flattened input or along dim.

    Source:   torch.argmax
    """
    return arg_extreme("argmax", "max", input, dim, keepdim)


@op(KERNEL)
def argmin(input, dim=None, keepdim=False):
    """The index of the first smallest element, of the flattened input or along dim.

    Source:   torch.argmin
    """
    return arg_extreme("argmin", "min", input, dim, keepdim)


@op(COMPOSITE)
def aminmax(input, *, dim=None, keepdim=False):
    """(minimum, maximum) over all elements or along dim.

    Source:   torch.aminmax
    """
    dims = wrap("aminmax", dim, len(input._shape))
    return named("aminmax", (amin_over(input, dims, keepdim), amax_over(input, dims, keepdim)))


# logic --------------------------------------------------------------------------------------------
def logical(input, dim, keepdim, how: str):
    dims = wrap("any", dim, len(input._shape))
    return fold(input, dims, keepdim, how, prepare="nonzero", acc=dt.bool,
                out=dt.uint8 if input._dtype is dt.uint8 else dt.bool)  # fmt: skip


@op(KERNEL)
def any(input, dim=None, keepdim=False):  # noqa: A001
    """True if some element is not 0.

    Source:   torch.any
    """
    return logical(input, dim, keepdim, "or")


@op(KERNEL)
def all(input, dim=None, keepdim=False):  # noqa: A001
    """True if no element is 0.

    Source:   torch.all
    """
    return logical(input, dim, keepdim, "and")


@op(KERNEL)
def count_nonzero(input, dim=None):
    """The number of elements that are not 0.

    Source:   torch.count_nonzero
    """
    return fold(input, wrap("count_nonzero", dim, len(input._shape)), False, "add", prepare="nonzero", acc=dt.int64)


# moments ------------------------------------------------------------------------------------------
def moment(x, dims, keepdim, correction, finish: str):
    """(variance or its root, mean): the mean first, then the mean squared deviation from it."""
    if x._dtype.is_complex:
        r = x.view_as_real()
        v = moment(r, dims, keepdim, correction, "divide")[0].sum(-1)
        return (v.sqrt() if finish == "divide_sqrt" else v), mean(x, dims, keepdim)
    if not x._dtype.is_floating_point:
        raise RuntimeError("std and var only support floating point and complex dtypes")
    n = math.prod([x._shape[d] for d in dims])
    if n - correction <= 0 and x._numel:
        import warnings

        warnings.warn(
            "std(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor (input "
            "numel divided by output numel).", stacklevel=5,
        )  # fmt: skip
    d = x._dtype
    acc = accumulator(d)
    middle = fold(x, dims, keepdim, "add", finish="divide", scale=float(n), acc=acc)
    free = builtins.max(0.0, n - float(correction))
    v = fold(x, dims, keepdim, "add", prepare="deviation", finish=finish, scale=free, acc=acc, out=d, known=middle)
    return v, middle if middle._dtype is d else middle.to(d)


@op(KERNEL, function=False, method=False, node="VarBackward0")
def var_over(input, dims, correction, keepdim):
    """The variance over dims; see `var`."""
    return moment(input, dims, keepdim, correction, "divide")[0]


@op(KERNEL, function=False, method=False, node="StdBackward0")
def std_over(input, dims, correction, keepdim):
    """The standard deviation over dims; see `std`."""
    return moment(input, dims, keepdim, correction, "divide_sqrt")[0]


@op(KERNEL, function=False, method=False, node="VarMeanBackward0")
def var_mean_over(input, dims, correction, keepdim):
    """(variance, mean) over dims; see `var_mean`."""
    return moment(input, dims, keepdim, correction, "divide")


@op(KERNEL, function=False, method=False, node="StdMeanBackward0")
def std_mean_over(input, dims, correction, keepdim):
    """(standard deviation, mean) over dims; see `std_mean`."""
    return moment(input, dims, keepdim, correction, "divide_sqrt")


def var_grad(g, input, dims, correction, keepdim):
    """g 2 (x - mean) / (n - correction)."""
    n = math.prod([input._shape[d] for d in dims])
    g = spread(g, input._shape, dims, keepdim)
    centred = input - mean(input, dims, True)
    return g * centred * (2 / (n - correction) if n != correction else math.inf)


def std_grad(g, input, result, dims, correction, keepdim):
    """var's rule by 1 / (2 std), 0 where std is 0."""
    g = (g / (result * 2)).masked_fill(result == 0, 0)
    return var_grad(g, input, dims, correction, keepdim)


def pair_grad(gs, input, dims, correction, keepdim, result0=None):
    """Both outputs' gradients together."""
    total = None
    if gs[0] is not None:
        total = (
            var_grad(gs[0], input, dims, correction, keepdim) if result0 is None
            else std_grad(gs[0], input, result0, dims, correction, keepdim)
        )  # fmt: skip
    if gs[1] is not None:
        n = math.prod([input._shape[d] for d in dims])
        part = spread(gs[1], input._shape, dims, keepdim) / builtins.max(n, 1)
        total = part if total is None else total + part
    return total


var_over.derivative(input=lambda g, input, dims, correction, keepdim: var_grad(g, input, dims, correction, keepdim))
std_over.derivative(
    input=lambda g, input, result, dims, correction, keepdim: std_grad(g, input, result, dims, correction, keepdim))
var_mean_over.derivative(
    input=lambda gs, input, dims, correction, keepdim: pair_grad(gs, input, dims, correction, keepdim))
std_mean_over.derivative(
    input=lambda gs, input, dims, correction, keepdim, result0: pair_grad(
        gs, input, dims, correction, keepdim, result0))  # fmt: skip


def moment_arguments(name: str, input, dim, unbiased, correction):
    """dims and correction of the overloads (dim, unbiased, keepdim), (unbiased) and (dim, correction=)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None:
        if correction is not None:
            raise TypeError(f"{name}(): give unbiased or correction, not both")
        correction = 1 if unbiased else 0
    check_tensor(name, input)
    return wrap(name, dim, len(input._shape)), 1 if correction is None else correction


def moment_op(name: str, over, what: str):
    """A public op of the four moments."""

    def body(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
        dims, free = moment_arguments(name, input, dim, unbiased, correction)
        return over(input, dims, free, keepdim)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{what} over all elements or dims; the divisor is n - correction (1 unless given).\n\n    Source:   torch.{name}\n    "
    return op(COMPOSITE)(body)


var = moment_op("var", var_over, "The variance")
std = moment_op("std", std_over, "The standard deviation")
var_mean = moment_op("var_mean", var_mean_over, "(variance, mean)")
std_mean = moment_op("std_mean", std_mean_over, "(standard deviation, mean)")


# norms --------------------------------------------------------------------------------------------
@op(KERNEL, function=False, method=False, node="LinalgVectorNormBackward0")
def vector_norm_over(input, ord, dims, keepdim, dtype):
    """(sum |x|^ord)^(1/ord) over dims; see linalg.vector_norm."""
    x = input
    if x._dtype.kind not in "fc":
        raise RuntimeError(
            f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {SCALAR_NAMES[x._dtype.name]}"
        )
    if dtype is not None and x._dtype is not dtype:
        x = x.to(dtype)
    if x._dtype.is_complex:
        x = x.abs()
    d = x._dtype
    how, prepare, finish = "add", "power", "root"
    if ord == 2:
        prepare, finish = "square", "sqrt"
    elif ord == 1:
        prepare, finish = "abs", "plain"
    elif ord == 0:
        prepare, finish = "nonzero", "plain"
    elif abs(ord) == math.inf:
        how, prepare, finish = "max" if ord > 0 else "min", "abs", "plain"
        if x._numel == 0 and any_empty(x, dims):
            if ord < 0:
                raise RuntimeError(f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the operation does not have an identity")
            return x.new_zeros(reduced_shape(x._shape, dims, keepdim))
    return fold(x, dims, keepdim, how, prepare=prepare, finish=finish, acc=accumulator(d), out=d, p=float(ord),
                scale=float(ord))  # fmt: skip


def any_empty(x, dims) -> bool:
    return builtins.any(x._shape[d] == 0 for d in dims)


def norm_grad(g, input, result, ord, dims, keepdim):
    """g d|x|_p / dx: x |x|^(p-2) / |x|_p^(p-1)."""
    x = input
    g, y = (spread(t, x._shape, dims, keepdim) for t in (g, result))
    if ord == 0:
        return None
    if ord == 2:
        return (g * x / y).masked_fill(y == 0, 0)
    if ord == 1:
        return g * x.sgn()
    if abs(ord) == math.inf:
        mask = x.abs() == y
        return x.sgn() * (g * mask / mask.sum(dims, True))
    if ord < 1:
        scaled = x.sgn() * x.abs().pow(ord - 1).masked_fill(x == 0, 0)
        return scaled * (g * y.pow(1 - ord))
    if ord < 2:
        return (x.sgn() * x.abs().pow(ord - 1) * (g * y.pow(1 - ord))).masked_fill(y == 0, 0)
    return x * x.abs().pow(ord - 2) * (g / y.pow(ord - 1)).masked_fill(y == 0, 0)


vector_norm_over.derivative(
    input=lambda g, input, result, ord, dims, keepdim: norm_grad(g, input, result, ord, dims, keepdim)
)


@op(COMPOSITE, function=False, method=False)
def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """(sum |x|^ord)^(1/ord) over dims or all elements.

    Source:   torch.linalg.vector_norm
    """
    return vector_norm_over(x, ord, wrap("vector_norm", dim, len(x._shape)), keepdim, dtype)


@op(COMPOSITE)
def norm(input, p="fro", dim=None, keepdim=False, dtype=None):
    """The p-norm of all elements, or over dims ("fro": the square root of the sum of squares).

    Source:   torch.norm
    """
    if p == "nuc":
        from flambeau.ops.matrix_functions import matrix_norm

        return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    ord = 2 if p in ("fro", None) else p
    return vector_norm_over(input, ord, wrap("norm", dim, len(input._shape)), keepdim, dtype)


@op(COMPOSITE)
def dist(input, other, p=2):
    """The p-norm of input - other.

    Source:   torch.dist
    """
    return norm(input - other, p)


@op(COMPOSITE, inplace=True)
def renorm(input, p, dim, maxnorm):
    """Slices along dim scaled down to p-norm maxnorm where theirs is larger.

    Source:   torch.renorm
    """
    dims = tuple(d for d in range(len(input._shape)) if d != S.wrap_dim(dim, len(input._shape)))
    size = vector_norm_over(input, p, dims, True, None)
    factor = (maxnorm / (size + 1e-7)).masked_fill(size <= maxnorm, 1)
    return input * factor


@op(KERNEL, function=False, method=False, node="LogsumexpBackward0")
def logsumexp_over(input, dims, keepdim):
    """log sum exp over dims; see `logsumexp`."""
    x = input if input._dtype.is_floating_point else input.to(dt.get_default_dtype())
    if x._numel == 0:
        return fold(x, dims, keepdim, "add", out=x._dtype).log()
    top = extreme(x, dims, keepdim, "max")
    acc = accumulator(x._dtype)
    total = fold(x, dims, keepdim, "add", prepare="exp", acc=acc, known=top)
    shift = top.masked_fill(top.abs() == math.inf, 0)
    return (total.log() + shift).to(x._dtype)


logsumexp_over.derivative(
    input=lambda g, input, result, dims, keepdim: spread(g, input._shape, dims, keepdim)
    * (input - spread(result, input._shape, dims, keepdim)).exp()
)


@op(COMPOSITE, aliases=("special_logsumexp",))
def logsumexp(input, dim, keepdim=False):
    """log(sum(exp(input))) over dims, without overflow.

    Source:   torch.logsumexp
    """
    dims = wrap("logsumexp", dim, len(input._shape))
    if input._dtype.is_complex:
        if not input._numel:
            return input.exp().sum(dims, keepdim).log()
        top = amax_over(input.detach().real, dims, True)
        top = top.masked_fill(top.abs() == math.inf, 0)
        y = (input - top).exp().sum(dims, True).log() + top
        return y if keepdim else y.squeeze(dims)
    return logsumexp_over(input, dims, keepdim)


__all__ = ["fold", "spread", "sum_to", "vector_norm"]
