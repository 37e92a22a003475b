"""Names that PyTorch keeps or kept: views' copies, norms from before linalg, and functions it has removed. Loaded when first named."""

from __future__ import annotations

from flambeau.ops.record import hooks


def copied(name: str):
    """A view's function that returns copies."""

    def call(input, *args, **kwargs):
        found = getattr(input, name)(*args, **kwargs)
        return found.clone() if isinstance(found, hooks.Tensor) else tuple(t.clone() for t in found)

    call.__name__ = call.__qualname__ = f"{name}_copy"
    call.__doc__ = f"{name}, in memory of its own.\n\n    Source:   torch.{name}_copy\n    "
    return call


COPIES = {f"{n}_copy": copied(n) for n in (
    "as_strided", "detach", "diagonal", "expand", "permute", "select", "split", "split_with_sizes", "squeeze", "t", "transpose",
    "unbind", "unfold", "unsqueeze", "view", "view_as_real", "view_as_complex",
)}  # fmt: skip

REMOVED = {
    "symeig": "torch.linalg.eigh (or eigvalsh), which reads the lower triangle unless UPLO='U'",
    "eig": "torch.linalg.eig, which returns complex tensors",
    "lstsq": "torch.linalg.lstsq, whose arguments are the other way round",
    "solve": "torch.linalg.solve, whose arguments are the other way round and which returns the solution alone",
    "matrix_rank": "torch.linalg.matrix_rank",
}


def removed(name: str):
    """What a function that is gone says."""

    def call(*args, **kwargs):
        raise RuntimeError(f"torch.{name}: This function was deprecated since version 1.9 and is now removed. Use {REMOVED[name]}.")

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Removed from PyTorch: RuntimeError. There is {REMOVED[name]}."
    return call


def frobenius_norm(input, dim=(), keepdim=False):
    """linalg.vector_norm(input, 2, dim, keepdim).

    Source:   torch.frobenius_norm
    """
    from flambeau.ops.reduce import vector_norm

    return vector_norm(input, 2, dim if isinstance(dim, int) or dim else None, keepdim)


def nuclear_norm(input, dim=(-2, -1), keepdim=False):
    """linalg.matrix_norm(input, 'nuc', dim, keepdim).

    Source:   torch.nuclear_norm
    """
    from flambeau.ops.matrix_functions import matrix_norm

    return matrix_norm(input, "nuc", tuple(dim), keepdim)


def norm_except_dim(v, pow=2, dim=0):  # noqa: A002
    """The norm over all dims but one, which is kept (-1: over all).

    Source:   torch.norm_except_dim
    """
    dims = [d for d in range(v.dim()) if d != dim]
    return v.norm(pow) if dim == -1 else v.norm(pow, dims, keepdim=True)


def fill(input, value):
    """input's shape, full of value.

    Source:   torch.fill
    """
    return input.clone().fill_(value)


def get_device(input) -> int:
    """The number of the GPU input is on; -1 on the CPU.

    Source:   torch.get_device
    """
    return input.get_device()


globals().update(COPIES)
globals().update({n: removed(n) for n in REMOVED})

__all__ = ["fill", "frobenius_norm", "get_device", "norm_except_dim", "nuclear_norm", *COPIES, *REMOVED]
