"""The networks that the benchmarks train and run, for either library: workload(t) with t = flambeau or torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """A network, its data and its optimizer, each made from the library."""

    net: Callable
    data: Callable  # -> (inputs, labels)
    optimizer: Callable  # (t, parameters) -> optimizer

    def training(self, t):
        """A whole training step, as a function of nothing that returns the loss."""
        t.manual_seed(0)
        net = self.net(t)
        x, y = self.data(t)
        optimizer = self.optimizer(t, net.parameters())

        def step():
            optimizer.zero_grad()
            loss = t.nn.functional.cross_entropy(net(x).flatten(0, -2), y.flatten())
            loss.backward()
            optimizer.step()
            return loss

        return step

    def inference(self, t):
        """The network alone, in evaluation mode, nothing recorded."""
        t.manual_seed(0)
        net = self.net(t).eval()
        x, _ = self.data(t)

        def run():
            with t.no_grad():
                return net(x)

        return run


def sgd(t, parameters):
    return t.optim.SGD(parameters, lr=1e-3, momentum=0.9)


def adam(t, parameters):
    return t.optim.Adam(parameters)


def adamw(t, parameters):
    return t.optim.AdamW(parameters, lr=1e-3)


def features(*shape: int, classes: int = 10) -> Callable:
    """Normal numbers of `shape` (batch first) and a label each."""
    return lambda t: (t.randn(*shape), t.randint(0, classes, shape[:1]))


def tokens(batch: int, length: int, vocabulary: int = 96) -> Callable:
    """Sequences of tokens, and the tokens to predict."""
    return lambda t: (t.randint(0, vocabulary, (batch, length)), t.randint(0, vocabulary, (batch, length)))


def lenet(t):
    nn = t.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def mlp(t):
    nn = t.nn
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))


def resnet18(t):
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
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def gpt(layers: int, width: int, heads: int, length: int, vocabulary: int = 96) -> Callable:
    def build(t):
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

        return GPT()

    return build


def lstm(t):
    nn = t.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(64, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    return Net()


WORKLOADS = {
    "lenet-4": Workload(lenet, features(4, 3, 32, 32), sgd),
    "lenet-64": Workload(lenet, features(64, 3, 32, 32), sgd),
    "mlp-128": Workload(mlp, features(128, 784), adam),
    "resnet18-32": Workload(resnet18, features(32, 3, 32, 32), sgd),
    "gpt-128": Workload(gpt(4, 128, 4, 64), tokens(12, 64), adamw),
    "gpt-384": Workload(gpt(6, 384, 6, 256), tokens(4, 256), adamw),
    "lstm": Workload(lstm, features(32, 50, 64), adam),
}
ONE_AT_A_TIME = {
    "lenet-1": Workload(lenet, features(1, 3, 32, 32), sgd),
    "mlp-1": Workload(mlp, features(1, 784), adam),
    "resnet18-1": Workload(resnet18, features(1, 3, 32, 32), sgd),
    "gpt-128-1": Workload(gpt(4, 128, 4, 64), tokens(1, 64), adamw),
    "lstm-1": Workload(lstm, features(1, 50, 64), adam),
}
