"""Random numbers with PyTorch's CPU streams: the same seed gives the same values, element by element.

Raw draws come from runtime.rng, kernels (random_kernels) turn them into numbers, in place (random_fill); here are the functions
that return new tensors. Counts are in random_counts, gamma distributed numbers in gamma_random.
"""

from __future__ import annotations

import math
import operator

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops.copying import copy_elements
from flambeau.ops.create import check_options, finish, given, like, sizes_of
from flambeau.ops.generators import (
    Generator,
    default_generator,
    engine_of,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from flambeau.ops.random_fill import (
    WIDE,
    bernoulli_fill,
    check_bounds,
    exponential_fill,
    integers_into,
    normal_fill,
    uniform_fill,
    uniform_into,
)
from flambeau.ops.random_kernels import shuffle
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op


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
    x = input.detach()
    low, high = x.aminmax() if n else (x.new_zeros(()),) * 2
    if not (low.item() >= 0 and high.item() < math.inf):  # NaN wins in both, and fails
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if bool((x.sum(-1) == 0).any()):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if not replacement or num_samples == 1:
        q = hooks.empty(x._shape, x._dtype)
        exponential_fill(q, 1.0, generator=generator)
        q = x / q
        return q.argmax(-1, True) if num_samples == 1 else q.topk(num_samples, -1)[1]
    rows = x.reshape(-1, n)
    total = rows.cumsum(-1, dtype=dt.float64)
    u = hooks.empty((rows._shape[0], num_samples), dt.float64)
    uniform_into(u, 0.0, 1.0, generator)
    from flambeau.ops.sort import searchsorted

    picked = searchsorted(total, u * total[:, -1:]).clamp(max=n - 1)
    return picked.reshape(*x._shape[:-1], num_samples)


__all__ = [
    "Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "normal", "rand", "rand_like",
    "randint", "randint_like", "randn", "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip
