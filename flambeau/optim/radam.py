"""torch.optim.radam: where PyTorch keeps RAdam."""

from flambeau.optim.algorithms import RAdam

__all__ = ["RAdam"]
