"""The two identity nodes that let a module's full backward hooks see its gradients."""

import warnings

from flambeau.nn._base import Function, Tensor, is_grad_enabled

__all__ = ["BackwardBoundary"]


class BackwardHookFunction(Function):
    """y_i = x_i; on the way back, ``on_grads`` may replace the gradients."""

    @staticmethod
    def forward(ctx, on_grads, *tensors):
        ctx.on_grads = on_grads
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx, *grads):
        return None, *ctx.on_grads(grads)


class BackwardBoundary:
    """Watches one call of ``module``: gradients of its outputs first, then gradients of its inputs.

    Pre hooks run when the output gradients are known, full hooks when the input gradients are. When no
    input asks for a gradient, the full hooks run with the output gradients and ``None`` for each input.
    """

    def __init__(self, module, hooks, pre_hooks):
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_outputs = None
        self.n_inputs = -1
        self.watching_inputs = False

    def watch_inputs(self, args):
        """The arguments with every differentiable tensor behind an identity node."""
        self.n_inputs = len(args)
        args, self.watching_inputs = self._through(args, self._on_input_grads)
        return args

    def watch_outputs(self, result):
        """The output (a tensor or a tuple of tensors) behind an identity node."""
        is_tuple = isinstance(result, tuple)
        if not is_tuple and not isinstance(result, Tensor):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple "
                f"of Tensors but received {type(result)}",
                stacklevel=4,
            )
            return result
        outputs, _ = self._through(result if is_tuple else (result,), self._on_output_grads)
        return outputs if is_tuple else outputs[0]

    def _through(self, values, handler):
        where = [
            i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad
        ]
        if not where or not is_grad_enabled():
            return values, False

        def on_grads(grads):
            spread = [None] * len(values)
            for i, g in zip(where, grads, strict=True):
                spread[i] = g
            kept = handler(tuple(spread))
            return [kept[i] for i in where]

        watched = BackwardHookFunction.apply(on_grads, *[values[i] for i in where])
        values = list(values)
        for i, t in zip(where, watched, strict=True):
            values[i] = t
        return tuple(values), True

    def _on_output_grads(self, grads):
        for hook in self.pre_hooks:
            replaced = hook(self.module, grads)
            if replaced is not None:
                grads = _as_tuple(replaced, len(grads), "grad_output", "Backward pre hook")
        self.grad_outputs = grads
        if not self.watching_inputs:
            self._run_hooks((None,) * self.n_inputs, replaceable=False)
        return grads

    def _on_input_grads(self, grads):
        grads = self._run_hooks(grads, replaceable=True)
        self.grad_outputs = None
        return grads

    def _run_hooks(self, grads, replaceable):
        if self.grad_outputs is None:
            # The output took no part in this backward pass, so there is nothing to report.
            return grads
        for hook in self.hooks:
            replaced = hook(self.module, grads, self.grad_outputs)
            if replaced is None:
                continue
            if not replaceable:
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
            grads = _as_tuple(replaced, len(grads), "grad_input", "Backward hook")
        return grads


def _as_tuple(value, expected, what, who):
    value = value if isinstance(value, tuple) else (value,)
    if len(value) != expected:
        raise RuntimeError(
            f"{who} returned an invalid number of {what}, got {len(value)}, "
            f"but expected {expected}"
        )
    return value
