import struct
import threading
import time

import numpy as np
import pytest

from flambeau.runtime import jit, launch, threads

from .kernels_for_tests import ADD, COPY_ARGS, PARTS

SERIAL = 1 << 60


@pytest.fixture(scope="module")
def add():
    return launch.bind(jit.compile(ADD, "add"))


@pytest.fixture(scope="module")
def copy_args():
    return launch.bind(jit.compile(COPY_ARGS, "copy_args"))


def received(copy_args, *args):
    out = np.zeros(len(args) + 1, np.int64)
    copy_args(len(args), SERIAL, out.ctypes.data, *args)
    return out[:-1].tolist()


def bits(x):
    return struct.unpack("<q", struct.pack("<d", x))[0]


def test_returns_none_and_runs(add):
    a = np.zeros(10, np.int64)
    assert add(7, SERIAL, a.ctypes.data, 3) is None
    assert a.tolist() == [3] * 7 + [0] * 3


@pytest.mark.parametrize("extent", [0, -1, -(1 << 62)])
def test_no_extent_runs_nothing(add, extent):
    for grain in (-1, 0, 1, SERIAL):
        assert add(extent, grain, 0, 0) is None  # address 0 would crash


def test_integers_arrive_whole(copy_args):
    values = [0, 1, -1, -2, (1 << 63) - 1, -(1 << 63), 1 << 40]
    assert received(copy_args, *values) == values


def test_bool_and_numpy_integers_are_integers(copy_args):
    values = True, False, np.int32(-7), np.uint8(200), np.int64(-1)
    assert received(copy_args, *values) == [1, 0, -7, 200, -1]


def test_floats_arrive_as_their_bits(copy_args):
    values = [0.0, -0.0, 1.5, -1.0, float("inf"), float("nan"), 5e-324]
    assert received(copy_args, *values) == [bits(x) for x in values]
    assert received(copy_args, np.float64(2.5), np.float32(0.5)) == [bits(2.5), bits(0.5)]


def test_type_offset_unknown_gives_the_same(copy_args):
    text = launch.trampoline(None).replace("flambeau_launch", "launch_by_api")
    address = jit.compile(text, "launch_by_api")
    definition = launch.MethodDef(b"k", address, launch.METH_FASTCALL, None)
    body = jit.compile(COPY_ARGS, "copy_args")
    kernel = launch.new_builtin(launch.ctypes.addressof(definition), body, None)
    values = 3, -1, -1.0, 2.5, True, np.float64(1.5), np.int32(9)
    assert received(kernel, *values) == received(copy_args, *values)
    with pytest.raises(TypeError):
        received(kernel, "x")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("text", TypeError),
        (None, TypeError),
        (1j, TypeError),
        ([1], TypeError),
        (1 << 63, OverflowError),
        (-(1 << 63) - 1, OverflowError),
    ],
)
def test_bad_values_raise_before_anything_runs(add, value, error):
    a = np.zeros(4, np.int64)
    with pytest.raises(error):
        add(4, SERIAL, a.ctypes.data, 1, value)
    assert not a.any()


@pytest.mark.parametrize("place", [0, 1])
def test_extent_and_grain_must_be_integers(add, place):
    head = [4, SERIAL]
    head[place] = 4.0
    with pytest.raises(TypeError):
        add(*head, 0, 0)


def test_an_error_of_the_argument_itself_comes_through(add):
    class Broken:
        def __index__(self):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        add(4, SERIAL, 0, Broken())


@pytest.mark.parametrize("count", [1, 64, launch.MAX_ARGS - 1])
def test_many_arguments(copy_args, count):
    assert received(copy_args, *range(count)) == list(range(count))


def test_too_many_and_too_few_arguments(copy_args):
    with pytest.raises(TypeError, match=str(launch.MAX_ARGS)):
        copy_args(1, 1, *range(launch.MAX_ARGS + 1))
    for args in ((), (1,)):
        with pytest.raises(TypeError, match="extent, grain"):
            copy_args(*args)
    with pytest.raises(TypeError):
        copy_args(1, 1, x=3)


@pytest.mark.parametrize("address", [0, -1, None, 1.5])
def test_bind_refuses_what_is_no_address(address):
    with pytest.raises(ValueError, match="address"):
        launch.bind(address)


def test_extent_up_to_the_grain_stays_here():
    table = np.full((4, 2), -1, np.int64)
    parts = launch.bind(jit.compile(PARTS, "parts"))
    old = threads.get_num_threads()
    threads.set_num_threads(4)
    try:
        for grain in (1000, 2000, -1):
            table[:] = -1
            parts(1000, grain, table.ctypes.data)
            assert table.tolist() == [[0, 1000]] + [[-1, -1]] * 3
        parts(1000, 10, table.ctypes.data)
        assert table.tolist() == [[0, 250], [250, 500], [500, 750], [750, 1000]]
    finally:
        threads.set_num_threads(old)


WAIT = """
define void @wait(ptr %args, i64 %begin, i64 %end, i64 %worker) {
entry:
  %flag = load ptr, ptr %args
  br label %loop
loop:
  %seen = load atomic i64, ptr %flag seq_cst, align 8
  %set = icmp ne i64 %seen, 0
  br i1 %set, label %done, label %loop
done:
  ret void
}
"""


@pytest.mark.parametrize("grain", [-1, 1])
def test_gil_is_released(grain):
    """The kernel ends only when another Python thread has run meanwhile."""
    wait = launch.bind(jit.compile(WAIT, "wait"))
    flag = np.zeros(1, np.int64)
    old = threads.get_num_threads()
    threads.set_num_threads(2)

    def release():
        time.sleep(0.01)
        flag[0] = 1

    helper = threading.Thread(target=release)
    helper.start()
    try:
        wait(2, grain, flag.ctypes.data)
    finally:
        threads.set_num_threads(old)
    helper.join()
