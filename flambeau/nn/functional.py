"""torch.nn.functional's names: a table of what ``flambeau.ops`` provides, fetched on first use.

An op that no family provides yet is reported by name when it is used, so that the rest stays usable.
"""

import functools

from flambeau import ops
from flambeau.nn import _reduction as _Reduction  # noqa: F401 - PyTorch has it here
from flambeau.ops import composite_nn
from flambeau.ops.record import TABLE
from flambeau.tensor.bind import INPLACE_FORMS
from flambeau.tensor.tensor import Tensor

_FROM_OPS = ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices", "affine_grid", "alpha_dropout", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm", "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "celu_", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cross_entropy", "ctc_loss", "dropout", "dropout1d", "dropout2d", "dropout3d", "elu", "elu_", "embedding", "embedding_bag", "feature_alpha_dropout", "fold", "fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d", "fractional_max_pool3d_with_indices", "gelu", "glu", "grid_sample", "group_norm", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "huber_loss", "instance_norm", "interpolate", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "leaky_relu_", "linear", "local_response_norm", "log_softmax", "logsigmoid", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices", "max_unpool1d", "max_unpool2d", "max_unpool3d", "mish", "mse_loss", "nll_loss", "one_hot", "pad", "pdist", "pixel_shuffle", "pixel_unshuffle", "prelu", "relu", "relu6", "relu_", "rms_norm", "rrelu", "rrelu_", "scaled_dot_product_attention", "selu", "selu_", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "threshold_", "unfold", "upsample", "upsample_bilinear", "upsample_nearest", "channel_shuffle", "native_channel_shuffle"]

# where PyTorch's torch.name or Tensor.name means something else
_OTHER_NAMES = {"unfold": "im2col", "fold": "col2im"}
_NAMES = frozenset(_FROM_OPS) | frozenset(composite_nn.__all__)
__all__ = [name for name in _NAMES if not name.startswith("_")]


def __getattr__(name):
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(ops, _OTHER_NAMES.get(name, name), None)
    if found is None:
        found = getattr(composite_nn, name, None)
    if found is None and name.endswith("_"):
        found = _changing(name[:-1])
    elif name in _INPLACE:
        found = _with_inplace(found, _INPLACE[name])
    if found is None:
        raise NotImplementedError(
            f"nn.functional.{name}: no op of this name in flambeau.ops; it is not available in "
            "this build"
        )
    globals()[name] = found
    return found


# functions with inplace=False, and its position
_INPLACE = {
    "celu": 2, "elu": 2, "hardsigmoid": 1, "hardswish": 1, "hardtanh": 3, "leaky_relu": 2, "mish": 1, "relu": 1,
    "relu6": 1, "selu": 1, "silu": 1, "threshold": 3,
}  # fmt: skip


def _changing(name):
    """The in-place form of an op that Tensor has no method for."""
    form = getattr(Tensor, name + "_", None)
    record = TABLE.get(name)
    return form if form is not None or record is None else INPLACE_FORMS[record.family](record)


def _with_inplace(fn, count):
    """fn with inplace, a keyword or the argument at position `count`."""
    form = _changing(fn.record.name)

    @functools.wraps(fn)
    def call(*args, inplace=False, **kwargs):
        if len(args) > count:
            args, inplace = args[:count], args[count]
        return form(*args, **kwargs) if inplace else fn(*args, **kwargs)

    call.record = fn.record
    return call


def __dir__():
    return sorted({*globals(), *_NAMES})


