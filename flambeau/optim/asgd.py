"""torch.optim.asgd: where PyTorch keeps ASGD."""

from flambeau.optim.algorithms import ASGD

__all__ = ["ASGD"]
