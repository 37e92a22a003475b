"""Calls of POINTWISE ops: from bound arguments to plan, layout, outputs and launch; the callable of a record.

What a call needs is found once per op and geometry (dtypes, shapes and strides of its tensors, kinds of its numbers)
and kept in a table of bounded size: kernel, launch extent, trailing arguments, outputs' geometry. The kernels
themselves are per layout class (elementwise.py), so a new shape costs one look at it and compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir import expr as E
from flambeau.ops.elementwise import NUMBER_KINDS, NUMBERS, SCALAR_NAMES, Plan
from flambeau.ops.record import TENSORS, Op, SparseOperand, hooks, requires_grad, respell, state
from flambeau.runtime import calls

MAX_INT = (1 << 62) - 1
MAX_CALLS = 2048  # geometries an op remembers; then it starts again


class Elementwise:
    """Calls of one POINTWISE op: finds the plan, the layout and the output, and launches."""

    def __init__(self, op: Op):
        self.op, self.plans, self.calls = op, {}, {}
        weak = set(op.option("weak", ())) | op.keyword_only
        literal = op.option("literal", {})
        self.parameters = tuple((n in weak, literal.get(n)) for n in op.params)

    def run(self, values: tuple, outs: tuple | None = None, checked: bool = True):
        """Compute; into `outs` if given: of any dtype and layout, and of a fitting shape unless checked before."""
        key: list = [dt.get_default_dtype(), checked]
        tensors: list = []
        numbers: list = []
        for v, (_, literal) in zip(values, self.parameters, strict=True):
            c = v.__class__
            if c in TENSORS or isinstance(v, hooks.Tensor):
                key += v._dtype, v._shape, v._strides
                tensors.append(v)
            elif v is None or c is str:
                key.append(v)
            else:
                if c not in NUMBERS:
                    v = self.convert(v)
                    c = v.__class__
                key.append(c)
                if literal is not None and v in literal:
                    key.append(v)
                elif c is complex:
                    numbers += v.real, v.imag
                else:
                    numbers.append(v if c is not int or -MAX_INT <= v <= MAX_INT else self.wrapped(v))
        if outs is not None:
            for o in outs:
                key += o._dtype, o._shape, o._strides
        found = self.calls.get(tuple(key))
        if found is None:
            found = self.prepare(values, tensors, len(numbers), outs, checked)
            if len(self.calls) >= MAX_CALLS:
                self.calls.clear()
            self.calls[tuple(key)] = found
        if outs is None:
            return found(*tensors, *numbers)
        if checked:
            for o in outs:
                check_overlap(o, tensors)
        found(*outs, *tensors, *numbers)
        return outs[0] if len(outs) == 1 else outs

    def wrapped(self, v: int) -> int:
        """An int as the 64 bits that a kernel takes."""
        if -(1 << 63) <= v < 1 << 63:
            return v
        if v >= 1 << 64 or v < 0:
            raise RuntimeError(f"{self.op.name}(): value {v} cannot be converted to int64 without overflow")
        return v - (1 << 64)

    def convert(self, v):
        """NumPy scalars and the like become Python numbers; anything else is a TypeError."""
        item = getattr(v, "item", None)
        if item is not None and getattr(v, "shape", None) == ():
            return item()
        raise TypeError(
            f"{self.op.name}(): expected Tensor or number, got {type(v).__name__} "
            f"({self.op.name}{self.op.signature})"
        )

    def prepare(self, values: tuple, tensors: list, numbers: int, outs=None, checked: bool = True) -> Callable:
        """call(*tensors, *numbers) -> outputs; with outs, call(*outs, *tensors, *numbers)."""
        plan = self.plan(values)
        check_device(self.op, tensors)
        geometries = ()
        if outs is None:
            shape = self.broadcast(tensors)
            strides = result_strides(shape, tensors)
            geometries = tuple(hooks.geometry(shape, strides, d) for d in plan.out_dtypes)
            targets = [(shape, strides)] * len(geometries)
            dtypes = plan.out_dtypes
        else:
            shape = outs[0]._shape
            if checked:
                check_outs(plan, self.broadcast(tensors), outs)
            targets = [(o._shape, o._strides) for o in outs]
            dtypes = tuple([o._dtype for o in outs])
        operands = [*targets, *[(t._shape, t._strides) for t in tensors]]
        kernel, extent, grain, tail = layout(plan, tuple(shape), operands, dtypes)
        given = len(tensors) + (0 if outs is None else len(outs))
        args = (*map(calls.out, range(len(geometries))), *map(calls.operand, range(given)), *map(calls.number, range(numbers)), *tail)
        return calls.bind(geometries, given, numbers, [] if kernel is None else [(kernel, extent, grain, args)])

    def plan(self, values: tuple) -> Plan:
        """The plan for arguments of these kinds."""
        kinds: list = []
        for v, (weak, literal) in zip(values, self.parameters, strict=True):
            if isinstance(v, hooks.Tensor):
                kinds.append(("own" if weak else "tensor" if v._shape else "zero", v._dtype))
            elif v is None or isinstance(v, str):
                kinds.append(("static", v))
            else:
                v = v if v.__class__ in NUMBERS else self.convert(v)
                if literal is not None and v in literal:
                    kinds.append(("static", v, v.__class__))
                else:
                    kinds.append(("weak" if weak else "number", v.__class__))
        key = (dt.get_default_dtype(), *kinds)
        found = self.plans.get(key)
        if found is None:
            found = self.plans[key] = Plan(self.op, tuple(kinds))
        return found

    def broadcast(self, tensors: list) -> tuple:
        if not tensors:
            return ()
        shape = tensors[0]._shape
        for t in tensors[1:]:
            if t._shape != shape:
                return hooks.Size(S.broadcast_shapes(self.op.name, *[tuple(t._shape) for t in tensors]))
        return shape


def layout(plan: Plan, shape: tuple, operands: list, dtypes: tuple) -> tuple:
    """(kernel, extent, grain, trailing arguments) for operands given as (shape, strides), outputs first."""
    if 0 in shape:
        return None, 0, 0, ()
    strides = operands[0][1]
    dense = S.is_contiguous(shape, strides)
    uniform = []
    for s, st in operands:
        if not s and shape:
            uniform.append(True)
        elif s == shape and (st == strides or dense and S.is_contiguous(s, st)):
            uniform.append(False)
        else:
            break
    else:
        if dense or S.is_dense(shape, strides):
            return plan.kernel(("dense", tuple(uniform[len(dtypes) :])), dtypes), S.numel(shape), plan.grain, ()
    return strided_layout(plan, shape, operands, dtypes)


def strided_layout(plan: Plan, shape: tuple, operands: list, dtypes: tuple) -> tuple:
    """As `layout`, for operands that are not all one block walked in one order."""
    sizes, strides = S.coalesce(shape, tuple([S.expand_strides(s, st, shape) for s, st in operands]))
    inner = tuple([st[-1] if st[-1] in (-1, 0, 1) else 2 for st in strides])
    if sizes[-1] == 1:
        inner = tuple([1 if i < len(dtypes) else c for i, c in enumerate(inner)])
    rows, n = S.numel(sizes[:-1]), sizes[-1]
    tiled = len(sizes) == 2 and rows >= 32 and any(
        abs(st[-1]) > 16 and abs(st[0]) <= 16 and st[-1] for st in strides)  # fmt: skip
    kernel = plan.kernel(("strided", len(sizes), inner, tiled), dtypes)
    tail = (n, *sizes[:-1], *[s for st in strides for s in st])
    if tiled:
        return kernel, (rows + 31) // 32, max(1, plan.grain // (32 * n)), (*tail, rows)
    return kernel, rows, max(1, plan.grain // n), tail


def check_outs(plan: Plan, shape, outs) -> None:
    """What may be written: exact shape, castable dtype."""
    for o, d in zip(outs, plan.out_dtypes, strict=True):
        if tuple(o._shape) != tuple(shape):
            raise RuntimeError(
                f"output with shape {list(o._shape)} doesn't match the broadcast shape {list(shape)}"
            )
        if not dt.can_cast(d, o._dtype):
            raise RuntimeError(
                f"result type {SCALAR_NAMES[d.name]} can't be cast to the desired output type "
                f"{SCALAR_NAMES[o._dtype.name]}"
            )


def check_overlap(out, tensors) -> None:
    """Refuse writes where elements share memory with each other or partly with an input."""
    if not out._dense and S.overlaps_itself(out._shape, out._strides):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation."
        )
    for t in tensors:
        if t is out or t._storage is not out._storage or t._ptr == out._ptr and t._strides == out._strides:
            continue
        a, b = memory_range(out), memory_range(t)
        both_dense = S.is_dense(tuple(t._shape), t._strides) and S.is_dense(tuple(out._shape), out._strides)
        if a[0] < b[1] and b[0] < a[1] and both_dense and t._numel > 1:
            raise RuntimeError(
                "unsupported operation: some elements of the input tensor and the written-to tensor refer to "
                "a single memory location. Please clone() the tensor before performing the operation."
            )


def memory_range(t) -> tuple[int, int]:
    """The half-open byte range a tensor touches."""
    low, high = S.extent(t._shape, t._strides)
    size = t._dtype.itemsize
    return t._ptr + low * size, t._ptr + (high + 1) * size


def check_device(op: Op, tensors: list) -> None:
    """All on one device; 0-d CPU tensors may join any."""
    device = tensors[0]._storage.device
    for t in tensors[1:]:
        if t._storage.device is not device and t._storage.device != device and t._shape and tensors[0]._shape:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, "
                f"{device} and {t._storage.device}! ({op.name})"
            )


def result_strides(shape, tensors) -> tuple[int, ...]:
    """The output keeps the order of the first full-size operand that is one block of memory."""
    for t in tensors:
        if t._shape == shape:
            if t._dense:
                return t._strides
            if S.is_dense(tuple(shape), t._strides):
                return t._strides
            order = sorted(range(len(shape)), key=lambda d: (-t._strides[d], d))
            strides, step = [0] * len(shape), 1
            for d in reversed(order):
                strides[d] = step
                step *= max(shape[d], 1)
            return tuple(strides)
    return S.contiguous_strides(tuple(shape))


def dispatcher(op: Op) -> Callable:
    """The callable of a POINTWISE op, with a fast path for one or two dense tensors of one dtype."""
    ew = Elementwise(op)
    op.elementwise = ew  # type: ignore[attr-defined]
    positional = [p for p in op.params if p not in op.keyword_only]
    required = [p for p in positional if p not in op.defaults]

    def slow(args, kwargs):
        if args and isinstance(args[0], (E.Expr, E.Complex)):
            return op.fn(*args, **kwargs)
        out = kwargs.pop("out", None)
        if kwargs:
            kwargs = respell(op, kwargs)
        values = op.bind(args, kwargs)
        cls = hooks.Tensor
        for v in values:
            if isinstance(v, cls):
                break
        else:
            if any(isinstance(v, (E.Expr, E.Complex)) for v in values):
                return op.invoke(values)
            raise TypeError(
                f"{op.name}(): argument '{op.params[0]}' (position 1) must be Tensor, not "
                f"{type(values[0]).__name__}"
            )
        if out is not None:
            return hooks.pointwise_out(op, values, out)
        try:
            result = ew.run(values)
        except SparseOperand:
            return hooks.sparse_form(op, values, {})
        if state.grad and requires_grad(op, values, {}):
            return hooks.record(op, result, values)
        return result

    if len(required) == 1:
        return _unary(op, ew, slow)
    if len(required) == 2:
        return _binary(op, ew, slow)
    return lambda *args, **kwargs: slow(args, kwargs)


def dense_call(plan: Plan, operands: int, numbers: bool, into: bool = False) -> Callable:
    """call(*tensors, *numbers) for dense tensors of one shape: y as the first of them, or that itself."""
    kernel = plan.kernel(("dense", (False,) * operands), plan.out_dtypes)
    given = (*map(calls.operand, range(operands)), *map(calls.number, range(numbers)))
    target = calls.operand(0) if into else calls.out()
    outs = () if into else plan.out_dtypes
    return calls.bind(outs, operands, int(numbers), [(kernel, 0, plan.grain, (target, *given))], alike=True)


def _unary(op: Op, ew: Elementwise, slow: Callable) -> Callable:
    fast: dict = {}
    plain = len(op.params)
    rest = tuple(op.defaults.get(p) for p in op.params[1:])

    def call(*args, **kwargs):
        if len(args) == 1 and not kwargs:
            x = args[0]
            if x.__class__ in TENSORS and x._dense:
                found = fast.get(x._dtype)
                if found is None:
                    if plain > 1 and any(v.__class__ in NUMBERS for v in rest):
                        return slow(args, kwargs)
                    plan = ew.plan((x, *rest))
                    if len(plan.out_dtypes) > 1 or not x._shape or op.option("promote") and x._dtype.kind in "biu":
                        return slow(args, kwargs)
                    found = fast[x._dtype] = dense_call(plan, 1, 0)
                y = found(x)
                return op.note(y, x) if x._requires_grad else y
        return slow(args, kwargs)

    return call


def _binary(op: Op, ew: Elementwise, slow: Callable) -> Callable:
    fast: dict = {}  # dtype, or (dtype, kind of number) -> the call: dense operands of one shape, or a number
    into: dict = {}  # the same, written to x; False where the result is of another dtype
    pairs: dict = {}  # the geometry of two tensors -> the call
    rest = tuple(op.defaults.get(p) for p in op.params[2:])
    literal = ew.parameters[1][1] or ()

    def quick_form(otherwise: Callable) -> Callable:
        """call(x, y) for two tensors, or a dense tensor and a number; `otherwise` takes what else there is."""

        def quick(x, y):
            if x.__class__ in TENSORS:
                c = y.__class__
                if c in TENSORS:
                    d = x._dtype
                    if x._dense and y._dense and y._dtype is d and x._shape == y._shape:
                        found = fast.get(d) or prepare(x, y)
                        if found:
                            z = found(x, y)
                            return op.note(z, x, y) if x._requires_grad or y._requires_grad else z
                    found = pairs.get((d, x._shape, x._strides, y._dtype, y._shape, y._strides)) or pair(x, y)
                    if found:
                        z = found(x, y)
                        return op.note(z, x, y) if x._requires_grad or y._requires_grad else z
                elif (c is float or c is int) and x._dense and y not in literal:
                    found = fast.get((x._dtype, c)) or prepare(x, y)
                    if found and (c is float or -MAX_INT <= y <= MAX_INT):
                        z = found(x, y)
                        return op.note(z, x, y) if x._requires_grad else z
            return otherwise(x, y)

        return quick

    def plain(plan: Plan) -> bool:
        """True if the operands are all the kernel takes: one result, no numbers among the rest."""
        return len(plan.out_dtypes) == 1 and not any(kind[0] in NUMBER_KINDS for kind in plan.kinds[2:])

    def prepare(x, y):
        """The entry of `fast` for such operands, or None where the general path must decide."""
        c = y.__class__
        if not x._shape or op.option("promote") and x._dtype.kind in "biu" or c is float and x._dtype.kind in "biu":
            return None
        plan = ew.plan((x, y, *rest))
        if not plain(plan):
            return None
        found = fast[x._dtype if c in TENSORS else (x._dtype, c)] = dense_call(plan, 2 if c in TENSORS else 1, c not in TENSORS)
        return found

    def pair(x, y):
        """The entry of `pairs`, or None: results of integers may depend on the default dtype."""
        if op.option("promote") and (x._dtype.kind in "biu" or y._dtype.kind in "biu") or not plain(ew.plan((x, y, *rest))):
            return None
        if len(pairs) >= MAX_CALLS:
            pairs.clear()
        found = pairs[x._dtype, x._shape, x._strides, y._dtype, y._shape, y._strides] = ew.prepare((x, y, *rest), [x, y], 0)
        return found

    def inplace(x, y) -> bool:
        """x = op(x, y) where both are dense, alike and apart in memory, and nothing is recorded; False if that is not so."""
        c = y.__class__
        d = x._dtype
        if c in TENSORS:
            if not (y._dense and x._dense and y._dtype is d and x._shape == y._shape):
                return False
            if y._requires_grad and state.grad or x._storage is y._storage and x is not y:
                return False
            key, operands = d, 2
        elif c is float and x._dense and y not in literal:
            key, operands = (d, c), 1
        else:
            return False
        if x._requires_grad and state.grad:
            return False
        found = into.get(key)
        if found is None:
            if not (fast.get(key) or prepare(x, y)):
                return False
            plan = ew.plan((x, y, *rest))
            found = into[key] = plan.out_dtypes[0] is d and dense_call(plan, operands, c is float, into=True)
        if not found:
            return False
        found(x, y)
        return True

    op.quick_form, op.inplace_quick = quick_form, inplace  # type: ignore[attr-defined]
    quick = quick_form(lambda x, y: slow((x, y), {}))

    def call(*args, **kwargs):
        if len(args) == 2 and not kwargs:
            return quick(*args)
        return slow(args, kwargs)

    return call
