"""Hooks on what the tape saves: torch.autograd.graph.saved_tensors_hooks and save_on_cpu."""

from __future__ import annotations

from flambeau.autograd.graph import Node, as_node
from flambeau.ops.record import hooks, state


class saved_tensors_hooks:  # noqa: N801
    """In the block, saved tensors go through pack_hook, and through unpack_hook when they are needed."""

    def __init__(self, pack_hook, unpack_hook):
        self.pair = (pack_hook, unpack_hook)

    def __enter__(self):
        hooks.watched = True
        state.saved_hooks = (*state.saved_hooks, self.pair)

    def __exit__(self, *exc):
        state.saved_hooks = state.saved_hooks[:-1]


class save_on_cpu(saved_tensors_hooks):  # noqa: N801
    """Keep saved tensors on the CPU (they are there already on a CPU device)."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        super().__init__(lambda t: (t.device, t.cpu()), lambda packed: packed[1].to(packed[0]))


def get_gradient_edge(tensor):
    """The node and output number a tensor's gradient goes to."""
    from collections import namedtuple

    edge = namedtuple("GradientEdge", "node output_nr")
    fn = tensor.grad_fn
    return edge(fn if fn is not None else as_node(tensor), tensor._output_nr)


__all__ = ["Node", "get_gradient_edge", "save_on_cpu", "saved_tensors_hooks"]
