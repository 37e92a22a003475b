"""Recording and the backward pass by builtins: what they leave is what the forms in Python leave."""

import gc
import os
import subprocess
import sys
import threading

import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.ops.record import TABLE, Op, hooks
from flambeau.runtime import calls, memory

torch.ones(3).exp()  # the first kernel: the builtins are there


def leaf(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def values_of(name):
    x, y, m = leaf(2, 3), leaf(2, 3), leaf(3, 4)
    img = leaf(1, 2, 6, 6)
    return {
        "mul": (x, y), "add": (x, torch.ones(2, 3)), "exp": (x * 2,), "mm": (x, m), "clamp": (x, -1, 1),
        "sum_over": (x, (1,), False, None), "select": (x, 0, 1), "view_as_shape": (x, (3, 2)), "relu": (x[0],),
        "addmm": (leaf(4), x, m), "max_pool_of": (img, 2, (2, 2), (2, 2), (0, 0), (1, 1), (3, 3)), "t": (x,),
        "convolution_forward": (img, leaf(3, 2, 3, 3), None, (1, 1), (1, 1), (1, 1), 1), "lerp": (x, y, 0.5),
    }[name]  # fmt: skip


def node_facts(node, values):
    number = {id(v): i for i, v in enumerate(values)}

    def told(v):
        if isinstance(v, torch.Tensor):
            return number.get(id(v)) if id(v) in number else (v._ptr, v._shape, v._strides, v._requires_grad, v._vc.version, v._grad_fn)
        return v

    edges = [None if e is None else (told(e[0]) if isinstance(e[0], torch.Tensor) else id(e[0]), *e[1:]) for e in node._edges]
    saved = [told(v) for v in node.saved]
    return type(node), node._outputs, edges, saved, list(node.versions), node.recipe


NAMES = [
    "mul", "add", "exp", "mm", "clamp", "sum_over", "select", "view_as_shape", "relu", "addmm", "max_pool_of", "t",
    "convolution_forward", "lerp",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_note(name):
    op, values = TABLE[name], values_of(name)
    op.call(*values)
    with torch.no_grad():
        result = op.call(*values)
    found = []
    for note in (op.note_here, op.note, op.note):
        outs = result if isinstance(result, tuple) else (result,)
        for t in outs:
            t._grad_fn, t._requires_grad, t._output_nr = None, False, 0
        assert note(result, *values) is result
        found.append([(t._requires_grad, t._output_nr, t._grad_fn and node_facts(t._grad_fn, values)) for t in outs])
    assert type(op.note).__name__ == "builtin_function_or_method"
    assert found[0] == found[1] == found[2]
    assert any(t._grad_fn for t in outs)


def test_what_is_not_noted():
    op, x, y = TABLE["mul"], torch.randn(3), torch.randn(3)
    assert op.note(x * y, x, y)._grad_fn is None
    w = leaf(3)
    with torch.no_grad():
        assert op.note(x * y, w, y)._grad_fn is None
    assert (w > 0).grad_fn is None and not (w > 0).requires_grad
    half = leaf(3, dtype=torch.float16)
    assert (half * half).grad_fn.name() == "MulBackward0"
    later = [(w * y).grad_fn._seq for _ in range(3)]
    assert later[0] < later[1] < later[2]


def test_rules_given_after_the_first_call():
    record = Op(lambda input, other: input, "kernel", {})
    w = leaf(3)
    assert record.note(torch.ones(3), w, w)._grad_fn is None
    record.derivative(input=lambda g: g * 5)
    y = record.note(torch.ones(3), w, w)
    y.sum().backward()
    assert w.grad.tolist() == [5] * 3


def test_a_view_whose_base_has_changed():
    a = leaf(4) * 1
    v = a[1:]
    a.mul_(2)
    y = v * 3
    assert y.grad_fn.next_functions[0][0].name() == "AsStridedBackward0"
    y.sum().backward()


def test_hooks_of_saved_tensors_are_asked():
    seen = []
    w = leaf(3)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t.shape) or t, lambda t: t):
        y = (w * w).exp()
    y.sum().backward()
    assert seen == [(3,)] * 3


# the walk -------------------------------------------------------------------------------------------
def chain(w, x):
    return ((w @ x).relu() * 2).sum()


def fan(w, x):
    y = w * 2
    return (y + y * y + y[0] + y.exp()).sum() + w.sum() + w.mean()


def broadcasting(w, x):
    return ((w[0] + w) * w[:, :1] + w.double().sum(0).float()).sum()


def several(w, x):
    a, b = w.split(2)
    values, indices = w.max(1)
    return (a.sum() * 2 + values.sum() + torch.std_mean(w)[1]) + F.max_pool1d(w[None], 2).sum()


def hooked(w, x):
    y = w * 3
    y.register_hook(lambda g: g * 2)
    y.retain_grad()
    z = y.sin()
    z.grad_fn.register_prehook(lambda gs: (gs[0] + 1,))
    z.grad_fn.register_hook(lambda gi, go: (gi[0] * 3,))
    return z.sum()


def unused(w, x):
    a, b = w.unbind(1)[:2]
    return a.sum() + torch.zeros(3, requires_grad=True).sum()


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x)
        return x * 2, y * 3

    @staticmethod
    def backward(ctx, a, b):
        return a * 2 + ctx.saved_tensors[0], None


def custom(w, x):
    a, b = Double.apply(w, w)
    return (a * a).sum() + b.sum()


def inplace(w, x):
    y = w * 1
    y[0] = 5
    y[1].mul_(w[0])
    y += w
    return y.sum()


def network(w, x):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv1d(4, 3, 2), torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(9, 5))
    return F.cross_entropy(net(w[None].expand(2, 4, 4) * torch.tensor([[[1.0]], [[2.0]]])), torch.tensor([1, 2]))


@pytest.mark.parametrize("fn", [chain, fan, broadcasting, several, hooked, unused, custom, inplace, network])
@pytest.mark.parametrize("keep", [False, True])
def test_walk(fn, keep, monkeypatch):
    torch.manual_seed(1)
    start, x = torch.randn(4, 4), torch.randn(4, 4)

    def gradient():
        w = start.clone().requires_grad_()
        y = fn(w, x)
        y.backward(retain_graph=keep)
        if keep:
            y.backward()
        return w.grad

    by_builtin = gradient()
    monkeypatch.delitem(calls.found, "walk")
    assert torch.equal(by_builtin, gradient())


def test_errors_of_the_walk():
    w = leaf(3)
    y = (w * w).exp().sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    a = w * 1
    b = a * a
    a.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        b.sum().backward()

    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    z = Bad.apply(w * 2) * 2
    with pytest.raises(KeyError, match="mine"):
        z.sum().backward()
    assert torch.is_grad_enabled()
    y = w * 2
    y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (y * y).sum().backward()
    assert torch.is_grad_enabled()
    (w * 2).sum().backward()


NAMES_OF_ITS_OWN = ["hooks", "post_hooks", "seq", "edges", "outputs", "recipe", "saved", "versions", "release", "check_shapes"]


@pytest.mark.parametrize("name", NAMES_OF_ITS_OWN)
@pytest.mark.parametrize("value", [torch.ones(3), "text", None, [1, 2, 3], {1: 2}], ids=lambda v: type(v).__name__)
def test_a_function_may_keep_anything_on_its_context(name, value):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            setattr(ctx, name, value)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            assert getattr(ctx, name) is value
            setattr(ctx, name, [value])
            return g * 2

    w = torch.ones(3, requires_grad=True)
    (Own.apply(w * 1) * 3 + w).sum().backward()
    assert w.grad.tolist() == [7] * 3


def test_errors_of_a_hash_are_its_own():
    class Odd(torch.Tensor):
        asked = limit = 0

        def __hash__(self):
            Odd.asked += 1
            if Odd.asked > Odd.limit:
                raise ValueError("no hash")
            return 5

    def gradient(limit):
        Odd.asked, Odd.limit = 0, limit
        w = torch.ones(3).as_subclass(Odd).requires_grad_()
        (w * 2 + w * 3 + w[:1]).sum().backward()

    gradient(1000)
    for limit in range(Odd.asked):
        with pytest.raises(ValueError, match="no hash"):
            gradient(limit)


COLLECTED = """
import gc
import flambeau as torch
torch.ones(3).exp()
w = torch.ones(3, requires_grad=True)

def detach(phase, info):
    global left
    left -= 1
    if left == 0:
        y._grad_fn, y._requires_grad = None, False  # as another thread might, which goes on while garbage is collected

gc.callbacks.append(detach)
for calls in range(1, 30):
    y = w * 1
    left = calls
    gc.set_threshold(1)
    z = torch.mul(y, y)
    gc.set_threshold(700)
    if z.requires_grad:
        z.sum().backward()
"""


def test_what_a_collection_changes_while_history_is_noted():
    subprocess.run([sys.executable, "-c", COLLECTED], check=True, env={**os.environ, "PYTHONMALLOC": "debug"})


def test_anomaly_mode_frees_what_failed():
    def fail():
        with pytest.raises(RuntimeError, match="returned nan values"), torch.autograd.set_detect_anomaly(True):
            torch.full((5,), -1.0, requires_grad=True).sqrt().sum().backward()

    fail()
    gc.collect()
    gc.disable()
    try:
        blocks = memory.stats()["blocks"]
        for _ in range(5):
            fail()
        assert memory.stats()["blocks"] == blocks
    finally:
        gc.enable()
        hooks.watched = False


def test_two_threads_in_one_graph():
    w = leaf(120, 120)
    for _ in range(5):
        y = ((w @ w).exp() * w.sin()).sum()
        ends = []

        def back(y=y, ends=ends) -> None:
            try:
                y.backward()
            except RuntimeError as error:
                ends.append(str(error))

        threads = [threading.Thread(target=back) for _ in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert all("second time" in e for e in ends)


def test_a_gradient_nobody_else_has_is_kept_not_copied():
    w = leaf(5)
    g = torch.ones(5)
    (w + 0).backward(g)
    assert w.grad._ptr != g._ptr
    w.grad = None
    made = []
    y = w * 2
    y.register_hook(lambda g: made.append(g._ptr))
    y.sum().backward()
    first = w.grad._ptr
    assert torch.equal(w.grad, torch.full((5,), 2.0)) and first != made[0]


def test_nothing_is_kept():
    w, x = leaf(4, 4), torch.randn(4, 4)

    def use():
        for fn in (chain, fan, broadcasting, several, hooked, custom, inplace, network):
            w.grad = None
            fn(w, x).backward()
        y = (w * w).sum()
        y.backward()
        for wrong in (y.backward, lambda: broken(w).backward()):
            with pytest.raises((RuntimeError, ZeroDivisionError)):
                wrong()

    def broken(w):
        y = w * 2
        y.register_hook(lambda g: 1 / 0)
        return (y * y).sum()

    def level():
        gc.collect()
        return memory.stats()["blocks"], len(gc.get_objects())

    for _ in range(3):
        use()
    blocks, objects = level()
    for _ in range(20):
        use()
    after = level()
    assert after[0] <= blocks + 2 and after[1] <= objects + 20


def failing(fn):
    def run():
        with pytest.raises(Exception):  # noqa: B017  which one is not the point here
            fn()

    return run


def uses():
    x, w, y = leaf(5, 5), torch.randn(5, 5), torch.randn(3, 3)
    labels = torch.arange(5)

    def backward():
        (x * 2).sum().backward()
        x.grad = None

    rnn = torch.nn.GRU(5, 4)

    return {
        "mm failing": failing(lambda: x @ y), "add failing": failing(lambda: x + y), "view failing": failing(lambda: x.view(7)),
        "index failing": failing(lambda: x[9]), "sum failing": failing(lambda: x.sum(5)), "transpose failing": failing(lambda: x.transpose(0, 9)),
        "backward failing": failing((x * x).backward), "linear failing": failing(lambda: F.linear(x, y)), "mul": lambda: x * 2,
        "relu": x.relu, "view": lambda: x.view(25), "slice": lambda: w.view(25)[3:7], "sum": w.sum, "t": lambda: x.t()[0], "mean": x.mean,
        "detach": lambda: x.detach().add_(0.0), "item": lambda: float(w.sum()), "mm": lambda: w @ w, "mm recorded": lambda: x @ w,
        "linear": lambda: F.linear(w, x), "layer_norm": lambda: F.layer_norm(x, (5,)), "zeros": lambda: torch.zeros(3),
        "cross_entropy": lambda: F.cross_entropy(w, labels), "index": lambda: w[2], "softmax": lambda: x.softmax(-1),
        "backward": backward, "a rule of 20 arguments": lambda: rnn(x)[0].sum().backward(), "max_pool": lambda: F.max_pool2d(w[None], 2),
    }  # fmt: skip


@pytest.mark.parametrize("name", uses())
def test_no_reference_is_lost_or_kept(name, monkeypatch):
    monkeypatch.setattr(hooks, "watched", False)  # another test's anomaly mode would keep the builtins out
    shared = [None, True, False, (), 0, 1, torch.float32, torch.Tensor, memory.Storage]
    fn = uses()[name]
    for _ in range(20):
        fn()
    gc.collect()
    before = [sys.getrefcount(v) for v in shared]
    blocks = memory.stats()["blocks"]
    for _ in range(300):
        fn()
    gc.collect()
    assert memory.stats()["blocks"] <= blocks + 2
    grown = {str(v): sys.getrefcount(v) - b for v, b in zip(shared, before, strict=True)}
    assert not {v: n for v, n in grown.items() if abs(n) > 100}
