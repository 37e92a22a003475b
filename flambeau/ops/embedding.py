"""Embedding tables, one_hot, dropout."""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ops.index import put_rows
from flambeau.ops.index_kernels import Flag, take_table
from flambeau.ops.record import COMPOSITE, KERNEL, hooks, op, state

F = {"function": False, "method": False, "functional": True}
HIDDEN = {"function": False, "method": False}
WORK = 8192


@op(KERNEL, **HIDDEN, node="EmbeddingBackward0")
def embedding_rows(weight, indices, padding_idx, scale_grad_by_freq, sparse=False):
    """weight[indices]; see `embedding`."""
    rows, width = weight._shape
    if indices._dtype not in (dt.int64, dt.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{indices._dtype} instead (while checking arguments for embedding)"
        )
    index, flag = indices.contiguous(), Flag()
    out = hooks.empty((*indices._shape, width), weight._dtype)
    if rows:
        k = take_table((weight._dtype, weight._dtype, index._dtype, dt.int64), unit=weight._strides[1] == 1, wrap=False)
        k(index._numel, max(1, WORK // max(1, width)), out._ptr, weight._ptr, index._ptr, flag.ptr, rows, width,
          *weight._strides)  # fmt: skip
    elif index._numel:
        flag.cell.value = max(index.reshape(-1)[0].item(), Flag.NONE + 1)
    if flag.index is not None:
        raise IndexError(f"index out of range in self (embedding: index {flag.index}, table of {rows} rows)")
    return out


@op(KERNEL, **HIDDEN)
def embedding_rows_backward(grad, indices, rows, padding_idx, scale_grad_by_freq):
    """Gradient of the table: rows of grad added where indices point, in order."""
    width = grad._shape[-1]
    index, g = indices.contiguous(), grad.contiguous()
    if scale_grad_by_freq and index._numel:
        flat = index.reshape(-1)
        counts = flat.bincount(minlength=rows)
        g = g.reshape(-1, width) / counts.index_select(0, flat).to(g._dtype).unsqueeze(1)
    if not index._numel or not width or not rows:
        return grad.new_zeros((rows, width))
    out = hooks.empty((rows, width), grad._dtype)
    put_rows(out, index, g, "sum", "zero", skip=padding_idx)
    return out


def masked_rows(g, indices, padding_idx):
    """Rows of g taken by indices, 0 at the padding index."""
    out = g.index_select(0, indices.reshape(-1)).reshape((*indices._shape, g._shape[-1]))
    return out * (indices != padding_idx).unsqueeze(-1).to(out._dtype) if padding_idx >= 0 else out


def table_gradient(g, weight_shape, indices, padding_idx, scale_grad_by_freq, sparse):
    """The gradient of a table, dense or sparse."""
    if not sparse:
        return embedding_rows_backward(g, indices, weight_shape[0], padding_idx, scale_grad_by_freq)
    if scale_grad_by_freq:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
    return hooks.sparse().embedding_gradient(g, indices, weight_shape, padding_idx)


embedding_rows.derivative(weight=table_gradient)
embedding_rows_backward.derivative(
    grad=lambda g, indices, padding_idx: masked_rows(g, indices, padding_idx)
)


def table_row(padding_idx, rows: int) -> int:
    """The padding index counted from 0, or -1."""
    if padding_idx is None:
        return -1
    if padding_idx >= rows or padding_idx < -rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx + rows if padding_idx < 0 else padding_idx


def renormalise(weight, indices, max_norm: float, norm_type: float) -> None:
    """Scale the used rows down to max_norm, in place and unrecorded."""
    before, state.grad = state.grad, False
    try:
        used = indices.reshape(-1).unique()
        rows = weight.detach().index_select(0, used)
        norms = rows.norm(norm_type, 1, keepdim=True)
        factor = (max_norm / (norms + 1e-7)).clamp(max=1.0)
        weight.detach().index_copy_(0, used, rows * factor)
    finally:
        state.grad = before


@op(COMPOSITE, **F)
def embedding(input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False):
    """weight[input]: rows of a table.

    Args:     sparse: the table's gradient is a sparse tensor, with a value for each row that was taken
    Shapes:   (*), (rows, width) -> (*, width)
    Errors:   IndexError for an index outside the table
    Source:   torch.nn.functional.embedding
    """
    if len(weight._shape) != 2:
        raise RuntimeError(f"'weight' must be 2-D, got {len(weight._shape)}-D (embedding)")
    pad = table_row(padding_idx, weight._shape[0])
    if max_norm is not None:
        renormalise(weight, input, max_norm, norm_type)
    return embedding_rows(weight, input, pad, scale_grad_by_freq, sparse)


@op(COMPOSITE, **F)
def embedding_bag(input, weight, offsets=None, max_norm=None, norm_type=2, scale_grad_by_freq=False, mode="mean",
                  sparse=False, per_sample_weights=None, include_last_offset=False, padding_idx=None):  # fmt: skip
    """The sum, mean or max of table rows over bags of indices.

    Shapes:   (n, bag) with no offsets, or (total) with offsets (n) -> (n, width)
    Errors:   RuntimeError for an index outside the table
    Source:   torch.nn.functional.embedding_bag
    """
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and (sparse or scale_grad_by_freq):
        raise ValueError(f"max mode does not support {'sparse weights' if sparse else 'scaling the gradient by the frequency'}")
    if input._dtype is dt.int64 and weight._dtype is dt.int64:
        raise ValueError("embedding_bag: the first argument is the indices, the second the table")
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
                f"(got mode='{mode}'). Please open a feature request on GitHub."
            )
        if tuple(per_sample_weights._shape) != tuple(input._shape):
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({per_sample_weights.size()}) is not None, then it must have the "
                f"same shape as the input ({input.size()})"
            )
    if len(input._shape) == 2:
        if offsets is not None:
            raise ValueError(f"if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences. However, found offsets of type {type(offsets)}")
        n, length = input._shape
        from flambeau.ops.create import arange

        offsets = arange(0, n * length, length) if length else input.new_zeros((n,))
        input = input.reshape(-1)
        per_sample_weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    elif len(input._shape) == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if len(offsets._shape) != 1:
            raise ValueError("offsets has to be a 1D Tensor")
        if offsets._numel and offsets[0].item() != 0:
            raise ValueError(f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got {offsets[0].item()}")
        if include_last_offset:
            offsets = offsets[:-1]
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {len(input._shape)}")
    return bags(input, weight, offsets, mode, per_sample_weights, padding_idx, max_norm, norm_type,
                scale_grad_by_freq, sparse)  # fmt: skip


def bags(input, weight, offsets, mode: str, per_sample, padding_idx, max_norm, norm_type, by_freq: bool, sparse: bool):
    """The reduction of each bag, bag b being input[offsets[b]:offsets[b + 1]]."""
    from flambeau.ops.create import arange

    n, total = offsets._numel, input._numel
    try:
        rows = embedding(input, weight, padding_idx, max_norm, norm_type, by_freq, sparse)
    except IndexError as error:
        raise RuntimeError(f"embedding_bag: {error}") from None
    bag = offsets.to(dt.int64).contiguous()
    member = arange(total)
    from flambeau.ops.sort import searchsorted

    group = searchsorted(bag, member, right=True) - 1
    keep = None if padding_idx is None else input != table_row(padding_idx, weight._shape[0])
    if keep is not None:
        at = keep.nonzero(as_tuple=True)[0]
        rows, group = rows.index_select(0, at), group.index_select(0, at)
        per_sample = None if per_sample is None else per_sample.index_select(0, at)
    if per_sample is not None:
        rows = rows * per_sample.unsqueeze(1)
    out = rows.new_zeros((n, weight._shape[1]))
    if mode == "max":
        where_ = group.unsqueeze(1).expand(rows._shape)
        return out.scatter_reduce(0, where_, rows, "amax", include_self=False)
    out = out.index_add(0, group, rows)
    if mode == "mean":
        count = group.bincount(minlength=n).clamp(min=1).to(rows._dtype)
        out = out / count.unsqueeze(1)
    return out


@op(COMPOSITE, **F)
def one_hot(tensor, num_classes=-1):
    """1 at the given class, 0 elsewhere, along a new last dimension.

    Source:   torch.nn.functional.one_hot
    """
    if tensor._dtype is not dt.int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type LongTensor, got {tensor._dtype}")
    if not tensor._numel:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return tensor.new_zeros((*tensor._shape, num_classes))
    if tensor.min().item() < 0:
        raise RuntimeError("Class values must be non-negative.")
    high = tensor.max().item()
    if num_classes == -1:
        num_classes = high + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif high >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    out = tensor.new_zeros((*tensor._shape, num_classes))
    return out.scatter_(-1, tensor.unsqueeze(-1), 1)


# dropout ------------------------------------------------------------------------------------------
def check_p(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def blank(input, shape):
    """Fresh memory for a mask, in input's layout if it has input's shape (masks are drawn in memory order)."""
    if tuple(shape) != tuple(input._shape):
        return input.new_empty(shape)
    from flambeau.ops.copying import layout_for

    return hooks.empty_strided(input._shape, layout_for(input, None), input._dtype)


def dropped(input, p: float, training: bool, shape, inplace: bool):
    """input times a mask of the given shape: 0 with probability p, else 1 / (1 - p)."""
    check_p(p)
    if p == 0 or not training or not input._numel:
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    noise = blank(input, shape).bernoulli_(1 - p).div_(1 - p)
    return input.mul_(noise) if inplace else input * noise


@op(COMPOSITE, functional=True, method=False)
def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability p, and scale the others by 1 / (1 - p).

    Errors:   ValueError for p outside [0, 1]
    Source:   torch.nn.functional.dropout
    """
    return dropped(input, p, training, input._shape, inplace)


def feature_shape(input) -> tuple:
    """One mask element per image and channel."""
    if len(input._shape) < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return (*input._shape[:2], *(1,) * (len(input._shape) - 2))


def feature_dropped(name: str, dims: tuple, input, p, training, inplace):
    check_p(p)
    return dropped(input, p, training, feature_shape(input), inplace)


@op(COMPOSITE, **F)
def dropout1d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (n, c, l) or (c, l).

    Source:   torch.nn.functional.dropout1d
    """
    check_p(p)
    if len(input._shape) not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {len(input._shape)}D input. Note that dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs).")
    if len(input._shape) == 2:
        return feature_dropped("dropout1d", (), input.unsqueeze(0), p, training, inplace).squeeze(0)
    return feature_dropped("dropout1d", (), input, p, training, inplace)


@op(COMPOSITE, **F)
def dropout2d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (n, c, h, w).

    Source:   torch.nn.functional.dropout2d
    """
    return feature_dropped("dropout2d", (), input, p, training, inplace)


@op(COMPOSITE, **F)
def dropout3d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (n, c, d, h, w).

    Source:   torch.nn.functional.dropout3d
    """
    return feature_dropped("dropout3d", (), input, p, training, inplace)


ALPHA = 1.7580993408473766  # scale * alpha of SELU


def alpha_dropped(input, p: float, training: bool, shape, inplace: bool):
    """Dropout that keeps SELU's mean and variance: dropped elements become -ALPHA, then an affine map."""
    check_p(p)
    if p == 0 or not training or not input._numel:
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    noise = blank(input, shape).bernoulli_(1 - p)
    a = 1.0 / ((ALPHA * ALPHA * p + 1) * (1 - p)) ** 0.5
    b = noise.add(-1).mul_(ALPHA * a).add_(ALPHA * a * p)
    noise = noise.mul_(a)
    return input.mul_(noise).add_(b) if inplace else input * noise + b


@op(COMPOSITE, functional=True, method=False)
def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout for self-normalising networks.

    Source:   Klambauer et al., 2017; torch.nn.functional.alpha_dropout
    """
    return alpha_dropped(input, p, training, input._shape, inplace)


@op(COMPOSITE, functional=True, method=False)
def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """alpha_dropout of whole channels.

    Source:   torch.nn.functional.feature_alpha_dropout
    """
    return alpha_dropped(input, p, training, feature_shape(input), inplace)


