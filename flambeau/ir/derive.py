"""Symbolic derivatives of scalar expressions, by the chain rule from the result back to a leaf."""

from __future__ import annotations

import math
from collections.abc import Callable

from flambeau.ir import expr as E
from flambeau.ir.expr import Expr

TWO_ROOT_PI = 2 / math.sqrt(math.pi)


def _pow(e: Expr, x: Expr, y: Expr):
    """d x^y: y x^(y-1), and x^y log x (0 where x is 0)."""
    by_y = E.where(x == 0, E.const(0, e.dtype), e * E.log(x))
    return E.where(y == 0, E.const(0, e.dtype), y * E.power(x, y - 1)), by_y


def _hypot(e: Expr, x: Expr, y: Expr):
    """x / r and y / r, 0 at the origin."""
    zero = E.const(0, e.dtype)
    return E.where(e == 0, zero, x / e), E.where(e == 0, zero, y / e)


def _sign(x: Expr) -> Expr:
    one = E.const(1, x.dtype)
    return E.where(x > 0, one, E.where(x < 0, -one, E.const(0, x.dtype)))


# op -> fn(node, *operands) giving one partial derivative per operand (None: none, piecewise constant)
PARTIALS: dict[str, Callable] = {
    "add": lambda e, a, b: (1, 1),
    "sub": lambda e, a, b: (1, -1),
    "mul": lambda e, a, b: (b, a),
    "div": lambda e, a, b: (1 / b, -e / b),
    "fma": lambda e, a, b, c: (b, a, 1),
    "neg": lambda e, a: (-1,),
    "abs": lambda e, a: (_sign(a),),
    "sqrt": lambda e, a: (0.5 / e,),
    "rem": lambda e, a, b: (1, -E.trunc(a / b)),
    "copysign": lambda e, a, b: (E.where(E.signbit(a) == E.signbit(b), E.const(1, e.dtype), E.const(-1, e.dtype)), None),
    "min": lambda e, a, b: (E.where(a <= b, E.const(1, e.dtype), E.const(0, e.dtype)),
                            E.where(b < a, E.const(1, e.dtype), E.const(0, e.dtype))),
    "max": lambda e, a, b: (E.where(a >= b, E.const(1, e.dtype), E.const(0, e.dtype)),
                            E.where(b > a, E.const(1, e.dtype), E.const(0, e.dtype))),
    "select": lambda e, c, a, b: (
        None, E.where(c, E.const(1, e.dtype), E.const(0, e.dtype)), E.where(c, E.const(0, e.dtype), E.const(1, e.dtype))),
    "cast": lambda e, a: (1,),
    "exp": lambda e, a: (e,),
    "exp2": lambda e, a: (e * math.log(2),),
    "expm1": lambda e, a: (e + 1,),
    "log": lambda e, a: (1 / a,),
    "log2": lambda e, a: (1 / (a * math.log(2)),),
    "log10": lambda e, a: (1 / (a * math.log(10)),),
    "log1p": lambda e, a: (1 / (a + 1),),
    "pow": _pow,
    "sin": lambda e, a: (E.cos(a),),
    "cos": lambda e, a: (-E.sin(a),),
    "tan": lambda e, a: (1 + e * e,),
    "asin": lambda e, a: (1 / E.sqrt(1 - a * a),),
    "acos": lambda e, a: (-1 / E.sqrt(1 - a * a),),
    "atan": lambda e, a: (1 / (1 + a * a),),
    "atan2": lambda e, a, b: (b / (a * a + b * b), -a / (a * a + b * b)),
    "hypot": _hypot,
    "sinh": lambda e, a: (E.cosh(a),),
    "cosh": lambda e, a: (E.sinh(a),),
    "tanh": lambda e, a: (1 - e * e,),
    "asinh": lambda e, a: (1 / E.sqrt(a * a + 1),),
    "acosh": lambda e, a: (1 / E.sqrt(a * a - 1),),
    "atanh": lambda e, a: (1 / (1 - a * a),),
    "sigmoid": lambda e, a: (e * (1 - e),),
    "rsqrt": lambda e, a: (-0.5 * e / a,),
    "cbrt": lambda e, a: (e / (3 * a),),
    "erf": lambda e, a: (TWO_ROOT_PI * E.exp(-(a * a)),),
    "erfc": lambda e, a: (-TWO_ROOT_PI * E.exp(-(a * a)),),
    "erfinv": lambda e, a: (E.exp(e * e) / TWO_ROOT_PI,),
    "lgamma": lambda e, a: (E.digamma(a),),
    "digamma": lambda e, a: (E.polygamma(E.const(1, a.dtype), a),),
    "i0": lambda e, a: (E.i1(a),),
    "erfcx": lambda e, a: (2 * a * e - TWO_ROOT_PI,),
}  # fmt: skip
CONSTANT = {"floor", "ceil", "trunc", "rint", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "not", "shl", "shr",
            "popcount", "clz", "bitcast", "nextafter"}  # fmt: skip


def derivative(y: Expr, x: Expr) -> Expr:
    """dy/dx for a leaf x, in y's dtype.

    Errors: NotImplementedError naming a function without a rule.
    """
    flows: dict[int, Expr] = {y.uid: E.const(1, y.dtype)}
    depends = {x.uid}
    order = E.postorder([y])
    for e in order:
        if any(a.uid in depends for a in e.args):
            depends.add(e.uid)
    for e in reversed(order):
        flow = flows.get(e.uid)
        if flow is None or e.uid not in depends or not e.args or e.op in CONSTANT:
            continue
        rule = PARTIALS.get(e.op)
        if rule is None:
            raise NotImplementedError(f"derivative: {e.op} has no rule; give one with .derivative(...) or use autograd.Function")
        for a, part in zip(e.args, rule(e, *e.args), strict=True):
            if part is None or a.uid not in depends or not a.dtype.is_floating_point:
                continue
            through = flow if isinstance(part, int) and part == 1 else flow * part
            through = E.cast(through, a.dtype)
            flows[a.uid] = flows[a.uid] + through if a.uid in flows else through
    return flows.get(x.uid, E.const(0, x.dtype))
