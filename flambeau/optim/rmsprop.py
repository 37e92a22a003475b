"""torch.optim.rmsprop: where PyTorch keeps RMSprop."""

from flambeau.optim.algorithms import RMSprop

__all__ = ["RMSprop"]
