"""torch.utils.tensorboard: SummaryWriter, over the tensorboard package (extra `tensorboard`)."""

from flambeau.utils.tensorboard.writer import SummaryWriter

__all__ = ["SummaryWriter"]
