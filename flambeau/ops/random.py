"""Random numbers with PyTorch's CPU streams: the same seed gives the same values, element by element.

Raw draws come from runtime.rng; kernels turn them into numbers. What is drawn per element, and in which order, is a fact
about PyTorch (measured against 2.13; see tests/ops/test_random.py), not a choice.
"""

from __future__ import annotations

import math
import operator

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.core.device import device as Device
from flambeau.ir import expr as E
from flambeau.ir.kernel import Float, Int, Ptr, kernel
from flambeau.ops import random_single as single
from flambeau.ops.copying import copy_elements
from flambeau.ops.create import check_options, finish, given, like, sizes_of
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.runtime import rng

GRAIN = 16384
DIGITS = {"float32": 24, "float64": 53, "float16": 11, "bfloat16": 8}  # of the significand
DRAWN = {"float32": 24, "float64": 53, "float16": 24, "bfloat16": 24}  # bits drawn (halves round a float32)


class Generator:
    """A source of random numbers with its own state.

    Source:   torch.Generator
    """

    def __init__(self, device="cpu"):
        d = device if isinstance(device, Device) else Device(device)
        check_options("Generator", d)
        self.device = d
        self._engine = rng.Engine()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`."""
        self._engine.seed(checked_seed(seed))
        return self

    def seed(self) -> int:
        """Start a stream nobody can foresee; returns its seed."""
        value = rng.random_seed()
        self._engine.seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed the stream was started with."""
        return self._engine.initial

    def get_state(self):
        """The state as a uint8 tensor."""
        return hooks.from_array(np.frombuffer(self._engine.get_state(), np.uint8))

    def set_state(self, new_state) -> None:
        """Continue from a state that get_state gave."""
        if not isinstance(new_state, hooks.Tensor) or new_state._dtype is not dt.uint8:
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        self._engine.set_state(hooks.view_array(new_state.contiguous()).tobytes())

    def clone_state(self) -> Generator:
        """A generator with the same state."""
        new = Generator(self.device)
        new._engine.set_state(self._engine.get_state())
        return new

    def __reduce__(self):
        return _rebuild_generator, (self._engine.get_state(),)

    def __repr__(self) -> str:
        return f"<torch._C.Generator object at {id(self):#x}>"


def _rebuild_generator(state: bytes) -> Generator:
    g = Generator()
    g._engine.set_state(state)
    return g


default_generator = Generator()
default_generator._engine = rng.default_engine


def checked_seed(seed) -> int:
    seed = operator.index(seed)
    if not -(1 << 63) <= seed < 1 << 64:
        raise RuntimeError(f"Overflow when unpacking long long: seed {seed} does not fit in 64 bits")
    return seed % (1 << 64)


def manual_seed(seed) -> Generator:
    """Start the default generator's stream of `seed`.

    Source:   torch.manual_seed
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start an unforeseeable stream; returns its seed.

    Source:   torch.seed
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed.

    Source:   torch.initial_seed
    """
    return default_generator.initial_seed()


def get_rng_state():
    """The default generator's state as a uint8 tensor.

    Source:   torch.get_rng_state
    """
    return default_generator.get_state()


def set_rng_state(new_state) -> None:
    """Continue the default generator from a state.

    Source:   torch.set_rng_state
    """
    default_generator.set_state(new_state)


def engine_of(generator):
    """The engine of a Generator, or the default one."""
    if generator is None:
        return rng.default_engine
    if not isinstance(generator, Generator):
        raise TypeError(f"argument 'generator' must be Generator, not {type(generator).__name__}")
    return generator._engine


# kernels: raw draws to numbers --------------------------------------------------------------------
def unit(bits, d, digits: int):
    """The low `digits` bits of a draw as a float in [0, 1)."""
    if digits > 24:
        return E.cast(E.cast(bits & ((1 << digits) - 1), dt.int64), d) * 2.0**-digits
    return E.cast(E.cast(bits & ((1 << digits) - 1), dt.int32), d) * 2.0**-digits


def wide_draw(raw, i):
    """Two draws as 64 bits, the first one high."""
    high, low = E.cast(raw[2 * i], dt.int64), E.cast(raw[2 * i + 1], dt.int64)
    return (high << 32) | low


@kernel
def to_uniform(k, y: Ptr, raw: Ptr, low: Float, high: Float, *, digits: int):
    """y = u (high - low) + low from one draw each (two for float64)."""
    d = y.compute
    with k.parallel(vector=True) as i:
        bits = wide_draw(raw, i) if digits == 53 else raw[i]
        a, b = E.cast(low, d), E.cast(high, d)
        y[i] = E.fma(unit(bits, d, digits), b - a, a)


@kernel
def to_normal(k, y: Ptr, u: Ptr, mean: Float, std: Float):
    """Box and Muller's transform of blocks of 16 uniforms: cosines from the first eight radii, then sines."""
    d = y.compute
    with k.parallel() as b:
        out, source = y.at(b * 16), u.at(b * 16)
        m, s = E.cast(mean, d), E.cast(std, d)
        with k.lanes(8) as j:
            u1, u2 = 1 - source[j], source[j + 8]
            theta = (2 * math.pi) * u2
            if d is dt.float32:
                radius, (sine, cosine) = E.sqrt(-2 * single.log(u1)), single.sincos(theta)
            else:
                radius, sine, cosine = E.sqrt(-2 * E.log(u1)), E.sin(theta), E.cos(theta)
            out[j] = E.fma(radius * cosine, s, m)
            out[j + 8] = E.fma(radius * sine, s, m)


@kernel
def to_range(k, y: Ptr, raw: Ptr, span: Int, base: Int, *, wide: bool):
    """y = draw mod span + base."""
    with k.parallel(vector=not wide) as i:
        if wide:
            v = E.cast(wide_draw(raw, i), dt.uint64)
            r = E.where(span == 0, v, v % E.cast(E.where(span == 0, E.const(1, dt.int64), span), dt.uint64))
            y[i] = E.cast(E.cast(r, dt.int64) + base, y.compute)
        else:
            v = E.cast(raw[i], dt.int64)
            q = E.cast(E.cast(v, dt.float64) / E.cast(span, dt.float64), dt.int64)  # exact quotient, or one too many
            r = v - q * span
            r = E.where(r < 0, r + span, r)
            y[i] = E.cast(r + base, y.compute)


@kernel
def to_bernoulli(k, y: Ptr, raw: Ptr, p: Float):
    """y = 1 where a float64 uniform (two draws) is below p."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(unit(wide_draw(raw, i), dt.float64, 53) < p, y.compute)


@kernel
def to_bernoulli_each(k, y: Ptr, raw: Ptr, p: Ptr, *, digits: int):
    """y = 1 where a uniform is below its own p."""
    d = p.compute
    with k.parallel(vector=True) as i:
        bits = wide_draw(raw, i) if digits == 53 else raw[i]
        y[i] = E.cast(unit(bits, d, digits) < p[i], y.compute)


FORMS = {
    "exponential": lambda u, a, b: -1 / a * E.log1p(-u),
    "cauchy": lambda u, a, b: a + b * E.tan(math.pi * (E.minimum(E.maximum(u, 2.0**-52), 1 - 2.0**-52) - 0.5)),
    "geometric": lambda u, a, b: E.ceil(E.log(u) / E.log1p(-a)),
}


@kernel
def to_form(k, y: Ptr, raw: Ptr, a: Float, b: Float, *, form: str):
    """A formula of a float64 uniform (two draws)."""
    with k.parallel(vector=True) as i:
        y[i] = E.cast(FORMS[form](unit(wide_draw(raw, i), dt.float64, 53), a, b), y.compute)


# filling ------------------------------------------------------------------------------------------
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
    values = [engine.normal() * std + mean for _ in range(t._numel)]
    copy_elements(t, hooks.from_array(np.array(values).reshape(tuple(t._shape))))


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
        t, std = complex_parts(t), std * math.sqrt(0.5)
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
    engine = engine_of(generator)
    values = [math.exp(engine.normal() * std + mean) for _ in range(t._numel)]
    copy_elements(t, hooks.from_array(np.array(values).reshape(tuple(t._shape))))


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

    def fill(dense):
        raw = engine_of(generator).raw(2 * dense._numel)
        to_bernoulli((dense._dtype, dt.uint32))(dense._numel, GRAIN, dense._ptr, raw.ptr, float(p))

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


# functions ----------------------------------------------------------------------------------------
def made(name: str, size, dtype, device, layout, requires_grad, out, fill):
    """A fresh tensor (or out, resized) that fill() has filled."""
    check_options(name, device, layout)
    if out is not None:
        if tuple(out._shape) != tuple(size):
            out.resize_(size)
        fill(out)
        hooks.note_change(out)
        return out
    t = hooks.empty(hooks.Size(size), dtype or dt.get_default_dtype())
    fill(t)
    return finish(t, requires_grad)


def rand(*args, size=None, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Uniform numbers in [0, 1).

    Source:   torch.rand
    """
    return made("rand", sizes_of("rand", given(args, size)), dtype, device, layout, requires_grad, out,
                lambda t: uniform_fill(t, 0.0, 1.0, generator=generator))  # fmt: skip


def randn(*args, size=None, generator=None, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Standard normal numbers.

    Source:   torch.randn
    """
    return made("randn", sizes_of("randn", given(args, size)), dtype, device, layout, requires_grad, out,
                lambda t: normal_fill(t, 0.0, 1.0, generator=generator))  # fmt: skip


def randint(*args, low=None, high=None, size=None, generator=None, out=None, dtype=None, layout=None, device=None,
            requires_grad=False, pin_memory=False):  # fmt: skip
    """Integers in [low, high): randint(high, size) or randint(low, high, size).

    Source:   torch.randint
    """
    args = list(args)
    if args and size is None and not isinstance(args[-1], int):
        size = args.pop()
    if high is None and len(args) == 2:
        low, high = args
    elif high is None and args:
        low, high = (0 if low is None else low), args[0]
    elif args:
        low = args[0]
    if size is None or high is None:
        raise TypeError("randint() received an invalid combination of arguments: give (high, size) or (low, high, size)")
    low, high = int(0 if low is None else low), int(high)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    d = dtype or (out._dtype if out is not None else dt.int64)
    check_bounds("randint", d, low, high)
    return made("randint", sizes_of("randint", (size,)), d, device, layout, requires_grad, out,
                lambda t: integers_into(t, low, high - low, high - low >= WIDE, generator))  # fmt: skip


def like_form(name: str, fill):
    """rand_like and randn_like."""

    def make(input, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, memory_format=None,
             generator=None):  # fmt: skip
        t = like(name, input, dtype, device, layout, False, memory_format)
        fill(t, 0.0, 1.0, generator=generator)
        return finish(t, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{name.partition('_')[0]} of input's shape, dtype and layout.\n\n    Source:   torch.{name}\n    "
    return make


rand_like, randn_like = like_form("rand_like", uniform_fill), like_form("randn_like", normal_fill)


def randint_like(input, low, high=None, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None,
                 generator=None):  # fmt: skip
    """randint of input's shape and dtype.

    Source:   torch.randint_like
    """
    low, high = (0, low) if high is None else (low, high)
    t = like("randint_like", input, dtype, device, layout, False, memory_format)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    integers_into(t, int(low), int(high - low), high - low >= WIDE, generator)
    return finish(t, requires_grad)


@kernel
def shuffle(k, p: Ptr, raw: Ptr, n: Int):
    """Fisher and Yates from the front: swap p[i] with p[i + draw mod (n - i)]."""
    with k.parallel():
        with k.seq(n) as i:
            p[i] = i
        with k.seq(n - 1) as i:
            j = i + E.cast(raw[i], dt.int64) % (n - i)
            a, b = p[i], p[j]
            p[i] = b
            p[j] = a


def randperm(n, *, generator=None, out=None, dtype=dt.int64, layout=None, device=None, requires_grad=False,
             pin_memory=False):  # fmt: skip
    """A random order of 0, ..., n - 1.

    Source:   torch.randperm
    """
    n = operator.index(n)
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")

    def fill(t):
        if n == 0:
            return
        raw = engine_of(generator).raw(max(1, n - 1)) if n > 1 else None
        p = t if t._dense and t._dtype is dt.int64 else hooks.empty((n,), dt.int64)
        shuffle((dt.int64, dt.uint32))(1, 1, p._ptr, raw.ptr if raw else p._ptr, n)
        if p is not t:
            copy_elements(t, p)

    return made("randperm", (n,), dtype, device, layout, requires_grad, out, fill)


def normal(mean=0.0, std=1.0, size=None, *, generator=None, out=None, dtype=None, layout=None, device=None,
           requires_grad=False):  # fmt: skip
    """Normal numbers: means and standard deviations as numbers with a size, or as tensors.

    Source:   torch.normal
    """
    tensors = [t for t in (mean, std) if isinstance(t, hooks.Tensor)]
    if not tensors:
        if size is None:
            raise TypeError("normal(): numbers for mean and std need size=")
        return made("normal", sizes_of("normal", (size,)), dtype, device, layout, requires_grad, out,
                    lambda t: normal_fill(t, mean, std, generator=generator))  # fmt: skip
    if isinstance(std, hooks.Tensor) and not std._dtype.is_complex and bool((std < 0).any()):
        raise RuntimeError("normal expects all elements of std >= 0.0")
    shape = S.broadcast_shapes("normal", *[tuple(t._shape) for t in tensors])
    t = hooks.empty(shape, tensors[0]._dtype)
    normal_fill(t, 0.0, 1.0, generator=generator)
    result = (t * std + mean).detach()
    return result if out is None else out.copy_(result)


@op(COMPOSITE)
def bernoulli(input, p=None, *, generator=None):
    """1 with the probability each element gives (or p), else 0.

    Source:   torch.bernoulli
    """
    t = hooks.empty(input._shape, input._dtype)
    bernoulli_fill(t, input if p is None else p, generator=generator)
    return t


@op(KERNEL)
def multinomial(input, num_samples, replacement=False, *, generator=None):
    """Indices drawn with the probabilities that rows give (they need not sum to 1).

    Source:   torch.multinomial
    """
    if not input._dtype.is_floating_point:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {input._dtype}")
    if len(input._shape) not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    n = input._shape[-1]
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > n:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if n and not (0 <= input.amin().item() and input.amax().item() < math.inf):  # NaN wins in both, and fails
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if bool((input.sum(-1) == 0).any()):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    x = input.detach()
    if not replacement or num_samples == 1:
        q = hooks.empty(x._shape, x._dtype)
        exponential_fill(q, 1.0, generator=generator)
        q = x / q
        return q.argmax(-1, True) if num_samples == 1 else q.topk(num_samples, -1)[1]
    rows = x.reshape(-1, n)
    total = rows.cumsum(-1, dtype=dt.float64)
    total = total / total[:, -1:]
    u = hooks.empty((rows._shape[0], num_samples), dt.float64)
    uniform_into(u, 0.0, 1.0, generator)
    from flambeau.ops.sort import searchsorted

    picked = searchsorted(total.contiguous(), u).clamp(max=n - 1)
    return picked.reshape(*x._shape[:-1], num_samples)


@op(COMPOSITE)
def poisson(input, generator=None):
    """Poisson distributed counts of the rates that input gives.

    Source:   Hormann, The transformed rejection method, 1993 (rates from 10 on); torch.poisson
    """
    engine = engine_of(generator)
    values = [poisson_one(rate, engine.uniform_double) for rate in input.detach().reshape(-1).tolist()]
    return hooks.tensor(values, dtype=input._dtype).reshape(input._shape)


def poisson_one(rate: float, uniform) -> float:
    """One count."""
    if rate < 0:
        raise RuntimeError(f"invalid Poisson rate, expected rate to be non-negative, got {rate}")
    if rate == 0:
        return 0.0
    if rate < 10:
        limit, product, count = math.exp(-rate), 1.0, 0
        while True:
            product *= uniform()
            if product <= limit:
                return float(count)
            count += 1
    root, log_rate = math.sqrt(rate), math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return float(k)
        if k < 0 or us < 0.013 and v > us:
            continue
        if math.log(v) + math.log(inverse) - math.log(a / (us * us) + b) <= -rate + k * log_rate - math.lgamma(k + 1):
            return float(k)


@op(COMPOSITE, method=False)
def binomial(count, prob, generator=None):
    """Numbers of successes in `count` trials of probability `prob`, by counting uniform draws.

    Source:   torch.binomial (another stream)
    """
    shape = S.broadcast_shapes("binomial", tuple(count._shape), tuple(prob._shape))
    counts = [int(c) for c in count.expand(shape).reshape(-1).tolist()]
    engine = engine_of(generator)
    out = [float(sum(engine.uniform_double() < p for _ in range(c)))
           for c, p in zip(counts, prob.expand(shape).reshape(-1).tolist(), strict=True)]  # fmt: skip
    return hooks.tensor(out, dtype=count._dtype).reshape(shape)


__all__ = [
    "Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "normal", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip
