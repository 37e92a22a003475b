"""The half of Module that changes its tensors: dtype, device, sharing, gradients, training mode."""

import warnings

from flambeau.nn._base import no_grad, ops, parse_to
from flambeau.nn.parameter import is_lazy

__all__ = ["ConvertMixin"]


class ConvertMixin:
    """Methods of Module that map a function over parameters and buffers, in place."""

    def _apply(self, fn, recurse=True):
        """Replace the data of every parameter, gradient and buffer ``t`` by ``fn(t)``; the module."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for param in self._parameters.values():
            if param is None:
                continue
            with no_grad():
                param.data = fn(param)
                if param.grad is not None:
                    requires_grad = param.grad.requires_grad
                    param.grad = fn(param.grad).requires_grad_(requires_grad)
        for key, buffer in self._buffers.items():
            if is_lazy(buffer):
                buffer.data = fn(buffer)  # stays the same object, still waiting for its shape
            elif buffer is not None:
                self._buffers[key] = fn(buffer)
        return self

    def apply(self, fn):
        """Call ``fn(module)`` on every submodule, children first, then on this module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, *args, **kwargs):
        """Move and cast parameters and buffers: ``to(device)``, ``to(dtype)``, ``to(tensor)``, any of both.

        Only floating point and complex tensors change dtype. In place; returns the module.
        """
        device, dtype, non_blocking, memory_format = parse_to(*args, **kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError(
                    "nn.Module.to only accepts floating point or complex "
                    f"dtypes, but got desired dtype={dtype}"
                )
            if dtype.is_complex:
                warnings.warn(
                    "Complex modules are a new feature under active development whose design may "
                    "change, and some modules might not work as expected when using complex "
                    "tensors as parameters or buffers.",
                    stacklevel=2,
                )

        def convert(t):
            target = dtype if t.is_floating_point() or t.is_complex() else None
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(device, target, non_blocking, memory_format=memory_format)
            try:
                return t.to(device, target, non_blocking)
            except NotImplementedError as error:
                if "meta tensor" not in str(error):
                    raise
                raise NotImplementedError(
                    f"{error} Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                ) from None

        return self._apply(convert)

    def to_empty(self, *, device, recurse=True):
        """Move parameters and buffers to ``device`` without their values."""
        return self._apply(lambda t: ops.empty_like(t, device=device), recurse=recurse)

    def type(self, dst_type):
        """Cast every parameter and buffer to ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self):
        """Cast floating point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self):
        """Cast floating point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self):
        """Cast floating point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self):
        """Cast floating point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def cpu(self):
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device=None):
        """Move parameters and buffers to a CUDA device (the current one, unless named)."""
        return self._apply(lambda t: t.cuda(device))

    def xpu(self, device=None):
        """Move parameters and buffers to an XPU device: no such device is supported."""
        return self._move_elsewhere("xpu", device)

    def ipu(self, device=None):
        """Move parameters and buffers to an IPU device: no such device is supported."""
        return self._move_elsewhere("ipu", device)

    def mtia(self, device=None):
        """Move parameters and buffers to an MTIA device: no such device is supported."""
        return self._move_elsewhere("mtia", device)

    def _move_elsewhere(self, kind, index):
        return self.to(kind if index is None else f"{kind}:{index}")

    def share_memory(self):
        """Move parameters and buffers into memory that other processes can map."""
        return self._apply(lambda t: t.share_memory_())

    def train(self, mode=True):
        """Set training mode here and in every submodule (dropout, batch norm and the like heed it)."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """Set evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Say of every parameter whether autograd should record operations on it."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Forget (or, with ``set_to_none=False``, zero) the gradient of every parameter."""
        if getattr(self, "_is_replica", False):
            warnings.warn(
                "Calling .zero_grad() from a module created with nn.DataParallel() has no effect. "
                "The parameters are copied (in a differentiable manner) from the original module. "
                "This means they are not leaf nodes in autograd and so don't accumulate gradients. "
                "If you need gradients in your forward method, consider using autograd.grad "
                "instead.",
                stacklevel=2,
            )
        for p in self.parameters():
            if p.grad is None:
                continue
            if set_to_none:
                p.grad = None
                continue
            if p.grad.grad_fn is not None:
                p.grad.detach_()
            else:
                p.grad.requires_grad_(False)
            p.grad.zero_()


