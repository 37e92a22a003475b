"""The interpreter: language features against NumPy, faults it must find, and every real kernel against the machine."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flambeau.codegen import maths
from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir import interpret
from flambeau.ir.kernel import Float, Int, Ptr, kernel

ROOT = Path(__file__).parent.parent.parent
F32, I64 = dt.float32, dt.int64


@kernel
def scale_rows(k, y: Ptr, x: Ptr, s: Ptr, n: Int, shift: Float):
    with k.parallel() as r:
        f = s[r]
        with k.vector(n) as j:
            y[r * n + j] = x[r * n + j] * f + E.cast(shift, F32)


@kernel
def row_sums(k, y: Ptr, x: Ptr, n: Int):
    with k.parallel() as r:
        total = k.acc("add", F32)
        with k.vector(n) as j:
            total.update(x[r * n + j])
        y[r] = total.value


@kernel
def collatz(k, y: Ptr, x: Ptr):
    with k.parallel() as i:
        n, steps = k.var(x[i]), k.var(0)
        with k.while_(lambda: n.value != 1):
            with k.if_(n.value % 2 == 0):
                n.set(n.value // 2)
            with k.else_():
                n.set(n.value * 3 + 1)
            steps.set(steps.value + 1)
        y[i] = steps.value


@kernel
def shifted(k, y: Ptr, x: Ptr, by: Int):
    with k.parallel(vector=True) as i:
        y[i] = x[i + by]


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("parts", [1, 3])
def test_rows(width, parts, rng):
    x, s, y = rng.random((5, 7), np.float32), rng.random(5, np.float32), np.zeros((5, 7), np.float32)
    program = scale_rows.trace((F32, F32, F32))
    interpret.run(program, 5, y.ravel(), x.ravel(), s, 7, 0.5, width=width, parts=parts)
    np.testing.assert_array_equal(y, x * s[:, None] + np.float32(0.5))


@pytest.mark.parametrize("width", [1, 4])
def test_accumulators(width, rng):
    x, y = rng.random((4, 9), np.float32), np.zeros(4, np.float32)
    interpret.run(row_sums.trace((F32, F32)), 4, y, x.ravel(), 9, width=width)
    np.testing.assert_allclose(y, x.sum(1), rtol=1e-6)


def test_variables_conditions_and_loops():
    y = np.zeros(6, np.int64)
    interpret.run(collatz.trace((I64, I64)), 6, y, np.array([1, 2, 3, 6, 7, 27]))
    assert y.tolist() == [0, 1, 7, 8, 16, 111]


def test_a_load_outside_its_memory_is_found():
    x, y = np.zeros(8, np.float32), np.zeros(8, np.float32)
    program = shifted.trace((F32, F32))
    with pytest.raises(IndexError, match=r"kernel shifted: load x\[8\] is outside \[0, 8\)"):
        interpret.run(program, 8, y, x, 1)
    with pytest.raises(IndexError, match=r"load x\[-1\] is outside"):
        interpret.run(program, 8, y, x, -1)
    interpret.run(program, 7, y, x, 1)


def test_a_span_starts_inside_its_array():
    memory, y = np.arange(8, dtype=np.float32), np.zeros(4, np.float32)
    interpret.run(shifted.trace((F32, F32)), 4, y, interpret.Span(memory, 3), 1)
    assert y.tolist() == [4, 5, 6, 7]


@kernel
def conditional(k, y: Ptr, x: Ptr, n: Int):
    with k.parallel() as _:
        with k.lanes(8, n) as j:
            v = x.load(j * 100, where=j < 1)  # all but the first lane would be outside
            y.store(j, v + 1, where=j < 3)


def test_masked_lanes_touch_no_memory():
    x, y = np.full(1, 5, np.float32), np.zeros(3, np.float32)
    interpret.run(conditional.trace((F32, F32)), 1, y, x, 2)
    assert y.tolist() == [6, 1, 0]


@kernel
def halved(k, y: Ptr, x: Ptr, n: Int):
    with k.parallel() as i:
        with k.vector(n) as j:
            y[i * n + j] = x[i * n * 2 + j * 2]


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64, dt.int8], ids=str)
def test_every_second_element_and_no_other_memory(dtype):
    for n in (1, 7, 16, 37):
        x, y = np.arange(6 * n - 1).astype(dtype.np), np.zeros(3 * n, dtype.np)
        halved((dtype, dtype))(3, 8, y.ctypes.data, x.ctypes.data, n)
        np.testing.assert_array_equal(y, x[::2])


@kernel
def spread(k, y: Ptr, x: Ptr, n: Int):
    with k.parallel() as i:
        with k.vector(n) as j:
            y[i * n * 2 + j * 2] = x[i * n + j]


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64, dt.int8], ids=str)
def test_every_second_element_is_written_and_no_other(dtype):
    for n in (1, 7, 16, 37):
        x, y = np.arange(3 * n).astype(dtype.np), np.full(6 * n - 1, 99).astype(dtype.np)
        spread((dtype, dtype))(3, 8, y.ctypes.data, x.ctypes.data, n)
        np.testing.assert_array_equal(y[::2], x)
        assert (y[1::2] == 99).all()


@kernel
def squares(k, y: Ptr, x: Ptr, places: Ptr, *, n: int):
    with k.parallel() as i:
        square = k.pointer(x.at(places[i]))
        with k.lanes(n) as j:
            turned = k.transpose([square[r * n + j] for r in range(n)])
            for r in range(n):
                y[(i * n + r) * n + j] = turned[r]


@pytest.mark.parametrize("n", [2, 4, 16])
@pytest.mark.parametrize("dtype", [dt.float32, dt.float64], ids=str)
def test_squares_are_turned(n, dtype, rng):
    x, places = rng.random(4 * n * n).astype(dtype.name), np.array([n * n, 3, 2 * n * n])
    want = np.stack([x[p : p + n * n].reshape(n, n).T for p in places])
    y, z = np.zeros(want.shape, want.dtype), np.zeros(want.shape, want.dtype)
    interpret.run(squares.trace((dtype, dtype, I64), n=n), 3, y.ravel(), x, places)
    np.testing.assert_array_equal(y, want)
    squares((dtype, dtype, I64), n=n)(3, 8, z.ctypes.data, x.ctypes.data, places.ctypes.data)
    np.testing.assert_array_equal(z, want)


@kernel
def moved(k, y: Ptr, x: Ptr, rest: Ptr):
    with k.parallel() as i, k.lanes(8) as j:
        v = x[i * 8 + j]
        y[i * 8 + j] = k.permute(v, [-1, -1, 0, 1, 2, 3, 4, 5], rest[i]) + k.permute(v, [7] * 8)


@pytest.mark.parametrize("dtype", [dt.float32, dt.float64, dt.int16], ids=str)
def test_lanes_are_permuted(dtype, rng):
    x, rest = rng.integers(0, 99, 24).astype(dtype.name), np.array([3, 5, 7], dtype.name)
    rows = x.reshape(3, 8)
    want = np.concatenate([np.repeat(rest[:, None], 2, 1), rows[:, :6]], 1) + rows[:, 7:]
    y, z = np.zeros(24, x.dtype), np.zeros(24, x.dtype)
    interpret.run(moved.trace((dtype,) * 3), 3, y, x, rest)
    np.testing.assert_array_equal(y, want.ravel())
    moved((dtype,) * 3)(3, 8, z.ctypes.data, x.ctypes.data, rest.ctypes.data)
    np.testing.assert_array_equal(z, want.ravel())


@kernel
def histogram(k, y: Ptr, i: Ptr):
    with k.parallel(vector=True) as j:
        y.atomic_add(i[j], 1)


def test_atomic_additions_meet():
    y = np.zeros(3, np.int64)
    interpret.run(histogram.trace((I64, I64)), 7, y, np.array([0, 1, 1, 2, 2, 2, 1]))
    assert y.tolist() == [1, 3, 3]


@kernel
def roundtrip(k, y: Ptr, x: Ptr):
    with k.parallel(vector=True) as i:
        y[i] = x[i] + x[i]


@pytest.mark.parametrize("dtype", [dt.bool, dt.float16, dt.bfloat16, dt.complex64], ids=str)
def test_dtypes_that_memory_holds_otherwise(dtype):
    given = {
        dt.bool: np.array([0, 1, 2], np.uint8), dt.float16: np.array([0.1, 2, 40000], np.float16),
        dt.bfloat16: np.array([0x3F80, 0x7F7F, 0x7FC1], np.uint16), dt.complex64: np.array([1 + 2j, -3j, 0.5], np.complex64),
    }[dtype]  # fmt: skip
    want = {
        dt.bool: np.array([0, 1, 1], np.uint8), dt.float16: np.array([0.2, 4, np.inf], np.float16),
        dt.bfloat16: np.array([0x4000, 0x7F80, 0x7FC0], np.uint16), dt.complex64: np.array([2 + 4j, -6j, 1], np.complex64),
    }[dtype]  # fmt: skip
    y = np.zeros_like(given)
    interpret.run(roundtrip.trace((dtype, dtype)), 3, y, given)
    np.testing.assert_array_equal(y, want)


def test_operands_are_checked():
    program = roundtrip.trace((F32, F32))
    with pytest.raises(TypeError, match="2 operands needed, 1 given"):
        interpret.run(program, 1, np.zeros(1, np.float32))
    with pytest.raises(TypeError, match="x holds float32|x holds torch.float32"):
        interpret.run(program, 1, np.zeros(1, np.float32), np.zeros(1))
    with pytest.raises(TypeError, match="flat array"):
        interpret.run(program, 1, np.zeros(1, np.float32), np.zeros((1, 1), np.float32))


def test_named_mathematics_goes_through_its_expansion(rng):
    @kernel
    def exponential(k, y: Ptr, x: Ptr):
        with k.parallel(vector=True) as i:
            y[i] = E.exp(x[i])

    x, y = rng.normal(size=50), np.zeros(50)
    interpret.run(exponential.trace((dt.float64, dt.float64)), 50, y, x, expand=maths.expand)
    np.testing.assert_allclose(y, np.exp(x), rtol=5e-16)


def test_every_kernel_in_machine_and_interpreter():
    """What the parity expressions launch does to memory what the interpreter does to a copy of it."""
    run = subprocess.run([sys.executable, "-m", "tests.ir.shadow"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout + run.stderr
    kinds, launches = map(int, run.stdout.split()[:2])
    assert kinds >= 280 and launches >= 1000
