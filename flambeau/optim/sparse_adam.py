"""SparseAdam: Adam of the rows that a sparse gradient names; the others, and their averages, stay as they are."""

from __future__ import annotations

from flambeau.ops.create import zeros_like
from flambeau.optim import kernels as K
from flambeau.optim.optimizer import (
    Optimizer,
    check_betas,
    check_single,
    require,
    sign,
    update_rows,
)


class SparseAdam(Optimizer):
    """Adam for sparse gradients, as embeddings with sparse=True make them.

        m = m + (1 - b1) * (g - m),  v = v + (1 - b2) * (g^2 - v)     (where g has values)
        p = p - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)

    Errors:   RuntimeError for dense gradients: use Adam
    Source:   torch.optim.SparseAdam
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        check_single(lr)
        require(0.0 < lr, "Invalid learning rate", lr)
        require(0.0 < eps, "Invalid epsilon value", eps)
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        for test, what, rule in (
            (lambda p: p.is_sparse, "Sparse", "SparseAdam requires dense parameter tensors"),
            (lambda p: p.is_complex(), "Complex", "SparseAdam does not support complex parameters"),
        ):
            found = [[i, j] for i, group in enumerate(self.param_groups) for j, p in enumerate(group["params"]) if test(p)]
            if found:
                raise ValueError(f"{what} params at indices {found}: {rule}")

    def _start(self, p, group):
        return {"step": 0, "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}

    def _update(self, p, g, state, options):
        raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")

    def _update_sparse(self, p, g, state, group):
        state["step"] += 1
        t, (b1, b2) = state["step"], map(float, group["betas"])
        if not g._nnz():
            return
        step = float(group["lr"]) * (1 - b2**t) ** 0.5 / (1 - b1**t)
        numbers = (step, float(group["eps"]), sign(group), 1 - b1, 1 - b2)
        update_rows(K.sparse_adam, p, g, (state["exp_avg"], state["exp_avg_sq"]), numbers)


__all__ = ["SparseAdam"]
