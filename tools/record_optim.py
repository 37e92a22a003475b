"""Record PyTorch's answers to tests/optim (programs.py): `python tools/record_optim.py` with PyTorch installed."""

import json
import pathlib
import sys
import warnings

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tests.optim import programs


def walked(case) -> list:
    """The parameters after the steps, and what the state looks like."""
    values, optimizer = programs.walk(torch, *case)
    return [[v.ravel().tolist() for v in values], programs.shape_of_state(optimizer)]


def through(case) -> list:
    """[steps, values, state and gradients]: one step where PyTorch cannot go back through several."""
    try:
        return [4, programs.through(torch, *case, steps=4)]
    except RuntimeError:
        return [1, programs.through(torch, *case, steps=1)]


def main():
    """Write tests/data/optim.json and optim_differentiable.json."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    data = ROOT / "tests" / "data"
    answers = {
        "optimizers": [walked(case) for case in programs.cases(programs.OPTIMIZERS)],
        "schedules": [programs.rates(torch, *case) for case in programs.cases(programs.SCHEDULES)],
    }
    (data / "optim.json").write_text(json.dumps(answers))
    recorded = [through(case) for case in programs.cases(programs.DIFFERENTIABLE)]
    (data / "optim_differentiable.json").write_text(json.dumps(recorded))
    print({name: len(found) for name, found in answers.items()}, len(recorded))


if __name__ == "__main__":
    main()
