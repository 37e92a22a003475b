"""Record torchvision's answers to tests/vision (transform_cases.py): `python tools/record_vision.py` with torchvision installed."""

import json
import pathlib
import sys
import warnings

import torch
import torchvision

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "vision"))
from transform_cases import CASES, case_id, run


def main():
    """Write tests/data/vision.json."""
    warnings.simplefilter("ignore")
    answers = {case_id(case): run(torch, torchvision.transforms, case) for case in CASES}
    path = ROOT / "tests" / "data" / "vision.json"
    path.write_text(json.dumps({"torchvision": torchvision.__version__, "answers": answers}, indent=0))
    print(f"{path.name}: {len(answers)} answers, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
