"""autograd.Function: operations with a derivative of the user's own.

A subclass defines `forward` and `backward` (and optionally `setup_context`, `jvp`, `vmap`); `apply` runs it and
records one node whose class is named after it.
"""

from __future__ import annotations

import functools
from typing import Any

from flambeau.autograd import graph
from flambeau.autograd.saving import freed_error
from flambeau.core import dtypes as dt
from flambeau.ops.record import hooks, state


class BackwardContext(graph.Node):
    """The `ctx` of a Function, and the node itself."""

    _function: type

    def __init__(self):
        super().__init__()
        self.needs_input_grad: tuple = ()
        self.materialize_grads = True
        self._to_save: tuple = ()
        self._saved: Any = ()
        self._dirty: tuple = ()
        self._non_differentiable: tuple = ()
        self._output_metas: list = []

    def save_for_backward(self, *tensors) -> None:
        """Keep tensors for backward, checked against later in-place changes."""
        for t in tensors:
            if t is not None and not isinstance(t, hooks.Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument is of type {type(t).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors) -> None:
        """Keep tensors for jvp."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *tensors) -> None:
        """Say which inputs forward changed in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors) -> None:
        """Say which outputs have no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: missing output gradients arrive as None instead of zeros."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple:
        """What save_for_backward kept."""
        if self._saved is graph.FREED:
            raise freed_error()
        return tuple(s.get(self) if isinstance(s, graph.Saved) else s for s in self._saved)

    saved_variables = saved_tensors

    def _release(self) -> None:
        self._saved = graph.FREED

    def apply(self, grads: list) -> list:
        if self.materialize_grads:
            grads = [
                hooks.zeros_for(meta) if g is None and meta is not None else g
                for g, meta in zip(grads, self._output_metas, strict=True)
            ]
        out = self._function.backward(self, *grads)
        out = out if isinstance(out, tuple) else (out,)
        if len(out) < len(self.needs_input_grad) or any(g is not None for g in out[len(self.needs_input_grad) :]):
            raise RuntimeError(
                f"function {type(self).__name__} returned an incorrect number of gradients (expected "
                f"{len(self.needs_input_grad)}, got {len(out)})"
            )
        result = []
        for g, need, is_tensor in zip(out, self.needs_input_grad, self._is_tensor, strict=False):
            if not is_tensor:
                continue
            if g is not None and not isinstance(g, hooks.Tensor):
                raise TypeError(
                    f"function {type(self).__name__} returned a gradient of type {type(g).__name__}, expected a Tensor or None"
                )
            result.append(g if need else None)
        self._check_shapes(result)
        return result

    def _check_shapes(self, grads) -> None:
        """A gradient has its input's shape, or one that can be summed to it."""
        for i, (g, shape) in enumerate(zip(grads, self._input_shapes, strict=True)):
            if g is None or g._shape == shape:
                continue
            if len(g._shape) < len(shape) or any(
                m != 1 and m != n for m, n in zip(reversed(shape), reversed(g._shape), strict=False)
            ):
                raise RuntimeError(
                    f"Function {type(self).__name__} returned an invalid gradient at index {i} - got {list(g._shape)} "
                    f"but expected shape compatible with {list(shape)}"
                )


FunctionCtx = BackwardContext


class FunctionMeta(type):
    """Gives every Function its node class, named <Name>Backward."""

    def __init__(cls, name, bases, namespace):
        super().__init__(name, bases, namespace)
        cls._backward_cls = type(name + "Backward", (BackwardContext,), {"_function": cls})


class Function(metaclass=FunctionMeta):
    """An operation with its own derivative: define static `forward(ctx, ...)` and `backward(ctx, *grads)`.

    Source: torch.autograd.Function
    """

    generate_vmap_rule = False

    def __init__(self, *args, **kwargs):
        raise RuntimeError(
            f"{type(self).__name__} should not be instantiated. Methods on autograd functions are all static, so you "
            "should invoke them on the class itself: use .apply"
        )

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the outputs; with a separate setup_context it takes no ctx."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Gradients of the inputs, one per argument of forward (None for non-tensors)."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Save what backward needs (optional: then forward has no ctx)."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Forward-mode derivative (optional)."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to use it with forward mode AD.")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run the function and record it."""
        tensor = hooks.Tensor
        ctx = cls._backward_cls()
        ctx._is_tensor = [isinstance(a, tensor) for a in args]
        needed = state.grad and any(t and a._requires_grad for a, t in zip(args, ctx._is_tensor, strict=True))
        ctx.needs_input_grad = tuple(
            bool(t and a._requires_grad) for a, t in zip(args, ctx._is_tensor, strict=True)
        )
        before, state.grad = state.grad, False
        try:
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args, **kwargs)
        finally:
            state.grad = before
        if not needed:
            return output
        return cls._attach(ctx, args, output)

    @classmethod
    def _attach(cls, ctx, args, output):
        """Turn ctx into the node of the outputs."""
        tensor = hooks.Tensor
        inputs = [a for a in args if isinstance(a, tensor)]
        ctx._edges = tuple(graph.edge_of(a) if a._requires_grad else None for a in inputs)
        ctx._input_shapes = [a._shape for a in inputs]
        single = not isinstance(output, (tuple, list))
        outs = [output] if single else list(output)
        fixed = []
        for t in outs:
            if isinstance(t, tensor) and not any(t is n for n in ctx._non_differentiable):
                if any(t is d for d in ctx._dirty):
                    hooks.note_change(t)
                    check_dirty(t)
                elif any(t is a for a in inputs):  # an input handed through: a view of it
                    t = t._alias()
                if t._dtype.is_floating_point or t._dtype.is_complex:
                    t._grad_fn, t._output_nr, t._requires_grad = ctx, len(fixed), True
            fixed.append(t)
        ctx._outputs = len(fixed)
        ctx._output_metas = [
            (t._shape, t._dtype) if isinstance(t, tensor) and (t._dtype.is_floating_point or t._dtype.is_complex)
            else None for t in fixed
        ]  # fmt: skip
        new = {id(old): t for old, t in zip(outs, fixed, strict=True)}
        ctx._saved = tuple(
            t if t is None else graph.Saved(new.get(id(t), t), id(t) in new and new[id(t)]._grad_fn is ctx)
            for t in ctx._to_save
        )
        ctx._to_save = ()
        if single:
            return fixed[0]
        return type(output)(fixed) if type(output) in (tuple, list) else tuple(fixed)


def check_dirty(t) -> None:
    """In-place changes of leaves are refused here too."""
    if t._grad_fn is None and t._requires_grad:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def zeros_for(meta):
    """The zero gradient of an output."""
    from flambeau import ops

    return ops.zeros(meta[0], dtype=meta[1])


hooks.zeros_for = zeros_for


def once_differentiable(fn):
    """Decorator for `backward`: it cannot itself be differentiated, and says so when that is tried."""

    @functools.wraps(fn)
    def wrapped(ctx, *grads):
        before, state.grad = state.grad, False
        try:
            out = fn(ctx, *grads)
        finally:
            state.grad = before
        if not before or not any(isinstance(g, hooks.Tensor) and g._requires_grad for g in grads):
            return out
        outs = out if isinstance(out, tuple) else (out,)
        fixed = tuple(NotTwice.mark(g) if isinstance(g, hooks.Tensor) else g for g in outs)
        return fixed if isinstance(out, tuple) else fixed[0]

    return wrapped


class NotTwice(graph.Node):
    """The node of a result that may not be differentiated again."""

    @classmethod
    def mark(cls, t):
        t = t._alias()
        if t._dtype is not dt.bool and t._dtype.is_floating_point:
            t._grad_fn, t._requires_grad = cls(), True
        return t

    def apply(self, grads):
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
