"""torch.optim._adafactor: where PyTorch keeps Adafactor."""

from flambeau.optim.matrices import Adafactor

__all__ = ["Adafactor"]
