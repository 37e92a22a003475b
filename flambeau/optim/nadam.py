"""torch.optim.nadam: where PyTorch keeps NAdam."""

from flambeau.optim.algorithms import NAdam

__all__ = ["NAdam"]
