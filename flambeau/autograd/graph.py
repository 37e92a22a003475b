"""The tape: nodes, edges, and how an op's call becomes a node.

A node holds, per differentiable input, an edge: (target, output number, shape, dtype), or None. The target is the
node that made the input, or the leaf tensor itself (then the number is LEAF); shape and dtype are the input's, to
which its gradient is brought. What derivative rules need is saved with the version of the memory at that moment, so
that a later in-place change is noticed. `engine` walks the tape; `saving` says what is saved and how rules get it.
"""

from __future__ import annotations

import itertools
import sys

from flambeau.autograd.saving import FREED, Recipe, Saved
from flambeau.ops import record as R
from flambeau.ops.record import TENSORS, hooks
from flambeau.runtime import calls

numbers = itertools.count()
LEAF = -1


class Node:
    """One recorded operation; `grad_fn` of its outputs."""

    __slots__ = ("__dict__", "__weakref__", "_edges", "_seq")  # private: what else a node has is a Function's own, on its ctx

    _edges: tuple | list  # per differentiable input: (target, output number, shape, dtype) or None
    _outputs: int = 1  # number of outputs that can receive gradients
    _hooks: dict | None = None
    _post_hooks: dict | None = None

    def __init__(self, edges: tuple = (), outputs: int = 1):
        self._edges, self._seq = edges, next(numbers)
        if outputs != 1:
            self._outputs = outputs

    def name(self) -> str:
        """The class name PyTorch would show."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple:
        """((node, output number), ...): where gradients go next; AccumulateGrad stands for a leaf."""
        return tuple((None, 0) if e is None else (as_node(e[0]), max(e[1], 0)) for e in self._edges)

    @property
    def metadata(self) -> dict:
        """A dict for the user's notes on this node."""
        return self.__dict__.setdefault("_metadata", {})

    def register_hook(self, hook):
        """Call hook(grad_inputs, grad_outputs) after this node has run; it may return new grad_inputs."""
        if self._post_hooks is None:
            self._post_hooks = {}
        return Handle(self._post_hooks, hook)

    def register_prehook(self, hook):
        """Call hook(grad_outputs) before this node runs; it may return new grad_outputs."""
        if self._hooks is None:
            self._hooks = {}
        return Handle(self._hooks, hook)

    def apply(self, grads: list) -> list | tuple:
        """Gradients of the inputs from those of the outputs, aligned with `edges`."""
        raise NotImplementedError(type(self).__name__)

    def _release(self) -> None:
        """Forget what was saved."""

    def __call__(self, *grads):
        return tuple(self.apply(list(grads)))

    def __repr__(self):
        return f"<{type(self).__name__} object at {id(self):#x}>"


class Handle:
    """Removes a hook again (also as a context manager)."""

    _next = itertools.count().__next__

    def __init__(self, table: dict, hook, *, key=None):
        self.id = Handle._next() if key is None else key
        self.table = table
        table[self.id] = hook

    def remove(self) -> None:
        """Take the hook off; doing so twice is harmless."""
        self.table.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


class AccumulateGrad(Node):
    """Stands for a leaf: adds what arrives to `variable.grad`."""

    __slots__ = ("variable",)

    def __init__(self, variable):
        super().__init__()
        self.variable = variable

    def apply(self, grads: list) -> tuple:
        from flambeau.autograd.engine import accumulate

        accumulate(self.variable, grads[0])
        return ()


def as_node(target):
    """A node for an edge's target: leaves get (and keep) an AccumulateGrad."""
    if isinstance(target, Node):
        return target
    node = target._accumulate
    if node is None:
        node = target._accumulate = AccumulateGrad(target)
    return node


def edge_of(t):
    """Where the gradient of tensor t goes."""
    fn = t._grad_fn if t._base is None else t.grad_fn
    if fn is not None:
        return fn, t._output_nr, t._shape, t._dtype
    return (t, LEAF, t._shape, t._dtype) if t._requires_grad else None


def where_called(skip: int = 1) -> str:
    """file:line of the nearest caller outside the package."""
    frame = sys._getframe(skip)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("flambeau.") and module != "flambeau":
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "an unknown line"


class OpNode(Node):
    """The node of a recorded op; subclasses (one per op, named as PyTorch's) carry `op`."""

    __slots__ = ("recipe", "saved", "versions")
    __init__ = object.__init__  # `record` fills in the fields

    op: R.Op

    def _release(self) -> None:
        if self.versions != ():  # what holds no tensor may serve again, as in PyTorch
            self.saved = FREED

    def apply(self, grads: list) -> list:
        recipe = self.recipe
        creating = R.state.grad
        values = recipe.values(self, grads, creating) if recipe.keeps else (grads[0], grads, recipe.flags)
        out: list = []
        for call in recipe.calls:
            if call is None:
                out.append(None)
                continue
            eager, fused, pick, single, spread, _ = call
            fn = eager if creating else fused
            g = fn(values[pick]) if single else fn(*pick(values))
            if spread is None:
                out.append(g)
            else:  # a list of tensors, or all answers of a joint rule
                out.extend(spread(g))
        return out


def record(op: R.Op, result, values: tuple):
    """Attach a node for op(values) -> result; returns result."""
    edges: list = []
    needs: list = []
    for i in op.diff_index:
        v = values[i]
        c = v.__class__
        if c in TENSORS or isinstance(v, hooks.Tensor):
            if v._requires_grad:
                fn = v._grad_fn if v._base is None or v._view_version == v._vc.version else v.grad_fn
                edges.append((v, LEAF, v._shape, v._dtype) if fn is None else (fn, v._output_nr, v._shape, v._dtype))
                needs.append(True)
                continue
        elif c is tuple or c is list:
            edges += [edge_of(t) if isinstance(t, hooks.Tensor) else None for t in v]
            needs.append(len(v))
            continue
        edges.append(None)
        needs.append(False)
    needs = tuple(needs)
    recipe = op.recipes.get(needs) or new_recipe(op, needs)
    node = recipe.node_class()
    node._edges, node.recipe, node._seq = edges, recipe, next(numbers)
    if result.__class__ in TENSORS or not isinstance(result, tuple):
        if result._dtype.kind not in "fc":
            return result
        result._grad_fn, result._requires_grad = node, True
    else:
        node._outputs = len(result)
        for i, t in enumerate(result):
            if isinstance(t, hooks.Tensor) and t._dtype.kind in "fc":
                t._grad_fn, t._output_nr, t._requires_grad = node, i, True
    if recipe.keeps:
        recipe.save(node, result, values)
    else:
        node.saved = node.versions = ()
    if hooks.watched and R.state.anomaly:
        import traceback

        node.__dict__["_where"] = where_called(2)
        node.__dict__["_trace"] = "".join(traceback.format_stack()[:-2])
    return result


def new_recipe(op: R.Op, needs: tuple) -> Recipe:
    """The recipe of an op for a choice of inputs, with the class of its nodes."""
    recipe = op.recipes[needs] = Recipe(op, needs)
    if op.node_class is None:
        op.node_class = type(op.node_name, (OpNode,), {"__slots__": (), "op": op})
    recipe.node_class = op.node_class
    known = recipe.plain()
    if known is not None:
        op.known.setdefault(needs, known)  # what is there may be in use by another thread
    return recipe


def recorder(op: R.Op):
    """The builtin of `op.note`, once builtins are there; None before, and for what is no ordinary op."""
    if "note" not in calls.found:
        return None
    defaults = tuple(op.defaults.get(p) for p in op.params)
    return calls.new_builtin("note", (R.state, hooks, numbers, op.note_here, op.diff_index, op.known, defaults))


def unbroadcast(g, shape, dtype):
    """Sum a gradient over the dimensions its input was repeated along; match real inputs and dtypes."""
    if g._shape != shape:
        from flambeau.ops.reduce import sum_to

        g = sum_to(g, shape)
    if g._dtype is not dtype:
        if g._dtype.is_complex and not dtype.is_complex:
            g = g.real
        if g._dtype is not dtype:
            g = g.to(dtype)
    return g


__all__ = ["FREED", "LEAF", "AccumulateGrad", "Handle", "Node", "OpNode", "Saved", "edge_of", "record", "unbroadcast"]


def __getattr__(name: str):
    if name in ("saved_tensors_hooks", "save_on_cpu", "get_gradient_edge"):
        from flambeau.autograd import hooks

        return getattr(hooks, name)
    raise AttributeError(f"module 'flambeau.autograd.graph' has no attribute {name!r}")
