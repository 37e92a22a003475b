"""Arithmetic: add, sub, mul, div and their like. Each body is the scalar expression of the op."""

from __future__ import annotations

from flambeau.ir import expr as E
from flambeau.ops.record import POINTWISE, op


def scaled(x, alpha):
    """x * alpha, free when alpha is the number 1."""
    return x if not isinstance(alpha, E.Expr) and alpha == 1 else x * alpha


@op(POINTWISE, literal={"alpha": {1}})
def add(input, other, *, alpha=1):
    """input + alpha * other.

    Shapes:   broadcast
    Source:   torch.add
    """
    return input + scaled(other, alpha)


add.derivative(
    input=lambda g: g,
    other=lambda g, alpha: scaled(g, alpha),
)


@op(POINTWISE, literal={"alpha": {1}})
def sub(input, other, *, alpha=1):
    """input - alpha * other.

    Shapes:   broadcast
    Errors:   RuntimeError for booleans (use logical_xor or ^)
    Source:   torch.sub
    """
    return input - scaled(other, alpha)


sub.derivative(
    input=lambda g: g,
    other=lambda g, alpha: -scaled(g, alpha),
)


@op(POINTWISE, literal={"alpha": {1}})
def rsub(input, other, *, alpha=1):
    """other - alpha * input.

    Source:   torch.rsub
    """
    return other - scaled(input, alpha)


rsub.derivative(
    input=lambda g, alpha: -scaled(g, alpha),
    other=lambda g: g,
)


@op(POINTWISE, aliases=("multiply",))
def mul(input, other):
    """input * other.

    Shapes:   broadcast
    Source:   torch.mul
    """
    return input * other


mul.derivative(input=lambda g, other: g * other, other=lambda g, input: g * input)


@op(POINTWISE)
def neg(input):
    """-input.

    Source:   torch.neg
    """
    return -input


neg.derivative(input=lambda g: -g)
