"""Whole training steps, flambeau beside PyTorch: python benchmarks/training.py [name ...] [--threads N] [--inference]

One process runs both, alternating round by round on the same threads; the table shows the median of the rounds' times and
the median of the ratios (PyTorch's time / flambeau's; above 1 flambeau is faster).
"""

from __future__ import annotations

import argparse

import pairs
from workloads import ONE_AT_A_TIME, WORKLOADS


def measure(sides: dict, seconds: float, names=(), inference: bool = False):
    """(name, summary) of each workload; the sides are libraries, or dicts of such steps by name."""
    table = WORKLOADS | ONE_AT_A_TIME if inference else WORKLOADS
    for name in names or table:
        steps = {}
        for side, t in sides.items():
            if not isinstance(t, dict):
                steps[side] = table[name].inference(t) if inference else table[name].training(t)
            elif name in t:
                steps[side] = t[name]()
        yield name, pairs.summary(pairs.interleaved(steps, seconds, 0.1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--inference", action="store_true", help="the network alone, nothing recorded")
    args = parser.parse_args()
    print(f"{args.threads} threads\n{'':20} {'flambeau ms':>12} {'torch ms':>12} {'ratio':>7}")
    for name, row in measure(pairs.libraries(args.threads), args.seconds, args.names, args.inference):
        print(pairs.line(name, row, 1e3), flush=True)


if __name__ == "__main__":
    main()
