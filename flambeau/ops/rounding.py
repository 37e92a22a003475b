"""Rounding: floor, ceil, trunc, round, frac."""

from __future__ import annotations

from flambeau.ir import expr as E
from flambeau.ops.record import POINTWISE, op


def _rounding(name: str, function, doc: str):
    """floor, ceil, trunc, round: identity on integers, zero derivative."""

    def body(input):
        return function(input)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{doc}\n\n    Source:   torch.{name}\n    "
    made = op(POINTWISE, aliases=("fix",) if name == "trunc" else ())(body)
    made.derivative(input=lambda g: g * 0)
    return made


floor = _rounding("floor", E.floor, "The largest integer not above input.")


ceil = _rounding("ceil", E.ceil, "The smallest integer not below input.")


trunc = _rounding("trunc", E.trunc, "input without its fraction.")


@op(POINTWISE)
def round(input, *, decimals=0):  # noqa: A001
    """input rounded to the nearest integer (ties to even), or to `decimals` decimal places.

    Source:   torch.round
    """
    if isinstance(decimals, int) and decimals == 0:
        return E.rint(input)
    scale = E.power(E.const(10.0, input.dtype), E.cast(abs(decimals), input.dtype))
    return E.where(decimals >= 0, E.rint(input * scale) / scale, E.rint(input / scale) * scale)


round.derivative(input=lambda g: g * 0)


@op(POINTWISE)
def frac(input):
    """input - trunc(input).

    Source:   torch.frac
    """
    return input - E.trunc(input)


frac.derivative(input=lambda g: g)


@op(POINTWISE)
def positive(input):
    """input.

    Source:   torch.positive
    """
    return input


positive.derivative(input=lambda g: g)
