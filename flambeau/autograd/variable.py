"""torch.autograd.Variable: the old name of a tensor."""

from __future__ import annotations

from flambeau.ops.record import hooks


class _VariableMeta(type):
    def __instancecheck__(cls, x):
        return isinstance(x, hooks.Tensor)

    def __call__(cls, data=None, requires_grad=False, volatile=None):
        t = data.detach() if isinstance(data, hooks.Tensor) else data
        return t.requires_grad_(requires_grad)


class Variable(metaclass=_VariableMeta):
    """Variable(tensor, requires_grad): the tensor itself, detached."""
