"""A training run killed at random moments: every checkpoint on disk loads, and the run continues from it.

`pytest tests/serialization/test_killed.py --kills 50` kills it fifty times.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import flambeau as torch

RUN = Path(__file__).with_name("killed_run.py")
SHAPES = {"0.weight": (256, 64), "0.bias": (256,), "2.weight": (10, 256), "2.bias": (10,)}
ROOT = Path(__file__).resolve().parents[2]


def start(folder):
    """The run, once it is training."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, str(RUN), str(folder)], stdout=subprocess.PIPE, env=environment)
    assert run.stdout.readline() == b"ready\n"
    return run


def check(folder) -> int:
    """Load every checkpoint there is; how many steps the last one has."""
    files = [p for p in folder.iterdir() if not p.name.startswith(".")]
    for path in files:
        saved = torch.load(path)
        weights = saved if path.suffix == ".safetensors" else saved["net"]
        assert {k: tuple(w.shape) for k, w in weights.items()} == SHAPES, path
        assert all(w.isfinite().all() for w in weights.values()), path
        if path.suffix == ".pt":
            assert all(s["step"].item() == saved["done"] for s in saved["optimizer"]["state"].values()), path
    return torch.load(folder / "last.pt")["done"] if files else 0


def test_every_checkpoint_of_a_killed_run_loads(tmp_path, seed, request):
    r, done, left_behind = random.Random(seed), 0, 0
    for _ in range(request.config.getoption("--kills")):
        run = start(tmp_path)
        with run.stdout:
            run.stdout.readline()
            time.sleep(r.random() * 0.2)
            run.kill()
            run.wait()
        now = check(tmp_path)
        assert now > done
        done = now
        left_behind = sum(p.name.startswith(".") for p in tmp_path.iterdir())
    print(f"{done} steps, {left_behind} unfinished files left")
