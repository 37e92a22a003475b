"""Record what PyTorch's optimizers and schedules do: python tools/record_optim.py (with torch)."""

import json
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    import torch

    from tests.optim import programs

    warnings.simplefilter("ignore")
    out: dict = {"optimizers": [], "schedules": []}
    for name, options in programs.cases(programs.OPTIMIZERS):
        values, optimizer = programs.walk(torch, name, options)
        out["optimizers"].append([[v.ravel().tolist() for v in values], programs.shape_of_state(optimizer)])
    for name, options in programs.cases(programs.SCHEDULES):
        out["schedules"].append(programs.rates(torch, name, options))
    (ROOT / "tests" / "data" / "optim.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
