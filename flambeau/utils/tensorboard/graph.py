"""A recorded network as a TensorBoard graph, its operations grouped by module."""

from __future__ import annotations

from flambeau.utils.recorded import Call, Step, record


def scope_of(call: Call | None) -> str:
    """Net/Sequential[layer]/Linear[0]/ for an operation of a call."""
    parts = []
    while call is not None:
        name = call.path.rpartition(".")[2]
        parts.append(f"{call.kind}[{name}]" if name else call.kind)
        call = call.parent
    return "".join(part + "/" for part in reversed(parts))


def names_of(steps: list[Step]) -> dict[int, str]:
    """A name of its own for every step: relu, relu_1, ... in each scope."""
    counts: dict[str, int] = {}
    names = {}
    for step in steps:
        name = scope_of(step.scope) + step.name
        count = counts[name] = counts.get(name, -1) + 1
        names[id(step)] = f"{name}_{count}" if count else name
    return names


def graph_of(model, inputs):
    """A GraphDef of the operations."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef
    from tensorboard.compat.proto.versions_pb2 import VersionDef

    steps, _ = record(model, inputs)
    names = names_of(steps)
    nodes = []
    for step in steps:
        node = NodeDef(name=names[id(step)], op=step.kind, input=[names[id(s)] for s in step.sources])
        if step.shape is not None:
            value = node.attr["_output_shapes"].list.shape.add()
            for n in step.shape:
                value.dim.add().size = n
        nodes.append(node)
    return GraphDef(node=nodes, versions=VersionDef(producer=22))
