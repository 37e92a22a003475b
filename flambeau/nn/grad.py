"""Gradients of convolutions by themselves: with respect to the input, and to the weight."""

from flambeau.nn import functional as F
from flambeau.nn._base import ops

__all__ = [
    "conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input",
    "conv3d_weight",
]  # fmt: skip


def _gradient(convolve, input, weight, grad_output, wanted, settings):
    """The gradient of sum(grad_output * convolve(input, weight)) with respect to ``wanted`` of the two."""
    from flambeau.autograd import grad
    from flambeau.autograd.modes import enable_grad

    operands = [input.detach(), weight.detach()]
    operands[wanted].requires_grad_()
    with enable_grad():
        y = convolve(*operands, None, *settings)
    return grad(y, operands[wanted], grad_output)[0]


def _input_gradient(name):
    def compute(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
        empty = ops.zeros(tuple(input_size), dtype=weight.dtype, device=weight.device)
        settings = (stride, padding, dilation, groups)
        return _gradient(getattr(F, name), empty, weight, grad_output, 0, settings)

    compute.__name__ = compute.__qualname__ = f"{name}_input"
    compute.__doc__ = f"The gradient of {name} with respect to its input, of shape ``input_size``."
    return compute


def _weight_gradient(name):
    def compute(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
        empty = ops.zeros(tuple(weight_size), dtype=input.dtype, device=input.device)
        settings = (stride, padding, dilation, groups)
        return _gradient(getattr(F, name), input, empty, grad_output, 1, settings)

    compute.__name__ = compute.__qualname__ = f"{name}_weight"
    compute.__doc__ = f"The gradient of {name} with respect to its weight, of shape ``weight_size``."
    return compute


conv1d_input, conv1d_weight = _input_gradient("conv1d"), _weight_gradient("conv1d")
conv2d_input, conv2d_weight = _input_gradient("conv2d"), _weight_gradient("conv2d")
conv3d_input, conv3d_weight = _input_gradient("conv3d"), _weight_gradient("conv3d")
