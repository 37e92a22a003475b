"""What every sample call is put through; each check raises AssertionError naming the variant.

A variant is the same call on other inputs: another dtype, another layout in memory, other shapes. Expected values are the
sample's reference, in float64, on the numbers that the variant's inputs hold.
"""

from __future__ import annotations

import numpy as np
import scipy.special as sp

import flambeau as T
import flambeau.special  # noqa: F401  its ops come with it
from flambeau.ops.record import POINTWISE, TABLE, VIEW
from tests.ops import reference as R
from tests.ops.samples import Sample, inputs

TOLERANCE = {  # relative, absolute: of results of a few hundred operations
    "float64": (1e-10, 1e-11), "complex128": (1e-10, 1e-11), "float32": (3e-5, 1e-5), "complex64": (3e-5, 1e-5),
    "float16": (6e-3, 6e-3), "bfloat16": (5e-2, 5e-2),
}  # fmt: skip
HALVES = ("float16", "bfloat16")
STEP, FIRST, SECOND = 1e-6, (1e-5, 1e-6), (1e-4, 1e-5)


def tensor(array: np.ndarray, dtype=None):
    """A copy of an array, as dtype if it is of floats."""
    t = T.from_numpy(np.array(array))
    if dtype is None or array.dtype.kind not in "fc":
        return t
    if array.dtype.kind == "c":
        return t.to(T.complex64 if dtype is not T.float64 else T.complex128)
    return t.to(dtype)


def wide(t) -> np.ndarray:
    """A tensor's numbers as an array, floats as float64."""
    t = t.detach().resolve_conj()
    if t.dtype.is_complex:
        return t.to(T.complex128).numpy(force=True)
    return t.double().numpy(force=True) if t.dtype.is_floating_point else t.numpy(force=True)


def flat(value) -> list:
    """The leaves of nested results."""
    return [leaf for v in value for leaf in flat(v)] if isinstance(value, (tuple, list)) else [value]


def arguments(sample: Sample, tensors: dict) -> tuple:
    """(args, kwargs) that the sample gives its op."""
    scope = {"T": T, "R": R, "np": np, **tensors, sample.op: lambda *args, **kwargs: (args, kwargs)}
    return eval(sample.call, scope)  # noqa: S307 - our own table


def called(sample: Sample, tensors: dict):
    """The result of the call."""
    if sample.op is None:
        return eval(sample.call, {"T": T, "R": R, "np": np, **tensors})  # noqa: S307
    args, kwargs = arguments(sample, tensors)
    return TABLE[sample.op].call(*args, **kwargs)


def expected(sample: Sample, arrays: dict) -> list:
    """The reference's results."""
    with np.errstate(all="ignore"):
        return flat(eval(sample.reference, {"np": np, "sp": sp, "R": R, **arrays}))  # noqa: S307


def compare(result, want: list, dtype: str, what: str, sample: Sample) -> None:
    """Values within dtype's tolerance, and shapes."""
    got = flat(result)
    assert len(got) == len(want), f"{what}: {len(got)} results, {len(want)} expected"
    slack = 10 if "loose" in sample.notes else 1
    for g, w in zip(got, want, strict=True):
        if not isinstance(g, T.Tensor):
            assert g == w, f"{what}: {g}, expected {w}"
            continue
        w = np.asarray(w)
        rtol, atol = TOLERANCE["float32" if dtype == "float64" and g.dtype is T.float32 else dtype]  # integers became float32
        assert tuple(g.shape) == w.shape, f"{what}: shape {tuple(g.shape)}, expected {w.shape}"
        exact = g.dtype.kind in "iub"
        scale = 1 if exact or not w.size else max(1.0, float(np.max(np.abs(w[np.isfinite(w)]), initial=0)))
        np.testing.assert_allclose(
            wide(g), w, 0 if exact else slack * rtol, 0 if exact else slack * atol * scale, err_msg=f"{what}: {sample}"
        )


def differentiable(sample: Sample, arrays: dict) -> list[str]:
    """Inputs a gradient may be taken of."""
    return [] if "nograd" in sample.notes else [n for n, a in arrays.items() if a.dtype.kind in "fc" and n not in inputs.CONSTANT]


# the checks ---------------------------------------------------------------------------------------
def forward(sample: Sample) -> None:
    """Values, shapes and kinds of dtype in double precision."""
    arrays = inputs.arrays(sample.call)
    want = expected(sample, arrays)
    result = called(sample, {n: tensor(a) for n, a in arrays.items()})
    compare(result, want, "float64", "forward", sample)
    for g, w in zip(flat(result), want, strict=True):
        if isinstance(g, T.Tensor):
            kind, ours = np.asarray(w).dtype.kind, g.dtype.kind
            assert kind == ours or {kind, ours} <= {"i", "u"}, f"dtype {g.dtype} for {np.asarray(w).dtype}"


def dtypes(sample: Sample) -> None:
    """The same call in narrower dtypes gives results of these dtypes."""
    arrays = inputs.arrays(sample.call)
    if any(a.dtype.kind in "fc" for a in arrays.values()) and "f64" not in sample.notes:
        only = ("float32",) if sample.notes & {"single", "ties"} or any(a.dtype.kind == "c" for a in arrays.values()) else None
        for name in only or ("float32", *HALVES):
            narrow = {n: tensor(a, getattr(T, name)) for n, a in arrays.items()}
            result = called(sample, narrow)
            compare(result, expected(sample, {n: wide(t) for n, t in narrow.items()}), name, name, sample)
            for t in flat(result):
                assert not isinstance(t, T.Tensor) or t.dtype.kind not in "fc" or t.dtype.to_real().name == name, f"{name} gives {t.dtype}"
    elif all(a.dtype.kind == "i" for a in arrays.values()) and arrays and sample.op is not None and TABLE[sample.op].family == POINTWISE:
        for name in ("int32", "int16", "int8"):
            narrow = {n: tensor(a).to(getattr(T, name)) for n, a in arrays.items()}
            compare(called(sample, narrow), expected(sample, arrays), "float32", name, sample)


def gaps(t):
    """The same values with gaps between them, not from the start of their memory."""
    room = t.new_zeros(tuple(2 * n + 1 for n in t.shape))
    return room[tuple(slice(1, None, 2) for _ in t.shape)].copy_(t) if t.dim() else t


def reordered(t):
    """The same values with the dimensions in the other order in memory."""
    order = tuple(reversed(range(t.dim())))
    return t.permute(order).contiguous().permute(order)


def layouts(sample: Sample) -> None:
    """The same numbers whatever the strides of the inputs."""
    if "dense" in sample.notes:
        return
    arrays = inputs.arrays(sample.call)
    want = expected(sample, arrays)
    for change in (gaps, reordered):
        compare(called(sample, {n: change(tensor(a)) for n, a in arrays.items()}), want, "float64", change.__name__, sample)
    if "fixed" in sample.notes or "kink" in sample.notes:
        return
    same = {n: np.broadcast_to(a[:1], a.shape) if a.ndim and a.dtype.kind in "fc" else a for n, a in arrays.items()}
    spread = {n: tensor(a[:1]).expand(*a.shape) if a.ndim and a.dtype.kind in "fc" else tensor(a) for n, a in same.items()}
    compare(called(sample, spread), expected(sample, same), "float64", "expanded", sample)


def cut(arrays: dict, how: str) -> dict:
    """The arrays of a pointwise call in other shapes that go together."""
    if how == "scalar":
        return {n: np.asarray(a.ravel()[0]) for n, a in arrays.items()}
    if how == "empty":
        return {n: a[:0] if a.shape == (3, 4) else a for n, a in arrays.items()}
    rows = iter([np.s_[:], np.s_[:, :1], np.s_[1], np.s_[:1]] * 2)
    return {n: a[next(rows)] if a.shape == (3, 4) else a for n, a in arrays.items()}


def shapes(sample: Sample) -> None:
    """Pointwise ops: 0-d, empty and broadcast operands."""
    if sample.op is None or TABLE[sample.op].family != POINTWISE:
        return
    arrays = inputs.arrays(sample.call)
    for how in ("scalar", "empty", "broadcast"):
        some = cut(arrays, how)
        want = [np.asarray(w) for w in expected(sample, some)]
        compare(called(sample, {n: tensor(a) for n, a in some.items()}), want, "float64", how, sample)


def inplace(sample: Sample) -> None:
    """The in-place form leaves the same numbers in the tensor it returns, and counts the change."""
    method = getattr(T.Tensor, f"{sample.op}_", None)
    if method is None or "noinplace" in sample.notes:
        return
    arrays = inputs.arrays(sample.call)
    args, kwargs = arguments(sample, {n: tensor(a) for n, a in arrays.items()})
    want = TABLE[sample.op].call(*args, **kwargs)
    x = args[0] if args else None
    if not isinstance(x, T.Tensor) or not isinstance(want, T.Tensor) or (want.shape, want.dtype) != (x.shape, x.dtype):
        return
    x = x.clone()
    before = x._version
    assert method(x, *args[1:], **kwargs) is x
    compare(x, [wide(want)], "float64", "in-place", sample)
    assert x._version > before


def out(sample: Sample) -> None:
    """out= is filled and returned, resized if need be, and must be able to hold the result."""
    if sample.op is None or "noout" in sample.notes or TABLE[sample.op].family == VIEW:
        return
    args, kwargs = arguments(sample, {n: tensor(a) for n, a in inputs.arrays(sample.call).items()})
    want = TABLE[sample.op].call(*args, **kwargs)
    if not isinstance(want, T.Tensor):
        return
    into = T.empty_like(want)
    assert TABLE[sample.op].call(*args, **kwargs, out=into) is into
    compare(into, [wide(want)], "float64", "out=", sample)
    into = T.empty(0, dtype=want.dtype)
    TABLE[sample.op].call(*args, **kwargs, out=into)
    compare(into, [wide(want)], "float64", "resized out=", sample)
    if want.dtype.kind in "fc":
        refused(lambda: TABLE[sample.op].call(*args, **kwargs, out=T.empty_like(want, dtype=T.int64)), RuntimeError, "out= of integers")


def errors(sample: Sample) -> None:
    """Too many arguments, unknown keywords and things that are no tensors are TypeErrors."""
    if sample.op is None:
        return
    record = TABLE[sample.op]
    args, kwargs = arguments(sample, {n: tensor(a) for n, a in inputs.arrays(sample.call).items()})
    refused(lambda: record.call(*args, **kwargs, nonsense=1), TypeError, "an unknown keyword")
    refused(lambda: record.call(*args, *[None] * (len(record.params) + 1)), TypeError, "too many arguments")
    refused(lambda: record.call(), TypeError, "no arguments")


def refused(call, error, what: str) -> None:
    try:
        call()
    except error:
        return
    raise AssertionError(f"{what}: no {error.__name__}")


# gradients ----------------------------------------------------------------------------------------
def weights(result, rng) -> list:
    """(output, weight) of every differentiable output."""
    outs = [t for t in flat(result) if isinstance(t, T.Tensor) and t.requires_grad]
    return [(t, T.from_numpy(np.asarray(rng.normal(size=tuple(t.shape)))).to(t.dtype)) for t in outs]


def weighed(pairs) -> object:
    """One real number of all outputs."""
    return sum((t * w.conj()).real.sum() if t.dtype.is_complex else (t * w).sum() for t, w in pairs)


def direction(arrays: dict, names: list[str], rng) -> dict:
    return {n: rng.normal(size=arrays[n].shape) + (1j * rng.normal(size=arrays[n].shape) if arrays[n].dtype.kind == "c" else 0) for n in names}


def along(grads, way: dict) -> float:
    """The derivative along a direction, from gradients (of complex inputs: conjugate Wirtinger ones, as PyTorch's)."""
    return sum(float(np.sum((np.conj(wide(g)) * way[n]).real)) for n, g in zip(way, grads, strict=True) if g is not None)


def gradients(sample: Sample, second: bool = True) -> bool:
    """First and second derivatives along a random direction, against central differences; whether there were any."""
    arrays = inputs.arrays(sample.call)
    names = differentiable(sample, arrays)
    if not names:
        return False
    rng = np.random.default_rng(len(sample.call))
    way = direction(arrays, names, rng)

    def leaves(step: float) -> dict:
        moved = {n: tensor(a + step * way[n] if n in way else a) for n, a in arrays.items()}
        return {n: t.requires_grad_() if n in way else t for n, t in moved.items()}

    def outputs(step: float):
        given = leaves(step)
        return given, called(sample, given)

    given, result = outputs(0.0)
    pairs = weights(result, rng)
    if not pairs:
        return False
    fixed = [w for _, w in pairs]

    def value(step: float) -> float:
        _, r = outputs(step)
        outs = [t for t in flat(r) if isinstance(t, T.Tensor) and t.requires_grad]
        return float(weighed(list(zip(outs, fixed, strict=True))).item())

    grads = T.autograd.grad(weighed(pairs), [given[n] for n in way], create_graph=True, allow_unused=True)
    numeric = (value(STEP) - value(-STEP)) / (2 * STEP)
    np.testing.assert_allclose(along(grads, way), numeric, *FIRST, err_msg=f"first gradient: {sample}")
    if second and "kink" not in sample.notes:
        second_gradient(sample, arrays, way, outputs, fixed, rng)
    return True


def second_gradient(sample: Sample, arrays: dict, way: dict, outputs, fixed: list, rng) -> None:
    """The gradient of <first gradients, random numbers>, where these depend on the inputs at all."""
    probe = direction(arrays, list(way), rng)

    def slope(step: float):
        given, r = outputs(step)
        outs = [t for t in flat(r) if isinstance(t, T.Tensor) and t.requires_grad]
        wants = [given[n] for n in way]
        grads = T.autograd.grad(weighed(list(zip(outs, fixed, strict=True))), wants, create_graph=True, allow_unused=True)
        pairs = [(g, tensor(np.asarray(probe[n])).to(g.dtype)) for n, g in zip(way, grads, strict=True) if g is not None and g.requires_grad]
        return wants, pairs

    wants, pairs = slope(0.0)
    if not pairs:
        return
    grads = T.autograd.grad(weighed(pairs), wants, allow_unused=True)
    ends = [float(weighed(slope(step)[1]).item()) for step in (STEP, -STEP)]
    numeric = (ends[0] - ends[1]) / (2 * STEP)
    np.testing.assert_allclose(along(grads, way), numeric, *SECOND, err_msg=f"second gradient: {sample}")


def gradient_variants(sample: Sample) -> None:
    """The same gradients from strided inputs, for strided gradients of the result, and in single precision."""
    arrays = inputs.arrays(sample.call)
    names = differentiable(sample, arrays)
    if not names:
        return

    def slopes(change, dtype=None):
        given = {n: change(tensor(a, dtype)) for n, a in arrays.items()}
        given = {n: t.requires_grad_() if n in names else t for n, t in given.items()}
        pairs = weights(called(sample, given), np.random.default_rng(0))
        if not pairs:
            return []
        outs, seeds = zip(*pairs, strict=True)
        grads = T.autograd.grad(outs, [given[n] for n in names], [change(w) for w in seeds], allow_unused=True)
        return [g for g in grads if g is not None]

    want = [wide(g) for g in slopes(lambda t: t)]
    if "dense" not in sample.notes:
        for change in (gaps, reordered):
            compare(slopes(change), want, "float64", f"gradients of {change.__name__}", sample)
    if "f64" not in sample.notes:
        compare(slopes(lambda t: t, T.float32), want, "float32", "gradients in float32", sample)


CHECKS = (forward, dtypes, layouts, shapes, inplace, out, errors, gradients, gradient_variants)
