"""Working habits of training: stop early, split into folds, weigh rare classes, tell over- from underfitting."""

from __future__ import annotations

import copy
import math

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.ops.create import ones
from flambeau.ops.random import Generator, randperm
from flambeau.ops.sort import bincount


class EarlyStopping:
    """Stop when a score has not improved for `patience` rounds; remembers the best state.

        stop = EarlyStopping(patience=5)
        for epoch in range(100):
            ...
            if stop(validation_loss, net):
                break
        net.load_state_dict(stop.best_state)

    Args:     mode: "min" (losses) or "max" (accuracies); min_delta: what counts as an improvement
    """

    def __init__(self, patience: int = 10, mode: str = "min", min_delta: float = 0.0):
        if mode not in ("min", "max"):
            raise ValueError(f"EarlyStopping: mode must be 'min' or 'max', got {mode!r}")
        self.patience, self.mode, self.min_delta = patience, mode, min_delta
        self.best, self.best_state, self.bad = math.inf if mode == "min" else -math.inf, None, 0

    def __call__(self, score, net=None) -> bool:
        """Take note of a score; True if it is time to stop."""
        score = float(score)
        gain = self.best - score if self.mode == "min" else score - self.best
        if gain > self.min_delta:
            self.best, self.bad = score, 0
            if net is not None:
                self.best_state = copy.deepcopy(net.state_dict())
        else:
            self.bad += 1
        return self.bad >= self.patience


def k_fold(n: int, k: int, seed: int = 0):
    """k pairs (training indices, validation indices): a shuffled 0 ... n-1 in parts that differ by at most one."""
    if not 2 <= k <= n:
        raise ValueError(f"k_fold: k must be from 2 to n = {n}, got {k}")
    order = randperm(n, generator=Generator().manual_seed(seed)).tolist()
    start = 0
    for i in range(k):
        size = n // k + (i < n % k)
        yield order[:start] + order[start + size :], order[start : start + size]
        start += size


def class_weights(labels, classes: int | None = None):
    """Weights n / (classes * count) that make every class count the same; classes that do not occur get 0."""
    counts = bincount(labels.reshape(-1), minlength=classes or 0).float()
    return (counts.sum() / (counts * len(counts))).masked_fill(counts == 0, 0)


class FocalLoss(Module):
    """-alpha_y (1 - p_y)^gamma log p_y: cross entropy that cares less for what is classified well already.

    Shapes:   logits (n, classes), labels (n)
    Source:   Lin et al., Focal Loss for Dense Object Detection, 2017
    """

    def __init__(self, gamma: float = 2.0, weight=None, reduction: str = "mean"):
        super().__init__()
        self.gamma, self.reduction = gamma, reduction
        self.register_buffer("weight", weight)

    def forward(self, logits, labels):
        """The loss of a batch."""
        log_p = F.log_softmax(logits, 1).gather(1, labels.unsqueeze(1)).squeeze(1)
        alpha = ones(len(labels), dtype=logits.dtype) if self.weight is None else self.weight[labels]
        loss = -alpha * (1 - log_p.exp()) ** self.gamma * log_p
        if self.reduction == "none":
            return loss
        return loss.sum() if self.reduction == "sum" else loss.sum() / alpha.sum()


def diagnose(train: list, validation: list, tolerance: float = 0.1) -> str:
    """What two loss curves say: "underfitting", "overfitting", "still improving" or "fine".

    Overfitting: validation has risen from its best by more than `tolerance` of it while training fell on. Underfitting: the
    training loss itself has lost less than a tenth of where it started. Still improving: validation's best is its last.
    """
    if len(train) != len(validation) or len(train) < 2:
        raise ValueError("diagnose: needs two curves of the same length, at least 2")
    best = min(validation)
    if validation[-1] > best * (1 + tolerance) and train[-1] < train[validation.index(best)]:
        return "overfitting"
    if train[-1] > 0.9 * train[0]:
        return "underfitting"
    return "still improving" if validation[-1] == best and validation[-1] < validation[-2] * 0.995 else "fine"


def progress(iterable, **options):
    """tqdm's bar around an iterable, or the iterable itself where tqdm is not installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return iterable
    return tqdm(iterable, **options)
