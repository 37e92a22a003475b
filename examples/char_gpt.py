"""A character GPT that writes something like Python: python examples/char_gpt.py [--steps N]

The text is the standard library's own source, which every Python has.
"""

import argparse
import inspect
import textwrap

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.utils.training import progress


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.n1, self.n2, self.heads = nn.LayerNorm(width), nn.LayerNorm(width), heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, width = x.shape
        q, k, v = (p.view(b, n, self.heads, -1).transpose(1, 2) for p in self.qkv(self.n1(x)).split(width, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, n, width))
        return x + self.down(F.gelu(self.up(self.n2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary, length=64, width=96, layers=3, heads=4):
        super().__init__()
        self.length = length
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, x):
        x = self.token(x) + self.place(torch.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(x)))

    def write(self, x, count):
        with torch.no_grad():
            for _ in range(count):
                logits = self(x[:, -self.length :])[:, -1]
                x = torch.cat([x, torch.multinomial((logits / 0.8).softmax(1), 1)], 1)
        return x


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    torch.manual_seed(0)
    text = inspect.getsource(textwrap) + inspect.getsource(inspect)[:150_000]
    letters = sorted(set(text))
    data = torch.tensor([letters.index(c) for c in text])
    net = GPT(len(letters))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    bar = progress(range(args.steps), desc="steps")
    for _ in bar:
        at = torch.randint(0, len(data) - net.length - 1, (16,)).tolist()
        x = torch.stack([data[i : i + net.length] for i in at])
        y = torch.stack([data[i + 1 : i + net.length + 1] for i in at])
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x).view(-1, len(letters)), y.view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if hasattr(bar, "set_postfix"):
            bar.set_postfix(loss=f"{loss.item():.3f}")
    print("".join(letters[i] for i in net.write(data[:8].unsqueeze(0), 300)[0].tolist()))


if __name__ == "__main__":
    main()
