"""MultiheadAttention: projections and masks around ``F.multi_head_attention_forward``."""

from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn._base import ops
from flambeau.nn.modules.linear import NonDynamicallyQuantizableLinear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """y = concat_h(softmax(Q_h K_h^T / sqrt(d)) V_h) W_o (Vaswani et al., 2017).

    Shapes: query (l, n, e), key and value (s, n, e), or batch first, or without n -> y (l, n, e) and the
    attention weights (n, l, s).
    """

    def __init__(
        self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False,
        add_zero_attn=False, kdim=None, vdim=None, batch_first=False, device=None, dtype=None,
    ):  # fmt: skip
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0,"
                f" got embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = kdim if kdim is not None else embed_dim
        self.vdim = vdim if vdim is not None else embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        self.add_zero_attn = add_zero_attn
        kw = {"device": device, "dtype": dtype}
        self._make_projections(bias, kw)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **kw)
        if add_bias_kv:
            self.bias_k = Parameter(ops.empty((1, 1, embed_dim), **kw))
            self.bias_v = Parameter(ops.empty((1, 1, embed_dim), **kw))
        else:
            self.bias_k = self.bias_v = None
        self._reset_parameters()

    def _make_projections(self, bias, kw):
        e = self.embed_dim
        shapes = {"in_proj_weight": (3 * e, e)}
        if not self._qkv_same_embed_dim:
            shapes = {
                "q_proj_weight": (e, e),
                "k_proj_weight": (e, self.kdim),
                "v_proj_weight": (e, self.vdim),
            }
        for name, shape in shapes.items():
            setattr(self, name, Parameter(ops.empty(shape, **kw)))
        for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_weight"):
            if name not in shapes:
                self.register_parameter(name, None)
        if bias:
            self.in_proj_bias = Parameter(ops.empty(3 * e, **kw))
        else:
            self.register_parameter("in_proj_bias", None)

    def _reset_parameters(self):
        if self._qkv_same_embed_dim:
            init.xavier_uniform_(self.in_proj_weight)
        else:
            for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def __setstate__(self, state):
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
        average_attn_weights=True, is_causal=False,
    ):  # fmt: skip
        swap = self.batch_first and query.dim() == 3
        if swap:
            query, key, value = _transpose_shared(query, key, value)
        same = self._qkv_same_embed_dim
        output, weights = F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn, self.dropout,
            self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not same,
            q_proj_weight=None if same else self.q_proj_weight,
            k_proj_weight=None if same else self.k_proj_weight,
            v_proj_weight=None if same else self.v_proj_weight,
            average_attn_weights=average_attn_weights, is_causal=is_causal,
        )  # fmt: skip
        return (output.transpose(1, 0) if swap else output), weights

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """(one mask of shape (n, heads, l, s), its type: 0 attention, 1 padding, 2 both, None neither)."""
        mask_type, merged = None, None
        if key_padding_mask is not None:
            mask_type, merged = 1, key_padding_mask
        if attn_mask is not None:
            n, length, _ = query.shape
            mask_type = 2
            if attn_mask.dim() == 3:
                merged = attn_mask.view(n, -1, length, length)
            else:
                merged = attn_mask.view(1, 1, length, length).expand(n, self.num_heads, -1, -1)
            if key_padding_mask is not None:
                padding = key_padding_mask.view(n, 1, 1, length).expand(-1, self.num_heads, -1, -1)
                merged = merged + padding
        return merged, mask_type


def _transpose_shared(query, key, value):
    """The three with batch and length swapped; those that are one tensor stay one."""
    if key is value and query is key:
        query = key = value = query.transpose(1, 0)
    elif key is value:
        query, key = query.transpose(1, 0), key.transpose(1, 0)
        value = key
    else:
        query, key, value = (t.transpose(1, 0) for t in (query, key, value))
    return query, key, value
