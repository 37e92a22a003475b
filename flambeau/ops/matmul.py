"""Matrix products: mm, bmm, matmul, addmm, linear, mv, dot, outer. Kernels: gemm.py."""

from __future__ import annotations

import math
from collections.abc import Callable

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ops import gemm, view
from flambeau.ops.by_geometry import by_geometry
from flambeau.ops.copying import copy_elements
from flambeau.ops.record import COMPOSITE, KERNEL, TENSORS, hooks, op
from flambeau.runtime import calls
from flambeau.runtime.threads import get_num_threads


def multiply(a, b, out, bias=None, epilogue: str = "", accumulate: bool = False) -> None:
    """out (+)= a @ b for 2-d or 3-d (batched) tensors of one dtype; any strides (batch stride may be 0)."""
    d = a._dtype
    if out._numel == 0:
        return
    if a._numel == 0:
        if not accumulate:
            out.zero_()
    elif d in PLAIN:
        launch(a, b, out, PLAIN[d], bias, epilogue, accumulate)
    elif d.is_complex:
        multiply_complex(a, b, out, accumulate)
    else:
        multiply_wider(a, b, out, bias, epilogue, accumulate)


PLAIN = {d: (d, d, d) for d in dt.ALL if d.kind in "iu" or d in (dt.float32, dt.float64)}  # summed in their own dtype
NO_STEPS = (0, 0, 0)


def launch(a, b, out, dtypes, bias=None, epilogue: str = "", accumulate: bool = False) -> None:
    """A product of tensors that are not empty."""
    m, n, kk, strides, batch, steps = layout(a, b, out._strides)
    gemm.product(
        out._ptr, a._ptr, b._ptr, m, n, kk, *strides, dtypes, batch, steps,
        0 if bias is None else bias._ptr, epilogue, accumulate,
    )  # fmt: skip


def layout(a, b, so: tuple) -> tuple:
    """(m, n, k, strides of each matrix, batch, steps of the batch) of a product with the result's strides."""
    sa, sb, steps, batch = a._strides, b._strides, NO_STEPS, 1
    if len(so) == 2:
        m, kk = a._shape
    else:
        batch, m, kk = a._shape
        if batch != 1:
            steps = sa[0], sb[0], so[0]
        sa, sb, so = sa[1:], sb[1:], so[1:]
    return m, b._shape[-1], kk, (sa, sb, so), batch, steps


def product_call(a, b, dims: tuple, first: int = 0, biased: bool = False) -> Callable:
    """call(*tensors) -> a @ b of this geometry, a and b being tensors `first` and first + 1; biased: plus tensor 0, per column."""
    d, empty = a._dtype, a._numel == 0 or 0 in dims
    if empty or d not in PLAIN:

        def general(*tensors):
            y = hooks.empty(dims, d)
            multiply(*tensors[first:], y, *((tensors[0], "column") if biased else ()))
            return y

        return general
    geometry = hooks.dense(dims, d)
    m, n, kk, strides, batch, steps = layout(a, b, geometry[2])
    p = gemm.plan(m, n, kk, *strides, PLAIN[d], batch, steps, "column" if biased else "", False, get_num_threads())
    left, right, bias = calls.operand(first), calls.operand(first + 1), calls.operand(0) if biased else None
    launches, rooms = product_steps(p, calls.out(), left, right, bias)
    return calls.bind((geometry,), first + 2, 0, launches, rooms)


def product_steps(p: gemm.Plan, c, a, b, bias=None, taken: int = 0) -> tuple:
    """(launches, rooms) of a product's plan with operands at these places; `taken` rooms are others'."""
    rooms: list = []

    def room(count: int):
        rooms.append(count)
        return calls.room(taken + len(rooms) - 1)

    return gemm.launches(p, c, a, b, bias or c, room), tuple(rooms)


def multiply_wider(a, b, out, bias, epilogue: str, accumulate: bool) -> None:
    """Booleans through int32; half precisions, whose sums stay in float32 until they are whole."""
    if a._dtype is dt.bool:
        a, b = a.to(dt.int32), b.to(dt.int32)
    sums = gemm.accumulator(a._dtype)
    target = out
    if out._dtype is dt.bool or a._shape[-1] > gemm.tile_for(sums).kc:
        target = hooks.empty(out._shape, sums)
        if accumulate:
            copy_elements(target, out)
    launch(a, b, target, (target._dtype, a._dtype, b._dtype), bias, epilogue, accumulate)
    if target is not out:
        copy_elements(out, target)


def multiply_complex(a, b, out, accumulate: bool) -> None:
    """Four real products of the parts."""
    ar, ai, br, bi = a.real.contiguous(), a.imag.contiguous(), b.real.contiguous(), b.imag.contiguous()
    re, im = hooks.empty(out._shape, ar._dtype), hooks.empty(out._shape, ar._dtype)
    multiply(ar, br, re)
    multiply(ai.neg(), bi, re, accumulate=True)
    multiply(ar, bi, im)
    multiply(ai, br, im, accumulate=True)
    if accumulate:
        re.add_(out.real)
        im.add_(out.imag)
    out.real.copy_(re)
    out.imag.copy_(im)


def check_pair(name: str, a, b, dims: tuple[int, int]) -> None:
    """Tensors of one dtype and the given numbers of dims."""
    both = a.__class__ is b.__class__ is hooks.Tensor and a._dtype is b._dtype
    if both and len(a._shape) == dims[0] and len(b._shape) == dims[1]:
        return
    for t, n, which in ((a, dims[0], "self"), (b, dims[1], "mat2")):
        if not isinstance(t, hooks.Tensor):
            raise TypeError(f"{name}(): argument {which!r} must be Tensor, not {type(t).__name__}")
        if len(t._shape) != n:
            raise RuntimeError(f"{name}: {which} must be {'a matrix' if n == 2 else f'{n}D'}, got {len(t._shape)} dims")
    if a._dtype is not b._dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {a._dtype} != {b._dtype} ({name})")


@op(KERNEL)
@by_geometry
def mm(input, mat2):
    """input @ mat2 for matrices.

    Shapes:   (m, k), (k, n) -> (m, n)
    Errors:   RuntimeError for other ranks, inner sizes that differ, or mixed dtypes
    Numerics: float32 and half precisions accumulate in float32
    Source:   torch.mm
    """
    check_pair("mm", input, mat2, (2, 2))
    (m, k), (k2, n) = input._shape, mat2._shape
    if k != k2:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    return product_call(input, mat2, (m, n))


def product_as(a, b, strides):
    """a @ b for matrices, column by column in memory where the strides are: gradients then lie as what they are of."""
    if strides[0] == 1 and strides[1] != 1:
        return mm(b.t(), a.t()).t()
    return mm(a, b)


mm.derivative(
    input=lambda g, mat2, input_strides: product_as(g, transposed(mat2), input_strides),
    mat2=lambda g, input, mat2_strides: product_as(transposed(input), g, mat2_strides),
)


def transposed(t):
    """The conjugate transpose of the last two dims."""
    t = t.transpose(-2, -1)
    return t.conj() if t._dtype.is_complex else t


@op(KERNEL)
@by_geometry
def bmm(input, mat2):
    """Batched matrix product.

    Shapes:   (b, m, k), (b, k, n) -> (b, m, n)
    Source:   torch.bmm
    """
    if len(input._shape) != 3 or len(mat2._shape) != 3:
        raise RuntimeError("batch1 must be a 3D tensor" if len(input._shape) != 3 else "batch2 must be a 3D tensor")
    check_pair("bmm", input, mat2, (3, 3))
    (b, m, k), (b2, k2, n) = input._shape, mat2._shape
    if b != b2 or k != k2:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{b}, {k}] but got: [{b2}, {k2}]."
        )
    return product_call(input, mat2, (b, m, n))


bmm.derivative(
    input=lambda g, mat2: bmm(g, transposed(mat2)),
    mat2=lambda g, input: bmm(transposed(input), g),
)


@op(KERNEL)
def mv(input, vec):
    """Matrix times vector.

    Shapes:   (m, k), (k) -> (m)
    Source:   torch.mv
    """
    check_pair("mv", input, vec, (2, 1))
    if input._shape[1] != vec._shape[0]:
        raise RuntimeError(f"size mismatch, got input ({input._shape[0]}), mat ({input._shape[0]}x{input._shape[1]}), vec ({vec._shape[0]})")
    out = hooks.empty((input._shape[0], 1), input._dtype)
    multiply(input, vec.unsqueeze(1), out)
    return hooks.make(out._storage, 0, hooks.Size(out._shape[:1]), (1,), out._dtype)


mv.derivative(
    input=lambda g, vec: outer(g, vec.conj() if vec._dtype.is_complex else vec),
    vec=lambda g, input: mv(transposed(input), g),
)


@op(KERNEL)
def dot(input, other):
    """The sum of products of two vectors.

    Shapes:   (n), (n) -> ()
    Source:   torch.dot
    """
    for t in (input, other):
        if len(t._shape) != 1:
            raise RuntimeError(f"1D tensors expected, but got {len(input._shape)}D and {len(other._shape)}D tensors")
    if input._dtype is not other._dtype:
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {input._dtype} and {other._dtype}")
    if input._numel != other._numel:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{input._numel}] and src [{other._numel}] to have the same "
            "number of elements"
        )
    out = hooks.empty((1, 1), input._dtype)
    multiply(input.unsqueeze(0), other.unsqueeze(1), out)
    return hooks.make(out._storage, 0, hooks.Size(()), (), out._dtype)


dot.derivative(
    input=lambda g, other: g * (other.conj() if other._dtype.is_complex else other),
    other=lambda g, input: g * (input.conj() if input._dtype.is_complex else input),
)


@op(COMPOSITE)
def vdot(input, other):
    """dot with the first vector conjugated.

    Source:   torch.vdot
    """
    return dot(input.conj() if input._dtype.is_complex else input, other)


@op(COMPOSITE)
def inner(input, other):
    """Sums of products over the last dimensions.

    Source:   torch.inner
    """
    if not input._shape or not other._shape:
        return input * other
    if input._shape[-1] != other._shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input._shape)} and "
            f"{list(other._shape)}"
        )
    flat = mm(input.reshape(math.prod(input._shape[:-1]), input._shape[-1]), other.reshape(math.prod(other._shape[:-1]), other._shape[-1]).t())
    return flat.reshape(*input._shape[:-1], *other._shape[:-1])


@op(COMPOSITE, aliases=("ger",))
def outer(input, vec2):
    """out[i, j] = input[i] * vec2[j].

    Source:   torch.outer
    """
    if len(input._shape) != 1 or len(vec2._shape) != 1:
        raise RuntimeError(f"outer: Expected 1-D argument self, but got {len(input._shape)}-D and {len(vec2._shape)}-D")
    return input.unsqueeze(1) * vec2.unsqueeze(0)


@op(COMPOSITE)
def matmul(input, other):
    """Matrix product of any ranks: vectors, matrices, broadcast batches.

    Shapes:   (n), (n) -> (); (m, k), (k) -> (m); (k), (k, n) -> (n); (*, m, k), (*, k, n) -> (*, m, n)
    Source:   torch.matmul
    """
    a, b = len(input._shape), len(other._shape)
    if not a or not b:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {a}D and {b}D")
    if a == 2 and b == 2:
        return mm(input, other)
    if a == 1 and b == 1:
        return dot(input, other)
    if a == 2 and b == 1:
        return mv(input, other)
    if a == 1 and b == 2:
        return mm(input.unsqueeze(0), other).squeeze(0)
    if a == 1:
        return matmul(input.unsqueeze(0), other).squeeze(-2)
    if b == 1:
        return matmul(input, other.unsqueeze(1)).squeeze(-1)
    if b == 2:  # many rows against one matrix
        flat = mm(input.reshape(math.prod(input._shape[:-1]), input._shape[-1]), other)
        return flat.reshape(*input._shape[:-1], other._shape[-1])
    m, k = input._shape[-2:]
    k2, n = other._shape[-2:]
    if k != k2:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{math.prod(other._shape[:-2])}, {k}] but "
            f"got: [{math.prod(other._shape[:-2])}, {k2}] (matmul: shapes {list(input._shape)}, {list(other._shape)})"
        )
    lead = S.broadcast_shapes("matmul", tuple(input._shape[:-2]), tuple(other._shape[:-2]))
    x = input.expand(*lead, m, k).reshape(math.prod(lead), m, k) if len(lead) != 1 or input._shape[:-2] != lead else input
    y = other.expand(*lead, k, n).reshape(math.prod(lead), k, n) if len(lead) != 1 or other._shape[:-2] != lead else other
    return bmm(x, y).reshape(*lead, m, n)


def quick_form(otherwise: Callable) -> Callable:
    """The operator: two matrices at once, all else otherwise."""
    of_matrices = mm.record

    def quick(x, y):
        if x.__class__ in TENSORS and y.__class__ in TENSORS and len(x._shape) == 2 and len(y._shape) == 2:
            return of_matrices.quick(x, y)
        return otherwise(x, y)

    return quick


matmul.record.quick_form = quick_form


def plus_product(name: str, input, product, beta, alpha):
    """beta * input + alpha * product, by the definition."""
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product
    return product + (input if beta == 1 else input * beta)


@op(KERNEL, inplace=True)
@by_geometry
def addmm(input, mat1, mat2, *, beta=1, alpha=1):
    """beta * input + alpha * (mat1 @ mat2).

    Shapes:   (n) or (m, n) or broadcastable, (m, k), (k, n) -> (m, n)
    Source:   torch.addmm
    """
    check_pair("addmm", mat1, mat2, (2, 2))
    (m, k), (k2, n) = mat1._shape, mat2._shape
    if k != k2:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    if input._dtype is not mat1._dtype:
        raise RuntimeError(f"self and mat2 must have the same dtype, but got {input._dtype} and {mat2._dtype}")
    if beta == 1 and alpha == 1 and k and tuple(input._shape) == (n,) and input._strides == (1,) and \
            input._dtype in (dt.float32, dt.float64):  # fmt: skip
        return product_call(mat1, mat2, (m, n), first=1, biased=True)
    return lambda input, mat1, mat2: addmm_steps(input, mat1, mat2, beta, alpha)


def addmm_steps(input, mat1, mat2, beta, alpha):
    """addmm by a product and sums."""
    m, n = mat1._shape[0], mat2._shape[1]
    out = hooks.empty((m, n), mat1._dtype)
    if beta != 0:
        S.broadcast_shapes("addmm", tuple(input._shape), (m, n))
        copy_elements(out, input if beta == 1 else input * beta)
        if alpha == 1 and out._dtype in (dt.float32, dt.float64):
            multiply(mat1, mat2, out, accumulate=True)
            return out
        return plus_product("addmm", out, mm(mat1, mat2), 1, alpha)
    multiply(mat1, mat2, out)
    return out * alpha if alpha != 1 else out


addmm.derivative(
    input=lambda g, beta: g if beta == 1 else g * beta,
    mat1=lambda g, mat2, alpha, mat1_strides: scaled(product_as(g, transposed(mat2), mat1_strides), alpha),
    mat2=lambda g, mat1, alpha, mat2_strides: scaled(product_as(transposed(mat1), g, mat2_strides), alpha),
)


def scaled(x, alpha):
    return x if alpha == 1 else x * alpha


@op(COMPOSITE, inplace=True)
def addmv(input, mat, vec, *, beta=1, alpha=1):
    """beta * input + alpha * (mat @ vec).

    Source:   torch.addmv
    """
    return plus_product("addmv", input, mv(mat, vec), beta, alpha)


@op(COMPOSITE, inplace=True)
def baddbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """beta * input + alpha * bmm(batch1, batch2).

    Source:   torch.baddbmm
    """
    return plus_product("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@op(COMPOSITE, inplace=True)
def addbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """beta * input + alpha * the sum over the batch of bmm(batch1, batch2).

    Source:   torch.addbmm
    """
    return plus_product("addbmm", input, bmm(batch1, batch2).sum(0), beta, alpha)


@op(COMPOSITE, inplace=True)
def addr(input, vec1, vec2, *, beta=1, alpha=1):
    """beta * input + alpha * outer(vec1, vec2).

    Source:   torch.addr
    """
    return plus_product("addr", input, outer(vec1, vec2), beta, alpha)


@op(COMPOSITE, function=False, method=False, functional=True)
def linear(input, weight, bias=None):
    """input @ weight.T + bias.

    Shapes:   (*, in), (out, in), (out) -> (*, out)
    Errors:   RuntimeError if the last size of input is not weight's
    Source:   torch.nn.functional.linear
    """
    if len(weight._shape) == 1:
        y = matmul(input, weight)
        return y if bias is None else y + bias
    if not input._shape:
        raise RuntimeError("linear(): argument 'input' must be at least 1-dimensional, got a 0-d tensor")
    turned = TURN.quick(weight)
    if len(input._shape) == 2:
        return MM.quick(input, turned) if bias is None else ADDMM.quick(bias, input, turned)
    if len(input._shape) == 1 and bias is None:
        return mm(input.unsqueeze(0), turned).squeeze(0)
    *lead, k = input._shape
    flat = view.reshape_to(input, (math.prod(lead), k))
    y = mm(flat, turned) if bias is None else addmm(bias, flat, turned)
    return view.reshape_to(y, (*lead, weight._shape[0]))


TURN, MM, ADDMM = view.t.record, mm.record, addmm.record
