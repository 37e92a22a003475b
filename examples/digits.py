"""The tutorial's network on real handwritten digits: python examples/digits.py [--epochs N] [--out FOLDER]

Trains a small convolutional network on the 1,797 digits that scikit-learn ships, with a progress bar, TensorBoard logs (loss,
accuracy, PR curves, the graph), a checkpoint of the best state, and pictures of the curves and of some predictions. What is
judged and kept is a moving average of the weights. A tenth of the training images says when to stop and which state is best;
the held-out images are looked at once, at the end.
"""

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from flambeau.utils.data import DataLoader, random_split
from flambeau.utils.draw import draw
from flambeau.utils.tensorboard import SummaryWriter
from flambeau.utils.training import EarlyStopping, progress
from flambeau.vision import datasets, utils


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv2, self.norm2 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.pool, self.drop = nn.MaxPool2d(2), nn.Dropout(0.3)
        self.fc1, self.fc2 = nn.Linear(64 * 4 * 4, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        x = self.pool(F.relu(self.norm2(self.conv2(x))))
        x = self.drop(F.relu(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)


def shifts(images):
    """(n, 1, 3, 3, 8, 8): each image moved by -1, 0 or 1 pixels in both directions."""
    return F.pad(images, (1, 1, 1, 1)).unfold(2, 8, 1).unfold(3, 8, 1)


def shifted(images):
    """Each image in a random one of its nine places: the labels stay."""
    dy, dx = torch.randint(0, 3, (2, len(images)))
    return shifts(images)[torch.arange(len(images)), :, dy, dx]


def predict(net, images):
    """Probabilities: the mean over the nine places an image was learnt in."""
    places = shifts(images).permute(2, 3, 0, 1, 4, 5).reshape(9, *images.shape)
    return torch.stack([net(x).softmax(1) for x in places]).mean(0)


def evaluate(net, loader, probabilities=lambda net, x: net(x).softmax(1)):
    """(loss, accuracy, probabilities, labels) on images that were not learnt."""
    net.eval()
    with torch.no_grad():
        found, labels = zip(*((probabilities(net, x), y) for x, y in loader), strict=True)
    p, labels = torch.cat(found), torch.cat(labels)
    loss = F.nll_loss(p.clamp(min=1e-9).log(), labels).item()
    return loss, (p.argmax(1) == labels).float().mean().item(), p, labels


def pictures(out: Path, history, net, test) -> None:
    """curves.png and predictions.png."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for name in ("train loss", "validation loss"):
        axes[0].plot([h[name] for h in history], label=name)
    axes[1].plot([100 * h["accuracy"] for h in history], label="validation accuracy, %")
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.legend()
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=110)
    x = test.data[:24]
    with torch.no_grad():
        guess = predict(net, x).argmax(1)
    figure, axes = plt.subplots(3, 8, figsize=(9, 4))
    for axis, image, label, g in zip(axes.ravel(), x, test.targets, guess, strict=False):
        axis.imshow(1 - image[0].numpy(), cmap="gray")
        axis.set_title(f"{g.item()}", color="black" if g == label else "red")
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(out / "predictions.png", dpi=110)
    plt.close("all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/digits"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    start = time.perf_counter()
    train, test = datasets.Digits(train=True), datasets.Digits(train=False)
    learn, valid = random_split(train, [0.9, 0.1])
    train_loader = DataLoader(learn, batch_size=64, shuffle=True)
    valid_loader = DataLoader(valid, batch_size=len(valid))
    test_loader = DataLoader(test, batch_size=len(test))
    net = Net()
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=args.epochs * len(train_loader))
    stop, history = EarlyStopping(patience=15), []
    with SummaryWriter(args.out / "logs") as writer:
        writer.add_graph(net, train.data[:1])
        writer.add_image("digits", utils.make_grid(train.data[:32]))
        bar = progress(range(args.epochs), desc="epochs")
        for epoch in bar:
            net.train()
            total = 0.0
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(net(shifted(x)), y, label_smoothing=0.05)
                loss.backward()
                optimizer.step()
                schedule.step()
                average.update_parameters(net)
                total += loss.item() * len(y)
            loss, accuracy, _, _ = evaluate(average, valid_loader)
            history.append({"train loss": total / len(learn), "validation loss": loss, "accuracy": accuracy})
            for name, value in history[-1].items():
                writer.add_scalar(name, value, epoch)
            if hasattr(bar, "set_postfix"):
                bar.set_postfix(accuracy=f"{100 * accuracy:.1f}%", loss=f"{loss:.3f}")
            if stop(loss, average.module):
                break
        net.load_state_dict(stop.best_state)
        _, accuracy, probabilities, labels = evaluate(net, test_loader, predict)
        for digit in range(10):
            writer.add_pr_curve(f"digit {digit}", labels == digit, probabilities[:, digit])
    torch.save({"model": net.state_dict(), "accuracy": accuracy}, args.out / "best.pt")
    pictures(args.out, history, net, test)
    draw(net, test.data[:1], args.out / "network.svg")
    print(f"held-out accuracy {100 * accuracy:.2f}% on {len(test)} images, {time.perf_counter() - start:.1f} s; see {args.out}/")


if __name__ == "__main__":
    main()
