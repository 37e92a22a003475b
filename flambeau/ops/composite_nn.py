"""nn functionals that need no kernel of their own: distances, gumbel softmax, and helpers of the layers.

Written in tensor operations, so their derivatives are those of the operations. Their siblings: losses in
composite_losses.py, multi-head attention in composite_attention.py. All three are exported from here.
"""

import warnings

from flambeau import ops
from flambeau.core import dtypes as dt
from flambeau.ops.composite_attention import (
    _canonical_mask,
    _in_projection,
    _in_projection_packed,
    _mha_shape_check,
    _none_or_dtype,
    multi_head_attention_forward,
)
from flambeau.ops.composite_losses import (
    cosine_embedding_loss,
    gaussian_nll_loss,
    hinge_embedding_loss,
    legacy_reduction,
    linear_cross_entropy,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    poisson_nll_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

__all__ = [
    "_canonical_mask", "_in_projection", "_in_projection_packed", "_mha_shape_check",
    "_none_or_dtype", "cosine_embedding_loss", "cosine_similarity", "cross_map_lrn2d",
    "gaussian_nll_loss", "gumbel_softmax", "hinge_embedding_loss", "legacy_reduction",
    "linear_cross_entropy", "margin_ranking_loss", "multi_head_attention_forward",
    "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss", "normalize",
    "pairwise_distance", "poisson_nll_loss", "soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """y = x / max(||x||_p, eps), the norm taken along ``dim``.

    Source: torch.nn.functional.normalize
    """
    length = input.norm(p, dim, keepdim=True).clamp_min(eps)
    y = input / length
    return y if out is None else out.copy_(y)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """d = ||x1 - x2 + eps||_p over the last dimension.

    Source: torch.nn.functional.pairwise_distance
    """
    return (x1 - x2 + eps).norm(p, dim=-1, keepdim=keepdim)


def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """s = (x1 / max(||x1||, eps)) . (x2 / max(||x2||, eps)) along ``dim``.

    Errors: RuntimeError for integers. Source: torch.nn.functional.cosine_similarity
    """
    common = dt.promote_types(x1.dtype, x2.dtype)
    if not (common.is_floating_point or common.is_complex):
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {common}")
    x1, x2 = ops.broadcast_tensors(x1.to(common), x2.to(common))
    n1, n2 = (_at_least(x.norm(2, dim, keepdim=True), eps) for x in (x1, x2))
    return ((x1 / n1) * (x2 / n2)).sum(dim)


def _at_least(x, low):
    """max(x, low), differentiated as if it were x."""
    return x + (x.detach().clamp_min(low) - x.detach())


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """y = softmax((x + g) / tau), g Gumbel noise; with ``hard``, one-hot, with the soft one's gradient.

    Source: torch.nn.functional.gumbel_softmax
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    noise = -ops.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    return ops.zeros_like(logits).scatter_(dim, index, 1.0) - soft.detach() + soft


def cross_map_lrn2d(input, size, alpha=1e-4, beta=0.75, k=1):
    """y_c = x_c / (k + alpha / size * sum of x^2 over the ``size`` channels around c)^beta.

    Shapes: (n, c, h, w) -> the same. Errors: ValueError for another rank.
    """
    if input.dim() != 4:
        raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
    reach = int((size - 1) / 2 + 1) - 1
    squares = input * input
    channels = input.size(1)
    sums = []
    for c in range(channels):
        low, high = max(0, c - reach), min(channels, c + reach + 1)
        around = squares[:, low:high].sum(1)
        # PyTorch's running sum never drops channel 0 once it is in; weights trained with it expect that.
        sums.append(around + squares[:, 0] if low > 0 else around)
    scale = ops.stack(sums, 1) * (alpha / size) + k
    return input * scale ** (-beta)


