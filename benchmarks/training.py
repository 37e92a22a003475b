"""Whole training steps, flambeau beside PyTorch: python benchmarks/training.py [name ...] [--threads N]

One process runs both, alternating round by round on the same threads; the table shows the median of the rounds' times and
the median of the ratios (PyTorch's time / flambeau's; above 1 flambeau is faster).
"""

from __future__ import annotations

import argparse

import pairs


def lenet(t, batch):
    nn = t.nn
    net = nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    x, y = t.randn(batch, 3, 32, 32), t.randint(0, 10, (batch,))
    return classifier(t, net, x, y, t.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9))


def classifier(t, net, x, y, optimizer):
    loss = t.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        out = loss(net(x), y)
        out.backward()
        optimizer.step()
        return out

    return step


def mlp(t, batch=128):
    nn = t.nn
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
    x, y = t.randn(batch, 784), t.randint(0, 10, (batch,))
    return classifier(t, net, x, y, t.optim.Adam(net.parameters()))


def resnet18(t, batch=32):
    nn = t.nn

    class Block(nn.Module):
        def __init__(self, a, b, stride):
            super().__init__()
            self.c1, self.n1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
            self.c2, self.n2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
            self.down = None
            if stride != 1 or a != b:
                self.down = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

        def forward(self, x):
            y = t.relu(self.n1(self.c1(x)))
            y = self.n2(self.c2(y))
            return t.relu(y + (x if self.down is None else self.down(x)))

    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    a = 64
    for b, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(a, b, stride), Block(b, b, 1)]
        a = b
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    x, y = t.randn(batch, 3, 32, 32), t.randint(0, 10, (batch,))
    return classifier(t, net, x, y, t.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9))


def gpt(t, layers, width, heads, batch, length, vocabulary=96):
    nn, F = t.nn, t.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, n, _ = x.shape
            q, k, v = (p.view(b, n, heads, -1).transpose(1, 2) for p in self.qkv(self.n1(x)).split(width, 2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, n, width))
            return x + self.down(F.gelu(self.up(self.n2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

        def forward(self, x):
            x = self.token(x) + self.place(t.arange(x.shape[1]))
            return self.head(self.norm(self.blocks(x)))

    net = GPT()
    optimizer = t.optim.AdamW(net.parameters(), lr=1e-3)
    x, y = t.randint(0, vocabulary, (batch, length)), t.randint(0, vocabulary, (batch, length))

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x).view(-1, vocabulary), y.view(-1))
        loss.backward()
        optimizer.step()
        return loss

    return step


def lstm(t, batch=32, length=50):
    nn = t.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(64, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    net = Net()
    x, y = t.randn(batch, length, 64), t.randint(0, 10, (batch,))
    return classifier(t, net, x, y, t.optim.Adam(net.parameters()))


WORKLOADS = {
    "lenet-4": lambda t: lenet(t, 4), "lenet-64": lambda t: lenet(t, 64), "mlp-128": mlp, "resnet18-32": resnet18,
    "gpt-128": lambda t: gpt(t, 4, 128, 4, 12, 64), "gpt-384": lambda t: gpt(t, 6, 384, 6, 4, 256), "lstm": lstm,
}  # fmt: skip


def measure(sides: dict, seconds: float, names=()):
    """(name, summary) of each workload."""
    for name in names or WORKLOADS:
        steps = {}
        for side, t in sides.items():
            t.manual_seed(0)
            steps[side] = WORKLOADS[name](t)
        yield name, pairs.summary(pairs.interleaved(steps, seconds, 0.1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    print(f"{args.threads} threads\n{'':20} {'flambeau ms':>12} {'torch ms':>12} {'ratio':>7}")
    for name, row in measure(pairs.libraries(args.threads), args.seconds, args.names):
        print(pairs.line(name, row, 1e3), flush=True)


if __name__ == "__main__":
    main()
