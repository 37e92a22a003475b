"""torch.optim.adadelta: where PyTorch keeps Adadelta."""

from flambeau.optim.algorithms import Adadelta

__all__ = ["Adadelta"]
