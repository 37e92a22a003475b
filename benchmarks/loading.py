"""The data loader's rate against PyTorch's: python benchmarks/loading.py

Two worker processes feed the same data sets in either library: pictures decoded from PNG files and turned into tensors,
samples computed with NumPy, slices of a tensor, and big samples of which nothing is computed. Each library runs in a
process of its own; the two take turns, an epoch at a time, and the medians of their rates are compared.
"""

import argparse
import importlib
import io
import statistics
import subprocess
import sys
import time

import numpy as np


def png(i: int) -> bytes:
    """A small picture as a file's bytes."""
    from PIL import Image

    pixels = (np.sin(np.arange(96 * 96 * 3) * 0.01 * (i + 1)) * 127 + 128).astype(np.uint8).reshape(96, 96, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def data_sets(T):
    """name -> (data set, batch size)."""
    data = T.utils.data

    class Pictures(data.Dataset):
        files = [png(i) for i in range(16)]

        def __len__(self):
            return 1024

        def __getitem__(self, i):
            from PIL import Image

            picture = np.array(Image.open(io.BytesIO(self.files[i % 16])))
            return T.from_numpy(picture).permute(2, 0, 1).float().div(255).sub(0.5).div(0.25), i % 10

    class Computed(data.Dataset):
        def __len__(self):
            return 4096

        def __getitem__(self, i):
            return np.sin(np.arange(3 * 32 * 32, dtype=np.float32) * (i + 1)).reshape(3, 32, 32), i % 10

    class Big(data.Dataset):
        big = T.ones(3, 224, 224)

        def __len__(self):
            return 1024

        def __getitem__(self, i):
            return self.big, i

    tensors = data.TensorDataset(T.arange(8192 * 784.0).reshape(8192, 784), T.arange(8192))
    return {"pictures": (Pictures(), 32), "computed": (Computed(), 64), "slices": (tensors, 64), "big samples": (Big(), 32)}


def serve(library: str) -> None:
    """Run an epoch of a data set whenever one is named on standard input; say how long it took."""
    T = importlib.import_module(library)
    importlib.import_module(library + ".utils.data")
    T.set_num_threads(1)
    sets = data_sets(T)
    loaders = {
        name: T.utils.data.DataLoader(d, batch_size=n, shuffle=True, num_workers=2, persistent_workers=True)
        for name, (d, n) in sets.items()
    }
    for line in sys.stdin:
        loader, count, total = loaders[line.strip()], 0, 0.0
        start = time.perf_counter()
        for x, y in loader:
            count += len(y)
            total += x[0, 0].sum().item()  # look at it
        print(count / (time.perf_counter() - start), flush=True)


class Server:
    """A process that measures one library."""

    def __init__(self, library: str):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", library], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def rate(self, name: str) -> float:
        """Samples a second of an epoch."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
        return
    servers = {name: Server(name) for name in ("flambeau", "torch")}
    print(f"{'samples a second':18} {'flambeau':>10} {'PyTorch':>10} {'ratio':>7}")
    for name in ("pictures", "computed", "slices", "big samples"):
        rates: dict[str, list[float]] = {library: [] for library in servers}
        for i in range(args.rounds + 1):
            for library, server in servers.items():
                found = server.rate(name)
                if i:  # the first epoch starts the workers
                    rates[library].append(found)
        ours, theirs = (statistics.median(rates[library]) for library in servers)
        print(f"{name:18} {ours:10.0f} {theirs:10.0f} {ours / theirs:7.2f}", flush=True)
    for server in servers.values():
        server.process.stdin.close()
        server.process.wait()


if __name__ == "__main__":
    main()
