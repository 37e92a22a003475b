"""The same networks in evaluation, nothing recorded, batches and one at a time: python benchmarks/inference.py [name ...]"""

from __future__ import annotations

import functools

import pairs
import training
from workloads import ONE_AT_A_TIME, WORKLOADS

measure = functools.partial(training.measure, table=WORKLOADS | ONE_AT_A_TIME, way="inference")

if __name__ == "__main__":
    pairs.main(__doc__, measure, "ms", 2.0)
