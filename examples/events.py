"""Who takes part? A rare class, found by weighted cross entropy and by focal loss: python examples/events.py [--out FOLDER]

Synthetic invitations after studies of Meetup events: about one in twelve is accepted, depending on distance, interest,
friends and past habits. Three losses are compared in five folds, each judged on what it was not trained on: by the area under
the precision-recall curve, by recall at 0.5, and by the best F1. The curves go to TensorBoard and into pr_curves.png.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import flambeau as torch
from flambeau import nn
from flambeau.utils.tensorboard import SummaryWriter
from flambeau.utils.training import FocalLoss, class_weights, k_fold, progress


def invitations(n: int, seed: int = 0):
    """(features, whether the invitation was accepted)."""
    r = np.random.default_rng(seed)
    distance, interest = r.gamma(2, 3, n), r.random(n)
    friends, past = r.poisson(1.2, n), r.beta(1, 6, n)
    score = -4.8 - 0.25 * distance + 2.2 * interest + 0.6 * friends + 5 * past + 1.5 * interest * (friends > 1)
    label = r.random(n) < 1 / (1 + np.exp(-score))
    x = np.stack([np.log1p(distance), interest, friends, past], 1)
    return torch.from_numpy(((x - x.mean(0)) / x.std(0)).astype("float32")), torch.from_numpy(label.astype("int64"))


def curve(score, label):
    """(precision, recall) when the 1, 2, ... highest scores are taken."""
    hits = label[score.argsort(descending=True)].float()
    found = hits.cumsum(0)
    return found / torch.arange(1, len(hits) + 1), found / hits.sum()


def measures(score, label) -> list[float]:
    """Average precision, recall at 0.5, and the best F1 of any threshold."""
    precision, recall = curve(score, label)
    hit = label[score.argsort(descending=True)].float()
    at_half = ((score > 0.5) & (label == 1)).sum() / (label == 1).sum()
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-9)
    return [v.item() for v in ((precision * hit).sum() / hit.sum(), at_half, f1.max())]


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


def pictures(out: Path, scores: dict, y) -> None:
    """The curves of all held-out predictions: for TensorBoard, and pr_curves.png."""
    figure, axis = plt.subplots(figsize=(5, 4))
    with SummaryWriter(out / "logs") as writer:
        for name, p in scores.items():
            writer.add_pr_curve(f"accepted/{name}", y, p)
            precision, recall = curve(p, y)
            axis.plot(recall, precision, label=name)
    axis.axhline(y.float().mean().item(), color="grey", linestyle=":", label="by chance")
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axis.legend()
    figure.tight_layout()
    figure.savefig(out / "pr_curves.png", dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/events"))
    parser.add_argument("--count", type=int, default=6000, help="how many invitations")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    x, y = invitations(args.count)
    weights = class_weights(y)
    print(f"{y.float().mean().item():.1%} accepted; class weights {[round(w, 2) for w in weights.tolist()]}")
    losses = {"cross entropy": nn.CrossEntropyLoss(), "weighted": nn.CrossEntropyLoss(weight=weights), "focal": FocalLoss(2.0, weights)}
    scores = {name: torch.zeros(len(x)) for name in losses}  # of every invitation, by the network that did not see it
    folds: dict = {name: [] for name in losses}
    for train, valid in progress(list(k_fold(len(x), 5)), desc="folds"):
        for name, loss in losses.items():
            net = fit(x[train], y[train], loss)
            with torch.no_grad():
                scores[name][valid] = net(x[valid]).softmax(1)[:, 1]
            folds[name].append(measures(scores[name][valid], y[valid]))
    for name, values in folds.items():
        mean, spread = np.mean(values, 0), np.std(values, 0)
        parts = zip(("average precision", "recall at 0.5", "best F1"), mean, spread, strict=True)
        print(f"{name:14}", "   ".join(f"{what} {m:.3f} +- {s:.3f}" for what, m, s in parts))
    pictures(args.out, scores, y)
    print(f"curves: {args.out}/pr_curves.png, and tensorboard --logdir {args.out}/logs")


if __name__ == "__main__":
    main()
