"""torch.optim.adamax: where PyTorch keeps Adamax."""

from flambeau.optim.algorithms import Adamax

__all__ = ["Adamax"]
