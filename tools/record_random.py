"""Record PyTorch's random streams for tests/ops/random_cases.py: python tools/record_random.py (with torch)."""

import sys
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    import torch

    from tests.ops import random_cases as cases

    out = {}
    for i, e in enumerate(cases.EXACT + cases.CLOSE):
        value, state = cases.draw(torch, e)
        out[f"{i}"] = value
        out[f"{i}.state"] = np.int64(zlib.crc32(state.tobytes()))
    np.savez_compressed(ROOT / "tests" / "data" / "random.npz", **out)


if __name__ == "__main__":
    main()
