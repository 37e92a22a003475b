"""What the parity expressions run on a CPU also compiles for GPUs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(("chip", "stride"), [("sm_80", 1), ("sm_90", 4)])
def test_kernels_compile_for_gpus(chip, stride):
    """Every kernel for one chip, every fourth for the newer one (they differ in few instructions)."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.codegen.gpu_kernels", chip, str(stride)], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert run.returncode == 0, run.stdout + run.stderr
    compiled, chosen = map(int, run.stdout.split()[:2])
    assert compiled > 700 and chosen * stride >= 150
