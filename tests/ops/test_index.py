"""Indexing by tensors against NumPy, at sizes where each kernel takes its paths: elements, rows, pieces of rows, blocks."""

import numpy as np
import pytest

import flambeau as torch


def indices(rng, low, high, *shape):
    return rng.integers(low, high, shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.complex64, np.bool_])
def test_rows_by_one_index(rng, dtype):
    for shape in ((100, 33), (40, 300), (9, 4, 5), (50,), (7, 1)):
        a = (rng.standard_normal(shape) * 9).astype(dtype)
        i = indices(rng, -shape[0], shape[0], 57)
        np.testing.assert_array_equal(torch.from_numpy(a)[torch.from_numpy(i)].numpy(), a[i])
        t = torch.from_numpy(a)
        if a.ndim > 1:
            j = indices(rng, 0, shape[-1], 23)
            np.testing.assert_array_equal(t.index_select(-1, torch.from_numpy(j)).numpy(), a.take(j, -1))
            turned = t.movedim(0, -1)[torch.from_numpy(j % shape[1])]
            np.testing.assert_array_equal(turned.numpy(), np.moveaxis(a, 0, -1)[j % shape[1]])


def test_several_indices_broadcast(rng):
    a = rng.standard_normal((10, 12, 7)).astype(np.float32)
    i, j, k = indices(rng, -10, 10, 5), indices(rng, -12, 12, 3, 1), indices(rng, -7, 7, 5)
    t, (ti, tj, tk) = torch.from_numpy(a), map(torch.from_numpy, (i, j, k))
    np.testing.assert_array_equal(t[:, tj, tk].numpy(), a[:, j, k])
    np.testing.assert_array_equal(t[ti, :, tk].numpy(), a[i, :, k])
    np.testing.assert_array_equal(t[ti, tj, tk].numpy(), a[i, j, k])
    np.testing.assert_array_equal(t.permute(2, 0, 1).index_select(1, ti % 10).numpy(), a.transpose(2, 0, 1).take(i % 10, 1))
    np.testing.assert_array_equal(t.index_select(1, tj.reshape(-1) % 12).numpy(), a.take(j.ravel() % 12, 1))
    with pytest.raises(IndexError, match="could not be broadcast"):
        t[ti, torch.from_numpy(indices(rng, 0, 5, 4))]


@pytest.mark.parametrize("bad", [10, -11, 1 << 40, -(1 << 62), -(1 << 63)])
def test_indices_out_of_range_name_themselves(bad):
    x = torch.zeros(10, 3)
    i = torch.zeros(9000, dtype=torch.int64)
    i[8999] = bad
    with pytest.raises(IndexError, match=f"index {bad} is out of bounds for dimension 0 with size 10"):
        x[i]
    with pytest.raises(IndexError, match=f"index {bad} is out of bounds for dimension 1 with size 10"):
        x.t()[:, i]
    with pytest.raises(IndexError, match=f"index_select.*index {bad} is out of bounds"):
        x.index_select(0, i)
    with pytest.raises(IndexError, match="index -1 is out of bounds"):
        x.index_select(0, torch.tensor([-1]))
    with pytest.raises(IndexError, match="out of bounds"):
        x.take(torch.tensor([30]))
    one, row = torch.tensor([bad]), torch.zeros(1, 3)
    for write in (
        lambda: x.index_put((one,), row), lambda: x.index_put((one,), row, accumulate=True), lambda: x.index_copy(0, one, row),
        lambda: x.index_reduce(0, one, row, "amax"), lambda: x[one].sum(), lambda: x[torch.tensor([0]), one],
    ):  # fmt: skip
        with pytest.raises(IndexError, match=f"index {bad} is out of bounds"):
            write()
    for along in (
        lambda: x.gather(0, one[:, None]), lambda: x.scatter(0, one[:, None], row), lambda: x.scatter_add(0, one[:, None], row),
        lambda: x.index_add(0, one, row), lambda: x.t().index_add(1, one, row.t()),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
            along()


@pytest.mark.parametrize("shape", [(5000,), (50, 70), (13, 17, 19), (1, 1), (3, 0, 2)])
def test_positions_of_true_elements(rng, shape):
    a = rng.standard_normal(shape) > 0.3
    t = torch.from_numpy(a)
    np.testing.assert_array_equal(t.nonzero().numpy(), np.argwhere(a))
    for got, want in zip(t.nonzero(as_tuple=True), np.nonzero(a), strict=True):
        np.testing.assert_array_equal(got.numpy(), want)
    values = rng.standard_normal(shape).astype(np.float32)
    np.testing.assert_array_equal(torch.from_numpy(values)[t].numpy(), values[a])
    np.testing.assert_array_equal(torch.from_numpy(values).masked_select(t).numpy(), values[a])


def test_positions_of_zero_dimensional():
    assert torch.tensor(True).nonzero().shape == (1, 0)
    assert torch.tensor(False).nonzero().shape == (0, 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_added_where_indices_meet(rng, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for shape in ((40, 300), (40,), (40, 3, 70), (40, 1)):
            a = rng.integers(0, 9, shape).astype(np.float32)
            i = indices(rng, 0, 40, 99)
            b = rng.integers(0, 9, (99, *shape[1:])).astype(np.float32)
            want = a.copy()
            np.add.at(want, i, b)
            t, ti, tb = map(torch.from_numpy, (a, i, b))
            np.testing.assert_array_equal(t.index_add(0, ti, tb).numpy(), want)
            np.testing.assert_array_equal(t.index_put((ti,), tb, accumulate=True).numpy(), want)
            order = rng.permutation(40)
            np.testing.assert_array_equal(t.index_copy(0, torch.from_numpy(order), t).numpy()[order], a)
            last = a.copy()
            for j, row in zip(i, b, strict=True):
                last[j] = row
            np.testing.assert_array_equal(t.index_copy(0, ti, tb).numpy(), last)
            for method, kept in (("index_add_", want), ("index_copy_", last)):
                wide = torch.full((2, *shape), 5.0)
                wide[1] = t
                assert getattr(wide[1], method)(0, ti, tb)._base is wide
                np.testing.assert_array_equal(wide.numpy(), [np.full(shape, 5.0), kept])
            signed = t.clone()
            signed[ti - 40] = tb
            np.testing.assert_array_equal(signed.numpy(), last)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["index_add_", "index_copy_", "scatter_", "scatter_add_"])
def test_changes_in_place_are_recorded(rng, name):
    x = torch.from_numpy(rng.standard_normal((6, 20))).requires_grad_()
    source = torch.from_numpy(rng.standard_normal((3, 20))).requires_grad_()
    index = torch.tensor([4, 0, 4]) if name.startswith("index") else torch.tensor([[4], [0], [2]]).expand(3, 20)
    y = x * 1
    getattr(y[:], name)(0, index, source)
    z = getattr(x, name[:-1])(0, index, source)
    assert y.tolist() == z.tolist()
    g = torch.from_numpy(rng.standard_normal((6, 20)))
    for got, want in zip(torch.autograd.grad(y, (x, source), g), torch.autograd.grad(z, (x, source), g), strict=True):
        assert got.tolist() == want.tolist()
    with pytest.raises(RuntimeError, match="leaf Variable"):
        getattr(x, name)(0, index, source)
    with pytest.raises((IndexError, RuntimeError), match="index 6 is out of bounds"):
        getattr(y.detach(), name)(0, index * 0 + 6, source.detach())


def test_sources_in_the_memory_that_changes():
    x = torch.arange(64.0).reshape(4, 16)
    x.index_copy_(0, torch.tensor([1, 2, 3]), x[:3])
    assert x[:, 0].tolist() == [0, 0, 16, 32]
    i = torch.tensor([2, 0, 1])
    i.index_copy_(0, i, i)
    assert i.tolist() == [0, 1, 2]
    x[torch.tensor([0, 1, 2])] = x[1:]
    assert x[:, 0].tolist() == [0, 16, 32, 32]


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_scatter_adds_in_order(rng, dim):
    y = rng.integers(0, 9, (40, 30, 170)).astype(np.float32)
    i = indices(rng, 0, y.shape[dim], 33, 20, 160)
    x = rng.integers(0, 9, (33, 20, 160)).astype(np.float32)
    want, at = y.copy(), list(np.indices(i.shape))
    at[dim] = i
    np.add.at(want, tuple(at), x)
    t, ti, tx = map(torch.from_numpy, (y, i, x))
    np.testing.assert_array_equal(t.scatter_add(dim, ti, tx).numpy(), want)
    np.testing.assert_array_equal(t.clone().scatter_add_(dim, ti, tx).numpy(), want)
    np.testing.assert_array_equal(t.gather(dim, ti).numpy(), y[tuple(at)])
    with pytest.raises(RuntimeError, match="out of bounds"):
        t.scatter_add(dim, ti + 200, tx)


def test_take_and_its_gradient():
    x = torch.arange(12.0).reshape(3, 4).requires_grad_()
    y = x.t().take(torch.tensor([[0, -1], [1, 1]]))
    assert y.tolist() == [[0.0, 11.0], [4.0, 4.0]]
    y.sum().backward()
    assert x.grad.tolist() == [[1, 0, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]]
