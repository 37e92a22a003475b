"""Op records: what makes a plain function an op.

`@op(family)` turns a function into a callable of the same name whose `.record` is an `Op`: signature, family,
derivative rules, aliases, where it is exposed. The function's docstring is the public documentation. Nothing
here knows tensors or autograd: `tensor.bind` fills in `hooks` (the Tensor class, the recorder) at import.

Families
    POINTWISE  the body is a scalar expression of its tensor arguments (see elementwise.py)
    KERNEL     the body validates, allocates and launches kernels; it runs unrecorded
    VIEW       the body returns another geometry of the same storage
    COMPOSITE  the body is written in other ops, whose derivatives serve
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any

POINTWISE, KERNEL, VIEW, COMPOSITE = "pointwise", "kernel", "view", "composite"

TABLE: dict[str, Op] = {}


class GradState(threading.local):
    """Per-thread switches that decide whether an op is recorded."""

    grad = True
    inference = False
    saved_hooks: tuple = ()
    anomaly = False


class SparseOperand(NotImplementedError):
    """What a sparse tensor raises when it is asked for strides, storage or address: ops then look for their sparse form."""


state = GradState()
TENSORS: set[type] = set()  # the exact classes that quick paths take as they are: Tensor, Parameter


class Hooks:
    """What the layers above give this one: set once by tensor.bind."""

    Tensor: Any = None
    make: Callable = None  # type: ignore[assignment]  # make(storage, offset, shape, strides, dtype) -> Tensor
    empty: Callable = None  # type: ignore[assignment]  # empty(shape, dtype, device=None) -> Tensor
    record: Callable = None  # type: ignore[assignment]  # record(op, result, values): attach a graph node
    recorder: Callable = None  # type: ignore[assignment]  # recorder(op): a builtin note(result, *values), if there are builtins
    inplace: Callable = None  # type: ignore[assignment]  # inplace(op, fn, values): run with in-place bookkeeping
    sparse_form: Callable = None  # type: ignore[assignment]  # sparse_form(op, args, kwargs): the op of sparse tensors
    watched = False  # True once any thread has used anomaly mode or saved-tensor hooks: look at `state` for them

    @staticmethod
    def recording() -> bool:
        """True unless this thread runs under no_grad."""
        return state.grad


hooks = Hooks()


def parameters(fn: Callable) -> tuple[tuple[str, ...], dict, frozenset]:
    """(names, defaults by name, the keyword-only ones), as inspect.signature says but without its cost at import."""
    code = getattr(fn, "__code__", None)
    if code is None or code.co_flags & VARIADIC or hasattr(fn, "__signature__") or hasattr(fn, "__wrapped__"):
        found = inspect.signature(fn).parameters
        defaults = {n: p.default for n, p in found.items() if p.default is not inspect.Parameter.empty}
        return tuple(found), defaults, frozenset(n for n, p in found.items() if p.kind is inspect.Parameter.KEYWORD_ONLY)
    n = code.co_argcount
    names = code.co_varnames[: n + code.co_kwonlyargcount]
    given = fn.__defaults__ or ()
    defaults = dict(zip(names[n - len(given) : n], given, strict=True)) | (fn.__kwdefaults__ or {})
    return names, defaults, frozenset(names[n:])


VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


class Rule:
    """One argument's derivative: `fn` and the names of what it needs."""

    __slots__ = ("eager", "fn", "fused", "names")

    def __init__(self, fn: Callable, eager: bool = False):
        self.fn, self.eager, self.fused = fn, eager, None
        self.names = parameters(fn)[0]


class Op:
    """The record of one op."""

    def __init__(self, fn: Callable, family: str, options: dict):
        self.fn, self.family, self.name = fn, family, fn.__name__.rstrip("_")
        self.options = options
        self.params, self.defaults, self.keyword_only = parameters(fn)
        self.padding = {len(self.params): ()}  # what completes so many positional arguments
        for i in range(len(self.params) - 1, -1, -1):
            if self.params[i] not in self.defaults:
                break
            self.padding[i] = (self.defaults[self.params[i]], *self.padding[i + 1])
        self.rules: dict[str, Rule] = {}
        self.joint: Rule | None = None
        self.joint_args: tuple[str, ...] = ()
        self.diff_index: tuple[int, ...] = ()
        self.node_class: type | None = None
        self.recipes: dict = {}  # autograd.saving's, by which inputs need gradients
        self.known: dict = {}  # of these, what the builtin that records them needs to know
        self.call: Callable = fn
        camel = "".join(w[:1].upper() + w[1:] for w in self.name.split("_"))
        self.node_name = options.get("node") or f"{camel}Backward0"

    @property
    def signature(self) -> inspect.Signature:
        """The public signature."""
        return inspect.signature(self.fn)

    def option(self, key: str, default=None):
        """A keyword given to @op."""
        return self.options.get(key, default)

    def derivative(self, eager: bool = False, **rules: Callable) -> Op:
        """One rule per differentiable argument; eager=True: not expressible as a fused scalar expression."""
        for name, fn in rules.items():
            if name not in self.params:
                raise TypeError(f"{self.name}.derivative: no argument {name}")
            self.rules[name] = Rule(fn, eager)
        self.diff_index = tuple(i for i, n in enumerate(self.params) if n in self.rules)
        self.__dict__.pop("note", None)  # a builtin that knew of other rules
        return self

    def vjp(self, *args: str) -> Callable:
        """Decorator: one rule fn(g, ..., needs) that returns the gradients of `args` together."""

        def set_rule(fn: Callable) -> Callable:
            self.joint, self.joint_args = Rule(fn, eager=True), args
            self.diff_index = tuple(self.params.index(a) for a in args)
            self.__dict__.pop("note", None)
            return fn

        return set_rule

    def note(self, result, *values):
        """result, with its history if this thread records and one of the values asks for that; by a builtin, once there is one."""
        builtin = hooks.recorder(self)
        if builtin is not None:
            self.note = builtin  # type: ignore[method-assign]
        return self.note_here(result, *values)

    def note_here(self, result, *values):
        """`note` in Python."""
        if state.grad and requires_grad(self, values, {}):
            return hooks.record(self, result, self.bind(values, {}))
        return result

    def invoke(self, values):
        """Call the body with values in the parameters' order."""
        n = len(self.params) - len(self.keyword_only)
        return self.fn(*values[:n], **dict(zip(self.params[n:], values[n:], strict=True)))

    def bind(self, args: tuple, kwargs: dict) -> tuple:
        """Values of all parameters, in order."""
        if not kwargs:
            rest = self.padding.get(len(args))
            if rest is not None:
                return args + rest
        params = self.params
        if len(args) > len(params):
            raise TypeError(f"{self.name}() takes {len(params)} arguments but {len(args)} were given")
        values = dict(zip(params, args, strict=False))
        for k, v in kwargs.items():
            if k not in params or k in values:
                what = "multiple values for" if k in values else "an unexpected keyword"
                raise TypeError(f"{self.name}() got {what} argument '{k}'")
            values[k] = v
        defaults = self.defaults
        try:
            return tuple([values[n] if n in values else defaults[n] for n in params])
        except KeyError as e:
            raise TypeError(
                f"{self.name}() missing required argument {e.args[0]!r} (pos {params.index(e.args[0]) + 1})"
            ) from None

    def __repr__(self):
        return f"<op {self.name} ({self.family})>"


# PyTorch accepts NumPy's spellings of some keywords.
KEYWORDS = {"axis": "dim", "keepdims": "keepdim", "x": "input", "x1": "input", "x2": "other", "a": "input"}


def respell(op: Op, kwargs: dict) -> dict:
    """NumPy's keyword names as PyTorch's, where the op has no such name itself."""
    return {
        (KEYWORDS[k] if k in KEYWORDS and k not in op.params and KEYWORDS[k] in op.params else k): v
        for k, v in kwargs.items()
    }


def op(family: str, **options) -> Callable[[Callable], Callable]:
    """Decorator: register a function as an op of `family`.

    Options: `method`, `function`, `functional`, `inplace` (bool: where it is exposed; see tensor.bind),
    `aliases` (other names), `geometric` (False for a VIEW that depends on more than its input's geometry), `node` (grad_fn's name), `promote` ("float": integers become the default dtype),
    and what the family's machinery reads (`weak`, `literal`, `check` of the operands' dtypes for POINTWISE).
    """

    def register(fn: Callable) -> Callable:
        record = Op(fn, family, options)
        if family == POINTWISE:
            from flambeau.ops.calling import dispatcher
        else:
            dispatcher = DISPATCHERS[family]
        call = dispatcher(record)
        functools.update_wrapper(call, fn)
        record.call = call
        call.record = record
        call.derivative = record.derivative
        call.vjp = record.vjp
        if record.name in TABLE:
            raise ValueError(f"op {record.name} is defined twice")
        TABLE[record.name] = record
        return call

    return register


def requires_grad(op: Op, args: tuple, kwargs: dict) -> bool:
    """True if any differentiable argument given asks for gradients."""
    n = len(args)
    for i in op.diff_index:
        v = args[i] if i < n else kwargs.get(op.params[i])
        c = v.__class__
        if c in TENSORS or isinstance(v, hooks.Tensor):
            if v._requires_grad:
                return True
        elif c is tuple or c is list:
            for t in v:
                if isinstance(t, hooks.Tensor) and t._requires_grad:
                    return True
    return False


def kernel_dispatcher(op: Op) -> Callable:
    """KERNEL ops: run the body unrecorded, then attach one node."""
    fn = op.fn

    def call(*args, **kwargs):
        if kwargs:
            return general(args, kwargs)
        try:
            if not state.grad or not requires_grad(op, args, kwargs):
                return fn(*args)
            values = op.bind(args, kwargs)
            state.grad = False
            try:
                result = fn(*args)
            finally:
                state.grad = True
            return hooks.record(op, result, values)
        except SparseOperand:
            return hooks.sparse_form(op, args, kwargs)

    def named(args, kwargs, out):
        if not (state.grad and requires_grad(op, args, kwargs)):
            return fn(*args, **kwargs)
        if out is not None:
            raise RuntimeError(
                f"{op.name}(): functions with out=... arguments don't support automatic differentiation, "
                "but one of the arguments requires grad."
            )
        values = op.bind(args, kwargs)
        state.grad = False
        try:
            result = fn(*args, **kwargs)
        finally:
            state.grad = True
        return hooks.record(op, result, values)

    general = with_names(op, named)
    if hasattr(fn, "known"):
        from flambeau.ops import by_geometry

        return by_geometry.quickened(op, fn.known, call)
    return call


def with_names(op: Op, body: Callable) -> Callable:
    """general(args, kwargs): body(args, kwargs, out) under PyTorch's spellings, its result put into out= where that is given."""

    def general(args, kwargs):
        out = kwargs.pop("out", None)
        kwargs = respell(op, kwargs)
        try:
            result = body(args, kwargs, out)
        except SparseOperand:
            result = hooks.sparse_form(op, args, kwargs)
        return result if out is None else write_out(op, result, out)

    return general


def composite_dispatcher(op: Op) -> Callable:
    """COMPOSITE ops: just the body (and out=)."""
    fn = op.fn
    if "out" in op.params:
        return lambda *args, **kwargs: fn(*args, **kwargs)

    def call(*args, **kwargs):
        if kwargs:
            return general(args, kwargs)
        try:
            return fn(*args)
        except SparseOperand:
            return hooks.sparse_form(op, args, kwargs)

    general = with_names(op, lambda args, kwargs, out: fn(*args, **kwargs))
    return call


def view_dispatcher(op: Op) -> Callable:
    """VIEW ops: the body's result(s) alias the first argument; the recorder ties them to their base.

    A body whose answer is a function of its input's geometry and of integers (`geometric`) is run once for each: what is
    known of it is how its answer lies.
    """
    from flambeau.ops import by_geometry

    fn = op.fn
    geometric = op.option("geometric", True)
    known: dict = {}

    def slow(*args, **kwargs):
        if kwargs or not args or args[0].__class__ not in TENSORS:
            kwargs = respell(op, kwargs)
            try:
                return hooks.view(op, fn(*args, **kwargs), op.bind(args, kwargs))
            except SparseOperand:
                return hooks.sparse_form(op, args, kwargs)
        x = args[0]
        key = by_geometry.key_of(args) if geometric else None
        found = known.get(key)
        if found is not None:
            return op.note(hooks.alias(x, found), *args)
        y = fn(*args)
        if key is not None and y.__class__ is hooks.Tensor and y._dtype is x._dtype and y._storage is x._storage:
            if len(known) >= by_geometry.MAX_CALLS:
                known.clear()
            known[key] = y._numel, y._shape, y._strides, y._dense, y._offset - x._offset, y._ptr - x._ptr
        return hooks.view(op, y, op.bind(args, kwargs))

    return by_geometry.quickened(op, known, slow)


def write_out(op: Op, result, out):
    """Put a result into out= (resized when it does not fit), as PyTorch does."""
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise TypeError(f"{op.name}(out): expected {len(result)} tensors, got {type(out).__name__}")
        filled = [write_out(op, r, o) for r, o in zip(result, out, strict=True)]
        return type(result)(filled) if hasattr(result, "_fields") or type(result) is not tuple else tuple(filled)
    if not isinstance(out, hooks.Tensor):
        raise TypeError(f"{op.name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    hooks.fill_out(op, result, out)
    return out


DISPATCHERS = {
    KERNEL: kernel_dispatcher,
    COMPOSITE: composite_dispatcher,
    VIEW: view_dispatcher,
}
