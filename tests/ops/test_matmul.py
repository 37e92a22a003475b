"""Matrix products against NumPy in float64: layouts, dtypes, edges of every tile, batches, accumulation, errors."""

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import dtypes as dt
from flambeau.ops import gemm
from flambeau.ops.matmul import multiply
from flambeau.runtime.threads import get_num_threads, set_num_threads

EPS = {torch.float32: 2.0**-20, torch.float64: 2.0**-49, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}
LAYOUTS = ("dense", "turned", "apart", "every other")


@pytest.fixture(params=(1, 3), ids="{} threads".format)
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


def matrix(rng, rows: int, cols: int, layout: str = "dense", dtype=torch.float32, batch=()):
    """Small whole numbers, so that integers do not overflow; in the given layout."""

    def draw(*shape):
        x = rng.integers(-4, 5, (*batch, *shape)).astype(np.float64)
        if not dtype.is_floating_point and not dtype.is_complex:
            return torch.tensor(np.abs(x) if not dtype.is_signed else x).to(dtype)
        x = x + rng.random(x.shape)
        if dtype.is_complex:
            x = x + 1j * rng.random(x.shape)
        return torch.tensor(x).to(dtype)

    if layout == "turned":
        return draw(cols, rows).mT
    if layout == "apart":
        return draw(rows, cols + 3)[..., :cols]
    if layout == "every other":
        return draw(rows, 2 * cols)[..., ::2]
    return draw(rows, cols)


def exact(x):
    """As NumPy, in float64 (complex128, or int64)."""
    d = x.dtype
    return x.to(torch.complex128 if d.is_complex else torch.float64 if d.is_floating_point else torch.int64).numpy()


def close(got, a, b, plus=0.0):
    """Errors within the dtype's rounding of the sum of absolute products."""
    want = exact(a) @ exact(b) + plus
    if got.dtype not in EPS and not got.dtype.is_complex:
        np.testing.assert_array_equal(got.numpy(), want.astype(got.numpy().dtype))
        return
    eps = EPS[got.dtype.to_real() if got.dtype.is_complex else got.dtype]
    bound = eps * (np.abs(exact(a)) @ np.abs(exact(b)) + np.abs(plus)) + 1e-300
    assert (np.abs(exact(got) - want) <= bound).all(), np.abs(exact(got) - want).max()


def edges(n: int) -> tuple[int, int, int]:
    return n - 1, n, n + 1


TILE = gemm.tile_for(dt.float32)


@pytest.mark.parametrize("b", LAYOUTS)
@pytest.mark.parametrize("a", LAYOUTS)
def test_every_pair_of_layouts(rng, threads, a, b):
    for m, k, n in ((1, 9, 40), (3, 70, 5), (7, 20, 33), (40, 50, 3), (29, 130, 71), (40, 40, 1), (90, 90, 90)):
        x, y = matrix(rng, m, k, a), matrix(rng, k, n, b)
        close(x @ y, x, y)


@pytest.mark.parametrize("m", sorted({1, 2, 4, 5, *edges(TILE.mr // 3), *edges(TILE.mr), *edges(3 * TILE.mr)}))
def test_sizes_around_the_register_tile(rng, m):
    for n, k in itertools.product((1, *edges(TILE.nr // 2), *edges(TILE.nr), *edges(2 * TILE.nr)), (1, 3, 4, 21)):
        for layout in ("dense", "turned"):
            x, y = matrix(rng, m, k), matrix(rng, k, n, layout)
            close(x @ y, x, y)


@pytest.mark.parametrize("k", (*edges(TILE.kc), 2 * TILE.kc + 5))
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_depths_around_a_block(rng, threads, k, layout):
    for m, n in ((2, 40), (13, 65), (50, 3)):
        x, y = matrix(rng, m, k, layout), matrix(rng, k, n, layout)
        close(x @ y, x, y)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 5), (20, 9)])
def test_a_long_sum_is_cut_for_the_threads(rng, threads, shape):
    m, n = shape
    for layout in LAYOUTS[:2]:
        x, y = matrix(rng, m, 6001, layout), matrix(rng, 6001, n, layout)
        close(x @ y, x, y)
        out = matrix(rng, m, n)
        before = exact(out)
        multiply(x, y, out, accumulate=True)
        close(out, x, y, before)


@pytest.mark.parametrize("n", (200, 1500))
def test_more_columns_than_a_block_holds(rng, threads, n):
    x, y = matrix(rng, 30, 390), matrix(rng, 390, n, "turned")
    close(x @ y, x, y)


INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@pytest.mark.parametrize("dtype", [*EPS, torch.complex64, torch.complex128, *INTEGERS], ids=str)
def test_dtypes(rng, dtype):
    for m, k, n in ((1, 5, 9), (3, 40, 2), (14, 30, 70), (5, 500, 6)):
        for a, b in (("dense", "turned"), ("turned", "dense"), ("every other", "apart")):
            x, y = matrix(rng, m, k, a, dtype), matrix(rng, k, n, b, dtype)
            close(x @ y, x, y)


def test_half_precisions_are_summed_in_float32(rng):
    ones = torch.ones(1, 5000, dtype=torch.bfloat16)
    assert (ones @ ones.t()).item() == 4992  # the bfloat16 nearest to 5000; summed in bfloat16 it would stop at 256


def test_integers_wrap():
    x = torch.full((2, 3), 100, dtype=torch.int8)
    assert (x @ x.t()).tolist() == [[48, 48], [48, 48]]  # 30000 mod 256


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
def test_empty(shape):
    m, k, n = shape
    y = torch.ones(m, k) @ torch.ones(k, n)
    assert y.shape == (m, n) and not y.numpy().any()
    y = torch.ones(2, m, k) @ torch.ones(2, k, n)
    assert y.shape == (2, m, n) and not y.numpy().any()


@pytest.mark.parametrize(
    "a, b",
    [((5, 3, 4), (5, 4, 6)), ((5, 3, 4), (4, 6)), ((3, 4), (5, 4, 6)), ((2, 1, 3, 4), (5, 4, 6)), ((4,), (5, 4, 6)), ((5, 3, 4), (4,)),
     ((1, 3, 4), (7, 4, 6)), ((7, 30, 50), (7, 50, 40))],
)  # fmt: skip
def test_batches_and_broadcasting(rng, threads, a, b):
    x, y = torch.tensor(rng.standard_normal(a)), torch.tensor(rng.standard_normal(b))
    np.testing.assert_allclose((x @ y).numpy(), x.numpy() @ y.numpy(), rtol=0, atol=1e-13)


def test_batches_of_transposed_and_expanded_matrices(rng, threads):
    x = matrix(rng, 20, 30, "turned", batch=(3,))
    y = matrix(rng, 30, 17, "apart").expand(3, 30, 17)
    close(torch.bmm(x, y), x, y)
    wide = torch.tensor(rng.standard_normal((30, 3, 20))).permute(1, 2, 0)
    close(torch.bmm(wide, y.double()), wide, y.double())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_into_any_layout(rng, threads, layout):
    for m, k, n in ((13, 40, 35), (3, 40, 35), (40, 40, 2), (2, 9000, 2), (1, 30, 60)):
        x, y, out = matrix(rng, m, k), matrix(rng, k, n), matrix(rng, m, n, layout)
        before = exact(out)
        multiply(x, y, out, accumulate=True)
        close(out, x, y, before)
        multiply(x, y, out)
        close(out, x, y)


@pytest.mark.parametrize("words", ["column", "row", "column relu", "row relu", "relu"])
@pytest.mark.parametrize("shape", [(13, 40, 35), (3, 40, 35), (3, 40, 5), (40, 40, 2), (50, 900, 40), (2, 9000, 3)])
def test_epilogues(rng, words, shape):
    m, k, n = shape
    bias = torch.tensor(rng.standard_normal(n if "column" in words else m)).float()
    plus = exact(bias)[None, :] if "column" in words else exact(bias)[:, None] if "row" in words else 0
    for layout, to in (("dense", "dense"), ("turned", "turned")):
        x, y, out = matrix(rng, m, k, layout), matrix(rng, k, n, layout), matrix(rng, m, n, to)
        multiply(x, y, out, bias, words)
        want = exact(x) @ exact(y) + plus
        want = np.maximum(want, 0) if "relu" in words else want
        bound = EPS[torch.float32] * (np.abs(exact(x)) @ np.abs(exact(y)) + np.abs(plus))
        assert (np.abs(exact(out) - want) <= bound).all()


def test_nothing_beside_the_result_is_written(rng):
    for m, k, n in ((13, 40, 35), (3, 40, 35), (3, 40, 5), (40, 40, 2), (5, 7, 16)):
        room = torch.full((m + 2, n + 2), 7.0)
        for layout in LAYOUTS[:2]:
            multiply(matrix(rng, m, k), matrix(rng, k, n, layout), room[1:-1, 1:-1])
            room[1:-1, 1:-1] = 7.0
            assert (room == 7.0).all()


def test_not_a_number_stays_in_its_row_and_column():
    x, y = torch.ones(20, 30), torch.ones(30, 50)
    x[3, 4], y[5, 6] = float("nan"), float("inf")
    bad = ~torch.isfinite(x @ y)
    want = torch.zeros(20, 50, dtype=torch.bool)
    want[3, :] = want[:, 6] = True
    assert (bad == want).all()


def test_threads_do_not_change_what_is_summed_in_one_order(rng):
    x, y = matrix(rng, 200, 300), matrix(rng, 300, 170, "turned")
    before, found = get_num_threads(), []
    for n in (1, 2, 3):
        set_num_threads(n)
        found.append((x @ y).numpy())
    set_num_threads(before)
    assert all((f == found[0]).all() for f in found)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_gradients(rng, layout):
    x, y = matrix(rng, 4, 6, layout, torch.float64), matrix(rng, 6, 5, layout, torch.float64)
    x, y = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(torch.matmul, (x, y))
    assert torch.autograd.gradcheck(lambda a, b: a @ b[:, 0], (x, y))
    assert torch.autograd.gradcheck(lambda a, b: torch.addmm(b[0, :5], a, b, alpha=2, beta=3), (x, y))


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: torch.mm(torch.ones(2, 3), torch.ones(4, 5)), "mat1 and mat2 shapes cannot be multiplied .2x3 and 4x5."),
        (lambda: torch.ones(2, 3) @ torch.ones(3, 4).double(), "same dtype"),
        (lambda: torch.mm(torch.ones(2), torch.ones(3, 4)), "matrix"),
        (lambda: torch.mm(torch.ones(2, 3, 1), torch.ones(3)), "matrix"),
        (lambda: torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 5, 6)), "first two dimensions of batch2"),
        (lambda: torch.bmm(torch.ones(3, 4), torch.ones(2, 4, 6)), "3D tensor"),
        (lambda: torch.mv(torch.ones(2, 3), torch.ones(4)), "size mismatch"),
        (lambda: torch.dot(torch.ones(2), torch.ones(3)), "inconsistent tensor size"),
        (lambda: torch.tensor(1.0) @ torch.ones(3), "at least 1D"),
    ],
)
def test_errors(call, says):
    with pytest.raises(RuntimeError, match=says):
        call()


def test_a_number_is_no_matrix():
    with pytest.raises(TypeError):
        torch.mm(torch.ones(2, 3), 3)


@pytest.mark.parametrize("machine", [(6, 8, False), (12, 4, False)], ids=("avx2", "neon"))
def test_tiles_of_other_machines(rng, monkeypatch, machine):
    mr, lanes, masks = machine
    monkeypatch.setattr(gemm, "tile_for", lambda acc: gemm.Tile(mr, 2 * lanes, 32, lanes, masks))
    gemm.plan.cache_clear()
    try:
        for m, k, n in ((5, 9, 7), (mr, 32, 2 * lanes), (2 * mr + 1, 70, 6 * lanes + 1), (4 * mr + 3, 33, 3 * lanes)):
            for a, b in (("dense", "turned"), ("turned", "dense"), ("every other", "apart")):
                x, y, out = matrix(rng, m, k, a), matrix(rng, k, n, b), matrix(rng, m, n)
                before = exact(out)
                multiply(x, y, out, accumulate=True)
                close(out, x, y, before)
    finally:
        gemm.plan.cache_clear()
