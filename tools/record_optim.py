"""Record PyTorch's answers to tests/optim (optimizer_cases.py): `python tools/record_optim.py` with PyTorch installed."""

import gzip
import json
import pathlib
import sys
import warnings

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "optim"))
from optimizer_cases import CASES, case_id, run
from schedule_cases import SCHEDULES, trace


def main():
    """Write tests/data/optim.json.gz."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    answers = {case_id(case): run(torch, case) for case in CASES}
    schedules = {name: trace(torch, build) for name, build in SCHEDULES.items()}
    text = json.dumps({"torch": torch.__version__, "optimizers": answers, "schedules": schedules})
    path = ROOT / "tests" / "data" / "optim.json.gz"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{path.name}: {len(answers)} optimizers, {len(schedules)} schedules, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
