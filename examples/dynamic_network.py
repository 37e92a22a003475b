"""A network that is another one at every step: python examples/dynamic_network.py

As many hidden layers as a random number says, all with the same weights; autograd follows whatever ran.
"""

import flambeau as torch
from flambeau import nn
from flambeau.utils.training import progress


class Dynamic(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(2, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, x):
        x = self.first(x).relu()
        for _ in range(torch.randint(0, 4, (1,)).item()):
            x = self.middle(x).relu()
        return self.last(x)


def main():
    torch.manual_seed(0)
    x = torch.rand(256, 2) * 2 - 1
    y = (x[:, :1] * x[:, 1:]).sin()
    net = Dynamic()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    first = last = None
    for _ in progress(range(1500), desc="steps"):
        loss = nn.functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    print(f"loss {first:.4f} -> {last:.5f}")


if __name__ == "__main__":
    main()
