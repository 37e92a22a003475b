"""The builtins around kernels: each does what its form in Python does, lets go of what it made when it fails, and leaks nothing."""

import gc
import os
import subprocess
import sys

import pytest

import flambeau as torch
from flambeau.core.size import Size
from flambeau.ops.by_geometry import by_geometry, key_of
from flambeau.ops.record import TABLE, hooks
from flambeau.runtime import calls, memory
from flambeau.runtime.allocator import class_size
from flambeau.support.errors import OutOfMemoryError
from flambeau.tensor import tensor as T

python_changed = calls.changed
torch.ones(3).exp()  # the first kernel: the builtins are there
SLOTS = [s for s in torch.Tensor.__slots__ if not s.startswith("__")]
NEW_PLACE = {"_storage", "_ptr", "_vc"}


def facts(t):
    return {s: getattr(t, s) for s in SLOTS}


def python_alias(x, geometry):
    """tensor.alias as it is written."""
    numel, shape, strides, dense, offset, distance = geometry
    return {
        "_numel": numel, "_shape": shape, "_strides": strides, "_dense": dense, "_offset": x._offset + offset, "_ptr": x._ptr + distance,
        "_storage": x._storage, "_dtype": x._dtype, "_base": x if x._base is None else x._base, "_vc": x._vc,
        "_view_version": x._vc.version, "_requires_grad": False, "_output_nr": 0, "_grad_fn": None, "_grad": None, "_hooks": None,
        "_accumulate": None, "_post_hooks": None,
    }  # fmt: skip


def test_the_builtins_are_used():
    assert type(T.fresh).__name__ == "builtin_function_or_method"
    assert type(TABLE["mm"].quick).__name__ == "builtin_function_or_method"


@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 3, 4), (40000,)])
def test_fresh(shape):
    geometry = T.dense(shape, torch.float32)
    a, b = facts(T.fresh(geometry)), facts(calls.fresh(geometry))
    for name in set(SLOTS) - NEW_PLACE:
        assert a[name] == b[name] and type(a[name]) is type(b[name]), name
    assert a["_vc"] is a["_storage"] and a["_ptr"] == a["_storage"].ptr and a["_ptr"] % 64 == 0
    assert a["_storage"].nbytes == geometry[-1] and a["_storage"].version == 0


def test_fresh_by_another_allocator():
    t = T.fresh(T.dense((5,), torch.float32), memory.zeroed)
    assert t.tolist() == [0] * 5
    with pytest.raises(ZeroDivisionError):
        T.fresh(T.dense((5,), torch.float32), lambda n: 1 // 0)


@pytest.mark.parametrize("bad", [None, (), (1, 2, 3), "geometry"])
def test_no_geometry(bad):
    with pytest.raises((TypeError, SystemError)):
        T.fresh(bad)
    with pytest.raises((TypeError, SystemError)):
        T.alias(torch.ones(3), bad)


def test_alias_and_plain():
    x = torch.randn(4, 6)
    x.add_(1)
    for base in (x, x[1:], x.data, torch.nn.Parameter(x)):
        geometry = (3, Size((3,)), (2,), False, 5, 20)
        assert facts(T.alias(base, geometry)) == python_alias(base, geometry)
    w = torch.randn(3, requires_grad=True)
    y = w * 2
    plain = y._alias()
    assert plain._grad_fn is None and not plain._requires_grad and plain._base is None and plain._vc is y._vc
    assert {s: getattr(plain, s) for s in calls.calls_code.GEOMETRY} == {s: getattr(y, s) for s in calls.calls_code.GEOMETRY}
    for wrong in (None, 3, "x"):
        with pytest.raises(TypeError):
            T.alias(wrong, (3, Size((3,)), (2,), False, 5, 20))
        with pytest.raises(TypeError):
            torch.Tensor._alias(wrong)


def test_a_tensor_that_was_never_made():
    hollow = object.__new__(torch.Tensor)
    for use in (lambda: hollow + hollow, lambda: hollow @ hollow, lambda: calls_of_one()(hollow), lambda: T.alias(hollow, (1,) * 6)):
        with pytest.raises((AttributeError, TypeError, SystemError)):
            use()


def kernel():
    """A kernel y[i] = x[i] + v, with the address as a builtin."""
    from flambeau.ir.kernel import Float, Ptr
    from flambeau.ir.kernel import kernel as template

    def plus(k, y: Ptr, x: Ptr, v: Float):
        with k.parallel(vector=True) as i:
            y[i] = x[i] + v

    return template(plus)((torch.float64, torch.float64))


def calls_of_one(bind=calls.bind, **more):
    return bind((T.dense((4,), torch.float64),), 1, 0, [(kernel(), 4, 4, (calls.out(), calls.operand(0), 0.5))], **more)


def python(outs, operands, numbers, launches, rooms=(), alike=False):
    return calls.replay(outs, operands, numbers, launches, rooms, alike)


@pytest.mark.parametrize("bind", [calls.bind, python])
def test_calls(bind):
    x = torch.arange(4, dtype=torch.float64)
    assert calls_of_one(bind)(x).tolist() == [0.5, 1.5, 2.5, 3.5]
    geometry, k = T.dense((4,), torch.float64), kernel()
    chain = bind((geometry, geometry), 2, 1, [
        (k, 4, 4, (calls.room(1), calls.operand(1), calls.number(0))),
        (k, 4, 4, (calls.out(0), calls.room(1), 1.0)),
        (k, 3, 4, (calls.out(1) + 8, calls.operand(0), -1.0)),
        (k, 1, 4, (calls.out(1), calls.operand(0) + 24, 0.0)),
    ], (64, 1 << 20))  # fmt: skip
    a, b = chain(x, x * 10, 3.0)
    assert a.tolist() == [4, 14, 24, 34] and b.tolist() == [3, -1, 0, 1]
    into = bind((), 1, 1, [(k, 0, 2, (calls.operand(0), calls.operand(0), calls.number(0)))], alike=True)
    assert into(x, 1.0) is None and x.tolist() == [1, 2, 3, 4]
    like = bind((torch.float64,), 1, 1, [(k, 0, 2, (calls.out(), calls.operand(0), calls.number(0)))], alike=True)
    y = like(x.view(2, 2), 1.0)
    assert y.tolist() == [[2, 3], [4, 5]] and y._dense and y._shape == (2, 2)
    for wrong in ((), (x,), (x, x, 1.0)):
        with pytest.raises(TypeError):
            into(*wrong)


@pytest.mark.parametrize("wrong", [(3, 1.0), (None, 1.0), ("x", 1.0), (torch.ones(2), "number"), (torch.ones(2), None)])
def test_wrong_arguments_of_a_call_run_nothing(wrong):
    call = calls.bind((T.dense((4,), torch.float64),), 1, 1, [(kernel(), 4, 4, (calls.out(), 0, calls.number(0)))])
    with pytest.raises(TypeError):
        call(*wrong)


def test_nothing_is_kept():
    x, call = torch.arange(4, dtype=torch.float64), calls_of_one(rooms=(100, 1 << 17))
    m = torch.randn(3, 3)

    def use():
        call(x)
        x[1:], x.view(2, 2), x._alias(), x + x, x + 1.0, m @ m, m.t(), x.shape[0], x.shape[-1], x.shape[:1]
        for wrong in (lambda: call(3), lambda: T.alias(x, ()), lambda: T.fresh(()), lambda: x.shape[7]):
            with pytest.raises((TypeError, IndexError)):
                wrong()

    use()
    counted = (x, x._storage, x._shape, x._strides, T.dense((4,), torch.float64)[1], m, m._shape, torch.float64)
    gc.collect()
    before, blocks = [sys.getrefcount(o) for o in counted], memory.stats()["blocks"]
    for _ in range(200):
        use()
    gc.collect()
    assert [sys.getrefcount(o) for o in counted] == before
    assert memory.stats()["blocks"] == blocks


def test_large_blocks_are_counted():
    geometry, size = T.dense((50_000,), torch.float32), class_size(200_000)
    T.fresh(geometry)
    gc.collect()
    before = memory.stats()["allocated"]
    memory.reset_peak()
    for make in (T.fresh, calls.fresh):
        a, b = make(geometry), T.fresh(geometry)
        assert memory.stats()["allocated"] - before == 2 * size == memory.stats()["peak_allocated"] - before
        del a, b
        assert memory.stats()["allocated"] == before


def test_changes():
    p, g, m = torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3, 2).view(2, 3)
    apart = torch.zeros(2, 3).data
    for count in (calls.changed, python_changed):
        old = [t._version for t in (p, g, m, apart)]
        assert count((p, g, m, apart), 4) == [t._ptr for t in (p, g, m, apart)]
        assert [t._version for t in (p, g, m, apart)] == [old[0] + 1, old[1], old[2] + 1, old[3] + 1]
        for other in (torch.zeros(3, 2), torch.zeros(2, 3).double(), torch.zeros(3, 2).t(), torch.zeros(7).view(torch.uint8)[1:25].view(2, 12)):
            old = p._version
            assert count((p, other), 4) is None and count((p, g, other), 4) is None and p._version == old
    for wrong in ((), ((),), ([p], 4), (3, 4)):
        with pytest.raises(TypeError):
            calls.changed(*wrong)


def test_out_of_memory_comes_through():
    call = calls_of_one(rooms=(1 << 40,))
    old, blocks = memory.get_limit(), memory.stats()["blocks"]
    memory.set_limit(1 << 30)
    try:
        with pytest.raises(OutOfMemoryError):
            call(torch.zeros(4, dtype=torch.float64))
    finally:
        memory.set_limit(old)
    gc.collect()
    assert memory.stats()["blocks"] == blocks


def test_sizes():
    s = torch.ones(2, 3, 4).shape
    assert (s[0], s[2], s[-1], s[-3], s[True]) == (2, 4, 4, 2, 3)
    assert s[1:] == (3, 4) and type(s[1:]) is Size and type(s[:]) is Size
    for i in (3, -4, 1 << 80, -(1 << 80)):
        with pytest.raises(IndexError):
            s[i]
    with pytest.raises(TypeError, match="tuple indices"):
        s["x"]


PARAMETERS = """
import sys
import flambeau as torch
torch.ones(3).exp()  # the builtins are made before there are parameters
layer, x = torch.nn.Linear(3, 3), torch.ones(2, 3)
layer(x).sum().backward()
called = []
sys.setprofile(lambda frame, event, arg: event == "call" and called.append(frame.f_code.co_name))
layer(x)
sys.setprofile(None)
assert not {"slow", "key_of", "note_here", "record"} & set(called), called
"""


IN_PYTHON = """
import sys
from flambeau.runtime import calls
if sys.argv[1] == "python":
    calls.has_lock = lambda: False  # as where the layout of objects cannot be told
import flambeau as torch
nn = torch.nn
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 9), nn.LayerNorm(9))
cell, optimizer = nn.LSTM(9, 4, batch_first=True), torch.optim.Adam(net.parameters())
for _ in range(3):
    optimizer.zero_grad()
    y = cell(net(torch.randn(4, 1, 8, 8))[:, None])[0][:, 0]
    loss = nn.functional.cross_entropy(y @ y.t() + y.sum(1), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    optimizer.step()
assert ("walk" in calls.found) == (sys.argv[1] == "builtins")
print(loss.item(), [p.sum().item() for p in net.parameters()])
"""


def test_python_alone_gives_the_same():
    a, b = (
        subprocess.run([sys.executable, "-c", IN_PYTHON, how], check=True, capture_output=True, text=True).stdout for how in ("builtins", "python")
    )
    assert a == b and "nan" not in a


def test_parameters_made_later_are_known():
    subprocess.run([sys.executable, "-c", PARAMETERS], check=True)


LATE = """
import sys
import flambeau as torch
torch.ones(3).exp()
sys.late = [torch.ones(3)]
sys.late.append(sys.late)  # found by the last of all collections
"""


def test_builtins_serve_until_the_interpreter_is_gone():
    """Their definitions are not freed with the modules (debug hooks overwrite what is freed)."""
    subprocess.run([sys.executable, "-c", LATE], check=True, env={**os.environ, "PYTHONMALLOC": "debug"})


IN_A_CYCLE = """
import gc, sys
from flambeau.runtime import calls
if sys.argv[1] == "python":
    calls.has_lock = lambda: False
import flambeau as torch
torch.ones(3).exp()
kept = []

class Model:
    def __init__(self, n):
        self.me, self.w = self, torch.full((n,), 7.0)

    def __del__(self):
        kept.append(self)

for n in (50, 50_000, 1_000_000):
    Model(n)
    gc.collect()
    others = [torch.zeros(n) for _ in range(3)]
    assert kept.pop().w.tolist() == [7] * n
"""


@pytest.mark.parametrize("how", ["builtins", "python"])
def test_memory_lives_as_long_as_an_object_that_comes_back(how):
    """The collector ends all objects of a cycle before it sees that one of them has made itself known again."""
    subprocess.run([sys.executable, "-c", IN_A_CYCLE, how], check=True)


MOVED = """
import gc
import flambeau as torch
torch.ones(3).exp()
x, left = torch.arange(6.0), 0

def move(phase, info):
    global left
    left -= 1
    if left == 0:
        x.data = torch.full((6,), 9.0)

gc.callbacks.append(move)
for calls in range(1, 12):
    for more in range(3):
        x.data = torch.zeros(6)
        gc.collect()
        left, kept = calls, [[] for _ in range(more)]
        gc.set_threshold(1)
        y = x[1:]
        gc.set_threshold(700)
        left = 0
        assert y._ptr == y._storage.ptr + 4, calls
"""


def test_a_view_lies_in_one_memory_whatever_a_collection_changes():
    """A finaliser, or another thread meanwhile, may give x other memory."""
    subprocess.run([sys.executable, "-c", MOVED], check=True)


SHRUNK = """
import gc
import flambeau as torch
torch.ones(3).exp()
x, left = torch.ones(7, 1000), 0

def move(phase, info):
    global left
    left -= 1
    if left == 0:
        x.data = torch.ones(3, 1000)

gc.callbacks.append(move)
for calls in range(1, 12):
    for more in range(3):
        x.data = torch.ones(7, 1000)
        x.exp(), x + x
        gc.collect()
        left, kept = calls, [[] for _ in range(more)]
        gc.set_threshold(1)
        y = x.exp()
        gc.set_threshold(700)
        left = 0
        assert len(y) * 4000 == y._storage.nbytes, calls
"""


def test_a_result_has_one_geometry_whatever_a_collection_changes():
    subprocess.run([sys.executable, "-c", SHRUNK], check=True, env={**os.environ, "PYTHONMALLOC": "debug"})


def test_sizes_beyond_64_bits_are_errors_and_lose_no_block():
    big = torch.ones(1).expand(1 << 62)
    blocks = memory.stats()["blocks"]
    for use in (big.exp, lambda: big + big, lambda: big + 1, lambda: torch.empty_strided((2,), (1 << 62,))):
        with pytest.raises(RuntimeError, match="Storage size calculation overflowed"):
            use()
    with pytest.raises(ValueError, match="expected a size of 0 or more"):
        T.fresh((1, Size((1,)), (1,), True, torch.float32, -1))
    with pytest.raises(OutOfMemoryError):
        T.fresh((1, Size((1,)), (1,), True, torch.float32, 1 << 64))
    assert memory.stats()["blocks"] == blocks
    for use in (lambda: torch.ones(1).expand(1 << 62, 2), lambda: torch.ones(1).as_strided((1 << 40, 1 << 40), (0, 0))):
        with pytest.raises(RuntimeError, match="numel: integer multiplication overflow"):
            use()


# planned ops ------------------------------------------------------------------------------------------
def test_keys_tell_kinds_of_values_apart():
    x = torch.ones(2, 3)
    assert len({key_of((x, v)) for v in (1, True, (1,), None, "1")}) == 5
    assert key_of((x,)) != key_of((x.t(),)) != key_of((x.t().double(),))
    assert key_of((x, 0.5)) == key_of((x, 0.5)) != key_of((x, torch.float32)) and key_of((x, 1.0)) != key_of((x, 1))
    for v in (0.0, -0.0, float("nan"), [1], (1.0,), (x,), Size((1,))):
        assert key_of((x, v)) is None


def test_what_is_known_is_the_same_by_builtin_and_python():
    m = TABLE["mm"]
    m.fn.known.clear()
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    first = a @ b
    (key,) = m.fn.known
    assert key == key_of((a, b))
    assert torch.equal(a @ b, first) and torch.equal(m.fn(a, b), first) and len(m.fn.known) == 1
    old = torch.get_num_threads()
    torch.set_num_threads(old)
    assert not m.fn.known
    for fn in (torch.mm, lambda input, mat2: torch.mm(mat2=mat2, input=input)):
        assert torch.equal(fn(a, b), first)


def test_a_call_planned_while_the_number_of_threads_changes_is_not_kept():
    before = torch.get_num_threads()
    count = [before + 1, before]

    @by_geometry
    def planned(input):
        torch.set_num_threads(count.pop())  # as another thread might
        return lambda x: x

    try:
        for kept in (1, 0):
            planned.known.clear()
            planned(torch.ones(3))
            assert len(planned.known) == kept
    finally:
        torch.set_num_threads(before)


def test_classes_and_history():
    class Mine(torch.Tensor):
        pass

    a = torch.randn(3, 3)
    mine, w = a.as_subclass(Mine), torch.nn.Parameter(a.clone())
    for x in (mine, w):
        for _ in range(2):
            assert torch.equal((x @ a).detach(), a @ a) and torch.equal(x.t().detach(), a.t())
    y = w @ a
    assert y.grad_fn.name() == "MmBackward0" and w.t().grad_fn.name() == "TBackward0" and w[1].grad_fn.name() == "SelectBackward0"
    with torch.no_grad():
        assert (w @ a).grad_fn is None and w.t().grad_fn is None
    assert not hooks.recording() or (w @ a).requires_grad
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        a @ torch.ones(2, 2)


def test_a_kept_call_holds_no_tensor():
    """GRU layers and batch norm of what does not lie densely are kept as Python functions."""
    import gc
    import weakref

    import flambeau as torch
    import flambeau.nn.functional as F

    gru = torch.nn.GRU(3, 4)
    x, w = torch.randn(5, 7, 3), torch.randn(16)[::2]
    y = torch.randn(6, 8, 2, 2)
    gru(x)
    F.batch_norm(y, torch.zeros(8), torch.ones(8), w, None, True)
    seen = [weakref.ref(t._storage) for t in (x, w, y)]
    del x, w, y
    gc.collect()
    assert [ref() for ref in seen] == [None, None, None]
