"""Sparse tensors against dense ones: every op, gradients, gradients of embeddings, and what keeps memory safe."""

import copy
import io
import pickle

import numpy as np
import pytest

import flambeau as torch
from flambeau.ops.record import TABLE
from flambeau.sparse.coo import SparseTensor
from flambeau.sparse.forms import FORMS

F = torch.nn.functional


def make(rng, shape=(4, 5), sparse_dim=2, nnz=7, dtype=torch.float64, values=None):
    """(sparse tensor of random places with repetitions, the same as an array)."""
    places = np.stack([rng.integers(0, n, nnz) for n in shape[:sparse_dim]])
    held = rng.standard_normal((nnz, *shape[sparse_dim:])) if values is None else values
    dense = np.zeros(shape)
    np.add.at(dense, tuple(places), held)
    return torch.sparse_coo_tensor(places, held, shape, dtype=dtype), dense


@pytest.mark.parametrize("shape,sparse_dim", [((9,), 1), ((4, 5), 2), ((4, 5), 1), ((3, 4, 2), 2), ((3, 4, 2), 3), ((3, 0, 2), 2)])
@pytest.mark.parametrize("nnz", [0, 1, 30])
def test_conversions(rng, shape, sparse_dim, nnz):
    s, dense = make(rng, shape, sparse_dim, 0 if 0 in shape else nnz)
    np.testing.assert_allclose(s.to_dense().numpy(), dense, atol=1e-12)
    c = s.coalesce()
    assert c.is_coalesced() and c.coalesce() is c
    keys = np.ravel_multi_index(tuple(c.indices().numpy()), shape[:sparse_dim]) if c._nnz() else np.empty(0)
    assert (np.diff(keys) > 0).all()
    np.testing.assert_allclose(c.to_dense().numpy(), dense, atol=1e-12)
    back = torch.from_numpy(dense).to_sparse(sparse_dim)
    assert back.sparse_dim() == sparse_dim and back.is_coalesced()
    np.testing.assert_array_equal(back.to_dense().numpy(), dense)


# every op of one tensor: as the op of the dense tensor, or an error that names it --------------------
ONE = sorted(n for n, op in TABLE.items() if op.option("method", True) and op.params and op.params[0] in ("input", "self") and all(p in op.defaults for p in op.params[1:]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ONE)
def test_every_op_of_one_tensor(rng, name):
    s, dense = make(rng, values=rng.random(7) * 0.5)
    want = None
    try:
        got = TABLE[name].call(s)
    except (RuntimeError, TypeError, ValueError, IndexError) as e:
        assert name not in FORMS or "sparse" in str(e), e
        return
    want = TABLE[name].call(torch.from_numpy(dense))
    for a, b in zip(*[x if isinstance(x, tuple) else (x,) for x in (got, want)], strict=True):
        np.testing.assert_allclose(a.to_dense().numpy(), b.numpy(), atol=1e-12)


TWO = sorted(n for n, op in TABLE.items() if op.option("method", True) and op.params and op.params[0] in ("input", "self")
             and len(op.params) > 1 and op.params[1] in ("other", "mat2", "vec2", "vec", "src", "exponent", "end", "weight"))  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kinds", ["ss", "sd", "ds"])
@pytest.mark.parametrize("name", TWO)
def test_every_op_of_two_tensors(rng, name, kinds):
    (a, x), (b, y) = make(rng, (4, 4)), make(rng, (4, 4))
    operands = [t if kind == "s" else t.to_dense() for t, kind in zip((a, b), kinds, strict=True)]
    for call in (TABLE[name].call, getattr(torch.Tensor, name + "_", TABLE[name].call)):
        try:
            got = call(*[t.clone() for t in operands])
        except (RuntimeError, TypeError, ValueError, IndexError):
            continue
        want = TABLE[name].call(torch.from_numpy(x), torch.from_numpy(y))
        np.testing.assert_allclose(got.to_dense().numpy(), want.numpy(), atol=1e-12)


def test_most_ops_say_that_they_are_not_there():
    s = torch.eye(2).to_sparse()
    for call in (lambda: s.exp(), lambda: s.clamp(0, 1), lambda: s.view(4), lambda: s.sort(), lambda: s > 0, lambda: F.gelu(s),
                 lambda: s.fill_(1), lambda: s.resize_(3), lambda: torch.nn.Parameter(s), lambda: s[0:1], lambda: s[s], lambda: torch.eye(2).sub_(s).mul_(s)):  # fmt: skip
        with pytest.raises(RuntimeError, match="sparse"):
            call()


# two operands, against NumPy --------------------------------------------------------------------------
PAIRS = {
    "s + t": (lambda a, b: a + b), "s - t": (lambda a, b: a - b), "s * t": (lambda a, b: a * b),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("kinds", ["ss", "sc", "cs", "cc", "ds"])
def test_arithmetic(rng, name, kinds):
    (a, x), (b, y) = make(rng), make(rng, nnz=11)
    pick = {"s": lambda t: t, "c": lambda t: t.coalesce(), "d": lambda t: t.to_dense()}
    got = PAIRS[name](pick[kinds[0]](a), pick[kinds[1]](b))
    np.testing.assert_allclose(got.to_dense().numpy(), PAIRS[name](x, y), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.complex64])
@pytest.mark.parametrize("sizes", [(4, 5, 3), (300, 200, 33), (3, 7, 1), (5, 4, 0), (1, 1, 70)])
def test_products(rng, dtype, sizes):
    m, k, n = sizes
    nnz = min(m * k * 3, 4000)
    places = np.stack([rng.integers(0, m, nnz), rng.integers(0, k, nnz)])
    values, right, left = (rng.integers(-4, 5, s).astype(float) for s in ((nnz,), (k, n), (n, m)))
    dense = np.zeros((m, k))
    np.add.at(dense, tuple(places), values)
    s = torch.sparse_coo_tensor(places, values, (m, k)).to(dtype)
    right_, left_ = torch.tensor(right).to(dtype), torch.tensor(left).to(dtype)
    near = {"atol": 0.05, "rtol": 0.02} if dtype in (torch.float16, torch.bfloat16) else {}
    as_numbers = lambda t: (t.real if dtype.is_complex else t).double().numpy()
    np.testing.assert_allclose(as_numbers(s @ right_), dense @ right, **near)
    np.testing.assert_allclose(as_numbers(left_ @ s), left @ dense, **near)
    if dtype.is_floating_point:
        np.testing.assert_allclose(as_numbers((s @ s.t()).to_dense()), dense @ dense.T, atol=1e-3, rtol=0.02)


def test_products_are_the_same_bits_for_any_number_of_threads(rng):
    s, _ = make(rng, (500, 400), 2, 5000, torch.float32)
    x = torch.from_numpy(rng.standard_normal((400, 50)).astype("f"))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = s.coalesce() @ x
        torch.set_num_threads(2)
        assert bool((s.coalesce() @ x == one).all())
    finally:
        torch.set_num_threads(before)


def test_what_products_remember_goes_with_the_indices():
    i, x = torch.tensor([[0, 2], [1, 0]]), torch.arange(6.0).reshape(3, 2)
    s = torch.sparse_coo_tensor(i, torch.tensor([1.0, 2.0]), (3, 3))
    assert (s @ x).tolist() == [[2, 3], [0, 0], [0, 2]] and (s.t() @ x).tolist() == [[8, 10], [0, 1], [0, 0]]
    assert (s @ x[:, :1]).tolist() == [[2], [0], [0]]
    i.copy_(torch.tensor([[1, 0], [2, 2]]))
    assert (s @ x).tolist() == [[8, 10], [4, 5], [0, 0]]
    assert not i.__dict__ and "_rows" not in pickle.dumps(s).decode("latin1")


# gradients --------------------------------------------------------------------------------------------
D = torch.arange(20.0, dtype=torch.float64).reshape(4, 5) / 7 - 1
E = torch.arange(15.0, dtype=torch.float64).reshape(5, 3) / 5 - 1
OF_VALUES = {
    "to_dense": lambda s: s, "coalesce": lambda s: s.coalesce(), "values": lambda s: s.coalesce().values(), "neg": lambda s: -s,
    "scaled": lambda s: s * 3 / 2, "mm": lambda s: s @ E, "left": lambda s: E.t() @ s.t(), "mv": lambda s: s @ E[:, 0],
    "both": lambda s: s @ s.t(), "sum": lambda s: s.sum(), "sum0": lambda s: torch.sparse.sum(s, 0), "sum1": lambda s: s.sum(1),
    "softmax": lambda s: torch.sparse.softmax(s, 1), "log_softmax": lambda s: torch.sparse.log_softmax(s, 0),
    "sin": lambda s: s.sin(), "square": lambda s: s**2, "plus dense": lambda s: D + s, "times dense": lambda s: s * D,
    "plus": lambda s: s + s.coalesce() * 2, "times": lambda s: s * s, "mask": lambda s: D.sparse_mask(s) * s,
    "select": lambda s: s[1], "column": lambda s: s[:, 2], "index": lambda s: s.index_select(1, torch.tensor([3, 0, 3])),
    "cat": lambda s: torch.cat([s, s], 1), "stack": lambda s: torch.stack([s, s]), "addmm": lambda s: torch.addmm(D[:, :3], s, E, beta=2, alpha=3),
    "clone": lambda s: s.clone(), "norm": lambda s: s.norm(),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_VALUES)
def test_gradients_of_values(rng, name):
    places = np.stack([rng.integers(0, 4, 9), rng.integers(0, 5, 9)])
    values = torch.tensor(rng.standard_normal(9), requires_grad=True)
    run = lambda v: OF_VALUES[name](torch.sparse_coo_tensor(places, v, (4, 5))).to_dense()
    assert torch.autograd.gradcheck(run, (values,))
    assert torch.autograd.gradgradcheck(run, (values,))


OF_DENSE = {
    "to_sparse": lambda x: x.to_sparse(), "rows": lambda x: x.to_sparse(1), "mask": lambda x: x.sparse_mask(MASK), "mm": lambda x: MASK.t() @ x,
    "left": lambda x: x.t() @ MASK, "mv": lambda x: MASK @ x[0], "plus": lambda x: x + MASK, "times": lambda x: MASK * x, "minus": lambda x: x.sub(MASK, alpha=2),
}  # fmt: skip
MASK = torch.sparse_coo_tensor([[0, 2, 2, 0], [1, 1, 4, 1]], torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64), (4, 5))


@pytest.mark.parametrize("name", OF_DENSE)
def test_gradients_of_dense_operands(rng, name):
    x = torch.tensor(rng.standard_normal((4, 5)), requires_grad=True)
    run = lambda x: OF_DENSE[name](x).to_dense()
    assert torch.autograd.gradcheck(run, (x,))
    assert torch.autograd.gradgradcheck(run, (x,))


def test_gradients_of_sparse_leaves(rng):
    s, dense = make(rng)
    s.requires_grad_()
    (s @ E).pow(2).sum().backward()
    x = torch.tensor(dense, requires_grad=True)
    (x @ E).pow(2).sum().backward()
    assert s.grad.is_sparse and s.grad.is_coalesced()
    np.testing.assert_allclose(s.grad.to_dense().numpy(), x.grad.sparse_mask(s.detach().coalesce()).to_dense().numpy())


# gradients of embeddings ------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"max_norm": 1.0}])
def test_embedding(rng, options):
    table, at = rng.standard_normal((9, 3)), torch.tensor(rng.integers(0, 9, (4, 6)))
    found = []
    for sparse in (True, False):
        w = torch.tensor(table, requires_grad=True)
        (F.embedding(at, w, sparse=sparse, **options).sin() * torch.arange(18.0).reshape(6, 3)).sum().backward()
        assert w.grad.is_sparse is sparse
        found.append(w.grad.to_dense().numpy())
    np.testing.assert_allclose(*found, atol=1e-12)


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_embedding_bag(rng, mode, padding_idx, weighted):
    if weighted and mode != "sum":
        return
    table, at = rng.standard_normal((9, 3)), torch.tensor(rng.integers(0, 9, 10))
    found = []
    for sparse in (True, False):
        w = torch.tensor(table, requires_grad=True)
        weights = torch.arange(10.0, dtype=torch.float64) if weighted else None
        out = F.embedding_bag(at, w, torch.tensor([0, 3, 3]), mode=mode, padding_idx=padding_idx, sparse=sparse, per_sample_weights=weights)
        out.pow(2).sum().backward()
        assert w.grad.is_sparse is sparse
        found.append(w.grad.to_dense().numpy())
    np.testing.assert_allclose(*found, atol=1e-12)


def test_a_large_table_is_never_copied():
    table = torch.nn.Embedding(1_000_000, 16, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    table(torch.tensor([5, 999_999])).sum().backward()
    assert table.weight.grad._values().shape == (2, 16)
    before = table.weight.detach()[5].clone()
    optimizer.step()
    np.testing.assert_allclose(table.weight.detach()[5].numpy(), before.numpy() - 0.1)


@pytest.mark.parametrize("name,other,options", [
    ("SparseAdam", "Adam", {}), ("SparseAdam", "Adam", {"maximize": True, "betas": (0.5, 0.8), "eps": 1e-3}), ("SGD", "SGD", {}),
    ("SGD", "SGD", {"momentum": 0.9, "dampening": 0.2}), ("SGD", "SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adagrad", "Adagrad", {"lr_decay": 0.1, "maximize": True}),
])  # fmt: skip
def test_optimizers_as_with_dense_gradients(rng, name, other, options):
    table, found = rng.standard_normal((4, 3)), []
    for kind, sparse in ((name, True), (other, False)):
        r = np.random.default_rng(0)
        w = torch.tensor(table, requires_grad=True)
        optimizer = getattr(torch.optim, kind)([w], lr=0.1, **options)
        for _ in range(5):
            at = torch.tensor(np.r_[np.arange(4), r.integers(0, 4, 3)])  # every row, some of them twice
            optimizer.zero_grad()
            F.embedding(at, w, sparse=sparse).sin().sum().backward()
            optimizer.step()
        found.append(w.detach().numpy())
    near = 1e-6 if options.get("eps") is None or name != "SparseAdam" else 0.05  # SparseAdam adds eps before it corrects sqrt(v)
    np.testing.assert_allclose(*found, atol=near)


def test_sparse_adam_leaves_other_rows_alone():
    w = torch.nn.Parameter(torch.ones(5, 2))
    optimizer = torch.optim.SparseAdam([w], lr=0.1)
    for at in ([1, 1], [3, 1]):
        optimizer.zero_grad()
        F.embedding(torch.tensor(at), w, sparse=True).sum().backward()
        optimizer.step()
    state = optimizer.state[w]
    assert state["step"] == 2 and [bool((state["exp_avg"][i] != 0).all()) for i in range(5)] == [False, True, False, True, False]
    assert w.detach()[[0, 2, 4]].tolist() == [[1, 1]] * 3


def test_clipping():
    w = torch.nn.Parameter(torch.ones(4, 2))
    F.embedding(torch.tensor([1, 3, 1]), w, sparse=True).sum().backward()
    total = torch.nn.utils.clip_grad_norm_([w], 1.0)
    np.testing.assert_allclose([total.item(), w.grad.norm().item()], [10**0.5, 1.0], rtol=1e-5)


# copies, files ----------------------------------------------------------------------------------------
def test_copies(rng):
    s, dense = make(rng)
    for t in (copy.deepcopy(s), copy.copy(s), pickle.loads(pickle.dumps(s)), s.clone(), s.detach()):
        assert type(t) is SparseTensor and not t.is_coalesced() and t._nnz() == 7
        np.testing.assert_allclose(t.to_dense().numpy(), dense)
    buffer = io.BytesIO()
    torch.save({"s": s, "c": s.coalesce()}, buffer)
    buffer.seek(0)
    found = torch.load(buffer)
    assert found["c"].is_coalesced() and not found["s"].is_coalesced()
    np.testing.assert_allclose(found["s"].to_dense().numpy(), dense)
    module = torch.nn.Module()
    module.register_buffer("s", s)
    fresh = torch.nn.Module()
    fresh.register_buffer("s", torch.sparse_coo_tensor((4, 5), dtype=torch.float64))
    fresh.load_state_dict(module.state_dict())
    np.testing.assert_allclose(fresh.float().s.to_dense().numpy(), dense, rtol=1e-6)


def test_indices_outside_are_errors_wherever_they_come_from():
    with pytest.raises(RuntimeError, match="size is 2 but found index 5"):
        torch.sparse_coo_tensor([[0, 5]], [1.0, 2.0], (2,))
    with pytest.raises(RuntimeError, match="found negative index -1 for dim 1"):
        torch.sparse_coo_tensor([[0], [-1]], [1.0], (2, 2))
    for bad in (99, -99):
        s = torch.eye(3).to_sparse()
        s._indices().fill_(bad)
        for use in (lambda s=s: s.to_dense(), lambda s=s: s @ torch.ones(3, 2), lambda s=s: torch.ones(3, 3) + s, lambda s=s: torch.ones(3, 3).add_(s),
                    lambda s=s: torch.ones(3, 3).sparse_mask(s), lambda s=s: s @ s, lambda s=s: s.t() @ torch.ones(3, 2)):  # fmt: skip
            with pytest.raises((IndexError, RuntimeError)):
                use()


def test_changes_are_noticed_by_backward():
    s = torch.eye(2).to_sparse().requires_grad_()
    c = s * 2
    loss = (c * c).to_dense().sum()
    c.add_(c)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
