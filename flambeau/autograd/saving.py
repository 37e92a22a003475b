"""What a node keeps for its derivative rules, and how they get it back.

A `Recipe` is worked out once per op and choice of inputs that need gradients: which arguments, results and facts (an
input's shape, dtype, ...) its rules name, and which rules to call with which of them. Per call there is then one loop
to save and one to check. `Saved` is the general form of a kept tensor: for lists of tensors, saved-tensor hooks and
custom Functions.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from flambeau.ops import record as R
from flambeau.ops.record import TENSORS, hooks
from flambeau.runtime import calls

FREED: Any = object()
FACTS = {"shape": "_shape", "dtype": "_dtype", "strides": "_strides", "device": "device"}
GIVEN = ("g", "gs", "needs")  # what rules get that is not saved


class Saved:
    """A tensor kept for the backward pass, with the version of its memory."""

    __slots__ = ("is_output", "output_nr", "packed", "tensor", "unpack", "version")

    def __init__(self, t, is_output: bool = False):
        self.version, self.is_output = t._vc.version, is_output
        self.unpack = None
        self.output_nr = t._output_nr
        if is_output:  # an alias without history: the node must not hold itself
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

    def get(self, node):
        """The tensor, checked; as an output it gets its history back when a graph is being made."""
        if self.unpack is not None:
            return self.unpack(self.packed)
        t = self.tensor
        if t._vc.version != self.version:
            raise modified_error(t, self.version, node, self.output_nr if self.is_output else None)
        return with_history(t, node, self.output_nr) if self.is_output and R.state.grad else t


def with_history(t, node, output_nr: int):
    """t as an output of node again."""
    t = t._alias()
    t._grad_fn, t._output_nr, t._requires_grad = node, output_nr, True
    return t


def unpack(v, node):
    """A saved entry's value."""
    if v.__class__ is Saved:
        return v.get(node)
    return [unpack(x, node) for x in v] if v.__class__ is list else v


def pack(v, is_output: bool = False):
    """An argument or result as a saved entry, in the general form."""
    if isinstance(v, R.hooks.Tensor):
        return Saved(v, is_output)
    return [pack(x) for x in v] if v.__class__ is list or v.__class__ is tuple else v


class Recipe:
    """What an op saves, and which rules it calls, when the inputs in `needs` ask for gradients.

    `needs` has an entry per differentiable argument: a bool, or for a list of tensors its length.
    """

    __slots__ = ("args", "calls", "facts", "flags", "frees", "keeps", "node_class", "results")

    def __init__(self, op: R.Op, needs: tuple):
        self.args: list[int] = []
        self.results: list[int] = []
        self.facts: list[tuple[str, int]] = []
        self.flags = {}
        if op.family == R.POINTWISE:
            fuse(op)
        rules = [op.joint] if op.joint is not None else [
            op.rules[op.params[i]] if need else None for i, need in zip(op.diff_index, needs, strict=True)
        ]  # fmt: skip
        names = list(dict.fromkeys(n for rule in rules if rule is not None for n in rule.names if n not in GIVEN))
        kinds = {name: self.find(op, name) for name in names}
        self.keeps = bool(names)
        # Numbers among a pointwise op's operands count as tensors here, as they are in PyTorch.
        operands = op.family == R.POINTWISE and any(op.params[i] not in op.keyword_only for i in self.args)
        self.frees = bool(self.results) or operands
        order = [n for kind in ("arg", "result", "fact") for n in names if kinds[n] == kind]
        at = {name: i for i, name in enumerate((*GIVEN, *order))}
        if op.joint is not None:
            self.flags = dict(zip(op.joint_args, map(bool, needs), strict=True))
            self.calls = [call(op.joint, at, lambda g: flatten(g, needs))]
        else:
            self.calls = [
                None if rule is None else call(rule, at, None if need is True else tuple)
                for rule, need in zip(rules, needs, strict=True)
            ]

    def find(self, op: R.Op, name: str) -> str:
        """Note where the value of a rule's parameter comes from; returns the kind of place."""
        if name in op.params:
            self.args.append(op.params.index(name))
            return "arg"
        if name == "result" or name.startswith("result") and name[6:].isdigit():
            self.results.append(int(name[6:] or 0))
            return "result"
        stem, _, what = name.rpartition("_")
        if stem not in op.params or what not in FACTS:
            raise TypeError(f"{op.name}: a derivative rule names {name!r}, which is no argument or result")
        self.facts.append((FACTS[what], op.params.index(stem)))
        return "fact"

    def plain(self) -> tuple | None:
        """What runtime.calls_record must know to save the same; None for facts that are no slots of a tensor."""
        layout = calls.found.get("layout", {})
        if any(what not in layout for what, _ in self.facts):
            return None
        facts = tuple((i, layout[what]) for what, i in self.facts)
        return self, self.node_class, tuple(self.args), tuple(self.results), facts, self.frees

    def save(self, node, result, values: tuple) -> None:
        """Keep on the node what the rules will ask for."""
        if hooks.watched and R.state.saved_hooks:
            self.save_packed(node, result, values)
            return
        saved: list = []
        versions: list = []
        tensors = self.frees
        for i in self.args:
            v = values[i]
            c = v.__class__
            if c in TENSORS or isinstance(v, hooks.Tensor):
                versions.append(v._vc.version)
                tensors = True
            elif c is list or c is tuple and any(isinstance(t, R.hooks.Tensor) for t in v):
                self.save_packed(node, result, values)
                return
            else:
                versions.append(None)
            saved.append(v)
        if self.results:
            for i in self.results:
                t = (result[i] if isinstance(result, tuple) else result)._alias()
                versions.append(t._vc.version)
                saved.append(t)
        for what, i in self.facts:
            saved.append(getattr(values[i], what, None))
        node.saved, node.versions = saved, versions if tensors else ()

    def save_packed(self, node, result, values: tuple) -> None:
        """As save, every tensor in the general form."""
        outs = result if isinstance(result, tuple) else (result,)
        node.saved = [
            *[pack(values[i]) for i in self.args], *[pack(outs[i], True) for i in self.results],
            *[getattr(values[i], what, None) for what, i in self.facts],
        ]  # fmt: skip
        node.versions = None

    def values(self, node, grads: list, creating: bool) -> list:
        """What the rules' parameters are, in the order of `calls`; tensors changed since are an error."""
        saved, versions = node.saved, node.versions
        if saved is FREED:
            raise freed_error()
        if versions is None:
            return [grads[0], grads, self.flags, *[unpack(v, node) for v in saved]]
        for t, version in zip(saved, versions, strict=False):
            if version is not None and t._vc.version != version:
                at = saved.index(t) - len(self.args)
                raise modified_error(t, version, node, None if at < 0 else self.results[at])
        values = [grads[0], grads, self.flags, *saved]
        if creating and self.results:
            first = len(GIVEN) + len(self.args)
            for i, number in enumerate(self.results, first):
                values[i] = with_history(values[i], node, number)
        return values


def call(rule: R.Rule, at: dict[str, int], spread: Callable | None) -> tuple:
    """(rule for graphs, rule for one pass, picker of its arguments, whether that is one index, spread of the answer, places)."""
    places = [at[n] for n in rule.names]
    pick = places[0] if len(places) == 1 else itemgetter(*places) if places else lambda values: ()
    return rule.fn, rule.fused or rule.fn, pick, len(places) == 1, spread, tuple(places)


def flatten(grads, needs) -> list:
    """Align a joint rule's answers with the edges (lists of tensors have one edge each)."""
    out: list = []
    for g, need in zip(grads if isinstance(grads, (tuple, list)) else (grads,), needs, strict=True):
        if need is True or need is False or not need:
            out.append(g)
        else:
            out.extend(g if g is not None else [None] * need)
    return out


def fuse(op: R.Op) -> None:
    """Give each rule of a POINTWISE op its fused form: the rule traced as one kernel."""
    from flambeau.ops.calling import dispatcher

    for name, rule in op.rules.items():
        if rule.eager or rule.fused is not None:
            continue
        if rule.names == ("g",):
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


def freed_error() -> RuntimeError:
    """What to say when a graph is gone through twice."""
    return RuntimeError(
        "Trying to backward through the graph a second time (or directly access saved tensors after they "
        "have already been freed). Saved intermediate values of the graph are freed when you call "
        ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
        "graph a second time or if you need to access saved tensors after calling backward."
    )


def modified_error(t, version: int, node, output_nr: int | None) -> RuntimeError:
    """What to say when a saved tensor was changed in place; output_nr: which output of the node it is, if one."""
    maker = "a leaf" if t._grad_fn is None else f"output {t._output_nr} of {t._grad_fn.name()}"
    if output_nr is not None:
        maker = f"output {output_nr} of {node.name()}"
    made = node.__dict__.get("_where")
    changed = getattr(t._vc, "where", None)
    text = (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{t.type()} {list(t._shape)}], which is {maker}, is at version {t._vc.version}; "
        f"expected version {version} instead."
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
