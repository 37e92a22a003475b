"""The backward pass: visit nodes from the outputs to the leaves, later-made nodes first.

Each node runs once all gradients of its outputs have arrived (dependencies are counted first, without
recursion, so depth is no limit). Gradients arriving at one place are summed; the first sum makes a new tensor,
further ones add into it. What a node saved is freed as it runs unless the graph is kept.
"""

from __future__ import annotations

from heapq import heappop, heappush

from flambeau.autograd.graph import AccumulateGrad, Node, as_node, edge_of, unbroadcast
from flambeau.ops import record as R


class Buffer:
    """Gradients that have arrived for a node, one slot per output; `owned`: safe to add into."""

    __slots__ = ("grads", "owned")

    def __init__(self, n: int):
        self.grads: list = [None] * n
        self.owned = [False] * n

    def add(self, i: int, g) -> None:
        old = self.grads[i]
        if old is None:
            self.grads[i] = g
        elif self.owned[i] and not R.state.grad and old._dense and g._dtype is old._dtype:
            old.add_(g)
        else:
            self.grads[i] = old + g
            self.owned[i] = True


def count_dependencies(roots) -> dict[Node, int]:
    """How many gradients each reachable node must wait for."""
    counts: dict[Node, int] = {}
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        for e in node.edges:
            if e is not None and isinstance(e[0], Node):
                target = e[0]
                counts[target] = counts.get(target, 0) + 1
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
    return counts


def reachable(roots, inputs: set) -> set:
    """The nodes from which some wanted input can be reached (those worth running)."""
    parents: dict = {}
    seen, stack = set(roots), list(roots)
    wanted: list = [n for n in seen if n in inputs]
    while stack:
        node = stack.pop()
        for e in node.edges:
            if e is None:
                continue
            target = e[0]
            parents.setdefault(target, []).append(node)
            if target not in seen:
                seen.add(target)
                if target in inputs:
                    wanted.append(target)
                if isinstance(target, Node):
                    stack.append(target)
    need: set = set()
    while wanted:
        x = wanted.pop()
        if x in need:
            continue
        need.add(x)
        wanted.extend(parents.get(x, ()))
    return need


def run(roots: list, grads: list, keep: bool, create: bool, inputs: list | None = None, accumulate_into=True):
    """Propagate `grads` from `roots` (edges). With `inputs` (edges), return what arrives there instead.

    accumulate_into: with inputs, also add to their .grad (backward(inputs=...)) instead of returning only.
    """
    state = R.state
    buffers: dict = {}
    captured: dict = {}
    wanted: dict = {}
    if inputs is not None:
        for e in inputs:
            if e is not None:
                wanted.setdefault(e[0], set()).add(e[1])
    starts = []
    for e, g in zip(roots, grads, strict=True):
        target, i = e
        if not isinstance(target, Node):
            leaf_arrival(target, g, wanted, captured, inputs is None or accumulate_into, None)
            continue
        if target not in buffers:
            buffers[target] = Buffer(target.outputs)
            starts.append(target)
        buffers[target].add(i, g)
    needed = reachable(starts, set(wanted)) if inputs is not None else None
    counts = count_dependencies(starts)
    ready: list = []
    for n in starts:
        if not counts.get(n):
            heappush(ready, (-n.seq, n))
    before, state.grad = state.grad, create
    leaf_sums: dict = {}
    try:
        while ready:
            node = heappop(ready)[1]
            buffer = buffers.pop(node, None)
            got = buffer.grads if buffer is not None else [None] * node.outputs
            if node.hooks:
                got = run_prehooks(node, got)
            if node in wanted:
                for i in wanted[node]:
                    captured[(node, i)] = got[i]
            out = run_node(node, got, keep, needed)
            for e, meta, g in zip(node.edges, node.metas or (None,) * len(node.edges), out, strict=False):
                if e is None:
                    continue
                target = e[0]
                if g is not None and meta is not None and (g._shape != meta[0] or g._dtype is not meta[1]):
                    g = unbroadcast(g, meta)
                if isinstance(target, Node):
                    if g is not None:
                        b = buffers.get(target)
                        if b is None:
                            b = buffers[target] = Buffer(target.outputs)
                        b.add(e[1], g)
                    counts[target] -= 1
                    if not counts[target]:
                        heappush(ready, (-target.seq, target))
                elif g is not None:
                    leaf_arrival(target, g, wanted, captured, inputs is None or accumulate_into, leaf_sums)
        del buffers
        for leaf, (g, fresh) in leaf_sums.items():
            accumulate(leaf, g, fresh)
    finally:
        state.grad = before
    return captured


def leaf_arrival(leaf, g, wanted, captured, accumulate_into, sums) -> None:
    """A gradient reached a leaf: sum it with others of this pass, or hand it over."""
    if wanted:
        if leaf not in wanted:
            return
        if not accumulate_into:
            g = g if leaf._hooks is None else call_hooks(leaf._hooks, g)
            old = captured.get((leaf, 0))
            captured[(leaf, 0)] = g if old is None else old + g
            return
    if sums is None:
        accumulate(leaf, g)
        return
    old = sums.get(leaf)
    if old is None:
        sums[leaf] = (g, False)
    elif old[1] and not R.state.grad and g._dtype is old[0]._dtype:
        old[0].add_(g)
    else:
        sums[leaf] = (old[0] + g, True)


def call_hooks(hooks: dict, g):
    """Tensor hooks in order; a hook may replace the gradient."""
    for hook in list(hooks.values()):
        new = hook(g)
        if new is not None:
            if not isinstance(new, R.hooks.Tensor):
                raise TypeError(f"tensor hook: expected a Tensor or None, got {type(new).__name__}")
            g = new
    return g


def run_prehooks(node: Node, got: list) -> list:
    """Hooks on the gradients that arrived (tensor hooks of intermediate results among them)."""
    for hook in list(node.hooks.values()):
        new = hook(tuple(got))
        if new is not None:
            got = list(new) if isinstance(new, (tuple, list)) else [new]
    return got


def run_node(node: Node, got: list, keep: bool, needed) -> tuple | list:
    """The node's rule and its hooks; frees what was saved."""
    if all(g is None for g in got):
        return (None,) * len(node.edges)
    if needed is not None and node not in needed:
        return (None,) * len(node.edges)
    if needed is not None and not any(e is not None and e[0] in needed for e in node.edges):
        return (None,) * len(node.edges)
    try:
        out = node.apply(got)
    except Exception as e:
        trace = node.__dict__.get("_trace")
        if trace:
            e.add_note(f"Traceback of forward call that caused the error in {node.name()}:\n{trace}")
        raise
    if R.state.anomaly:
        check_nan(node, out)
    if node.post_hooks:
        for hook in list(node.post_hooks.values()):
            new = hook(tuple(out), tuple(got))
            if new is not None:
                out = list(new) if isinstance(new, (tuple, list)) else [new]
    if not keep:
        node.release()
    return out


def check_nan(node: Node, out) -> None:
    """Anomaly mode: name the node whose backward made a NaN, and show where its forward ran."""
    for i, g in enumerate(out):
        if g is not None and g.isnan().any().item():
            e = RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
            e.add_note(f"Forward call:\n{node.__dict__.get('_trace', '(recorded before anomaly mode)')}")
            raise e


def accumulate(leaf, g, fresh: bool = False) -> None:
    """leaf.grad += g, after the leaf's hooks."""
    if leaf._hooks is not None:
        g = call_hooks(leaf._hooks, g)
        fresh = False
    old = leaf._grad
    if old is None:
        if R.state.grad:
            leaf._grad = g
        else:
            # The same tensor may be another's gradient too: keep it only if nobody else can change it.
            dense = g._dense and leaf._dense or g._strides == leaf._strides
            leaf._grad = g.detach() if fresh and dense else own_copy(g, leaf)
    elif R.state.grad:
        leaf._grad = old + g
    else:
        old.add_(g)
    if leaf._post_hooks:
        for hook in list(leaf._post_hooks.values()):
            hook(leaf)


def own_copy(g, leaf):
    """g itself if only the engine refers to it, else a copy in the leaf's layout."""
    import sys

    # References: the caller's sums table entry or argument chain, this frame, getrefcount's argument.
    if g._dense and leaf._dense and g._base is None and sys.getrefcount(g) <= SOLE_REFERENCES \
            and sys.getrefcount(g._storage) <= 2:
        return g.detach()
    return g.clone()


SOLE_REFERENCES = 5


def make_grads(outputs, grad_outputs):
    """Default gradients (ones for scalars) and checks of given ones."""
    out = []
    for t, g in zip(outputs, grad_outputs, strict=True):
        if g is None:
            if t._numel != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if t._dtype.is_complex:
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{t._dtype}")  # fmt: skip
            g = R.hooks.Tensor.new_ones(t, t._shape)
        elif not isinstance(g, R.hooks.Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        elif g._shape != t._shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[0] has a shape of {g.shape} and output[0] has a shape of {t.shape}."
            )
        out.append(g)
    return out


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Accumulate d(tensors)/d(leaves), weighted by grad_tensors, into the leaves' .grad.

    Args: retain_graph keeps saved values for another pass (default: create_graph); create_graph records the
    pass itself, for higher derivatives; inputs limits accumulation to these leaves.
    Errors: RuntimeError if a tensor needs no gradient, if a non-scalar has no grad_tensors entry.
    Source: torch.autograd.backward.
    """
    tensors = (tensors,) if isinstance(tensors, R.hooks.Tensor) else tuple(tensors)
    if grad_tensors is None:
        grad_tensors = grad_variables
    grads = _as_tuple(grad_tensors, len(tensors))
    for t in tensors:
        check_differentiable(t)
    grads = make_grads(tensors, grads)
    keep = create_graph if retain_graph is None else retain_graph
    edges = None
    if inputs is not None:
        inputs = (inputs,) if isinstance(inputs, R.hooks.Tensor) else tuple(inputs)
        if not inputs:
            raise RuntimeError("backward(): 'inputs' argument to backward() cannot be empty.")
        edges = [edge_of(t) for t in inputs]
    run([edge_of(t) for t in tensors], grads, keep, create_graph, edges)


def _as_tuple(x, n: int) -> tuple:
    if x is None:
        return (None,) * n
    x = (x,) if isinstance(x, R.hooks.Tensor) else tuple(x)
    if len(x) != n:
        raise RuntimeError(f"got {n} tensors and {len(x)} gradients")
    return x


def check_differentiable(t) -> None:
    if not t._requires_grad:
        raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")


def grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True,
         allow_unused=None, is_grads_batched=False, materialize_grads=False):  # fmt: skip
    """The gradients of outputs with respect to inputs, weighted by grad_outputs, as a tuple.

    Args: as `backward`; allow_unused: None for inputs that play no part instead of an error;
    materialize_grads: zeros instead of None; is_grads_batched: grad_outputs carry a leading batch dimension.
    Source: torch.autograd.grad.
    """
    tensor = R.hooks.Tensor
    outputs = (outputs,) if isinstance(outputs, tensor) else tuple(outputs)
    inputs = (inputs,) if isinstance(inputs, tensor) else tuple(inputs)
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True")
    if allow_unused is None:
        allow_unused = materialize_grads
    if is_grads_batched:
        return _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused)
    for t in outputs:
        check_differentiable(t)
    grads = make_grads(outputs, _as_tuple(grad_outputs, len(outputs)))
    keep = create_graph if retain_graph is None else retain_graph
    edges = [edge_of(t) for t in inputs]
    for e in edges:
        if e is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    captured = run([edge_of(t) for t in outputs], grads, keep, create_graph, edges, accumulate_into=False)
    result = []
    for t, e in zip(inputs, edges, strict=True):
        g = captured.get(e)
        if g is None:
            if not allow_unused:
                raise RuntimeError(
                    "One of the differentiated Tensors appears to not have been used in the graph. "
                    "Set allow_unused=True if this is the desired behavior."
                )
            g = t.new_zeros(t._shape) if materialize_grads else None
        result.append(g)
    return tuple(result)


def _batched(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused):
    """One pass per entry of the leading dimension, stacked."""
    from flambeau import ops

    gs = _as_tuple(grad_outputs, len(outputs))
    n = next(g for g in gs if g is not None)._shape[0]
    rows = [
        grad(outputs, inputs, tuple(None if g is None else g[i] for g in gs),
             True if i < n - 1 else retain_graph, create_graph, True, allow_unused)
        for i in range(n)
    ]  # fmt: skip
    return tuple(None if c[0] is None else ops.stack(list(c)) for c in zip(*rows, strict=True))


__all__ = ["AccumulateGrad", "as_node", "backward", "grad", "run"]
