"""Attention against its definition in float64 NumPy, its gradients against finite differences."""

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from tests.tolerances import assert_close

F = torch.nn.functional
SDPA = F.scaled_dot_product_attention
# batch, heads, heads of keys, queries, keys, width, width of values
SIZES = [(2, 3, 3, 5, 7, 4, 6), (1, 2, 2, 64, 64, 32, 32), (2, 4, 2, 70, 130, 20, 33), (1, 2, 1, 130, 66, 65, 17), (1, 1, 1, 200, 3, 1, 1)]


def reference(q, k, v, mask=None, causal=False, scale=None):
    """softmax(q k^T scale + mask) v; queries that see nothing give 0."""
    times = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, times, 1), np.repeat(v, times, 1)
    s = q @ k.swapaxes(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        mask = np.tril(np.ones(s.shape[-2:], bool))
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    top = s.max(-1, keepdims=True)
    e = np.exp(s - np.where(np.isinf(top), 0, top))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total) @ v


def operands(rng, b, h, hk, queries, keys, n, nv):
    return [rng.standard_normal(s) for s in ((b, h, queries, n), (b, hk, keys, n), (b, hk, keys, nv))]


def masks(rng, b, h, queries, keys):
    bools = rng.random((queries, keys)) > 0.3
    bools[1] = False
    return {"none": None, "bool": bools, "add": rng.standard_normal((b, 1, queries, keys)), "padding": rng.random((b, 1, 1, keys)) > 0.2}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_values(rng, size, causal, dtype):
    q, k, v = operands(rng, *size)
    dtype = getattr(torch, dtype)
    given = [torch.from_numpy(t).to(dtype) for t in (q, k, v)]
    rounded = [t.double().numpy() for t in given]
    y = SDPA(*given, is_causal=causal, enable_gqa=size[1] != size[2])
    assert y.dtype is dtype
    assert_close(y.double().numpy(), reference(*rounded, causal=causal), dtype, slack=2)


@pytest.mark.parametrize("size", SIZES[:4], ids=str)
@pytest.mark.parametrize("how", ["bool", "add", "padding"])
def test_masks(rng, size, how):
    q, k, v = operands(rng, *size)
    mask = masks(rng, size[0], size[1], size[3], size[4])[how]
    y = SDPA(*map(torch.from_numpy, (q, k, v)), attn_mask=torch.from_numpy(mask), scale=0.3, enable_gqa=True)
    assert_close(y.numpy(), reference(q, k, v, mask, scale=0.3))


def test_layouts(rng):
    """Transposed, sliced, broadcast and higher-rank operands give what contiguous ones give."""
    q, k, v = operands(rng, 2, 3, 3, 9, 11, 4, 5)
    want = reference(q, k, v)
    laid = [torch.from_numpy(np.ascontiguousarray(t.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2) for t in (q, k, v)]
    assert_close(SDPA(*laid).numpy(), want)
    wide = [torch.from_numpy(np.repeat(t, 2, -1))[..., ::2] for t in (q, k, v)]
    assert_close(SDPA(*wide).numpy(), want)
    one = SDPA(*map(torch.from_numpy, (q, k[:1], v[:1])))
    assert_close(one.numpy(), reference(q, np.repeat(k[:1], 2, 0), np.repeat(v[:1], 2, 0)))
    ranks = [torch.from_numpy(t).reshape(1, 2, 3, *t.shape[2:]) for t in (q, k, v)]
    assert_close(SDPA(*ranks).numpy()[0], want)
    assert_close(SDPA(*(torch.from_numpy(t[0]) for t in (q, k, v))).numpy(), want[0])
    assert_close(SDPA(*(torch.from_numpy(t[0, 0]) for t in (q, k, v))).numpy(), want[0, 0])


def test_sees_nothing():
    """Queries without a key give 0, and zero gradients."""
    q, k, v = (torch.randn(1, 1, 6, 3, requires_grad=True) for _ in range(3))
    for mask in (torch.zeros(6, 6, dtype=torch.bool), torch.full((6, 6), -math.inf)):
        y = SDPA(q, k, v, attn_mask=mask)
        assert (y == 0).all()
        assert all((g == 0).all() for g in torch.autograd.grad(y.sum(), (q, k, v)))


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 5, 3), (2, 5, 0)])
def test_empty(shape):
    batch, queries, n = shape
    y = SDPA(torch.ones(batch, 2, queries, n), torch.ones(batch, 2, 4, n), torch.ones(batch, 2, 4, 3), scale=1.0)
    assert y.shape == (batch, 2, queries, 3)
    none = SDPA(torch.ones(1, 2, 4, 3), torch.ones(1, 2, 0, 3), torch.ones(1, 2, 0, 3))
    assert (none == 0).all()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("how", ["none", "bool", "add"])
@pytest.mark.parametrize("heads", [(2, 2), (4, 2)])
def test_gradients(rng, causal, how, heads):
    if causal and how != "none":
        pytest.skip("a causal call takes no mask")
    arrays = operands(rng, 1, *heads, 4, 3, 2, 1)
    mask = masks(rng, 1, heads[0], 4, 3)[how]
    mask = None if mask is None else torch.from_numpy(mask)
    inputs = [torch.from_numpy(a).requires_grad_() for a in arrays]

    def fn(q, k, v):
        return SDPA(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=True)

    assert gradcheck(fn, inputs)
    assert gradgradcheck(fn, inputs)


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_many_tiles(rng, causal):
    """The tiled gradients agree with those of the plain products."""
    arrays = operands(rng, 1, 4, 2, 200, 150, 20, 33)
    inputs = [torch.from_numpy(a).requires_grad_() for a in arrays]
    g = torch.from_numpy(rng.standard_normal((1, 4, 200, 33)))
    tiled = torch.autograd.grad(SDPA(*inputs, is_causal=causal, enable_gqa=True), inputs, g)
    q, k, v = inputs
    scores = q @ k.repeat_interleave(2, 1).mT / math.sqrt(20)
    if causal:
        scores = scores.masked_fill(~torch.ones(200, 150, dtype=torch.bool).tril(), -math.inf)
    plain = torch.autograd.grad(scores.softmax(-1) @ v.repeat_interleave(2, 1), inputs, g)
    for a, b in zip(tiled, plain, strict=True):
        assert_close(a.numpy(), b.numpy(), slack=10)


@pytest.mark.parametrize("causal", [False, True])
def test_rounding(rng, causal):
    """Sums over many tiles keep float32's digits: relative errors (root mean square) of the size of PyTorch's."""
    arrays = [*operands(rng, 2, 2, 2, 512, 512, 64, 64), rng.standard_normal((2, 2, 512, 64))]
    found = []
    for dtype in (torch.float32, torch.float64):
        q, k, v, g = (torch.from_numpy(a.astype(np.float32)).to(dtype) for a in arrays)
        y = SDPA(*(t.requires_grad_() for t in (q, k, v)), is_causal=causal)
        found.append([t.double().numpy() for t in (y.detach(), *torch.autograd.grad(y, (q, k, v), g))])
    for single, double in zip(*found, strict=True):
        assert np.sqrt(np.mean((single - double) ** 2) / np.mean(double**2)) < 5e-7


def test_gradient_of_mask(rng):
    q, k, v = (torch.from_numpy(a) for a in operands(rng, 1, 2, 2, 5, 4, 3, 2))
    assert gradcheck(lambda m: SDPA(q, k, v, attn_mask=m), (torch.randn(5, 4, dtype=torch.float64, requires_grad=True),))


def test_threads_and_chunks(rng):
    """One head cut into chunks of queries gives what whole heads give."""
    arrays = [torch.from_numpy(a).float().requires_grad_() for a in operands(rng, 1, 1, 1, 300, 300, 16, 16)]
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 4):
            torch.set_num_threads(n)
            y = SDPA(*arrays, is_causal=True)
            found.append([y.detach(), *torch.autograd.grad(y.sum(), arrays)])
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(*found, strict=True):
        assert_close(a.numpy(), b.numpy(), slack=5)


# dropout: what PyTorch gives for a seed, and the generator's state after it, is among the streams of random_cases.py ---------
WITH_DROPOUT = {  # shapes of query, key, value; options
    "tiles": ((2, 3, 70, 8), (2, 3, 130, 8), (2, 3, 130, 33), {}),
    "causal, grouped": ((2, 4, 70, 8), (2, 2, 130, 8), (2, 2, 130, 33), {"is_causal": True, "enable_gqa": True}),
    "one head in chunks": ((1, 1, 300, 8), (1, 1, 130, 8), (1, 1, 130, 33), {}),
    "no heads": ((70, 8), (31, 8), (31, 3), {}),
    "many leading": ((2, 2, 2, 4, 9, 8), (2, 2, 2, 4, 13, 8), (2, 2, 2, 4, 13, 5), {"scale": 0.5}),
    "values lead": ((1, 9, 8), (3, 1, 33, 8), (2, 3, 1, 33, 5), {}),
    "mask": ((3, 2, 70, 8), (3, 2, 65, 8), (3, 2, 65, 4), {"attn_mask": (3, 1, 1, 65)}),
    "mask that hides all": ((1, 2, 9, 8), (1, 2, 9, 8), (1, 2, 9, 4), {"attn_mask": torch.zeros(9, 9, dtype=torch.bool)}),
}


def with_dropout(case, dtype, p=0.3):
    """(operands, options, the same for by_products) of a case."""
    *shapes, options = WITH_DROPOUT[case]
    inputs = [torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes]
    mask = options.get("attn_mask")
    mask = torch.rand(mask) > 0.2 if isinstance(mask, tuple) else mask
    options = {"attn_mask": mask, "dropout_p": p, "is_causal": False, "scale": shapes[0][-1] ** -0.5, "enable_gqa": False} | options
    options["attn_mask"] = mask
    return inputs, options


def by_products(inputs, options):
    from flambeau.ops.attention import by_products

    return by_products(*inputs, *options.values())


@pytest.mark.parametrize("case, dtype", [*((c, "float64") for c in WITH_DROPOUT), *(("causal, grouped", d) for d in ("float32", "float16", "bfloat16"))])
def test_dropout(case, dtype):
    """Tiles drop what by_products drops, and leave the generator where it does.

    Sums go in another order (slack 10: gradients are sums of products of sums). Half precisions round the weights there and
    not here, so float32 products of the same numbers are what to compare with; sum(g y) is of the rounded y (slack 40).
    """
    dtype = getattr(torch, dtype)
    inputs, options = with_dropout(case, dtype)
    state = torch.get_rng_state()
    y = SDPA(*inputs, **options)
    after = torch.get_rng_state()
    assert y.dtype is dtype
    torch.set_rng_state(state)
    wide = [t.detach().to(torch.promote_types(dtype, torch.float32)).requires_grad_() for t in inputs]
    want = by_products(wide, options)
    assert torch.equal(torch.get_rng_state(), after) and not torch.equal(state, after)
    g = torch.randn(y.shape).to(dtype)
    got = [y.detach(), *torch.autograd.grad(y, inputs, g)]
    want = [want.detach(), *torch.autograd.grad(want, wide, g.to(want.dtype))]
    for a, b in zip(got, want, strict=True):
        assert_close(a.double().numpy(), b.double().numpy(), dtype, slack=40 if dtype.itemsize == 2 else 10)


@pytest.mark.parametrize("heads, options", [(2, {"attn_mask": torch.ones(4, 3).tril(1) > 0}), (1, {"is_causal": True})], ids=["mask", "causal, grouped"])
def test_gradients_of_dropout(rng, heads, options):
    """First and second derivatives at a fixed seed, by differences."""
    inputs = [torch.from_numpy(a).requires_grad_() for a in operands(rng, 1, 2, heads, 4, 3, 2, 1)]

    def fn(*inputs):
        torch.manual_seed(4)
        return SDPA(*inputs, dropout_p=0.3, enable_gqa=True, **options)

    assert gradcheck(fn, inputs)
    assert gradgradcheck(fn, inputs)


def test_share_that_dropout_keeps():
    """Of weights that are all 1 / 512, a share 1 - p is kept, times 1 / (1 - p); none is at p = 1."""
    q, v = torch.zeros(1, 1, 512, 4), torch.ones(1, 1, 512, 1)
    assert abs(SDPA(q, q, v, dropout_p=0.25).mean().item() - 1) < 0.005
    counts = SDPA(q, q, v, dropout_p=0.25) * 512 * 0.75
    assert_close(counts.numpy(), counts.round().numpy(), slack=10)
    state = torch.get_rng_state()
    q = q.requires_grad_()
    y = SDPA(q, q, v, dropout_p=1.0)
    assert (y == 0).all() and (torch.autograd.grad(y.sum(), q)[0] == 0).all()
    assert torch.equal(torch.get_rng_state(), state)


def test_few_queries_and_none_with_dropout():
    for shape in ((2, 2, 4), (0, 3, 4), (2, 0, 4)):
        x = torch.randn(shape)
        torch.manual_seed(1)
        y = SDPA(x, x, x, dropout_p=0.5)
        torch.manual_seed(1)
        assert torch.equal(y, by_products([x] * 3, {"mask": None, "p": 0.5, "causal": False, "scale": 0.5, "grouped": False}))


def test_errors():
    x = torch.randn(1, 4, 5, 3)
    with pytest.raises(RuntimeError, match="same dtype"):
        SDPA(x, x.double(), x)
    with pytest.raises(RuntimeError, match="2 dimensional"):
        SDPA(x, x[0, 0, 0], x)
    for p in (-0.1, 1.5, math.nan):
        with pytest.raises(RuntimeError, match="between 0 and 1"):
            SDPA(x, x, x, dropout_p=p)
    with pytest.raises(RuntimeError, match="is_causal"):
        SDPA(x, x, x, attn_mask=torch.ones(5, 5), is_causal=True)
    with pytest.raises(RuntimeError, match="attn_mask dtype"):
        SDPA(x, x, x, attn_mask=torch.ones(5, 5, dtype=torch.int32))
    with pytest.raises(RuntimeError, match="last size"):
        SDPA(x, x[..., :2], x)
    with pytest.raises(RuntimeError, match="divide the number of heads"):
        SDPA(x, x[:, :3], x[:, :3], enable_gqa=True)
    with pytest.raises(RuntimeError):
        SDPA(x, x, x, attn_mask=torch.ones(5, 7, dtype=torch.bool))
