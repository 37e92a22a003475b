"""Parameters as one vector, and back."""

from flambeau.nn._base import Tensor, ops, typename

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _same_device(param, device):
    """The device all parameters so far are on; TypeError if this one is elsewhere."""
    if device is not None and param.device != device:
        raise TypeError(
            "Found two parameters on different devices, this is currently not supported."
        )
    return param.device


def parameters_to_vector(parameters):
    """Every parameter flattened, one after another."""
    device, parts = None, []
    for param in parameters:
        device = _same_device(param, device)
        parts.append(param.reshape(-1))
    return ops.cat(parts)


def vector_to_parameters(vec, parameters):
    """Give each parameter its slice of ``vec`` as its data (shared, not copied)."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {typename(vec)}")
    device, at = None, 0
    for param in parameters:
        device = _same_device(param, device)
        n = param.numel()
        param.data = vec[at : at + n].view_as(param).data
        at += n
