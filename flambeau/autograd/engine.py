"""The backward pass: visit nodes from the outputs to the leaves, later-made nodes first.

Each node runs once all gradients of its outputs have arrived (dependencies are counted first, without
recursion, so depth is no limit). Gradients arriving at one place are summed; the first sum makes a new tensor,
further ones add into it. A leaf's gradient is kept, not copied, if nobody else refers to it. What a node saved is
freed as it runs unless the graph is kept.
"""

from __future__ import annotations

import functools
from heapq import heappop, heappush
from sys import getrefcount

from flambeau.autograd.graph import LEAF, AccumulateGrad, Node, as_node, edge_of, unbroadcast
from flambeau.core.device import strided
from flambeau.core.shapes import is_dense
from flambeau.ops import record as R
from flambeau.runtime import calls


class Arrivals(dict):
    """What has arrived: target -> gradient, or a list of one per output where a node has several.

    `owned` holds the places whose gradient was made here by adding: further ones may be added into it.
    """

    __slots__ = ("owned", "recorded")

    def __init__(self, recorded: bool):
        self.owned: set = set()
        self.recorded = recorded

    def add(self, target, i: int, g) -> None:
        """One more gradient for output i of a target that has several, or that has received one already."""
        if i < 0 or target._outputs == 1:
            old = self.get(target)
            self[target] = g if old is None else self.sum(old, g, target)
            return
        slots = self.get(target)
        if slots is None:
            slots = self[target] = [None] * target._outputs
        slots[i] = g if slots[i] is None else self.sum(slots[i], g, (target, i))

    def sum(self, old, g, place):
        if place in self.owned and not self.recorded and old._dense and g._dtype is old._dtype:
            return old.add_(g)
        self.owned.add(place)
        return old + g if old._dense else plus(g, old)


def count_dependencies(roots) -> dict:
    """How many gradients each reachable node or leaf must wait for."""
    counts: dict = {}
    seen = set(roots)
    stack = [n for n in seen if isinstance(n, Node)]
    while stack:
        for e in stack.pop()._edges:
            if e is not None:
                target = e[0]
                if target in counts:
                    counts[target] += 1
                    continue
                counts[target] = 1
                if e[1] >= 0 and target not in seen:
                    stack.append(target)
    return counts


def reachable(roots, inputs: set) -> set:
    """The nodes from which some wanted input can be reached (those worth running)."""
    parents: dict = {}
    seen, stack = set(roots), list(roots)
    wanted: list = [n for n in seen if n in inputs]
    while stack:
        node = stack.pop()
        for e in node._edges:
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
    arrived = Arrivals(create)
    for e, g in zip(roots, grads, strict=True):
        arrived.add(e[0], e[1], g)
    captured = None if inputs is None else Captured(inputs, list(arrived), accumulate_into)
    counts = count_dependencies(arrived)
    ready: list = []  # nodes whose gradients are complete: a heap, latest first
    leaves: list = []
    for target in arrived:
        if target not in counts:
            if isinstance(target, Node):
                heappush(ready, (-target._seq, target))
            else:
                leaves.append(target)
    state = R.state
    before, state.grad = state.grad, create
    try:
        if captured is None and not create and "walk" in calls.found:
            walker()(arrived, counts, ready, leaves, bool(keep))
            return {}
        while True:
            for leaf in leaves:
                if captured is None:
                    accumulate(leaf, [arrived.pop(leaf)])
                else:
                    captured.leaf(leaf, arrived.pop(leaf))
            if not ready:
                break
            leaves = []
            node = heappop(ready)[1]
            got = arrived.pop(node, None)
            if node._outputs != 1:
                got = got or [None] * node._outputs
            else:
                got = [got]
            if node._hooks:
                got = run_prehooks(node, got)
            out = None if captured is not None and captured.ends(node, got) else run_node(node, got, keep)
            got = None  # a gradient that is used up should not be held while others are computed
            for e, g in zip(node._edges, out or (None,) * len(node._edges), strict=False):
                if e is None:
                    continue
                target, i, shape, dtype = e
                if g is not None:
                    if g._shape != shape or g._dtype is not dtype:
                        g = unbroadcast(g, shape, dtype)
                    if target in arrived or i > 0 or i == 0 and target._outputs > 1:
                        arrived.add(target, i, g)
                    else:
                        arrived[target] = g
                left = counts[target] - 1
                if left:
                    counts[target] = left
                elif i >= 0:
                    heappush(ready, (-target._seq, target))
                elif target in arrived:
                    leaves.append(target)
            g = out = None
    finally:
        state.grad = before
    return {} if captured is None else captured.found


@functools.cache
def walker():
    """The builtin that walks as the loop of `run` does, where nothing is captured and the pass is not recorded."""
    return calls.new_builtin("walk", (heappop, heappush, accumulate, unbroadcast, step, Arrivals.add, R.hooks))


def step(node: Node, got: list, keep: bool):
    """A node with all that may be about it: hooks, gradients that are missing."""
    if len(got) != node._outputs:
        got = [None] * node._outputs
    if node._hooks:
        got = run_prehooks(node, got)
    return run_node(node, got, keep)


class Captured:
    """What arrives at wanted places; also which nodes are worth running for it."""

    def __init__(self, inputs: list, starts: list, accumulate_into: bool):
        self.found: dict = {}
        self.wanted: dict = {}
        self.accumulate_into = accumulate_into
        for e in inputs:
            if e is not None:
                self.wanted.setdefault(e[0], set()).add(e[1])
        self.needed = reachable([n for n in starts if isinstance(n, Node)], set(self.wanted))

    def ends(self, node: Node, got: list) -> bool:
        """Take what is wanted of a node's gradients; True if the pass need not go through it."""
        for i in self.wanted.get(node, ()):
            self.found[(node, i)] = got[i]
        needed = self.needed
        return node not in needed or not any(e is not None and e[0] in needed for e in node._edges)

    def leaf(self, leaf, g) -> None:
        """A leaf's whole gradient: handed over, added to .grad, or of no interest."""
        if leaf not in self.wanted:
            return
        if self.accumulate_into:
            accumulate(leaf, [g])
        else:
            self.found[(leaf, LEAF)] = g if leaf._hooks is None else call_hooks(leaf._hooks, g)


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
    for hook in list(node._hooks.values()):
        new = hook(tuple(got))
        if new is not None:
            got = list(new) if isinstance(new, (tuple, list)) else [new]
    return got


def run_node(node: Node, got: list, keep: bool):
    """The node's rule and its hooks, or None if no gradient arrived; frees what was saved."""
    if got[0] is None and all(g is None for g in got):
        return None
    try:
        out = node.apply(got)
    except Exception as e:
        trace = node.__dict__.get("_trace")
        if trace:
            e.add_note(f"Traceback of forward call that caused the error in {node.name()}:\n{trace}")
        raise
    if R.hooks.watched and R.state.anomaly:
        check_nan(node, out)
    if node._post_hooks:
        for hook in list(node._post_hooks.values()):
            new = hook(tuple(out), tuple(got))
            if new is not None:
                out = list(new) if isinstance(new, (tuple, list)) else [new]
    if not keep:
        node._release()
    return out


def check_nan(node: Node, out) -> None:
    """Anomaly mode: name the node whose backward made a NaN, and show where its forward ran."""
    for i, g in enumerate(out):
        if g is not None and g.isnan().any().item():
            raise nan_error(node, i)


def nan_error(node: Node, i: int) -> RuntimeError:
    """What anomaly mode says. (No frame that it goes through may hold it: the two would keep each other alive.)"""
    e = RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
    e.add_note(f"Forward call:\n{node.__dict__.get('_trace', '(recorded before anomaly mode)')}")
    return e


def plus(a, b):
    """a + b, the dense one first if one is sparse."""
    return b + a if a.layout is not b.layout and b.layout is strided else a + b


def accumulate(leaf, slot: list) -> None:
    """leaf.grad += slot[0], after the leaf's hooks. (A list, so that no frame holds the gradient while it is counted.)"""
    if leaf._hooks:
        slot[0] = call_hooks(leaf._hooks, slot[0])
    old = leaf._grad
    if old is not None:
        if R.state.grad or not old._dense and old.layout is not slot[0].layout:
            leaf._grad = plus(old, slot[0])
        else:
            old.add_(slot[0])
    else:
        leaf._grad = slot[0] if R.state.grad else own(slot, leaf)
    if leaf._post_hooks:
        for hook in list(leaf._post_hooks.values()):
            hook(leaf)


def own(slot: list, leaf):
    """slot[0] itself if only the slot refers to it and it lies in memory as the leaf does, else such a copy."""
    global alone
    if alone is None:
        alone = references([R.hooks.empty((1,), leaf._dtype)])
    g = slot[0]
    alike = g._dense and leaf._dense or g.layout is leaf.layout is strided and g._strides == leaf._strides
    if alike and not g._requires_grad:
        del g
        if references(slot) == alone:
            g = slot[0]
            g._base = None
            return g
        g = slot[0]
    if g.layout is not strided:
        return g.clone()
    if not leaf._dense and is_dense(leaf._shape, leaf._strides):
        return R.hooks.empty_strided(leaf._shape, leaf._strides, g._dtype).copy_(g)
    return g.clone(memory_format="contiguous_format")


alone: tuple | None = None  # the references to a fresh tensor, as counted here on this Python


def references(slot: list) -> tuple:
    """How many refer to the tensor, to the base it may be a view of, and (not counting those two) to the memory."""
    t = slot[0]
    base = t._base
    if base is None:
        return getrefcount(t), getrefcount(t._storage)
    here = getrefcount(base)
    return max(getrefcount(t), here), getrefcount(t._storage) - 2


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
        g = captured.get(e[:2])
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
