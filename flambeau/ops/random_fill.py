"""Filling tensors with random numbers in place: uniform_, normal_, random_, bernoulli_, exponential_ and their like."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ops.copying import copy_elements
from flambeau.ops.generators import engine_of
from flambeau.ops.random_kernels import (
    scaled,
    to_bernoulli,
    to_bernoulli_each,
    to_form,
    to_normal,
    to_range,
    to_uniform,
)
from flambeau.ops.record import hooks
from flambeau.runtime import memory

GRAIN = 16384
BLOCK = 1 << 17  # draws (of 4 bytes) that a core keeps in its second-level cache
DIGITS = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}  # of the significand
DRAWN = {"float32": 24, "float64": 53, "float16": 24, "bfloat16": 24}  # bits drawn (halves round a float32)


def fill_dense(t, fill) -> None:
    """fill(contiguous tensor): t itself, or a stand-in that is copied (elements in logical order)."""
    if t._numel == 0:
        return
    if t._dense:
        fill(t)
        return
    t = in_memory_order(t)
    dense = hooks.empty(t._shape, t._dtype)
    fill(dense)
    copy_elements(t, dense)


def in_memory_order(t):
    """t with its dims from the largest stride to the smallest: the order in which PyTorch fills it."""
    return t._alias().permute(memory_order(t))


def memory_order(t) -> list[int]:
    """Dims from the largest stride to the smallest."""
    return sorted(range(len(t._shape)), key=lambda d: -t._strides[d])


def by_blocks(generator, count: int, each: int, use) -> None:
    """use(first, n, address of n times `each` draws) for `count` items in order, in blocks whose draws stay in the cache."""
    engine, block = engine_of(generator), max(1, BLOCK // each)
    with engine.lock:
        room = memory.allocate(4 * each * min(block, count))
        for first in range(0, count, block):
            n = min(block, count - first)
            engine.fill(room.ptr, n * each)
            use(first, n, room.ptr)


def uniform_into(t, low: float, high: float, generator=None) -> None:
    """Uniform numbers into a contiguous float tensor."""
    digits = DRAWN[t._dtype.name]
    each = 2 if digits == 53 else 1
    raw = engine_of(generator).raw(t._numel * each)
    to_uniform((t._dtype, dt.uint32), digits=digits)(t._numel, GRAIN, t._ptr, raw.ptr, low, high)


def normal_into(t, mean: float, std: float, generator=None) -> None:
    """Normal numbers into a contiguous tensor; blocks of 16 from 16 elements on, pairs in float64 below."""
    engine, n = engine_of(generator), t._numel
    if n < 16:
        few_normals(t, mean, std, engine)
        return
    if t._dtype.itemsize < 4:
        wide = hooks.empty(t._shape, dt.float32)
        box_muller(wide, mean, std, generator, n // 16 * 16)
        copy_elements(t, wide)
        return
    box_muller(t, mean, std, generator, n)


def box_muller(t, mean: float, std: float, generator, first: int) -> None:
    """Blocks of 16 from `first` uniforms; where the size is no multiple of 16, the last 16 elements are drawn anew."""
    n = t._numel
    kernel_ = to_normal((t._dtype, t._dtype))
    with engine_of(generator).lock:
        u = hooks.empty((first,), t._dtype)
        uniform_into(u, 0.0, 1.0, generator)
        kernel_(n // 16, 512, t._ptr, u._ptr, mean, std)
        if n % 16:
            last = hooks.empty((16,), t._dtype)
            uniform_into(last, 0.0, 1.0, generator)
            kernel_(1, 1, t._ptr + (n - 16) * t._dtype.itemsize, last._ptr, mean, std)


def few_normals(t, mean: float, std: float, engine) -> None:
    """One after another: small tensors, and those that are not contiguous."""
    copy_elements(t, one_by_one(t._shape, mean, std, engine))


def one_by_one(shape, mean: float, std: float, engine):
    """Normal numbers as the generator gives them, in float64."""
    n = math.prod(shape)
    draws = hooks.tensor([engine.normal() for _ in range(n)], dtype=dt.float64)
    y = hooks.empty(shape, dt.float64)
    scaled((dt.float64, dt.float64))(n, GRAIN, y._ptr, draws._ptr, mean, std)
    return y


def check_float(name: str, t) -> None:
    if not t._dtype.is_floating_point:
        from flambeau.ops.elementwise import SCALAR_NAMES

        raise NotImplementedError(f'"{name}" not implemented for \'{SCALAR_NAMES[t._dtype.name]}\'')


def inplace(name: str):
    """Decorator: an in-place random method; what is recorded is that the old value has no influence."""

    def wrap(fn):
        def method(self, *args, **kwargs):
            hooks.check_writable(self)
            from flambeau.ops.copying import filled

            return hooks.inplace(filled.record, (self, 0), lambda: fn(self, *args, **kwargs))

        method.__name__ = method.__qualname__ = name
        method.__doc__ = fn.__doc__
        METHODS[name] = method
        return fn

    return wrap


METHODS: dict = {}


def complex_parts(t):
    """A complex tensor as a real one with a last dim of 2."""
    return t._alias().view_as_real()


@inplace("uniform_")
def uniform_fill(t, from_=0.0, to=1.0, *, generator=None, **kwargs):
    """Uniform numbers in [from, to).

    Source:   torch.Tensor.uniform_
    """
    low = kwargs.pop("from", from_)
    if low > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={to}")
    if t._dtype.is_complex:
        t = complex_parts(t)
    check_float("check_uniform_bounds", t)
    fill_dense(t, lambda d: uniform_into(d, float(low), float(to), generator))


@inplace("normal_")
def normal_fill(t, mean=0.0, std=1.0, *, generator=None):
    """Normal numbers of the given mean and standard deviation.

    Source:   torch.Tensor.normal_
    """
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if t._dtype.is_complex:
        t, std = complex_parts(t), std / math.sqrt(2.0)
    check_float("normal_kernel_cpu", t)
    if t._numel == 0:
        return
    if t._dense:
        normal_into(t, float(mean), float(std), generator)
    else:
        few_normals(in_memory_order(t), float(mean), float(std), engine_of(generator))


def draw_form(form: str, t, a: float, b: float, generator) -> None:
    def fill(dense):
        raw = engine_of(generator).raw(2 * dense._numel)
        to_form((dense._dtype, dt.uint32), form=form)(dense._numel, GRAIN // 4, dense._ptr, raw.ptr, a, b)

    fill_dense(t, fill)


@inplace("exponential_")
def exponential_fill(t, lambd=1.0, *, generator=None):
    """Exponentially distributed numbers of rate lambd.

    Source:   torch.Tensor.exponential_
    """
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    check_float("exponential_cpu", t)
    draw_form("exponential", t, float(lambd), 0.0, generator)


@inplace("cauchy_")
def cauchy_fill(t, median=0.0, sigma=1.0, *, generator=None):
    """Cauchy distributed numbers.

    Source:   torch.Tensor.cauchy_
    """
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    check_float("cauchy_cpu", t)
    draw_form("cauchy", t, float(median), float(sigma), generator)


@inplace("geometric_")
def geometric_fill(t, p, *, generator=None):
    """Numbers of trials until the first success of probability p.

    Source:   torch.Tensor.geometric_
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    draw_form("geometric", t, float(p), 0.0, generator)


@inplace("log_normal_")
def log_normal_fill(t, mean=1.0, std=2.0, *, generator=None):
    """exp of normal numbers.

    Source:   torch.Tensor.log_normal_
    """
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    check_float("log_normal_cpu", t)
    draws = one_by_one((t._numel,), float(mean), float(std), engine_of(generator)).tolist()
    copy_elements(t, hooks.tensor([math.exp(v) for v in draws], dtype=dt.float64).reshape(t._shape))


def bounds(d) -> tuple[int, int]:
    """The integers a dtype holds exactly (floats: all up to 2^digits)."""
    if d.is_floating_point:
        return -(1 << DIGITS[d.name]), 1 << DIGITS[d.name]
    if d is dt.bool:
        return 0, 1
    bits = 8 * d.itemsize
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if d.is_signed else (0, (1 << bits) - 1)


def integers_into(t, low: int, span: int, wide: bool, generator) -> None:
    def fill(dense):
        engine = engine_of(generator)
        raw = engine.raw(dense._numel * (2 if wide else 1))
        signed = span if span < 1 << 63 else span - (1 << 64)
        to_range((dense._dtype, dt.uint32), wide=wide)(dense._numel, GRAIN // 2, dense._ptr, raw.ptr, signed, low)

    fill_dense(t, fill)


@inplace("random_")
def random_fill(t, from_=None, to=None, *, generator=None, **kwargs):
    """Integers in [from, to); without bounds, over the dtype's range.

    Source:   torch.Tensor.random_
    """
    low = kwargs.pop("from", from_)
    if low is not None and to is None:
        low, to = 0, low
    d = t._dtype
    if low is None and to is None:
        top = bounds(d)[1] + 1
        integers_into(t, 0, top, d in (dt.int64, dt.float64), generator)
        return
    low = 0 if low is None else int(low)
    to = int(to)
    if low >= to:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={to}")
    check_bounds("random_", d, low, to)
    integers_into(t, low, to - low, to - low >= WIDE, generator)


WIDE = 1 << 28  # spans from here on take 64-bit draws


def check_bounds(name: str, d, low: int, high: int) -> None:
    least, most = bounds(d)
    if d.is_floating_point:
        return
    if low < least or high - 1 > most:
        what = "from" if low < least else "to - 1"
        raise RuntimeError(f"{what} is out of bounds for {d}")


def limit_of(p: float) -> int:
    """u < p where 2^53 u < limit, for u a multiple of 2^-53."""
    return math.ceil(p * 2.0**53)


@inplace("bernoulli_")
def bernoulli_fill(t, p=0.5, *, generator=None):
    """1 with probability p (a number, or a tensor of them), else 0.

    Source:   torch.Tensor.bernoulli_
    """
    if isinstance(p, hooks.Tensor):
        bernoulli_each(t, p, generator)
        return
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    limit = limit_of(p)

    def fill(dense):
        launch, size = to_bernoulli((dense._dtype, dt.uint64)), dense._dtype.itemsize
        by_blocks(generator, dense._numel, 2, lambda i, n, raw: launch(n, n, dense._ptr + i * size, raw, limit))

    fill_dense(t, fill)


def bernoulli_each(t, p, generator) -> None:
    check_float("bernoulli_tensor_cpu_p_", p)
    if bool(((p < 0) | (p > 1)).any()):
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    p = p.detach().expand(t._shape)
    p = p if t._dense else p.permute(memory_order(t))  # as fill_dense has t
    p = (p.to(dt.float32) if p._dtype.itemsize < 4 else p).contiguous()
    digits = DIGITS[p._dtype.name]

    def fill(dense):
        raw = engine_of(generator).raw((2 if digits == 53 else 1) * dense._numel)
        to_bernoulli_each((dense._dtype, dt.uint32, p._dtype), digits=digits)(
            dense._numel, GRAIN, dense._ptr, raw.ptr, p._ptr)  # fmt: skip

    fill_dense(t, fill)
