"""A network as autograd recorded it for an input: its operations, who feeds whom, and in which module each ran.

Nodes of the tape are numbered as they are made, so a module's operations are those between the numbers at its start and
end. What has no derivative (an argmax, an index) is not on the tape, and not here.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field

from flambeau.autograd.graph import LEAF, Node, numbers
from flambeau.autograd.modes import enable_grad
from flambeau.nn.modules.container import Sequential
from flambeau.tensor.tensor import Tensor

OWN = "flambeau.nn.modules."


@dataclass
class Call:
    """A module's run: its path, its class, and the numbers of its first and after its last operation.

    whole: it is best shown as one thing, being without children or one of nn's own layers.
    """

    path: str
    kind: str
    start: int
    takes: list  # inputs of the network among its arguments
    parent: Call | None
    whole: bool
    stop: int = 0


@dataclass
class Step:
    """One operation, input or parameter; `scope` is the call it ran in (None: outside of all)."""

    name: str
    kind: str
    scope: Call | None = None
    sources: list = field(default_factory=list)
    shape: tuple | None = None


def tensors_in(x) -> list:
    """All tensors in nested containers."""
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, dict):
        x = list(x.values())
    return [t for v in x for t in tensors_in(v)] if isinstance(x, (list, tuple)) else []


def prepared(x):
    """Copies of the tensors of an input that wish for gradients, where their dtype can have any."""
    if isinstance(x, Tensor):
        x = x.detach()
        return x.requires_grad_() if x.is_floating_point() or x.is_complex() else x
    if isinstance(x, dict):
        return {k: prepared(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        made = [prepared(v) for v in x]
        return type(x)(*made) if hasattr(x, "_fields") else type(x)(made)
    return x


@contextmanager
def evaluating(model):
    """The model in eval mode, so that looking at it changes no statistics."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


def run(model, inputs) -> tuple[list[Call], list]:
    """The calls of modules, in the order of their beginnings, and the output's tensors."""
    paths = {m: name for name, m in model.named_modules()}
    given = {id(t): i for i, t in enumerate(tensors_in(inputs))}
    calls: list[Call] = []
    open_calls: list[Call] = []

    def before(module, args):
        takes = [given[id(t)] for t in tensors_in(args) if id(t) in given]
        parent = open_calls[-1] if open_calls else None
        own = type(module).__module__.startswith(OWN) and not isinstance(module, Sequential)
        whole = parent is not None and (own or not any(True for _ in module.children()))
        call = Call(paths[module], type(module).__name__, next(numbers), takes, parent, whole)
        calls.append(call)
        open_calls.append(call)

    def after(module, args, output):
        open_calls.pop().stop = next(numbers)

    handles = [m.register_forward_pre_hook(before) for m in paths]
    handles += [m.register_forward_hook(after) for m in paths]
    try:
        with enable_grad(), evaluating(model):
            output = model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)
    finally:
        for h in handles:
            h.remove()
    return calls, tensors_in(output)


def nodes_behind(outputs: list) -> list:
    """The tape's nodes that lead to the outputs, oldest first."""
    found: dict[int, Node] = {}
    waiting = [t.grad_fn for t in outputs if t.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting += [e[0] for e in node._edges if e is not None and e[1] != LEAF]
    return sorted(found.values(), key=lambda node: node._seq)


def record(model, inputs) -> tuple[list[Step], list[Call]]:
    """(the steps, those before others that need them, the outputs last; the calls of modules)."""
    inputs = prepared(inputs)
    calls, outputs = run(model, inputs)
    names = {id(p): name for name, p in model.named_parameters()}
    sources = tensors_in(inputs)
    leaves = {id(t): Step(f"input{i or ''}", "Input", None, [], tuple(t.shape)) for i, t in enumerate(sources)}
    steps = list(leaves.values())
    made: dict[int, Step] = {}
    for node in nodes_behind(outputs):
        step = made[id(node)] = Step(kind_of(node), kind_of(node), innermost(calls, node._seq))
        for edge in node._edges:
            if edge is None:
                continue
            target, number, shape = edge[:3]
            if number != LEAF:
                made[id(target)].shape = tuple(shape)
                step.sources.append(made[id(target)])
                continue
            if id(target) not in leaves:
                path = names.get(id(target), "constant")
                leaves[id(target)] = Step(path.rpartition(".")[2], "Parameter", step.scope, [], tuple(target.shape))
                steps.append(leaves[id(target)])
            step.sources.append(leaves[id(target)])
        if step.scope is not None and all(s.kind == "Parameter" for s in step.sources):  # what indices choose from
            step.sources += [leaves[id(sources[i])] for i in step.scope.takes]
        steps.append(step)
    for i, t in enumerate(outputs):
        source = [made[id(t.grad_fn)]] if t.grad_fn is not None else []
        steps.append(Step(f"output{i or ''}", "Output", None, source, tuple(t.shape)))
        for s in source:
            s.shape = tuple(t.shape)
    return steps, calls


def kind_of(node) -> str:
    """relu of ReluBackward0."""
    return node.name().rstrip("0123456789").removesuffix("Backward").lower()


def innermost(calls: list[Call], seq: int) -> Call | None:
    """The innermost call that an operation ran in: the last to begin of those that had not ended."""
    found = None
    for call in calls:
        if call.start > seq:
            break
        if seq < call.stop:
            found = call
    return found


__all__ = ["Call", "Step", "record"]
