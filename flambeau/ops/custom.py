"""@flambeau.pointwise: a Python function of scalars as a broadcasting, differentiable, fused op.

    @flambeau.pointwise
    def swish(x, beta=1.0):
        return x * torch.sigmoid(beta * x)

The function is traced once on symbols, so it is written with operators, torch functions and `torch.where`, not `if`. Its
derivatives are found by the chain rule (ir/derive.py), to any order.
"""

from __future__ import annotations

import functools
import inspect

from flambeau.ir import expr as E
from flambeau.ir.derive import derivative
from flambeau.ops.calling import dispatcher
from flambeau.ops.record import POINTWISE, Op


def pointwise(fn):
    """Decorator: fn(scalars...) -> scalar becomes an op on tensors and numbers.

    Args:     positional parameters are tensors or numbers and can be differentiated; keyword-only ones are numbers
    Dtypes:   as in x + y; the result has the dtype of the expression
    Errors:   TypeError while tracing for `if` and the like on symbols
    """
    parameters = list(inspect.signature(fn).parameters.values())
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(f"pointwise: {fn.__name__} must name its parameters, but it has {p}")
    record = Op(fn, POINTWISE, {"promote": "float"})
    call = dispatcher(record)
    functools.update_wrapper(call, fn)
    record.call, call.record = call, record
    inputs = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if inputs:
        record.derivative(**{name: rule(fn, parameters, name) for name in inputs})
    return call


def rule(fn, parameters: list, name: str):
    """g times the partial derivative, fused when traced, an op of its own in a graph of gradients."""
    names = [p.name for p in parameters]
    partial = partial_of(fn, parameters, name)

    def backward(g, *values):
        if isinstance(g, E.Expr):
            return g * partial(*values)
        return g * own_op()(*values[: len(names)])

    @functools.cache
    def own_op():
        return pointwise(partial)

    first = inspect.Parameter("g", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = [p.replace(kind=p.POSITIONAL_OR_KEYWORD, default=p.empty) for p in parameters]
    backward.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    return backward


def partial_of(fn, parameters: list, name: str):
    """The function that computes d fn / d name from the same parameters."""
    names = [p.name for p in parameters]

    def partial(*values):
        given = dict(zip(names, values, strict=True))
        real = next(v for v in values if isinstance(v, E.Expr)).dtype
        leaves = {n: E.leaf(n, real) if isinstance(v, (E.Expr, int, float)) and not isinstance(v, bool) else v
                  for n, v in given.items()}  # fmt: skip
        keywords = {p.name: leaves[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}
        y = fn(*[leaves[n] for n in names if n not in keywords], **keywords)
        d = derivative(E.wrap(y, real), leaves[name])
        mapping = {leaf: E.cast(E.wrap(given[n], real), real) for n, leaf in leaves.items() if isinstance(leaf, E.Expr)}
        return E.substitute([d], mapping)[0]

    partial.__name__ = partial.__qualname__ = f"{fn.__name__}_d_{name}"
    plain = [p.replace(kind=p.POSITIONAL_OR_KEYWORD, default=p.empty) for p in parameters]
    partial.__signature__ = inspect.Signature(plain)  # type: ignore[attr-defined]
    return partial


__all__ = ["pointwise"]
