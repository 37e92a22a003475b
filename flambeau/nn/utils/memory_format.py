"""Convolution weights in another memory format."""

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]


def _convert(module, memory_format, names):
    from flambeau import nn

    kinds = tuple(getattr(nn, name) for name in names)
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().clone().contiguous(memory_format=memory_format)
    return module


def convert_conv2d_weight_memory_format(module, memory_format):
    """Lay out the weight of every Conv2d and ConvTranspose2d as ``memory_format``."""
    return _convert(module, memory_format, ("Conv2d", "ConvTranspose2d"))


def convert_conv3d_weight_memory_format(module, memory_format):
    """Lay out the weight of every Conv3d and ConvTranspose3d as ``memory_format``."""
    return _convert(module, memory_format, ("Conv3d", "ConvTranspose3d"))
