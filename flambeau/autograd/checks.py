"""Gradients checked against finite differences: gradcheck, gradgradcheck.

Source: torch.autograd.gradcheck (same arguments; the slow, full Jacobian check, or one random projection with
fast_mode).
"""

from __future__ import annotations

from flambeau.autograd.engine import grad
from flambeau.autograd.modes import no_grad
from flambeau.ops.record import hooks


class GradcheckError(RuntimeError):
    """Analytical and numerical gradients differ."""


def outputs_of(func, inputs) -> tuple:
    """The differentiable outputs of func."""
    out = func(*inputs)
    outs = tuple(out) if isinstance(out, (tuple, list)) else (out,)
    return tuple(o for o in outs if isinstance(o, hooks.Tensor) and (o._dtype.is_floating_point or o._dtype.is_complex))


def numerical_columns(func, inputs, x, which: int, eps: float):
    """d outputs[which] / d x by central differences: one flattened output per element of x (real parts)."""
    flat = x.detach()
    columns = []
    steps = (eps, 1j * eps) if x._dtype.is_complex else (eps,)
    for i in range(x._numel):
        at = unravel(i, x._shape)
        old = flat[at].item()
        both = []
        for h in steps:
            with no_grad():
                flat[at] = old + h
            up = outputs_of(func, inputs)[which].detach().clone().reshape(-1)  # func may itself differentiate
            with no_grad():
                flat[at] = old - h
            down = outputs_of(func, inputs)[which].detach().clone().reshape(-1)
            with no_grad():
                flat[at] = old
            both.append((up - down) / (2 * eps))
        columns.append(both)
    return columns


def unravel(i: int, shape) -> tuple:
    out = []
    for n in reversed(shape):
        out.append(i % n)
        i //= n
    return tuple(reversed(out))


def analytical_rows(func, inputs, x, which: int):
    """Rows g^T J for unit vectors g over the elements of outputs[which]."""
    y = outputs_of(func, inputs)[which]
    rows = []
    units = (1.0, 1j) if y._dtype.is_complex else (1.0,)
    for i in range(y._numel):
        both = []
        for u in units:
            g = y.new_zeros(y._shape)
            g[unravel(i, y._shape)] = u
            found = grad(y, x, g, retain_graph=True, allow_unused=True)[0] if y._requires_grad else None
            both.append(None if found is None else found.reshape(-1))
        rows.append(both)
    return rows


def compare(numerical, analytical, atol: float, rtol: float, where: str) -> None:
    """Every entry of the two Jacobians agrees (complex numbers as pairs of reals)."""
    for j, column in enumerate(numerical):
        for i, row in enumerate(analytical):
            for c, dx in enumerate(column):  # derivative along the real (0) or imaginary (1) axis of x
                want = dx[i].item()
                parts = (want.real, want.imag) if isinstance(want, complex) else (want,)
                for r, w in enumerate(parts):  # real or imaginary part of y
                    g = None if row[r] is None else row[r][j].item()
                    g = 0.0 if g is None else g
                    got = (g.real, g.imag)[c] if isinstance(g, complex) else (g if c == 0 else 0.0)
                    if not abs(got - w) <= atol + rtol * abs(w):
                        raise GradcheckError(
                            f"Jacobian mismatch for {where}: d output[{i}] / d input[{j}] numerical {w}, "
                            f"analytical {got}"
                        )


def gradcheck(func, inputs, *, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0,
              check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False,
              check_batched_forward_grad=False, check_forward_ad=False, check_backward_ad=True, fast_mode=False,
              masked=None):  # fmt: skip
    """True if analytical gradients of func at inputs match finite differences.

    Args:   inputs: a tensor or tuple; those with requires_grad are checked (use float64).
    Errors: GradcheckError with the entry that differs (or False with raise_exception=False); ValueError if no
            input requires grad.
    """
    inputs = (inputs,) if isinstance(inputs, hooks.Tensor) else tuple(inputs)
    wanted = [t for t in inputs if isinstance(t, hooks.Tensor) and t._requires_grad]
    try:
        if not wanted:
            raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True.")
        count = len(outputs_of(func, inputs))
        for which in range(count):
            for n, x in enumerate(wanted):
                numerical = numerical_columns(func, inputs, x, which, eps)
                analytical = analytical_rows(func, inputs, x, which)
                compare(numerical, analytical, atol, rtol, f"output {which} with respect to input {n}")
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func, inputs, grad_outputs=None, *, eps=1e-6, atol=1e-5, rtol=1e-3,
                  gen_non_contig_grad_outputs=False, raise_exception=True, nondet_tol=0.0,
                  check_undefined_grad=True, check_grad_dtypes=False, check_batched_grad=False, check_fwd_over_rev=False,
                  check_rev_over_rev=True, fast_mode=False, masked=False):  # fmt: skip
    """True if the gradients of the gradients of func match finite differences."""
    inputs = (inputs,) if isinstance(inputs, hooks.Tensor) else tuple(inputs)
    if grad_outputs is None:
        outs = outputs_of(func, inputs)
        gs = tuple(fixed_values(o) for o in outs)
    else:
        gs = (grad_outputs,) if isinstance(grad_outputs, hooks.Tensor) else tuple(grad_outputs)
    n = len(inputs)

    def first(*args):
        xs, g = args[:n], args[n:]
        outs = outputs_of(func, xs)
        needed = [x for x in xs if isinstance(x, hooks.Tensor) and x._requires_grad]
        pairs = [(o, v) for o, v in zip(outs, g, strict=True) if o._requires_grad]
        found = grad([o for o, _ in pairs], needed, [v for _, v in pairs], create_graph=True, allow_unused=True)
        return tuple(f for f in found if f is not None)

    return gradcheck(first, inputs + gs, eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)


def fixed_values(t):
    """A fixed, uneven cotangent of t's shape and dtype that requires grad."""
    import numpy as np

    a = np.cos(np.arange(t._numel) * 0.7 + 0.3).reshape(tuple(t._shape))
    if t._dtype.is_complex:
        a = a + 1j * np.sin(np.arange(t._numel) * 1.3).reshape(tuple(t._shape))
    return hooks.tensor(a, dtype=t._dtype).requires_grad_()
