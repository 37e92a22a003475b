"""torch.optim.rprop: where PyTorch keeps Rprop."""

from flambeau.optim.algorithms import Rprop

__all__ = ["Rprop"]
