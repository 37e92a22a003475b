"""torch.optim.adam: where PyTorch keeps Adam."""

from flambeau.optim.algorithms import Adam

__all__ = ["Adam"]
