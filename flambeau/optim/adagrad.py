"""torch.optim.adagrad: where PyTorch keeps Adagrad."""

from flambeau.optim.algorithms import Adagrad

__all__ = ["Adagrad"]
