"""TorchVersion's order, and what programs are told under `python -m flambeau`."""

import subprocess
import sys
from pathlib import Path

from flambeau.torch_version import TorchVersion


def test_order_is_by_numbers():
    v = TorchVersion("2.13.0+flambeau.0.1.0")
    assert v > "2.2" and v >= "2.13" and v > "2.13.0" and v < "2.14" and v != "2.13.1"
    assert v >= (2, 13) and v < (3,) and v > [2, 9, 1] and not v < "1.13.1"
    assert TorchVersion("2.0.0") == "2.0" and TorchVersion("2.0.0a1") < "2.0.0rc1" < TorchVersion("2.0.0")
    assert v.startswith("2.13") and v.split("+")[0] == "2.13.0" and hash(v) == hash(str(v))


def test_what_is_no_version_is_text():
    assert TorchVersion("2.0") != "parrot" and TorchVersion("2.0") < "parrot"


def test_programs_are_told_pytorchs():
    code = "import torch; print(torch.__version__, torch.version.__version__, torch.__version__ >= (2, 1))"
    run = subprocess.run(
        [sys.executable, "-m", "flambeau", "-c", code], cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["2.13.0+flambeau.0.1.0"] * 2 + ["True"]
