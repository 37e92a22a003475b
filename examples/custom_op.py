"""A custom op as a function of scalars: python examples/custom_op.py

The function is traced once, fused into one kernel, broadcasts, and is differentiated by the chain rule; a slope that is
learnt by gradient descent shows it.
"""

import flambeau as torch


@torch.pointwise
def leaky_swish(x, slope, *, leak=0.01):
    """x sigmoid(slope x) for positive x, leak x below."""
    return torch.where(x > 0, x * torch.sigmoid(slope * x), leak * x)


def main():
    torch.manual_seed(0)
    x = torch.randn(10_000)
    wanted = leaky_swish(x, 1.7)
    slope = torch.tensor(0.5, requires_grad=True)
    optimizer = torch.optim.Adam([slope], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (leaky_swish(x, slope) - wanted).pow(2).mean()
        loss.backward()
        optimizer.step()
    print(f"the slope that made the data was 1.7; found {slope.item():.3f}")


if __name__ == "__main__":
    main()
