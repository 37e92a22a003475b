"""Higher-level derivatives of functions: vjp, jvp, jacobian, hessian, vhp, hvp.

Source: torch.autograd.functional (same arguments and checks).
"""

from __future__ import annotations

from flambeau.autograd.engine import grad
from flambeau.autograd.modes import enable_grad
from flambeau.ops.record import hooks


def as_tuple(x, what: str, name: str) -> tuple[bool, tuple]:
    """(was a tuple, the tensors as a tuple); TypeError for anything else."""
    is_tuple = isinstance(x, (tuple, list))
    items = tuple(x) if is_tuple else (x,)
    for i, t in enumerate(items):
        if not isinstance(t, hooks.Tensor):
            where = f"the value at index {i} has" if is_tuple else "the value has"
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but {where} type {type(t)}."
            )
    return is_tuple, items


def prepared(inputs, create_graph: bool) -> tuple:
    """Inputs that require grad and are apart from the user's (unless a graph is wanted)."""
    out = []
    for t in inputs:
        if create_graph and t._requires_grad:
            out.append(t.view_as(t))
        else:
            out.append(t.detach().requires_grad_())
    return tuple(out)


def finish(values, create_graph: bool):
    """Detach results unless a graph is wanted; works on nested tuples."""
    if isinstance(values, tuple):
        return tuple(finish(v, create_graph) for v in values)
    return values if create_graph else values.detach()


def unpack(is_tuple: bool, values: tuple):
    return values if is_tuple else values[0]


def call(func, inputs, name: str):
    """func(*inputs) with its outputs as a tuple."""
    return as_tuple(func(*inputs), "outputs", "the user-provided function: " + name)


def gradients(outputs, inputs, grad_outputs, create_graph: bool, strict: bool, name: str, retain: bool = True):
    """autograd.grad with zeros for independent inputs (errors when strict)."""
    pairs = [(o, g) for o, g in zip(outputs, grad_outputs, strict=True) if o._requires_grad]
    if not pairs:
        if strict:
            raise RuntimeError(f"The outputs of the user-provided function given to {name} do not require gradients: "
                               "they are independent of the inputs. This is not allowed in strict mode.")  # fmt: skip
        return tuple(t.new_zeros(t._shape) for t in inputs)
    found = grad([o for o, _ in pairs], inputs, [g for _, g in pairs], retain_graph=retain,
                 create_graph=create_graph, allow_unused=True)  # fmt: skip
    out = []
    for i, (t, g) in enumerate(zip(inputs, found, strict=True)):
        if g is None:
            if strict:
                raise RuntimeError(
                    f"The output of the user-provided function given to {name} is independent of input {i}. This is "
                    "not allowed in strict mode."
                )
            g = t.new_zeros(t._shape)
        out.append(g)
    return tuple(out)


def check_v(v, like, is_tuple: bool, what: str):
    """The vector's tensors match shapes; None stands for 1 if there is a single scalar."""
    if v is None:
        if len(like) != 1 or like[0]._numel != 1:
            raise RuntimeError(f"The vector v can only be None if {what} contains a single Tensor with a single element.")
        return (like[0].new_ones(like[0]._shape),)
    _, items = as_tuple(v, "v", what)
    if len(items) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(items)}.")
    for i, (a, b) in enumerate(zip(items, like, strict=True)):
        if a._shape != b._shape:
            raise RuntimeError(f"Entry {i} in v has invalid size: should be {b.size()} but got {a.size()}.")
    return items


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v^T J): the vector-Jacobian product."""
    with enable_grad():
        is_in, xs = as_tuple(inputs, "inputs", "vjp")
        xs = prepared(xs, create_graph)
        is_out, ys = call(func, xs, "vjp")
        vs = check_v(v, ys, is_out, "the user-provided function returns")
        g = gradients(ys, xs, vs, create_graph, strict, "vjp")
    return unpack(is_out, finish(ys, create_graph)), unpack(is_in, finish(g, create_graph))


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), J v): the Jacobian-vector product, by differentiating a vjp in its vector."""
    with enable_grad():
        is_in, xs = as_tuple(inputs, "inputs", "jvp")
        vs = check_v(v, xs, is_in, "the input to the user-provided function")
        xs = prepared(xs, create_graph)
        is_out, ys = call(func, xs, "jvp")
        dummies = tuple(y.new_zeros(y._shape).requires_grad_() for y in ys)
        g = gradients(ys, xs, dummies, True, strict, "jvp")
        j = gradients(g, dummies, vs, create_graph, False, "jvp")
    return unpack(is_out, finish(ys, create_graph)), unpack(is_out, finish(j, create_graph))


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The Jacobian of func at inputs: shape (*output, *input), nested in tuples as outputs and inputs are."""
    with enable_grad():
        is_in, xs = as_tuple(inputs, "inputs", "jacobian")
        xs = prepared(xs, create_graph)
        is_out, ys = call(func, xs, "jacobian")
        rows = []
        for y in ys:
            flat = y.reshape(-1)
            per_input: list[list] = [[] for _ in xs]
            for i in range(flat._numel):
                g = gradients((flat[i],), xs, (flat.new_ones(()),), create_graph, strict, "jacobian")
                for column, one in zip(per_input, g, strict=True):
                    column.append(one)
            rows.append(tuple(stacked(column, y, x) for column, x in zip(per_input, xs, strict=True)))
    result = tuple(unpack(is_in, finish(row, create_graph)) for row in rows)
    return unpack(is_out, result)


def stacked(column: list, y, x):
    """Rows of a Jacobian block as one tensor."""
    from flambeau import ops

    if not column:
        return x.new_zeros((*y._shape, *x._shape))
    return ops.stack(column).reshape((*y._shape, *x._shape))


def scalar_output(func, xs, name: str):
    """func(*xs), which must be one scalar."""
    is_out, ys = call(func, xs, name)
    if is_out or len(ys) != 1:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if ys[0]._numel != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")
    return ys[0].reshape(())


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """The matrix of second derivatives of a scalar function."""
    is_in, xs = as_tuple(inputs, "inputs", "hessian")

    def first(*args):
        y = scalar_output(func, args, "hessian")
        g = gradients((y,), args, (y.new_ones(()),), True, strict, "hessian")
        return g

    blocks = jacobian(first, tuple(xs), create_graph=create_graph, strict=strict)
    return blocks if is_in else blocks[0][0]


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), v^T H)."""
    with enable_grad():
        is_in, xs = as_tuple(inputs, "inputs", "vhp")
        vs = check_v(v, xs, is_in, "the input to the user-provided function")
        xs = prepared(xs, create_graph)
        y = scalar_output(func, xs, "vhp")
        g = gradients((y,), xs, (y.new_ones(()),), True, strict, "vhp")
        h = gradients(g, xs, vs, create_graph, strict, "vhp")
    return finish(y, create_graph), unpack(is_in, finish(h, create_graph))


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), H v): as vhp, for the Hessian is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)
