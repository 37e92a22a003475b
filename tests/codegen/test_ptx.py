"""What runs on a CPU also compiles for GPUs: every kernel of the parity expressions and of the op table's matrix."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_kernel_verifies_and_compiles_for_gpus():
    """For sm_80 and sm_90: all of them without LLVM's passes, one of each name optimised."""
    run = subprocess.run([sys.executable, "-m", "tests.codegen.gpu_kernels"], cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stdout + run.stderr
    compiled, distinct = map(int, run.stdout.split()[:2])
    assert compiled >= distinct > 2500
