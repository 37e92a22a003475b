"""Who takes part? A rare class, found by weighted cross entropy and by focal loss: python examples/events.py

Synthetic invitations after studies of Meetup events: about one in twelve is accepted, depending on distance, interest,
friends and past habits. Three losses are compared by the area under the precision-recall curve, in five folds.
"""

import numpy as np

import flambeau as torch
from flambeau import nn
from flambeau.utils.training import FocalLoss, class_weights, k_fold, progress


def invitations(n: int, seed: int = 0):
    """(features, whether the invitation was accepted)."""
    r = np.random.default_rng(seed)
    distance, interest = r.gamma(2, 3, n), r.random(n)
    friends, past = r.poisson(1.2, n), r.beta(1, 6, n)
    score = -3.6 - 0.25 * distance + 2.2 * interest + 0.6 * friends + 5 * past + 1.5 * interest * (friends > 1)
    label = r.random(n) < 1 / (1 + np.exp(-score))
    x = np.stack([np.log1p(distance), interest, friends, past], 1)
    return torch.from_numpy(((x - x.mean(0)) / x.std(0)).astype("float32")), torch.from_numpy(label.astype("int64"))


def average_precision(score, label) -> float:
    """The area under the precision-recall curve."""
    hits = label[score.argsort(descending=True)].float()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return ((precision * hits).sum() / hits.sum()).item()


def fit(x, y, loss):
    """A small network trained with a loss."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(200):
        rows = torch.randint(0, len(x), (512,))
        optimizer.zero_grad()
        loss(net(x[rows]), y[rows]).backward()
        optimizer.step()
    return net


def main():
    x, y = invitations(6000)
    weights = class_weights(y)
    print(f"{y.float().mean().item():.1%} accepted; class weights {[round(w, 2) for w in weights.tolist()]}")
    losses = {"cross entropy": nn.CrossEntropyLoss(), "weighted": nn.CrossEntropyLoss(weight=weights), "focal": FocalLoss(2.0, weights)}
    scores: dict = {name: [] for name in losses}
    for train, valid in progress(list(k_fold(len(x), 5)), desc="folds"):
        for name, loss in losses.items():
            net = fit(x[train], y[train], loss)
            with torch.no_grad():
                p = net(x[valid]).softmax(1)[:, 1]
            recall = ((p > 0.5) & (y[valid] == 1)).sum() / (y[valid] == 1).sum()
            scores[name].append((average_precision(p, y[valid]), recall.item()))
    for name, values in scores.items():
        ap, recall = np.mean(values, 0)
        print(f"{name:14} average precision {ap:.3f}   recall at 0.5: {recall:.2f}")


if __name__ == "__main__":
    main()
