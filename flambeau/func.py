"""Functions of functions: gradients, Jacobians and batches as in torch.func.

vmap calls the function once per element and stacks the results: what it gives is exact, what it saves is writing the loop.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable

from flambeau.autograd import functional as F
from flambeau.autograd.modes import enable_grad
from flambeau.support.pytree import tree_flatten, tree_map, tree_unflatten
from flambeau.tensor.tensor import Tensor

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "stack_module_state", "vjp", "vmap",
]  # fmt: skip


_depth = threading.local()  # .value: how many transformations surround us on this thread


@contextlib.contextmanager
def transforming():
    """Inside, gradients are differentiable themselves if another transformation surrounds this one: yields whether."""
    before = getattr(_depth, "value", 0)
    _depth.value = before + 1
    try:
        with enable_grad():
            yield before > 0
    finally:
        _depth.value = before


def picked(args: tuple, argnums) -> tuple:
    """The arguments to differentiate by."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
    return tuple(n % len(args) for n in numbers)


def tracked(tree):
    """The nest with tensors that gradients reach, those of an outer transformation included."""
    return tree_map(lambda t: t.view_as(t) if t.requires_grad else t.detach().requires_grad_(), tree)


def grad_and_value(func: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """A function that returns (gradients by the arguments `argnums`, value); see `grad`.

    Source:   torch.func.grad_and_value
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        from flambeau.autograd import grad as gradients

        numbers = picked(args, argnums)
        nested = any(t.requires_grad for n in numbers for t in tree_flatten(args[n])[0])
        with transforming() as nested_here:
            inputs = [tracked(a) if k in numbers else a for k, a in enumerate(args)]
            out = func(*inputs, **kwargs)
        value, aux = out if has_aux else (out, None)
        if not isinstance(value, Tensor) or value.dim():
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise RuntimeError(f"Expected f(*args) to return a scalar tensor, got {given}; hint: reduce it, as by .sum()")
        leaves, spec = tree_flatten(tuple(inputs[n] for n in numbers))
        create = nested or nested_here
        found = gradients(value, leaves, create_graph=create, allow_unused=True) if value.requires_grad else [None] * len(leaves)
        found = [t.new_zeros(t.shape) if g is None else g for g, t in zip(found, leaves, strict=True)]
        result = tree_unflatten(found, spec)
        result = result[0] if isinstance(argnums, int) else result
        if not create:
            value = value.detach()
        return (result, (value, aux)) if has_aux else (result, value)

    return wrapper


def grad(func: Callable, argnums: int | tuple = 0, has_aux: bool = False) -> Callable:
    """A function that returns d func / d args[argnums]; func returns a scalar, or (scalar, aux) with has_aux.

    Arguments may be nests of tensors. Inside another transformation, or where gradients are being recorded, the result is
    differentiable itself.
    Raises:   RuntimeError if func does not return a scalar
    Source:   torch.func.grad
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapper


def vjp(func: Callable, *primals, has_aux: bool = False):
    """(func(*primals), v -> v^T J): the result and the function that carries gradients back.

    Source:   torch.func.vjp
    """
    from flambeau.autograd import grad as gradients

    nested = any(t.requires_grad for t in tree_flatten(primals)[0])
    with transforming() as nested_here:
        inputs = [tracked(p) for p in primals]
        out = func(*inputs)
    out, aux = out if has_aux else (out, None)
    outputs, _ = tree_flatten(out)
    leaves, spec = tree_flatten(tuple(inputs))

    def backward(*cotangents):
        given, _ = tree_flatten(cotangents[0] if len(cotangents) == 1 else cotangents)
        found = gradients(outputs, leaves, given, retain_graph=True, create_graph=nested or nested_here, allow_unused=True)
        return tree_unflatten([t.new_zeros(t.shape) if g is None else g for g, t in zip(found, leaves, strict=True)], spec)

    return (out, backward, aux) if has_aux else (out, backward)


def jvp(func: Callable, primals: tuple, tangents: tuple, *, has_aux: bool = False):
    """(func(*primals), J tangents), by two backward passes.

    Source:   torch.func.jvp; the double-backward trick is J. Townsend's, 2017
    """
    aux = None

    def plain(*args):
        nonlocal aux
        out = func(*args)
        if has_aux:
            out, aux = out
        return out

    out, change = F.jvp(plain, tuple(primals), tuple(tangents), create_graph=False)
    return (out, change, aux) if has_aux else (out, change)


def jacobian_of(func: Callable, argnums, has_aux: bool) -> Callable:
    """The Jacobian by the arguments `argnums`, row by row."""

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        numbers, aux = picked(args, argnums), None

        def plain(*chosen):
            nonlocal aux
            full = list(args)
            for n, value in zip(numbers, chosen, strict=True):
                full[n] = value
            out = func(*full, **kwargs)
            if has_aux:
                out, aux = out
            return out

        nested = any(args[n].requires_grad for n in numbers)
        with transforming() as nested_here:
            found = F.jacobian(plain, tuple(args[n] for n in numbers), create_graph=nested or nested_here)
        if isinstance(argnums, int):
            found = tuple(row[0] for row in found) if isinstance(found[0], tuple) else found[0]
        return (found, aux) if has_aux else found

    return wrapper


def jacrev(func: Callable, argnums: int | tuple = 0, *, has_aux: bool = False, chunk_size=None) -> Callable:
    """A function that returns the Jacobian of func by args[argnums], computed backwards.

    Source:   torch.func.jacrev
    """
    return jacobian_of(func, argnums, has_aux)


def jacfwd(func: Callable, argnums: int | tuple = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """The same as jacrev: Jacobians are computed backwards here in either case.

    Source:   torch.func.jacfwd
    """
    return jacobian_of(func, argnums, has_aux)


def hessian(func: Callable, argnums: int | tuple = 0) -> Callable:
    """A function that returns the second derivatives of func by args[argnums].

    Source:   torch.func.hessian
    """

    return jacrev(jacrev(func, argnums), argnums)


def vmap(func: Callable, in_dims=0, out_dims=0, randomness: str = "error", *, chunk_size=None) -> Callable:
    """func over dimension `in_dims` of its arguments, results stacked at `out_dims`; None passes an argument whole.

    Shapes:   arguments and results may be nests; in_dims and out_dims are one int for all or a nest alike
    Note:     the function runs once per element; random functions inside draw anew each time
    Source:   torch.func.vmap
    """

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        from flambeau import stack

        leaves, spec = tree_flatten(args)
        dims = spread(in_dims if not isinstance(in_dims, list) else tuple(in_dims), args, "in_dims")
        sizes = {t.shape[d] for t, d in zip(leaves, dims, strict=True) if d is not None}
        if len(sizes) != 1:
            what = f"sizes {sorted(sizes)}" if sizes else "no mapped argument"
            raise ValueError(f"vmap: expected all mapped arguments to have the same size in the mapped dimension, got {what}")
        rows = []
        for i in range(sizes.pop()):
            chosen = [t if d is None else t.select(d, i) for t, d in zip(leaves, dims, strict=True)]
            rows.append(tree_flatten(func(*tree_unflatten(chosen, spec), **kwargs)))
        if not rows:
            raise ValueError("vmap: the mapped dimension has size 0, so that the results' shapes are not known")
        out_spec = rows[0][1]
        for value in rows[0][0]:
            if not isinstance(value, Tensor):
                raise ValueError(f"vmap: func must return tensors only, got {type(value).__name__}")
        places = spread(out_dims, tree_unflatten(range(out_spec.num_leaves), out_spec), "out_dims")
        parts = [stack([row[0][k] for row in rows], d) for k, d in enumerate(places)]
        return tree_unflatten(parts, out_spec)

    return wrapper


def spread(dims, tree, name: str) -> list:
    """One dim per leaf of the tree; `dims` may stop at any level of it."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(tree_flatten(tree)[0])
    children = list(tree.values()) if isinstance(tree, dict) else list(tree) if isinstance(tree, (tuple, list)) else None
    given = list(dims.values()) if isinstance(dims, dict) else list(dims)
    if children is None or len(children) != len(given):
        raise ValueError(f"vmap: {name}={dims} does not fit the structure it is for")
    return [d for part, child in zip(given, children, strict=True) for d in spread(part, child, name)]


def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """module(*args) with the given tensors in place of its parameters and buffers.

    Source:   torch.func.functional_call
    """
    from flambeau.nn.utils import stateless

    given = parameter_and_buffer_dicts
    if isinstance(given, (list, tuple)):
        merged: dict = {}
        for part in given:
            for key, value in part.items():
                if key in merged:
                    raise ValueError(f"{key} appears in multiple dictionaries; behavior of functional call is ambiguous")
                merged[key] = value
        given = merged
    return stateless._functional_call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: list) -> tuple[dict, dict]:
    """({name: stacked parameters}, {name: stacked buffers}) of modules of one class, for vmap over an ensemble.

    Source:   torch.func.stack_module_state
    """
    from flambeau import stack

    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({type(m) for m in models}) != 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    members = [(dict(m.named_parameters()), dict(m.named_buffers())) for m in models]
    parameters = {k: stack([m[0][k].detach() for m in members]).requires_grad_(p.requires_grad) for k, p in members[0][0].items()}
    return parameters, {k: stack([m[1][k] for m in members]) for k in members[0][1]}
