"""The tape: nodes, edges, and how an op's call becomes a node.

A node holds, per differentiable input, an edge: (target, output number), where the target is the node that made
the input, or the leaf tensor itself, or None. What its derivative rules need is saved with the version of the
memory at that moment, so that a later in-place change is noticed. `engine` walks the tape.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any

from flambeau.core import shapes as S
from flambeau.ops import record as R

sequence = itertools.count().__next__
FREED: Any = object()


class Node:
    """One recorded operation; `grad_fn` of its outputs."""

    __slots__ = ("__dict__", "__weakref__", "edges", "hooks", "metas", "outputs", "post_hooks", "seq")

    edges: tuple  # per differentiable input: (target, output number) or None
    metas: tuple  # per differentiable input: (shape, dtype), to undo broadcasting
    outputs: int  # number of outputs that can receive gradients
    hooks: dict | None
    post_hooks: dict | None

    def __init__(self, edges: tuple = (), metas: tuple = (), outputs: int = 1):
        self.edges, self.metas, self.outputs = edges, metas, outputs
        self.hooks = self.post_hooks = None
        self.seq = sequence()

    def name(self) -> str:
        """The class name PyTorch would show."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple:
        """((node, output number), ...): where gradients go next; AccumulateGrad stands for a leaf."""
        return tuple(
            (None, 0) if e is None else (as_node(e[0]), e[1]) for e in self.edges
        )

    @property
    def metadata(self) -> dict:
        """A dict for the user's notes on this node."""
        return self.__dict__.setdefault("_metadata", {})

    def register_hook(self, hook):
        """Call hook(grad_inputs, grad_outputs) after this node has run; it may return new grad_inputs."""
        if self.post_hooks is None:
            self.post_hooks = {}
        return Handle(self.post_hooks, hook)

    def register_prehook(self, hook):
        """Call hook(grad_outputs) before this node runs; it may return new grad_outputs."""
        if self.hooks is None:
            self.hooks = {}
        return Handle(self.hooks, hook)

    def apply(self, grads: list) -> list | tuple:
        """Gradients of the inputs from those of the outputs, aligned with `edges`."""
        raise NotImplementedError(type(self).__name__)

    def release(self) -> None:
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
        return (fn, t._output_nr)
    return (t, 0) if t._requires_grad else None


class Saved:
    """A tensor kept for the backward pass, with the version of its memory."""

    __slots__ = ("is_output", "maker", "output_nr", "packed", "tensor", "unpack", "version")

    def __init__(self, t, is_output: bool = False, node: Node | None = None):
        self.version, self.is_output = t._vc.version, is_output
        self.unpack = None
        if is_output:  # an alias without history: the node must not hold itself
            self.output_nr = t._output_nr
            t = t._alias()
        self.tensor = t
        saved_hooks = R.state.saved_hooks
        if saved_hooks:
            pack, self.unpack = saved_hooks[-1]
            with_grad, R.state.grad = R.state.grad, False
            try:
                self.packed = pack(t)
            finally:
                R.state.grad = with_grad
            self.tensor = None

    def get(self, node: Node):
        """The tensor, checked; as an output it gets its history back when a graph is being made."""
        if self.unpack is not None:
            return self.unpack(self.packed)
        t = self.tensor
        if t._vc.version != self.version:
            raise modified_error(t, self, node)
        if self.is_output and R.state.grad:
            t = t._alias()
            t._grad_fn, t._output_nr, t._requires_grad = node, self.output_nr, True
        return t


def modified_error(t, saved: Saved, node: Node) -> RuntimeError:
    """What to say when a saved tensor was changed in place."""
    maker = "a leaf" if t._grad_fn is None and not saved.is_output else None
    if saved.is_output:
        maker = f"output {saved.output_nr} of {node.name()}"
    elif t._grad_fn is not None:
        maker = f"output {t._output_nr} of {t._grad_fn.name()}"
    made = node.__dict__.get("_where")
    changed = t._vc.where if hasattr(t._vc, "where") else None
    text = (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{t.type()} {list(t._shape)}], which is {maker}, is at version {t._vc.version}; "
        f"expected version {saved.version} instead."
    )
    text += f" It was saved by {node.name()}"
    if made:
        text += f" ({made})"
    if changed:
        text += f" and changed at {changed}"
    text += ". Hint: clone() before changing it, or use the out-of-place operation"
    if not made:
        text += "; torch.autograd.set_detect_anomaly(True) shows where the forward operation ran"
    return RuntimeError(text + ".")


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

    __slots__ = ("needs", "saved")

    op: R.Op

    def release(self) -> None:
        self.saved = FREED

    def context(self, grads: list) -> dict:
        """Everything rules may name, by name."""
        saved = self.saved
        if saved is FREED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they "
                "have already been freed). Saved intermediate values of the graph are freed when you call "
                ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
                "graph a second time or if you need to access saved tensors after calling backward."
            )
        values = {}
        for name, v in saved:
            if v.__class__ is Saved:
                v = v.get(self)
            elif v.__class__ is list:
                v = [x.get(self) if x.__class__ is Saved else x for x in v]
            values[name] = v
        values["g"] = grads[0]
        values["gs"] = grads
        return values

    def apply(self, grads: list) -> list:
        op, needs = self.op, self.needs
        values = self.context(grads)
        if op.joint is not None:
            values["needs"] = dict(zip(op.joint_args, [bool(n) for n in needs], strict=True))
            out = op.joint.fn(*[values[n] for n in op.joint.names])
            if not isinstance(out, (tuple, list)):
                out = (out,)
            return flatten(out, needs)
        result: list = []
        for need, index in zip(needs, op.diff_index, strict=True):
            if not need:
                result.append(None)
                continue
            rule = op.rules[op.params[index]]
            args = [values[n] for n in rule.names]
            if rule.fused is not None and not R.state.grad:
                g = rule.fused(*args)
            else:
                g = rule.fn(*args)
            if need is True:
                result.append(g)
            else:  # a list of tensors
                result.extend(g)
        return result


def flatten(grads, needs) -> list:
    """Align a joint rule's answers with the edges (lists of tensors have one edge each)."""
    out: list = []
    for g, need in zip(grads, needs, strict=True):
        if isinstance(need, int) and not isinstance(need, bool) and need:
            out.extend(g if g is not None else [None] * need)
        else:
            out.append(g)
    return out


def fuse(op: R.Op) -> None:
    """Give each rule of a POINTWISE op its fused form: the rule traced as one kernel."""
    from flambeau.ops.elementwise import dispatcher

    for name, rule in op.rules.items():
        if rule.eager or rule.fused is not None:
            continue
        if len(rule.names) == 1 and rule.names[0] == "g":
            try:
                if rule.fn(FREED) is FREED:  # the gradient passes unchanged
                    rule.fused = rule.fn
                    continue
            except TypeError:
                pass
        weak = op.keyword_only | set(op.option("weak", ()))
        record = R.Op(rule.fn, R.POINTWISE, {"weak": tuple(n for n in rule.names if n in weak)})
        record.name = f"{op.name}_backward_{name}"
        rule.fused = dispatcher(record)


def save_plan(op: R.Op, needs: tuple) -> tuple:
    """(name, argument index or output index, what of it) for everything the needed rules name."""
    names: dict[str, None] = {}
    if op.joint is not None:
        names.update(dict.fromkeys(op.joint.names))
    for need, index in zip(needs, op.diff_index, strict=True):
        if need and op.joint is None:
            names.update(dict.fromkeys(op.rules[op.params[index]].names))
    plan = []
    for name in names:
        if name in ("g", "gs", "needs"):
            continue
        if name in op.params:
            plan.append((name, "arg", op.params.index(name)))
        elif name == "result":
            plan.append((name, "result", 0))
        elif name.startswith("result") and name[6:].isdigit():
            plan.append((name, "result", int(name[6:])))
        else:
            stem, _, what = name.rpartition("_")
            if stem not in op.params or what not in ("shape", "dtype", "strides", "device"):
                raise TypeError(f"{op.name}: a derivative rule names {name!r}, which is no argument or result")
            plan.append((name, what, op.params.index(stem)))
    return tuple(plan)


def record(op: R.Op, result, values: tuple):
    """Attach a node for op(values) -> result; returns result."""
    cls = R.hooks.Tensor
    edges: list = []
    metas: list = []
    needs: list = []
    for i in op.diff_index:
        v = values[i]
        if isinstance(v, cls):
            if v._requires_grad:
                fn = v._grad_fn if v._base is None else v.grad_fn
                edges.append((fn, v._output_nr) if fn is not None else (v, 0))
                metas.append((v._shape, v._dtype))
                needs.append(True)
                continue
        elif v.__class__ is tuple or v.__class__ is list:
            edges.extend([edge_of(t) if isinstance(t, cls) else None for t in v])
            metas.extend([(t._shape, t._dtype) if isinstance(t, cls) else None for t in v])
            needs.append(len(v))
            continue
        edges.append(None)
        metas.append(None)
        needs.append(False)
    key = tuple(needs)
    plan = op.save_plans.get(key)
    if plan is None:
        plan = op.save_plans[key] = save_plan(op, key)
        if op.family == R.POINTWISE:
            fuse(op)
    node_class = op.node_class
    if node_class is None:
        node_class = op.node_class = type(op.node_name, (OpNode,), {"__slots__": (), "op": op})
    node = node_class.__new__(node_class)
    node.edges, node.metas, node.needs = tuple(edges), tuple(metas), key
    node.hooks = node.post_hooks = None
    node.seq = sequence()
    if isinstance(result, tuple):
        node.outputs = len(result)
        for i, t in enumerate(result):
            if isinstance(t, cls) and (t._dtype.is_floating_point or t._dtype.is_complex):
                t._grad_fn, t._output_nr, t._requires_grad = node, i, True
    else:
        if not (result._dtype.is_floating_point or result._dtype.is_complex):
            return result
        node.outputs = 1
        result._grad_fn, result._requires_grad = node, True
    saved = []
    for name, what, i in plan:
        if what == "arg":
            v = values[i]
            if isinstance(v, cls):
                v = Saved(v)
            elif v.__class__ is list or v.__class__ is tuple:
                v = [Saved(t) if isinstance(t, cls) else t for t in v]
        elif what == "result":
            v = Saved(result[i] if isinstance(result, tuple) else result, True)
        else:
            v = values[i]
            v = None if v is None else getattr(v, what if what != "strides" else "_strides", None)
        saved.append((name, v))
    node.saved = saved
    if R.state.anomaly:
        import traceback

        node.__dict__["_where"] = where_called(2)
        node.__dict__["_trace"] = "".join(traceback.format_stack()[:-2])
    return result


def unbroadcast(g, meta):
    """Sum a gradient over the dimensions its input was repeated along; match real inputs and dtypes."""
    shape, dtype = meta
    if g._shape != shape:
        g = g.sum_to_size(shape)
    if g._dtype is not dtype:
        if g._dtype.is_complex and not dtype.is_complex:
            g = g.real
        if g._dtype is not dtype:
            g = g.to(dtype)
    return g


__all__ = ["FREED", "AccumulateGrad", "Handle", "Node", "OpNode", "S", "Saved", "edge_of", "record", "unbroadcast"]


def __getattr__(name: str):
    if name in ("saved_tensors_hooks", "save_on_cpu", "get_gradient_edge"):
        from flambeau.autograd import hooks

        return getattr(hooks, name)
    raise AttributeError(f"module 'flambeau.autograd.graph' has no attribute {name!r}")
