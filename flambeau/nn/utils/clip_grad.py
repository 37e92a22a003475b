"""Gradient clipping, by total norm or by value."""

import functools
import warnings

from flambeau.nn._base import Tensor, no_grad, ops, tensor

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_",
    "get_total_norm",
]  # fmt: skip


def _listed(tensors):
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _check_foreach(foreach, tensors):
    """``foreach=True`` promises one pass over many tensors: it is refused for other devices, as in PyTorch."""
    if foreach:
        for t in tensors:
            if t.device.type not in ("cpu", "cuda"):
                raise RuntimeError(
                    f"foreach=True was passed, but can't use the foreach API on {t.device.type} "
                    "tensors"
                )


def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """||(||t_1||_p, ||t_2||_p, ...)||_p: the norm of all tensors as one vector.

    Errors: RuntimeError for a norm that is not finite, if ``error_if_nonfinite``.
    """
    tensors = _listed(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return tensor(0.0)
    _check_foreach(foreach, tensors)
    with no_grad():
        device = tensors[0].device
        norms = [t.norm(norm_type).to(device) for t in tensors]
        total = ops.stack(norms).norm(norm_type)
        if error_if_nonfinite and not bool(total.isfinite()):
            raise RuntimeError(
                f"The total norm of order {norm_type} for gradients from `parameters` is "
                "non-finite, so it cannot be clipped. To disable this error and scale the "
                "gradients by the non-finite norm anyway, set `error_if_nonfinite=False`"
            )
    return total


def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Scale every gradient in place by min(1, max_norm / (total_norm + 1e-6))."""
    grads = [p.grad for p in _listed(parameters) if p.grad is not None]
    if not grads:
        return
    _check_foreach(foreach, grads)
    with no_grad():
        # Multiplied even when it is 1: looking at the value would wait for the device.
        scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for g in grads:
            g.mul_(scale.to(g.device))


def clip_grad_norm_(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """Scale the gradients of ``parameters`` in place so that their total norm is at most ``max_norm``.

    Returns: the total norm before. Errors: RuntimeError as for ``get_total_norm``.
    """
    is_generator = not isinstance(parameters, Tensor) and iter(parameters) is parameters
    parameters = _listed(parameters)
    if is_generator and not parameters:
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2
        )
    grads = [p.grad for p in parameters if p.grad is not None]
    total = get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Confine every element of the gradients of ``parameters`` to [-clip_value, clip_value], in place."""
    clip_value = float(clip_value)
    grads = [p.grad for p in _listed(parameters) if p.grad is not None]
    _check_foreach(foreach, grads)
    with no_grad():
        for g in grads:
            g.clamp_(min=-clip_value, max=clip_value)


@functools.wraps(clip_grad_norm_)
def clip_grad_norm(*args, **kwargs):
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated "
        "in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(*args, **kwargs)
