"""Orthogonal polynomials of degree n at x, by their recurrences, in float64; loaded with torch.special.

Source:   Abramowitz and Stegun, Handbook of mathematical functions, 1964, table 22.7
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ir.kernel import Ptr, kernel
from flambeau.ops.elementwise import SCALAR_NAMES
from flambeau.ops.record import KERNEL, hooks, op

# name: (what, P_1 at x, P_(k+1) of (x, k, P_k, P_(k-1)))
FAMILIES = {
    "chebyshev_polynomial_t": ("Chebyshev's T_n", lambda x: x, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_u": ("Chebyshev's U_n", lambda x: 2 * x, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_v": ("Chebyshev's V_n", lambda x: 2 * x - 1, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_w": ("Chebyshev's W_n", lambda x: 2 * x + 1, lambda x, k, p, q: 2 * x * p - q),
    "hermite_polynomial_h": ("Hermite's H_n (the physicists')", lambda x: 2 * x, lambda x, k, p, q: 2 * (x * p - k * q)),
    "hermite_polynomial_he": ("Hermite's He_n (the probabilists')", lambda x: x, lambda x, k, p, q: x * p - k * q),
    "laguerre_polynomial_l": ("Laguerre's L_n", lambda x: 1 - x, lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)),
    "legendre_polynomial_p": ("Legendre's P_n", lambda x: x, lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
}  # fmt: skip


@kernel
def recurrence(k, y: Ptr, x: Ptr, n: Ptr, *, family: str, shifted: bool):
    """P_n(x), 0 for negative n; n is cut to an integer."""
    _, first, following = FAMILIES[family]
    with k.parallel() as i:
        v, degree = E.cast(x[i], dt.float64), E.cast(E.cast(n[i], dt.int64), dt.float64)
        v = 2 * v - 1 if shifted else v
        before, here, at = k.var(1.0, dt.float64), k.var(first(v)), k.var(1.0, dt.float64)
        with k.while_(lambda: at.value < degree):
            new = following(v, at.value, here.value, before.value)
            before.set(here.value)
            here.set(new)
            at.set(at.value + 1)
        value = E.where(degree < 0, 0.0, E.where(degree == 0, 1.0, here.value))
        y[i] = E.cast(value, y.compute)


def computed(name: str, family: str, shifted: bool, input, n):
    """The polynomial over broadcast operands, of which one may be a number."""
    both = [v for v in (input, n) if isinstance(v, hooks.Tensor)]
    if not both:
        raise TypeError(f"special_{name}(): one of input and n must be a Tensor, got {type(input).__name__} and {type(n).__name__}")
    shape = S.broadcast_shapes(name, *(tuple(t._shape) for t in both))
    d = dt.promote_types(both[0]._dtype, both[-1]._dtype)
    if d.is_complex or d.itemsize == 2 and d.is_floating_point:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{SCALAR_NAMES[d.name]}': it takes float32 and float64")
    d = d if d.is_floating_point else dt.get_default_dtype()
    x, degrees = (
        (v if isinstance(v, hooks.Tensor) else hooks.tensor(v, dtype=d)).detach().to(d).expand(shape).contiguous() for v in (input, n)
    )
    out = hooks.empty(shape, d)
    if out._numel:
        recurrence((d, d, d), family=family, shifted=shifted)(out._numel, 256, out._ptr, x._ptr, degrees._ptr)
    return out


def define(name: str, family: str, shifted: bool):
    """One op."""

    def body(input, n):
        return computed(name, family, shifted, input, n)

    where = " at 2 input - 1" if shifted else ""
    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{FAMILIES[family][0]}, the polynomial of degree n{where}; not differentiable.\n\n    Source:   torch.special.{name}\n    "
    return op(KERNEL, function=False, method=False)(body)


for _name in FAMILIES:
    globals()[_name] = define(_name, _name, False)
    if _name.startswith("chebyshev"):
        globals()["shifted_" + _name] = define("shifted_" + _name, _name, True)

__all__ = [*FAMILIES, *(f"shifted_{n}" for n in FAMILIES if n.startswith("chebyshev"))]
