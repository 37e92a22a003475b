"""Whole training steps, flambeau beside PyTorch: python benchmarks/training.py [name ...] [--threads N]

One process runs both, alternating round by round on the same threads; the table shows the median of the rounds' times and
the median of the ratios (PyTorch's time / flambeau's; above 1 flambeau is faster).
"""

from __future__ import annotations

import pairs
from workloads import WORKLOADS


def measure(sides: dict, seconds: float, names=(), table=WORKLOADS, way: str = "training"):
    """(name, summary, 0, 0) of each workload; a side is a library, or a dict of functions that make such steps."""
    for name, workload in table.items():
        if not names or name.startswith(names):
            steps = {}
            for side, t in sides.items():
                if not isinstance(t, dict):
                    steps[side] = getattr(workload, way)(t)
                elif name in t:
                    steps[side] = t[name]()
            yield name, pairs.summary(pairs.interleaved(steps, seconds, 0.1)), 0, 0


if __name__ == "__main__":
    pairs.main(__doc__, measure, "ms", 4.0)
