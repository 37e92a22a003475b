"""The larger and the smaller: maximum, minimum, fmax, fmin, clamp."""

from __future__ import annotations

from flambeau.ir import expr as E
from flambeau.ops.arithmetic import where_of
from flambeau.ops.record import COMPOSITE, POINTWISE, op


@op(POINTWISE)
def maximum(input, other):
    """The larger of two, NaN if either is.

    Source:   torch.maximum
    """
    return E.maximum(input, other)


@op(POINTWISE)
def minimum(input, other):
    """The smaller of two, NaN if either is.

    Source:   torch.minimum
    """
    return E.minimum(input, other)


def share(g, mine, other, worse):
    """0 where mine is worse, half of g at ties, else g (so beside a NaN, both get all of it)."""
    return where_of(worse, g * 0, where_of(mine == other, g * 0.5, g))


maximum.derivative(
    input=lambda g, input, other: share(g, input, other, input < other),
    other=lambda g, input, other: share(g, other, input, other < input),
)


minimum.derivative(
    input=lambda g, input, other: share(g, input, other, input > other),
    other=lambda g, input, other: share(g, other, input, other > input),
)


@op(POINTWISE)
def fmax(input, other):
    """The larger of two; a NaN loses against a number.

    Source:   torch.fmax
    """
    return E.where(E.isnan(other) | (input >= other), input, other)


@op(POINTWISE)
def fmin(input, other):
    """The smaller of two; a NaN loses against a number.

    Source:   torch.fmin
    """
    return E.where(E.isnan(other) | (input <= other), input, other)


def is_nan(x):
    """isnan on tensors or expressions."""
    return x != x


fmax.derivative(
    input=lambda g, input, other: where_of((input >= other) | is_nan(other), g, g * 0),
    other=lambda g, input, other: where_of((input >= other) | is_nan(other), g * 0, g),
)


fmin.derivative(
    input=lambda g, input, other: where_of((input <= other) | is_nan(other), g, g * 0),
    other=lambda g, input, other: where_of((input <= other) | is_nan(other), g * 0, g),
)


@op(POINTWISE, aliases=("clip",))
def clamp(input, min=None, max=None):  # noqa: A002
    """min(max(input, min), max); either bound may be missing, a number or a tensor.

    Errors:   RuntimeError if both bounds are None
    Source:   torch.clamp
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    x = input if min is None else E.maximum(min, input)
    return x if max is None else E.minimum(max, x)


def clamp_grad(g, input, min, max):  # noqa: A002
    """g inside the bounds (edges included), 0 outside."""
    if min is not None and max is not None:
        return where_of((input >= min) & (input <= max), g, g * 0)
    return where_of(input >= min if min is not None else input <= max, g, g * 0)


clamp.derivative(
    input=clamp_grad,
    min=lambda g, input, min, max: where_of(
        (input < min) if max is None else (input < min) & (min <= max), g, g * 0),
    max=lambda g, input, min, max: where_of(
        (input > max) if min is None else (input > max) | (min > max), g, g * 0),
)  # fmt: skip


@op(COMPOSITE, inplace=True)
def clamp_min(input, min):  # noqa: A002
    """max(input, min).

    Source:   torch.clamp_min
    """
    return clamp(input, min=min)


@op(COMPOSITE, inplace=True)
def clamp_max(input, max):  # noqa: A002
    """min(input, max).

    Source:   torch.clamp_max
    """
    return clamp(input, max=max)
