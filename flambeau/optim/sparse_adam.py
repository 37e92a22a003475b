"""torch.optim.sparse_adam: where PyTorch keeps SparseAdam."""

from flambeau.optim.algorithms import SparseAdam

__all__ = ["SparseAdam"]
