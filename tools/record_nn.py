"""Record PyTorch's answers to tests/nn (layer_cases.py, programs.txt) and tests/sparse: `python tools/record_nn.py` with PyTorch."""

import gzip
import json
import pathlib
import sys
import warnings

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "nn"))
from layer_cases import CASES, case_id, run
from programs import PROGRAMS, answer

sys.path.insert(0, str(ROOT))
from tests.sparse import programs as sparse


def write(name, answers):
    """Write tests/data/<name>.json.gz."""
    text = json.dumps({"torch": torch.__version__, "answers": answers}, indent=0)
    path = ROOT / "tests" / "data" / f"{name}.json.gz"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{path.name}: {len(answers)} answers, {path.stat().st_size} bytes")


def main():
    """Record the layers and the programs."""
    torch.set_num_threads(1)
    write("nn_programs", {program: answer(torch, program) for program in PROGRAMS})
    write("sparse_programs", {program: sparse.answer(torch, program)[0] for program in sparse.PROGRAMS})
    warnings.simplefilter("ignore")
    write("nn_layers", {case_id(case): run(torch, case) for case in CASES})


if __name__ == "__main__":
    main()
