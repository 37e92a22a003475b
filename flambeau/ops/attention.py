"""Scaled dot-product attention: softmax(q k^T scale + mask) v."""

from __future__ import annotations

import math

from flambeau.core import dtypes as dt
from flambeau.ops.create import ones
from flambeau.ops.record import COMPOSITE, op


@op(COMPOSITE, function=False, method=False, functional=True)
def scaled_dot_product_attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                                 enable_gqa=False):  # fmt: skip
    """softmax(query key^T scale + mask) value.

    Shapes:   query (..., L, E), key (..., S, E), value (..., S, V) -> (..., L, V)
    Args:     attn_mask: bool (True takes part) or added to the scores; scale: 1 / sqrt(E) by default;
              enable_gqa: query has a multiple of key's and value's heads (dim -3)
    Source:   Vaswani et al., 2017; torch.nn.functional.scaled_dot_product_attention
    """
    if is_causal and attn_mask is not None:
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
    if enable_gqa:
        times = query._shape[-3] // key._shape[-3]
        key = key.repeat_interleave(times, -3)
        value = value.repeat_interleave(times, -3)
    scale = 1 / math.sqrt(query._shape[-1]) if scale is None else scale
    scores = (query * scale) @ key.mT
    if is_causal:
        keep = ones(query._shape[-2], key._shape[-2], dtype=dt.bool).tril()
        scores = scores.masked_fill(~keep, -math.inf)
    elif attn_mask is not None:
        if attn_mask._dtype is dt.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        else:
            scores = scores + attn_mask
    weights = scores.softmax(-1)
    if attn_mask is not None and attn_mask._dtype is dt.bool:
        weights = weights.masked_fill(~attn_mask.any(-1, keepdim=True), 0)  # rows that see nothing
    if dropout_p:
        from flambeau.ops.embedding import dropout

        weights = dropout(weights, dropout_p, True)
    return weights @ value


@op(COMPOSITE, functional=True, method=False)
def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """The negative log likelihood of label sequences over all alignments (Connectionist Temporal Classification).

    Shapes:   log_probs (T, N, C) or (T, C); targets (N, S) or all labels in one vector
    Source:   Graves et al., 2006; torch.nn.functional.ctc_loss
    """
    from flambeau.ops.join import stack

    single = len(log_probs._shape) == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    steps, batch, classes = log_probs._shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"blank must be in label range, got {blank} of {classes} classes")
    lengths_in, lengths = numbers(input_lengths, batch), numbers(target_lengths, batch)
    for n in lengths_in:
        if n > steps:
            raise RuntimeError(f"Expected input_lengths to have value at most {steps}, but got value {n}")
    losses, at = [], 0
    flat = targets.reshape(-1).tolist()
    rows = targets.tolist() if len(targets._shape) == 2 else None
    for b in range(batch):
        labels = rows[b][: lengths[b]] if rows is not None else flat[at : at + lengths[b]]
        at += lengths[b]
        losses.append(ctc_single(log_probs[:, b], labels, lengths_in[b], blank))
    loss = stack(losses)
    if zero_infinity:
        loss = loss.masked_fill(loss == math.inf, 0)
    if reduction == "none":
        return loss[0] if single else loss
    if reduction == "sum":
        return loss.sum()
    sizes = loss.new_tensor([max(1, n) for n in lengths])
    return (loss / sizes).mean()


def numbers(lengths, batch: int) -> list:
    """Lengths as a list of ints."""
    values = lengths.tolist() if hasattr(lengths, "tolist") else list(lengths) if hasattr(lengths, "__iter__") else [lengths]
    return values if isinstance(values, list) else [values] * batch


def ctc_single(log_probs, labels: list, steps: int, blank: int):
    """-log p(labels): the forward recursion over labels with blanks between them."""
    from flambeau.ops.join import cat

    path = [blank]
    for label in labels:
        path += [label, blank]
    index = log_probs.new_tensor(path, dtype=dt.int64)
    scores = log_probs.index_select(1, index)  # (T, 2 S + 1)
    n = len(path)
    skip = [i >= 2 and path[i] != blank and path[i] != path[i - 2] for i in range(n)]
    lowest = log_probs.new_full((2,), -math.inf)
    jump = log_probs.new_tensor([0.0 if s else -math.inf for s in skip])
    start = log_probs.new_tensor([0.0 if i < 2 else -math.inf for i in range(n)])
    alpha = scores[0] + start
    for t in range(1, steps):
        wide = cat([lowest, alpha])
        stay, step, leap = wide.narrow(0, 2, n), wide.narrow(0, 1, n), wide.narrow(0, 0, n) + jump
        alpha = stay.logaddexp(step).logaddexp(leap) + scores[t]
    ends = alpha.narrow(0, max(0, n - 2), min(2, n))
    # PyTorch's gradient is that of unnormalised log_probs, log_softmax included: exp(log_probs) less the posterior.
    # The second term has the value 0 and the gradient exp(log_probs).
    total = log_probs.narrow(0, 0, steps).exp().sum()
    return (total - total.detach()) - ends.logsumexp(0)
