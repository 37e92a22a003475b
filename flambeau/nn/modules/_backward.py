"""The two identity nodes that let a module's full backward hooks see its gradients."""

import warnings

from flambeau.nn._base import Function, Tensor, is_grad_enabled, ops

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
        self.inputs = ()
        self.watching_inputs = False

    def watch_inputs(self, args):
        """The arguments with every differentiable tensor behind an identity node."""
        self.inputs = [_blueprint(a) for a in args]
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
        if self.hooks and not self.watching_inputs:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients. See "
                "https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module."
                "register_full_backward_hook for more details.",
                stacklevel=5,
            )
            self._run_hooks((None,) * len(self.inputs), replaceable=False)
        return grads

    def _on_input_grads(self, grads):
        grads = tuple(
            ops.zeros(**of) if g is None and of is not None else g
            for g, of in zip(grads, self.inputs, strict=True)
        )
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
                given = replaced if isinstance(replaced, tuple) else (replaced,)
                if all(g is None for g in given):
                    continue
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
            grads = _as_tuple(replaced, len(grads), "grad_input", "Backward hook")
        return grads


def _blueprint(value):
    """What a zero gradient of a tensor looks like; None of anything else."""
    if not isinstance(value, Tensor):
        return None
    return {"size": tuple(value.shape), "dtype": value.dtype, "device": value.device}


def _as_tuple(value, expected, what, who):
    value = value if isinstance(value, tuple) else (value,)
    if len(value) != expected:
        raise RuntimeError(
            f"{who} returned an invalid number of {what}, got {len(value)}, "
            f"but expected {expected}"
        )
    return value


# The older hooks -------------------------------------------------------------


def hook_last_node(module, hooks, inputs, result):
    """Older backward hooks see one node only: the one that made the (first) output tensor."""
    var = result
    while not isinstance(var, Tensor):
        if isinstance(var, dict):
            var = next((v for v in var.values() if isinstance(v, Tensor)), None)
        else:
            var = var[0] if isinstance(var, (tuple, list)) and var else None
        if var is None:
            return
    node = var.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(lambda gi, go, hook=hook: hook(module, gi, go))
    missing = _what_is_missed(inputs, result, node)
    if missing:
        warnings.warn(missing, FutureWarning, stacklevel=4)


def _what_is_missed(inputs, result, node):
    """Why an older hook will not see everything, as a warning; None if it will."""
    again = "Please use register_full_backward_hook to get the documented behavior."
    start = "Using non-full backward hooks on a Module that does not"
    end = "is deprecated and will be removed in future versions."
    if not _is_tensors(result):
        return (
            f"{start} return a single Tensor or a tuple of Tensors {end} "
            f"This hook will be missing some of the grad_output. {again}"
        )
    if not _is_tensors(inputs):
        return (
            f"{start} take as input a single Tensor or a tuple of Tensors {end} "
            f"This hook will be missing some of the grad_input. {again}"
        )
    outputs = (result,) if isinstance(result, Tensor) else result
    if len({r.grad_fn for r in outputs if r.grad_fn is not None}) > 1:
        return (
            "Using a non-full backward hook when outputs are generated by different autograd Nodes "
            f"{end} This hook will be missing some grad_output. {again}"
        )
    before = {t.grad_fn for t in inputs if t.grad_fn is not None}
    if before != {n[0] for n in node.next_functions if n[0] is not None}:
        return (
            "Using a non-full backward hook when the forward contains multiple autograd Nodes "
            f"{end} This hook will be missing some grad_input. {again}"
        )
    return None


def _is_tensors(value):
    if isinstance(value, Tensor):
        return True
    return isinstance(value, tuple) and all(isinstance(v, Tensor) for v in value)
