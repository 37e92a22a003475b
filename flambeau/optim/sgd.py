"""torch.optim.sgd: where PyTorch keeps SGD."""

from flambeau.optim.algorithms import SGD

__all__ = ["SGD"]
