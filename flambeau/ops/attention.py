"""Scaled dot-product attention: softmax(q k^T scale + mask) v.

Attention runs as tiles (attention_kernels.py), dropout as a bit per weight (attention_keep.py). Masks that want a gradient, a
handful of queries and second derivatives go by ordinary products instead.
"""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.core import shapes as S
from flambeau.ir.kernel import compute_dtype
from flambeau.ops import attention_kernels as K
from flambeau.ops.attention_keep import drawn, noise
from flambeau.ops.by_geometry import by_geometry
from flambeau.ops.create import ones
from flambeau.ops.embedding import dropout
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op
from flambeau.ops.tiles import per_thread, rounded, tile_for
from flambeau.runtime import calls
from flambeau.runtime.threads import get_num_threads, within

FEW = 4  # queries below which packing the keys would cost more than the products
WORK = 1 << 16  # multiply-adds worth a thread of their own


@op(COMPOSITE, function=False, method=False, functional=True)
def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                                 enable_gqa=False):  # fmt: skip
    """softmax(query key^T scale + mask) value.

    Shapes:   query (..., L, E), key (..., S, E), value (..., S, V) -> (..., L, V)
    Args:     attn_mask: bool (True takes part) or added to the scores; scale: 1 / sqrt(E) by default;
              enable_gqa: query has a multiple of key's and value's heads (dim -3)
    Numerics: half precisions accumulate in float32; a query that sees no key gives 0
    Cost:     memory O(L + S), with dropout a bit per weight; a mask's gradient asks for all L x S weights
    Errors:   RuntimeError for dropout_p outside [0, 1]
    Source:   Vaswani et al., 2017; Dao et al., 2022; torch.nn.functional.scaled_dot_product_attention
    """
    check(query, key, value, attn_mask, dropout_p, is_causal)
    if enable_gqa and query._shape[-3] != key._shape[-3]:
        if not key._shape[-3] or query._shape[-3] % key._shape[-3] or key._shape[-3] != value._shape[-3]:
            raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
    else:
        enable_gqa = False
    scale = 1 / math.sqrt(query._shape[-1]) if scale is None else float(scale)
    if dropout_p == 1 or not tiles_serve(query, key, value, attn_mask):
        return by_products(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    lead = weights = tuple(query._shape[:-2])
    if not enable_gqa:
        weights = S.broadcast_shapes("attention", lead, key._shape[:-2])
        lead = S.broadcast_shapes("attention", weights, value._shape[:-2])
    q, k, v = (four(t, t._shape[:-2] if enable_gqa else lead) for t in (query, key, value))
    length, keys = query._shape[-2], key._shape[-2]
    if attn_mask is not None:
        attn_mask = four(attn_mask, lead, (length, keys))
    kept = four(drawn(weights, length, keys, 1 - dropout_p), lead) if dropout_p else None
    y = attention_of(q, k, v, attn_mask, kept, dropout_p or 0, bool(is_causal), scale)[0]
    return y if len(lead) == 2 else y.reshape(*lead, *y._shape[-2:])


def check(query, key, value, mask, dropout_p: float, is_causal: bool) -> None:
    """Ranks, dtypes and inner sizes of attention's operands; the range of dropout_p."""
    if not 0 <= dropout_p <= 1:
        raise RuntimeError(
            f"scaled_dot_product_attention(dropout_p): dropout probability has to be between 0 and 1, but got {dropout_p}"
        )
    if is_causal and mask is not None:
        raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    for name, t in (("query", query), ("key", key), ("value", value)):
        if len(t._shape) < 2:
            raise RuntimeError(
                f"scaled_dot_product_attention: Expected query, key, and value to all be at least 2 dimensional, but {name} "
                f"has {len(t._shape)}"
            )
        if t._dtype is not query._dtype:
            raise RuntimeError(
                f"Expected query, key, and value to have the same dtype, but got query.dtype: {query._dtype}, "
                f"{name}.dtype: {t._dtype} instead."
            )
    if mask is not None and mask._dtype not in (dt.bool, dt.float32, query._dtype):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{mask._dtype} and query.dtype: {query._dtype} instead."
        )
    if query._shape[-1] != key._shape[-1] or key._shape[-2] != value._shape[-2]:
        raise RuntimeError(
            "scaled_dot_product_attention: query and key must agree in their last size, key and value in the one before, got "
            f"query {list(query._shape)}, key {list(key._shape)}, value {list(value._shape)}"
        )


def tiles_serve(query, key, value, mask) -> bool:
    """True if the tiled kernels compute this (no gradient of the mask, nothing empty, floats)."""
    if mask is not None and mask._requires_grad and hooks.recording():
        return False
    some = query._numel and key._numel and value._numel
    return bool(some) and query._shape[-2] >= FEW and query._dtype.is_floating_point


def four(t, lead, last=None):
    """t as (batch, heads, rows, width), its leading dimensions broadcast to `lead` (and its last two to `last`)."""
    shape = (*lead, *(t._shape[-2:] if last is None else last))
    if tuple(t._shape) != shape:
        t = t.expand(shape)
    if len(lead) == 2:
        return t
    if len(lead) < 2:
        return t[(None,) * (2 - len(lead))]
    return t.reshape(math.prod(lead[:-1]), *shape[-3:])


def by_products(query, key, value, mask, dropout_p: float, is_causal: bool, scale: float, grouped: bool, kept=None):
    """Attention by the definition, all scores in memory; kept: the bits of dropout if they are drawn already."""
    if grouped:
        times = query._shape[-3] // key._shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    scores = (query * scale) @ key.mT
    if is_causal:
        mask = ones(query._shape[-2], key._shape[-2], dtype=dt.bool).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask._dtype is dt.bool else scores + mask.to(scores._dtype)
    if mask is None or is_causal:
        weights = scores.softmax(-1)
    else:  # queries that see nothing give 0, and no NaN on the way back
        blind = (scores == -math.inf).all(-1, keepdim=True)
        weights = scores.masked_fill(blind, 0).softmax(-1).masked_fill(blind, 0)
    if kept is not None:
        weights = weights * noise(kept, weights._shape[-1], 1 - dropout_p, weights._dtype)
    elif dropout_p:
        weights = dropout(weights, dropout_p, True)
    return weights @ value


# tiles --------------------------------------------------------------------------------------------
def split(count: int, heads: int) -> tuple[int, int]:
    """(chunks, their size): `count` queries of each head in as many chunks of whole tiles as keep all threads busy."""
    blocks = -(-count // K.BR)
    wanted = max(1, min(blocks, -(-4 * get_num_threads() // heads)))
    size = -(-blocks // wanted) * K.BR
    return -(-count // size), size


def interleaved(shape, dtype) -> tuple:
    """The geometry (batch, heads, rows, width) in which heads lie beside each other, as the layers around want them."""
    b, h, n, w = shape
    return hooks.geometry(shape, (n * h * w, w, h * w, 1), dtype)


def masking(mask, spare, at: int) -> tuple:
    """(kind of mask, its dtype, its address, its strides), where it is operand `at`; spare: an address if there is none."""
    if mask is None:
        return "", dt.bool, spare, (0, 0, 0, 0)
    return "bool" if mask._dtype is dt.bool else "add", mask._dtype, calls.operand(at), mask._strides


def keeping(kept, dropout_p: float, spare, at: int) -> tuple:
    """(address of the bits of dropout, what kept weights are multiplied by, the bits' strides), likewise."""
    return (spare, 1.0, (0, 0)) if kept is None else (calls.operand(at), 1 / (1 - dropout_p), kept._strides[:2])


@op(KERNEL, function=False, method=False, node="ScaledDotProductFlashAttentionForCpuBackward0")
@by_geometry
def attention_of(query, key, value, mask, kept, dropout_p, is_causal, scale):
    """(output, log of the sums) over (batch, heads, rows, width) operands; see `scaled_dot_product_attention`."""
    (b, h, length, n), (_, hk, keys, nv), d = query._shape, value._shape, query._dtype
    acc = compute_dtype(d)
    tile = tile_for(acc)
    padded_n, padded = rounded(n, tile.nr), rounded(nv, tile.nr)
    chunks, chunk = split(length, b * h)
    outs = interleaved((b, h, length, nv), d), hooks.dense((b, h, length), acc)
    y, lse = calls.out(0), calls.out(1)
    given = sum(t is not None for t in (mask, kept))
    how, masks, mask_at, ms = masking(mask, lse, 3)
    bits, rise, ws = keeping(kept, dropout_p, lse, 2 + given)
    size = per_thread(K.BR * (2 * K.BC + 3 + n + padded) + keys * (padded_n + padded), acc)
    k = K.attention((d, acc, d, d, d, masks, dt.int32, acc), causal=is_causal, how=how, drop=kept is not None, tile=tile)
    args = (y, lse, *map(calls.operand, range(3)), mask_at, bits, calls.room(), h, h // hk, length, keys, n, nv, padded_n, padded,
            scale, rise, chunks, chunk, size, *ws, *outs[0][2][:3], *query._strides, *key._strides, *value._strides, *ms)  # fmt: skip
    threads = get_num_threads()
    launch = k, b * h * chunks, within(max(1, WORK // (chunk * keys * n)), threads), args
    return calls.bind(outs, 3 + given, 0, [launch], (size * acc.itemsize * threads,))


@attention_of.vjp("query", "key", "value")
def _(gs, query, key, value, mask, kept, dropout_p, is_causal, scale, result0, result1, needs):
    given = (gs[0], query, key, value, mask, kept, dropout_p, is_causal, scale)
    return attention_graph(*given, needs) if hooks.recording() else attention_gradients(*given, result0, result1)


@by_geometry
def attention_gradients(g, query, key, value, mask, kept, dropout_p: float, is_causal: bool, scale: float, y, lse):
    """(gq, gk, gv) by the tiled kernels."""
    (b, h, length, n), (_, hk, keys, nv), d, acc = query._shape, value._shape, query._dtype, lse._dtype
    tile = tile_for(acc)
    padded_n, padded, high = rounded(n, tile.nr), rounded(nv, tile.nr), rounded(keys, tile.mr)
    chunks, chunk = split(length, b * h)
    outs = [interleaved(t._shape, d) for t in (query, key, value)]
    gq, gk, gv = map(calls.out, range(3))
    count = h // hk * chunks  # tasks that share a head of keys
    given = sum(t is not None for t in (mask, kept))
    y_at, lse_at = calls.operand(4 + given), calls.operand(5 + given)
    how, masks, mask_at, ms = masking(mask, lse_at, 4)
    bits, rise, ws = keeping(kept, dropout_p, lse_at, 3 + given)
    size = per_thread(K.BR * (3 * K.BC + 2 + n + nv + 2 * padded_n + padded) + (keys + high) * (padded_n + padded), acc)
    threads = get_num_threads()
    rooms = [size * acc.itemsize * threads]
    sums, to = d, (gk, gv)
    if count > 1:
        sums, to = acc, (calls.room(1), calls.room(2))
        rooms += [b * h * chunks * high * w * acc.itemsize for w in (padded_n, padded)]
    k = K.attention_backward((d, sums, sums, g._dtype, d, acc, d, d, d, masks, dt.int32, acc), causal=is_causal, how=how,
                             drop=kept is not None, tile=tile, whole=count == 1)  # fmt: skip
    args = (gq, *to, calls.operand(0), y_at, lse_at, *map(calls.operand, (1, 2, 3)), mask_at, bits, calls.room(), h, h // hk, length,
            keys, n, nv, padded_n, padded, high, scale, rise, chunks, chunk, size, *ws, *(s for out in outs for s in out[2][:3]),
            *g._strides, *y._strides[:3], *query._strides, *key._strides, *value._strides, *ms)  # fmt: skip
    launches = [(k, b * h * chunks, within(max(1, WORK // (chunk * keys * n)), threads), args)]
    if count > 1:
        launches += [
            (K.attention_gather((d, acc)), b * hk * keys, max(1, WORK // w), (to, parts, hk, keys, w, full, high, count, *out[2][:3]))
            for to, parts, w, full, out in ((gk, to[0], n, padded_n, outs[1]), (gv, to[1], nv, padded, outs[2]))
        ]
    return calls.bind(tuple(outs), 6 + given, 0, launches, tuple(rooms))


def attention_graph(g, query, key, value, mask, kept, dropout_p: float, is_causal: bool, scale: float, needs):
    """The same gradients by ordinary products, so that they can be differentiated again."""
    grouped = query._shape[1] != key._shape[1]
    y = by_products(query, key, value, mask, dropout_p, is_causal, scale, grouped, kept)
    wanted = {n: t for n, t in (("query", query), ("key", key), ("value", value)) if needs[n]}
    found = hooks.grad([y], list(wanted.values()), [g], create_graph=True, allow_unused=True)
    found = dict(zip(wanted, found, strict=True))
    return tuple(found.get(n) for n in ("query", "key", "value"))
