"""torch.utils.checkpoint: recompute activations in the backward pass instead of keeping them."""

from flambeau.autograd.checkpoint import *  # noqa: F403
from flambeau.autograd.checkpoint import checkpoint, checkpoint_sequential

__all__ = ["checkpoint", "checkpoint_sequential"]
