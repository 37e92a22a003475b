"""torch.optim: optimizers, learning rate schedulers, averaged models."""

from flambeau.optim import lr_scheduler, swa_utils
from flambeau.optim.algorithms import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from flambeau.optim.lbfgs import LBFGS
from flambeau.optim.matrices import Adafactor, Muon
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam", "Optimizer",
    "RAdam", "RMSprop", "Rprop", "SparseAdam", "lr_scheduler", "swa_utils",
]  # fmt: skip
