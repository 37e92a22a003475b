"""A training run that saves after every step and continues from what it finds: python killed_run.py directory.

last.pt is replaced every time; every tenth step has a file of its own; weights.safetensors holds the weights alone.
"""

import sys
from pathlib import Path

import flambeau as torch


def main(directory):
    """Train until somebody ends it."""
    folder = Path(directory)
    net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.Adam(net.parameters())
    done = 0
    if (folder / "last.pt").exists():
        saved = torch.load(folder / "last.pt")
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        done = saved["done"]
    print("ready", flush=True)
    while True:
        loss = torch.nn.functional.cross_entropy(net(torch.randn(32, 64)), torch.randint(10, (32,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done += 1
        checkpoint = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "done": done}
        torch.save(checkpoint, folder / "last.pt")
        torch.serialization.save_file(net.state_dict(), folder / "weights.safetensors")
        if done % 10 == 0:
            torch.save(checkpoint, folder / f"step{done % 100}.pt")
            print(done, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
