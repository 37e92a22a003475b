"""A network as a TensorBoard graph: one node per module call, found by the tensors that pass between them."""

from __future__ import annotations

from flambeau.autograd.modes import no_grad
from flambeau.tensor.tensor import Tensor


def tensors_in(x) -> list:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, dict):
        x = x.values()
    return [t for v in x for t in tensors_in(v)] if isinstance(x, (list, tuple)) or hasattr(x, "__iter__") and not isinstance(x, str) else []


def calls_of(model, inputs) -> list[tuple[str, str, list[str], list]]:
    """(name, kind, names of the calls its inputs come from, shapes of its outputs) of every leaf module's call."""
    names = {m: n for n, m in model.named_modules()}
    calls: list = []
    maker: dict[int, str] = {}
    keep: list = []  # tensors stay alive, so that their ids stay theirs
    handles = []

    def after(module, args, output):
        outs = tensors_in(output)
        if not any(True for _ in module.children()):
            name = (names[module] or type(module).__name__).replace(".", "/")
            number = sum(c[0].partition("#")[0] == name for c in calls)
            name = f"{name}#{number + 1}" if number else name
            sources = [maker[id(t)] for t in tensors_in(args) if id(t) in maker]
            if not sources and calls:
                sources = [calls[-1][0]]  # through plain functions: what was computed last
            calls.append((name, type(module).__name__, sources, [list(t.shape) for t in outs]))
            maker.update({id(t): name for t in outs})
        keep.extend(outs)

    for t in tensors_in(inputs):
        maker[id(t)] = "input"
    try:
        handles += [m.register_forward_hook(after) for m in model.modules()]
        with no_grad():
            model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)
    finally:
        for h in handles:
            h.remove()
    return calls


def graph_of(model, inputs):
    """A GraphDef of the calls."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef
    from tensorboard.compat.proto.versions_pb2 import VersionDef

    root = type(model).__name__
    nodes = [NodeDef(name="input", op="Input")]
    for name, kind, sources, shapes in calls_of(model, inputs):
        path = lambda n: n if n == "input" else f"{root}/{n}"  # noqa: E731
        node = NodeDef(name=path(name), op=kind, input=[path(s) for s in sources])
        for shape in shapes:
            value = node.attr["_output_shapes"].list.shape.add()
            for n in shape:
                value.dim.add().size = n
        nodes.append(node)
    return GraphDef(node=nodes, versions=VersionDef(producer=22))
