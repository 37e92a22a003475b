"""Each primitive, in NumPy and in the machine, on every dtype that has it and at its extremes: bit for bit."""

import numpy as np
import pytest

from flambeau.codegen import maths
from flambeau.core import dtypes as dt
from flambeau.ir import evaluate as V
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir.verify import COMPARISONS, COMPUTED, FLOATS, INTEGERS, mistake

F32, F64, I64 = dt.float32, dt.float64, dt.int64
NUMBERS = {
    "f": [0.0, -0.0, 1.0, -1.5, 2.5, 3.5, -7.25, 1e30, -1e-30, np.inf, -np.inf, np.nan],
    "i": [0, 1, -1, 2, 3, 7, 8, -8, 31, 63, 100, -100],
    "u": [0, 1, 2, 3, 5, 7, 8, 31, 63, 64, 100, 255],
    "b": [False, True] * 6,
}


def operands(dtype, count):
    """All combinations of the dtype's numbers, its least and largest among them."""
    numbers = np.array(NUMBERS[dtype.kind], V.NUMPY[dtype])
    if dtype.kind in "iu":
        limits = np.iinfo(V.NUMPY[dtype])
        numbers[-2:] = limits.min, limits.max
    return [g.ravel().copy() for g in np.meshgrid(*[numbers] * count)]


def build(op, count, dtype):
    """(leaves, expression) of a primitive over dtype."""
    leaves = [E.leaf(f"x{i}", dtype) for i in range(count)]
    args = tuple(leaves)
    if op in ("select", "rarely"):
        args = (leaves[0] < leaves[1], leaves[1], leaves[2])
    return leaves, E.node(op, args, dt.bool if op in COMPARISONS else dtype)


def machine(leaves, expression, arrays):
    """The expression by emitted code over arrays."""
    @K.kernel
    def apply(k, y: K.Ptr, a: K.Ptr, b: K.Ptr, c: K.Ptr):
        with k.parallel(vector=True) as i:
            given = dict(zip(leaves, [a[i], b[i], c[i]], strict=False))
            y[i] = E.substitute([expression], given)[0]

    d = leaves[0].dtype
    stored = [a.astype(np.uint8) if a.dtype == bool else a for a in arrays]
    out = np.zeros(len(arrays[0]), np.uint8 if expression.dtype is dt.bool else V.NUMPY[expression.dtype])
    pointers = [a.ctypes.data for a in (stored * 3)[:3]]
    apply((expression.dtype, d, d, d))(len(out), len(out), out.ctypes.data, *pointers)
    return out.astype(bool) if expression.dtype is dt.bool else out


def pairs():
    for op, count in E.PRIMITIVES.items():
        for dtype in sorted(COMPUTED, key=str):
            if op in ("cast", "bitcast", "scalef", "lookup"):  # below
                continue
            leaves = [E.leaf("x", dtype)] * count
            if op in ("select", "rarely") or mistake(build(op, count, dtype)[1]) is None:
                if not (op in FLOATS | INTEGERS and leaves[0].dtype is dt.bool):
                    yield op, count, dtype


@pytest.mark.parametrize(("op", "count", "dtype"), list(pairs()), ids=lambda v: str(v).removeprefix("torch."))
def test_primitive(op, count, dtype):
    leaves, expression = build(op, count, dtype)
    arrays = operands(dtype, count)
    (want,) = V.evaluate([expression], dict(zip(leaves, arrays, strict=True)))
    got = machine(leaves, expression, arrays)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)
    if dtype.kind == "f" and got.dtype.kind == "f" and op not in ("min", "max"):  # -0.0 or 0.0: both may be the smaller
        np.testing.assert_array_equal(np.signbit(got)[~np.isnan(got)], np.signbit(want)[~np.isnan(want)])


@pytest.mark.parametrize("to", sorted(COMPUTED, key=str), ids=str)
@pytest.mark.parametrize("source", sorted(COMPUTED, key=str), ids=str)
def test_cast(source, to):
    leaf = E.leaf("x", source)
    expression = E.cast(leaf, to)
    (array,) = operands(source, 1)
    if source.kind == "f" and to.kind in "iu":
        array = array[np.abs(array) < 100]  # out of range is any number
        array = np.abs(array) if to.kind == "u" else array
    array = array.copy()
    (want,) = V.evaluate([expression], {leaf: array})
    np.testing.assert_array_equal(machine([leaf], expression, [array]), want)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", sorted(n for n, c in E.MATHS.items() if (n, F32) in maths.EXPANSIONS))
def test_maths_expand_to_the_same_numbers(name, dtype, rng):
    """What named mathematics expands to gives, evaluated, what emitted code gives: products may be fused there."""
    count = E.MATHS[name]
    leaves = [E.leaf(f"x{i}", dtype) for i in range(count)]
    expression = E.node(name, tuple(leaves), dtype)
    arrays = [rng.uniform(0.1, 0.9, 64).astype(V.NUMPY[dtype]) + (0 if i == 0 else 1) for i in range(count)]
    if name == "polygamma":
        arrays[0] = np.ones_like(arrays[0])
    if name == "acosh":
        arrays[0] += 1
    (want,) = V.evaluate([expression], dict(zip(leaves, arrays, strict=True)), maths.expand)
    eps = 4 * np.finfo(V.NUMPY[dtype]).eps
    np.testing.assert_allclose(machine(leaves, expression, arrays), want, rtol=eps, atol=eps)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_scalef_rounds_once(dtype):
    x, n = E.leaf("x", dtype), E.leaf("n", dtype)
    low = {F32: -150, F64: -1075}[dtype]
    values, powers = np.meshgrid([1.0, 1.75, -1.3333333, 0.9999999, np.inf, np.nan], [0, 1, -3, 127, low + 2, low + 20])
    arrays = [a.ravel().astype(V.NUMPY[dtype]) for a in (values, powers)]
    expression = E.scalef(x, n)
    (want,) = V.evaluate([expression], dict(zip((x, n), arrays, strict=True)))
    np.testing.assert_array_equal(machine([x, n], expression, arrays), want)


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("index", [dt.int32, I64], ids=str)
def test_lookup_takes_low_bits(index, size):
    k = E.leaf("k", index)
    table = tuple(float(i * i) for i in range(size))
    expression = E.lookup(k, table, F32)
    (array,) = operands(index, 1)
    array = np.concatenate([array, np.arange(101)]).astype(V.NUMPY[index])
    (want,) = V.evaluate([expression], {k: array})
    np.testing.assert_array_equal(want, np.array(table, np.float32)[array & size - 1])
    np.testing.assert_array_equal(machine([k], expression, [array]), want)


@pytest.mark.parametrize("rare", [(), (3,), (0, 40), range(50)])
def test_rarely_works_out_the_rare_lanes(rare):
    x = E.leaf("x", F32)
    expression = E.rarely(x < 0, E.exp(x) + 2, x * 3)
    array = np.ones(50, np.float32)
    array[list(rare)] = -1.5
    want = np.where(array < 0, np.exp(array.astype(np.float64)) + 2, 3)
    np.testing.assert_allclose(machine([x], expression, [array]), want, rtol=2e-7)
    np.testing.assert_allclose(V.evaluate([expression], {x: array}, maths.expand)[0], want, rtol=2e-7)


def test_fma_rounds_once():
    x = E.leaf("x", F64)
    expression = E.fma(x, x, -1.0)
    value = 1 + 2.0**-30
    (got,) = V.evaluate([expression], {x: np.array(value)})
    assert got == 2.0**-29 + 2.0**-60  # x * x alone would lose the last term


def test_a_leaf_without_a_value_is_an_error():
    with pytest.raises(RuntimeError, match="x is used outside the block that makes it"):
        V.evaluate([E.leaf("x", F32) + 1], {})


def test_named_mathematics_needs_an_expansion():
    x = E.leaf("x", F32)
    with pytest.raises(NotImplementedError, match="exp needs an expansion"):
        V.evaluate([E.exp(x)], {x: 1.0})
