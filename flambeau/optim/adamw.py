"""torch.optim.adamw: where PyTorch keeps AdamW."""

from flambeau.optim.algorithms import AdamW

__all__ = ["AdamW"]
