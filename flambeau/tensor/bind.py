"""From op records to tensors: what `ops.record.hooks` needs, in-place and out= forms, methods.

For a record `name` this makes `Tensor.name`, and `Tensor.name_` where the op has an in-place form. Which of them
exist is said by the record's options; nothing is generated as text.
"""

from __future__ import annotations

import functools
import sys

from flambeau.autograd import graph, views
from flambeau.autograd.engine import grad
from flambeau.core import dtypes as dt
from flambeau.ops import record as R
from flambeau.ops.calling import check_overlap
from flambeau.ops.elementwise import SCALAR_NAMES
from flambeau.tensor.tensor import Tensor, make


# views --------------------------------------------------------------------------------------------
def attach_view(op: R.Op, result, values: tuple):
    """Tie a view op's result(s) to the first argument: base, version counter, history."""
    x = values[0]
    outs = result if isinstance(result, (tuple, list)) else (result,)
    base = x._base if x._base is not None else x
    for t in outs:
        t._base, t._vc = base, x._vc
        t._view_version = x._vc.version
    if R.state.grad and R.requires_grad(op, values, {}):
        graph.record(op, tuple(result) if isinstance(result, list) else result, values)
    return result


def view_of(x, shape, strides, offset: int):
    """A tensor over x's storage (offset in elements from the storage's start)."""
    return make(x._storage, offset, shape if type(shape) is R.hooks.Size else R.hooks.Size(shape),
                tuple(strides), x._dtype, x._vc)  # fmt: skip


# in-place -----------------------------------------------------------------------------------------
def check_inplace(op_name: str, x) -> None:
    """Recorded in-place changes of leaves (or of their views) are errors."""
    if x._base is None:
        if x._grad_fn is None and x._requires_grad:
            raise RuntimeError(
                f"a leaf Variable that requires grad is being used in an in-place operation. ({op_name}_: "
                "use torch.no_grad() to update parameters, or the out-of-place form)"
            )
        return
    base = x._base
    if base._grad_fn is None and base._requires_grad:
        raise RuntimeError(
            f"a view of a leaf Variable that requires grad is being used in an in-place operation. ({op_name}_)"
        )
    fn = x._grad_fn
    if fn is not None and fn._outputs > 1:
        raise RuntimeError(
            f"Output {x._output_nr} of {fn.name()} is a view and is being modified inplace. This view is the "
            "output of a function that returns multiple views. Such functions do not allow the output views to "
            "be modified inplace. You should replace the inplace operation by an out-of-place one."
        )


def inplace(op: R.Op, values: tuple, compute):
    """Run compute() (which changes values[0]) with the bookkeeping of an in-place op; returns values[0]."""
    x = values[0]
    recorded = R.state.grad and op.diff_index and (x._requires_grad or R.requires_grad(op, values, {}))
    if recorded:
        check_inplace(op.name, x)
        old = x._alias()
        if x._requires_grad:
            edge = graph.edge_of(x)
            old._requires_grad = True
            if isinstance(edge[0], graph.Node):
                old._grad_fn, old._output_nr = edge[:2]
        if saves_input(op):
            source = x._alias().clone()
            source._requires_grad, source._grad_fn = old._requires_grad, old._grad_fn
            source._output_nr = old._output_nr
            old = source
        before, R.state.grad = R.state.grad, False
        try:
            compute()
        finally:
            R.state.grad = before
    else:
        compute()
    note_change(x)
    if recorded:
        x._output_nr = 0
        graph.record(op, x, (old, *values[1:]))
        if x._base is not None:
            views.rebase(x, x._grad_fn)
    return x


def saves_input(op: R.Op) -> bool:
    """True if some rule wants the first argument's value from before the change."""
    first = op.params[0]
    rules = [op.joint] if op.joint is not None else list(op.rules.values())
    return any(first in r.names for r in rules)


def note_change(x) -> None:
    """Count an in-place change (and where it happened, if anyone may have saved the old value)."""
    vc = x._vc
    vc.version += 1


def pointwise_inplace(op: R.Op):
    """name_ of a POINTWISE op."""
    run = op.elementwise.run
    quick = getattr(op, "inplace_quick", lambda x, y: False)

    def call(self, *args, **kwargs):
        if len(args) == 1 and not kwargs and quick(self, args[0]):
            self._vc.version += 1
            return self
        if kwargs:
            kwargs = R.respell(op, kwargs)
        values = op.bind((self, *args), kwargs)
        try:
            if R.state.grad and op.diff_index and (self._requires_grad or R.requires_grad(op, values, {})):
                return inplace(op, values, lambda: run(values, (self,)))
            run(values, (self,))
        except R.SparseOperand:
            return R.hooks.sparse_inplace(op, values)
        self._vc.version += 1
        return self

    return named(call, op, inplace=True)


def general_inplace(op: R.Op):
    """name_ of any other op: compute, then copy into self (same shape)."""

    def call(self, *args, **kwargs):
        if kwargs:
            kwargs = R.respell(op, kwargs)
        values = op.bind((self, *args), kwargs)

        def compute():
            result = op.fn(*[v._alias() if v is self else v for v in values[:1]], *args, **kwargs)
            check_fits(result, self)
            raw_copy(self, result)

        return inplace(op, values, compute)

    return named(call, op, inplace=True)


def composite_inplace(op: R.Op):
    """name_ of a COMPOSITE op: the out-of-place result's elements and history become self's."""

    def call(self, *args, **kwargs):
        try:
            check_overlap(self, ())
        except R.SparseOperand:
            return R.hooks.sparse_inplace(op, op.bind((self, *args), kwargs))
        if not (R.state.grad and (self._requires_grad or gives_grad(args) or gives_grad(kwargs.values()))):
            result = op.call(self, *args, **kwargs)
            check_fits(result, self)
            raw_copy(self, result)
            note_change(self)
            return self
        check_inplace(op.name, self)
        result = op.call(self.clone() if self._requires_grad else self, *args, **kwargs)
        check_fits(result, self)
        if self._base is not None:
            return self.copy_(result)
        raw_copy(self, result)
        note_change(self)
        self._grad_fn, self._output_nr, self._requires_grad = result._grad_fn, result._output_nr, result._requires_grad
        return self

    return named(call, op, inplace=True)


def gives_grad(values) -> bool:
    """True if some tensor among the arguments requires grad."""
    return any(isinstance(v, Tensor) and v._requires_grad for v in values)


def check_fits(result, out) -> None:
    """An in-place result has the shape, and a dtype that may be cast to the tensor's."""
    if tuple(result._shape) != tuple(out._shape):
        raise RuntimeError(
            f"output with shape {list(out._shape)} doesn't match the broadcast shape {list(result._shape)}"
        )
    check_result_type(result._dtype, out)


def check_result_type(d, out) -> None:
    if not dt.can_cast(d, out._dtype):
        raise RuntimeError(
            f"result type {SCALAR_NAMES[d.name]} can't be cast to the desired output type "
            f"{SCALAR_NAMES[out._dtype.name]}"
        )


def raw_copy(dst, src) -> None:
    """Copy elements, unrecorded, without touching version counters."""
    from flambeau.ops.copying import copy_elements

    copy_elements(dst, src)


# out= ---------------------------------------------------------------------------------------------
def check_out(op: R.Op, out, shape) -> None:
    """out= must not need gradients; it is resized if its shape differs."""
    if out._requires_grad and R.state.grad:
        raise RuntimeError(
            f"{op.name}(): functions with out=... arguments don't support automatic differentiation, but one of "
            "the arguments requires grad."
        )
    if tuple(out._shape) != tuple(shape):
        from flambeau.ops.copying import resize

        if out._numel:
            import warnings

            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out._shape)}, which "
                f"does not match the required output shape {list(shape)}.",
                stacklevel=4,
            )
        resize(out, shape)


def pointwise_out(op: R.Op, values: tuple, out):
    """A POINTWISE op straight into out=."""
    if R.state.grad and R.requires_grad(op, values, {}):
        raise RuntimeError(
            f"{op.name}(): functions with out=... arguments don't support automatic differentiation, but one of "
            "the arguments requires grad."
        )
    outs = out if isinstance(out, (tuple, list)) else (out,)
    for o in outs:
        if not isinstance(o, Tensor):
            raise TypeError(f"{op.name}(): argument 'out' must be Tensor, not {type(o).__name__}")
    ew = op.elementwise
    shape = ew.broadcast([v for v in values if isinstance(v, Tensor)])
    for o in outs:
        check_out(op, o, shape)
    ew.run(values, tuple(outs))
    for o in outs:
        note_change(o)
    return out


def fill_out(op: R.Op, result, out) -> None:
    """Put a finished result into out=."""
    check_result_type(result._dtype, out)
    check_out(op, out, result._shape)
    raw_copy(out, result)
    note_change(out)


# methods ------------------------------------------------------------------------------------------
def named(call, op: R.Op, inplace: bool = False):
    """Give a generated callable the op's name and documentation."""
    call.__name__ = call.__qualname__ = op.name + ("_" if inplace else "")
    call.__doc__ = f"In-place version of `{op.name}`." if inplace else op.fn.__doc__
    call.record = op
    return call


INPLACE_FORMS = {R.POINTWISE: pointwise_inplace, R.KERNEL: general_inplace, R.COMPOSITE: composite_inplace}


def attach(op: R.Op) -> None:
    """Tensor methods of one record."""
    first = op.params[0] if op.params else None
    names = (op.name, *op.option("aliases", ()))
    is_method = op.option("method", first in ("input", "self"))
    for name in names:
        if is_method and name not in Tensor.__dict__:
            setattr(Tensor, name, op.call)
    if op.option("inplace", op.family == R.POINTWISE and is_method):
        form = INPLACE_FORMS[op.family](op)
        for name in names:
            if name + "_" not in Tensor.__dict__:
                setattr(Tensor, name + "_", form)


OPERATORS = {
    "__add__": "add", "__radd__": "add", "__sub__": "sub", "__rsub__": "rsub", "__mul__": "mul", "__rmul__": "mul",
    "__truediv__": "div", "__rtruediv__": ("div",), "__floordiv__": "floor_divide",
    "__rfloordiv__": ("floor_divide",), "__mod__": "remainder", "__rmod__": ("remainder",), "__pow__": "pow",
    "__rpow__": ("pow",), "__neg__": "neg", "__abs__": "abs", "__matmul__": "matmul", "__rmatmul__": ("matmul",),
    "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge", "__eq__": "eq", "__ne__": "ne",
    "__and__": "bitwise_and", "__rand__": "bitwise_and", "__or__": "bitwise_or", "__ror__": "bitwise_or",
    "__xor__": "bitwise_xor", "__rxor__": "bitwise_xor", "__invert__": "bitwise_not",
    "__lshift__": "bitwise_left_shift", "__rshift__": "bitwise_right_shift",
    "__rlshift__": ("bitwise_left_shift",), "__rrshift__": ("bitwise_right_shift",),
}  # fmt: skip
INPLACE_OPERATORS = {
    "__iadd__": "add_", "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_",
    "__ifloordiv__": "floor_divide_", "__imod__": "remainder_", "__ipow__": "pow_", "__iand__": "bitwise_and_",
    "__ior__": "bitwise_or_", "__ixor__": "bitwise_xor_", "__ilshift__": "bitwise_left_shift_",
    "__irshift__": "bitwise_right_shift_",
}  # fmt: skip
UNARY = {"__neg__", "__abs__", "__invert__"}
OPERAND_TYPES = (int, float, bool, complex)


def operator_method(dunder: str, target):
    """A Python operator from an op; foreign operands get NotImplemented (or a TypeError from the op)."""
    swapped = isinstance(target, tuple)
    record = R.TABLE.get(target[0] if swapped else target)
    if record is None:
        return None
    fn = record.call
    if dunder == "__invert__":

        def invert(self):
            if self._dtype.kind in "fc":
                raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
            return fn(self)

        return invert
    if dunder in UNARY:
        return lambda self: fn(self)
    if swapped:

        def method(self, other):
            if isinstance(other, (Tensor, *OPERAND_TYPES)):
                return fn(other, self)
            return fn(as_operand(other), self) if hasattr(other, "__array__") else NotImplemented

        return method

    def method(self, other):
        if other.__class__ is Tensor or isinstance(other, (Tensor, *OPERAND_TYPES)):
            return fn(self, other)
        return fn(self, as_operand(other)) if hasattr(other, "__array__") else NotImplemented

    quick_form = getattr(record, "quick_form", None)
    return method if quick_form is None else quick_form(method)


def as_operand(x):
    """NumPy arrays and scalars as operands."""
    from flambeau.tensor import interop

    return x.item() if getattr(x, "shape", None) == () else interop.as_tensor(x)


def attach_family(module) -> None:
    """A family's METHODS and PROPERTIES: what its records cannot say."""
    for name, fn in getattr(module, "METHODS", {}).items():
        setattr(Tensor, name, fn)
    for name, get in getattr(module, "PROPERTIES", {}).items():
        setattr(Tensor, name, property(get, setter(name)))


def setter(name: str):
    """x.real = y copies into the view."""
    return lambda self, value: getattr(self, name).copy_(value)


def attach_all(families) -> None:
    """Methods and operators for every record there is."""
    for module in families:
        attach_family(module)
    for op in R.TABLE.values():
        attach(op)
    for dunder, target in OPERATORS.items():
        method = operator_method(dunder, target)
        if method is not None:
            method.__name__ = dunder
            setattr(Tensor, dunder, method)
    for dunder, target in INPLACE_OPERATORS.items():
        form = Tensor.__dict__.get(target)
        if form is not None:
            setattr(Tensor, dunder, functools.partialmethod(form) if False else form)
    Tensor.__hash__ = object.__hash__  # defining __eq__ took it away


R.hooks.view, R.hooks.inplace, R.hooks.view_of = attach_view, inplace, view_of
R.hooks.pointwise_out, R.hooks.fill_out = pointwise_out, fill_out
R.hooks.note_change, R.hooks.check_overlap = note_change, check_overlap
R.hooks.grad = grad
R.hooks.check_writable = lambda x: check_overlap(x, ())

__all__ = ["attach_all", "inplace", "note_change", "sys", "view_of"]
