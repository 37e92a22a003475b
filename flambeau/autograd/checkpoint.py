"""Checkpointing: keep inputs instead of intermediate results, and compute those again for the backward pass.

Source: T. Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016; torch.utils.checkpoint.
"""

from __future__ import annotations

import contextlib
import warnings

from flambeau.autograd.engine import backward as run_backward
from flambeau.autograd.function import Function
from flambeau.autograd.modes import enable_grad
from flambeau.ops.record import hooks, state


class CheckpointFunction(Function):
    """The recomputing node (use_reentrant=True)."""

    @staticmethod
    def forward(ctx, run, preserve_rng_state, *args):
        ctx.run, ctx.preserve = run, preserve_rng_state
        ctx.rng = rng_state() if preserve_rng_state else None
        ctx.others = [None if isinstance(a, hooks.Tensor) else a for a in args]
        ctx.is_tensor_arg = [isinstance(a, hooks.Tensor) for a in args]
        ctx.save_for_backward(*[a for a in args if isinstance(a, hooks.Tensor)])
        return run(*args)

    @staticmethod
    def backward(ctx, *grads):
        tensors = iter(ctx.saved_tensors)
        args = []
        for is_tensor, other in zip(ctx.is_tensor_arg, ctx.others, strict=True):
            if is_tensor:
                t = next(tensors)
                args.append(t.detach().requires_grad_(t._requires_grad))
            else:
                args.append(other)
        with restored(ctx.rng), enable_grad():
            out = ctx.run(*args)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        pairs = [(o, g) for o, g in zip(outs, grads, strict=True) if isinstance(o, hooks.Tensor) and o._requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        run_backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *[a._grad if isinstance(a, hooks.Tensor) else None for a in args])


def rng_state():
    """The default generator's state, if there is one."""
    from flambeau.runtime import rng

    return rng.default_engine.get_state()


@contextlib.contextmanager
def restored(saved):
    """Run a block with the given random state, and go back to the present one after it."""
    if saved is None:
        yield
        return
    from flambeau.runtime import rng

    now = rng.default_engine.get_state()
    rng.default_engine.set_state(saved)
    try:
        yield
    finally:
        rng.default_engine.set_state(now)


class Recompute:
    """Saved tensors of one checkpointed call: packed as numbers, unpacked by running it again."""

    def __init__(self, fn, args, kwargs, rng, determinism: bool):
        self.fn, self.args, self.kwargs, self.rng = fn, args, kwargs, rng
        self.count, self.metas, self.values = 0, [], None
        self.determinism = determinism

    def pack(self, t):
        self.metas.append((tuple(t._shape), t._dtype))
        self.count += 1
        return self.count - 1

    def unpack(self, i: int):
        if self.values is None:
            self.values = []
            hooks.watched = True
            state.saved_hooks += ((self.keep, lambda t: t),)
            try:
                with restored(self.rng), enable_grad():
                    self.fn(*self.args, **self.kwargs)
            finally:
                state.saved_hooks = state.saved_hooks[:-1]
            metas = [(tuple(t._shape), t._dtype) for t in self.values]
            if self.determinism and metas != self.metas:
                raise CheckpointError(
                    "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata "
                    f"than during the forward pass: {len(self.metas)} tensors were saved, {len(metas)} on recomputation"
                )
        return self.values[i]

    def keep(self, t):
        self.values.append(t)
        return t


class CheckpointError(RuntimeError):
    """Recomputation gave something else than the forward pass."""


def checkpoint(function, *args, use_reentrant=None, context_fn=None, determinism_check="default", debug=False,
               early_stop=True, preserve_rng_state=True, **kwargs):  # fmt: skip
    """function(*args) without keeping its intermediate results: they are computed again in backward.

    Args: use_reentrant: True for the old form (no kwargs, no autograd.grad); False is advised.
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended.",
            stacklevel=2,
        )
        use_reentrant = True
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        return CheckpointFunction.apply(function, preserve_rng_state, *args)
    box = Recompute(function, args, kwargs, rng_state() if preserve_rng_state else None, determinism_check != "none")
    hooks.watched = True
    state.saved_hooks += ((box.pack, box.unpack),)
    try:
        return function(*args, **kwargs)
    finally:
        state.saved_hooks = state.saved_hooks[:-1]


def checkpoint_sequential(functions, segments, input, use_reentrant=None, **kwargs):
    """A chain of modules in `segments` pieces, each checkpointed (the last runs as usual)."""
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def piece(start, end):
        def forward(x):
            for f in functions[start:end]:
                x = f(x)
            return x

        return forward

    size = len(functions) // segments
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(piece(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return piece(end, len(functions))(input)
