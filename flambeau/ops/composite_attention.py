"""Multi-head attention as a function of its weights: projections, masks, heads.

The attention itself is ``scaled_dot_product_attention``, unless the weights are asked for.
"""

import math
import warnings

from flambeau import ops
from flambeau.core import dtypes as dt

__all__ = [
    "_canonical_mask", "_in_projection", "_in_projection_packed", "_mha_shape_check",
    "_none_or_dtype", "multi_head_attention_forward",
]  # fmt: skip


def _none_or_dtype(input):
    """The dtype of a mask, None of no mask."""
    if input is None:
        return None
    if not hasattr(input, "dtype"):
        raise RuntimeError("input to _none_or_dtype() must be None or torch.Tensor")
    return input.dtype


def _canonical_mask(mask, mask_name, other_type, other_name, target_type, check_other=True):
    """A mask to add to scores: a boolean one becomes 0 where False and -inf where True."""
    if mask is None:
        return None
    is_float = mask.is_floating_point()
    if mask.dtype is not dt.bool and not is_float:
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. "
            "Use same type for both instead.",
            stacklevel=3,
        )
    if is_float:
        return mask
    zeros = ops.zeros(mask.shape, dtype=target_type, device=mask.device)
    return zeros.masked_fill_(mask, float("-inf"))


def _mha_shape_check(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Whether the query is batched (3-D); AssertionError if the other ranks do not go with it."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            "query should be unbatched 2D or batched 3D tensor "
            f"but received {query.dim()}-D query tensor"
        )
    batched = query.dim() == 3
    rank = query.dim()
    form = f"For {'batched' if batched else 'unbatched'} ({rank}-D) `query`, expected"
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"{form} `key` and `value` to be {rank}-D "
            f"but found {key.dim()}-D and {value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(
            f"{form} `key_padding_mask` to be `None` or {rank - 1}-D "
            f"but found {key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(
                f"{form} `attn_mask` to be `None`, 2-D or 3-D "
                f"but found {attn_mask.dim()}-D tensor instead"
            )
        expected = (num_heads, query.shape[0], key.shape[0])
        if not batched and attn_mask.dim() == 3 and tuple(attn_mask.shape) != expected:
            raise AssertionError(
                f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}"
            )
    return batched


def _in_projection_packed(q, k, v, w, b=None):
    """(q', k', v') by the three blocks of one weight; one product where the inputs are one tensor."""
    e = q.size(-1)
    if k is v and q is k:
        # One product for all three; heads of q, k and v are then read where they lie.
        return list(ops.linear(q, w, b).split(e, -1))
    if k is v:
        bq, bkv = (None, None) if b is None else (b[:e], b[e:])
        return [ops.linear(q, w[:e], bq), *ops.linear(k, w[e:], bkv).split(e, -1)]
    biases = (None,) * 3 if b is None else b.chunk(3)
    return [ops.linear(x, wx, bx) for x, wx, bx in zip((q, k, v), w.chunk(3), biases, strict=True)]


def _in_projection(q, k, v, w_q, w_k, w_v, b_q=None, b_k=None, b_v=None):
    """(q', k', v') by three weights; AssertionError if a weight's or bias's shape does not fit."""
    e = q.size(-1)
    rows = (
        ("query", w_q, (e, e)), ("key", w_k, (e, k.size(-1))), ("value", w_v, (e, v.size(-1))),
    )  # fmt: skip
    for name, w, shape in rows:
        if tuple(w.shape) != shape:
            raise AssertionError(f"expecting {name} weights shape of {shape}, but got {w.shape}")
    for (name, _, _), b in zip(rows, (b_q, b_k, b_v), strict=True):
        if b is not None and tuple(b.shape) != (e,):
            raise AssertionError(f"expecting {name} bias shape of {(e,)}, but got {b.shape}")
    return ops.linear(q, w_q, b_q), ops.linear(k, w_k, b_k), ops.linear(v, w_v, b_v)


def multi_head_attention_forward(
    query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k,
    bias_v, add_zero_attn, dropout_p, out_proj_weight, out_proj_bias, training=True,
    key_padding_mask=None, need_weights=True, attn_mask=None, use_separate_proj_weight=False,
    q_proj_weight=None, k_proj_weight=None, v_proj_weight=None, static_k=None, static_v=None,
    average_attn_weights=True, is_causal=False,
):  # fmt: skip
    """y = concat_h(softmax(Q_h K_h^T / sqrt(d) + mask) V_h) W_o^T, and the softmax if ``need_weights``.

    Shapes: query (l, n, e) or (l, e), key and value (s, n, e) or (s, e) -> (l, n, e), weights (n, l, s).
    Source: torch.nn.functional.multi_head_attention_forward
    """
    batched = _mha_shape_check(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        query, key, value = _with_batch(query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, n, e = query.shape
    attn_mask, key_padding_mask, is_causal = _canonical_masks(
        attn_mask, key_padding_mask, is_causal, need_weights, query.dtype
    )
    _check_sizes(key, value, e, embed_dim_to_check, num_heads, use_separate_proj_weight)
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias, separate)
    attn_mask = _with_heads(attn_mask, length, key.size(0), n * num_heads)
    k, v = _with_bias(k, v, bias_k, bias_v, static_k, static_v)
    heads, head = n * num_heads, e // num_heads
    q = _split_heads(q, heads, head)
    k = _static_or_split(static_k, "static_k", k, heads, head)
    v = _static_or_split(static_v, "static_v", v, heads, head)
    if add_zero_attn:
        zeros = ops.zeros((heads, 1, head), dtype=k.dtype, device=k.device)
        k, v = ops.cat([k, zeros], 1), ops.cat([v, zeros], 1)
    extra = (bias_k is not None) + bool(add_zero_attn)
    mask = _merged_mask(attn_mask, key_padding_mask, extra, n, num_heads, k.size(1))
    dropout_p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        y, weights = _attend_with_weights(q, k, v, mask, dropout_p, is_causal)
        weights = weights.view(n, num_heads, length, -1)
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        y = _attend(q, k, v, mask, dropout_p, is_causal, n, num_heads)
    y = y.transpose(0, 1).contiguous().view(length * n, e)
    y = ops.linear(y, out_proj_weight, out_proj_bias).view(length, n, -1)
    if not batched:
        y = y.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return y, weights


def _canonical_masks(attn_mask, padding, is_causal, need_weights, dtype):
    """Both masks as floats to add, and whether the causal hint alone says what the first one is."""
    padding = _canonical_mask(
        padding, "key_padding_mask", _none_or_dtype(attn_mask), "attn_mask", dtype
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. "
            "You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and padding is None and not need_weights:
        return None, None, True
    attn_mask = _canonical_mask(attn_mask, "attn_mask", None, "", dtype, False)
    return attn_mask, padding, is_causal and padding is None and attn_mask is None


def _project(query, key, value, weight, bias, separate):
    """(q, k, v) by one packed weight, or by three."""
    if separate is None:
        if weight is None:
            raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        return _in_projection_packed(query, key, value, weight, bias)
    for name, w in zip("qkv", separate, strict=True):
        if w is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    return _in_projection(query, key, value, *separate, *biases)


def _with_bias(k, v, bias_k, bias_v, static_k, static_v):
    """Keys and values with one learned position more, if there is one."""
    if bias_k is None and bias_v is None:
        return k, v
    if bias_v is None:
        raise AssertionError("bias_k is set but bias_v is None")
    if bias_k is None:
        raise AssertionError("bias_v is set but bias_k is None")
    if static_k is not None:
        raise AssertionError("bias cannot be added to static key.")
    if static_v is not None:
        raise AssertionError("bias cannot be added to static value.")
    n = k.shape[1]
    return ops.cat([k, bias_k.repeat(1, n, 1)]), ops.cat([v, bias_v.repeat(1, n, 1)])


def _with_batch(query, key, value):
    """A batch of one; inputs that are one tensor stay one."""
    q = query.unsqueeze(1)
    k = q if key is query else key.unsqueeze(1)
    v = k if value is key else value.unsqueeze(1)
    return q, k, v


def _check_sizes(key, value, e, expected, num_heads, separate):
    if e != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {e}")
    if e % num_heads:
        raise AssertionError(f"embed_dim {e} not divisible by num_heads {num_heads}")
    if separate:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                f"{value.shape[:2]}"
            )
    elif key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


def _with_heads(attn_mask, length, source, heads):
    """The attention mask as (1 or n h, l, s)."""
    if attn_mask is None:
        return None
    expected = (length, source) if attn_mask.dim() == 2 else (heads, length, source)
    if tuple(attn_mask.shape) != expected:
        raise RuntimeError(
            f"The shape of the {attn_mask.dim()}D attn_mask is {attn_mask.shape}, "
            f"but should be {expected}."
        )
    return attn_mask.unsqueeze(0) if attn_mask.dim() == 2 else attn_mask


def _split_heads(x, heads, head):
    """(l, n, e) -> (n h, l, e / h)."""
    return x.reshape(x.shape[0], heads, head).transpose(0, 1)


def _static_or_split(static, name, x, heads, head):
    if static is None:
        return _split_heads(x, heads, head)
    if static.size(0) != heads:
        raise AssertionError(f"expecting {name}.size(0) of {heads}, but got {static.size(0)}")
    if static.size(2) != head:
        raise AssertionError(f"expecting {name}.size(2) of {head}, but got {static.size(2)}")
    return static


def _merged_mask(attn_mask, padding, extra, n, heads, source):
    """Attention and padding masks in one, with ``extra`` open columns; (n h or 1, l or 1, s)."""
    if attn_mask is not None and extra:
        attn_mask = ops.pad(attn_mask, (0, extra))
    if padding is None:
        return attn_mask
    padding = ops.pad(padding, (0, extra)) if extra else padding
    padding = padding.view(n, 1, 1, source).expand(-1, heads, -1, -1)
    padding = padding.reshape(n * heads, 1, source)
    return padding if attn_mask is None else attn_mask + padding


def _attend_with_weights(q, k, v, mask, dropout_p, is_causal):
    if is_causal and mask is None:
        raise AssertionError("FIXME: is_causal not implemented for need_weights")
    scores = ops.bmm(q * math.sqrt(1.0 / q.size(-1)), k.transpose(-2, -1))
    if mask is not None:
        scores = mask + scores
    weights = scores.softmax(-1)
    if dropout_p > 0.0:
        weights = ops.dropout(weights, dropout_p)
    return ops.bmm(weights, v), weights


def _attend(q, k, v, mask, dropout_p, is_causal, n, heads):
    if mask is not None:
        mask = mask.unsqueeze(0) if mask.size(0) == 1 else mask.view(n, heads, -1, k.size(1))
    q, k, v = (x.reshape(n, heads, -1, x.size(-1)) for x in (q, k, v))
    y = ops.scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal)
    return y.reshape(n * heads, -1, y.size(-1))
