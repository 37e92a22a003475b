"""Nested containers as a list of leaves and a description of the nest (PyTorch's torch.utils._pytree)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """How one container type is taken apart and put together."""

    flatten: Callable  # container -> (children, context)
    unflatten: Callable  # (children, context) -> container


@dataclass(frozen=True)
class TreeSpec:
    """The nest without its leaves; a leaf is TreeSpec(None, None, ())."""

    type: Any
    context: Any
    children_specs: tuple

    @property
    def num_leaves(self) -> int:
        """How many leaves the nest has."""
        return 1 if self.type is None else sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        """True for a single leaf."""
        return self.type is None


LEAF = TreeSpec(None, None, ())
NODES: dict[Any, Node] = {
    list: Node(lambda x: (list(x), None), lambda c, _: list(c)),
    tuple: Node(lambda x: (list(x), None), lambda c, _: tuple(c)),
    dict: Node(lambda x: (list(x.values()), list(x)), lambda c, keys: dict(zip(keys, c, strict=True))),
    OrderedDict: Node(lambda x: (list(x.values()), list(x)), lambda c, keys: OrderedDict(zip(keys, c, strict=True))),
    defaultdict: Node(
        lambda x: (list(x.values()), [x.default_factory, list(x)]),
        lambda c, ctx: defaultdict(ctx[0], zip(ctx[1], c, strict=True)),
    ),
    deque: Node(lambda x: (list(x), x.maxlen), lambda c, maxlen: deque(c, maxlen=maxlen)),
}
NAMED = Node(lambda x: (list(x), type(x)), lambda c, kind: kind(*c))


def register_pytree_node(cls, flatten_fn, unflatten_fn, **_) -> None:
    """Let `cls` be taken apart: flatten_fn(x) -> (children, context), unflatten_fn(children, context) -> x."""
    if cls in NODES:
        raise ValueError(f"{cls} is already registered as pytree node.")
    NODES[cls] = Node(flatten_fn, unflatten_fn)


def kind_of(tree) -> Any:
    """The key of the tree's node, or None for a leaf."""
    if isinstance(tree, tuple) and hasattr(type(tree), "_fields"):
        return "namedtuple"
    return type(tree) if type(tree) in NODES else None


def tree_flatten(tree, is_leaf: Callable | None = None) -> tuple[list, TreeSpec]:
    """(leaves from left to right, the nest)."""
    kind = None if is_leaf is not None and is_leaf(tree) else kind_of(tree)
    if kind is None:
        return [tree], LEAF
    children, context = (NAMED if kind == "namedtuple" else NODES[kind]).flatten(tree)
    leaves, specs = [], []
    for child in children:
        found, spec = tree_flatten(child, is_leaf)
        leaves += found
        specs.append(spec)
    return leaves, TreeSpec(kind, context, tuple(specs))


def tree_unflatten(leaves: Iterable, treespec: TreeSpec):
    """The inverse of tree_flatten."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a pytree that "
            f"holds {treespec.num_leaves} items."
        )
    return rebuilt(iter(leaves), treespec)


def rebuilt(leaves, spec: TreeSpec):
    """The nest filled from an iterator."""
    if spec.type is None:
        return next(leaves)
    children = [rebuilt(leaves, c) for c in spec.children_specs]
    return (NAMED if spec.type == "namedtuple" else NODES[spec.type]).unflatten(children, spec.context)


def tree_leaves(tree, is_leaf: Callable | None = None) -> list:
    """The leaves from left to right."""
    return tree_flatten(tree, is_leaf)[0]


tree_iter = tree_leaves


def tree_structure(tree, is_leaf: Callable | None = None) -> TreeSpec:
    """The nest alone."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree, *rests, is_leaf: Callable | None = None):
    """The nest with func(leaf, ...) at each leaf; `rests` are nests alike."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_flatten(r, is_leaf) for r in rests]
    for _, other in others:
        if other != spec:
            raise ValueError(f"tree_map: the nests differ: {spec} and {other}")
    return tree_unflatten(map(func, leaves, *(found for found, _ in others)), spec)


def tree_map_(func: Callable, tree, *rests, is_leaf: Callable | None = None):
    """Call func at each leaf for what it does; returns the tree."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(kind, func: Callable, tree, is_leaf: Callable | None = None):
    """func at leaves of the type(s) `kind` (or for which kind(leaf) is true), other leaves as they are."""
    wanted = kind if callable(kind) and not isinstance(kind, type) else lambda x: isinstance(x, kind)
    return tree_map(lambda x: func(x) if wanted(x) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable, tree, is_leaf: Callable | None = None) -> bool:
    """True if pred holds at every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable, tree, is_leaf: Callable | None = None) -> bool:
    """True if pred holds at a leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
