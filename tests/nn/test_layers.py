"""Every layer and loss against PyTorch 2.13's recorded answers: repr, initial weights, outputs, gradients."""

import gzip
import json
import pathlib

import numpy as np
import pytest

import flambeau

from .layer_cases import CASES, case_id, run

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "nn_layers.json.gz"
ANSWERS = json.loads(gzip.decompress(DATA.read_bytes()))["answers"]


def check(what, got, want):
    """Compare two digests."""
    if want is None or got is None:
        assert got == want, what
        return
    assert got[:2] == want[:2], what
    size = int(np.prod(got[0])) if got[0] else 1
    close = 2e-5 * max(1.0, want[3])
    assert abs(got[2] - want[2]) <= close * max(1.0, size**0.5), what
    assert got[3] == pytest.approx(want[3], rel=2e-4, abs=2e-5), what
    assert got[4] == pytest.approx(want[4], rel=2e-4, abs=close), what


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_layer(case):
    want, got = ANSWERS[case_id(case)], run(flambeau, case)
    assert got["repr"] == want["repr"]
    assert got["parameters"] == want["parameters"]
    assert list(got["state"]) == list(want["state"])
    for key, value in want["state"].items():
        check(f"initial {key}", got["state"][key], value)
    for mode in ("train", "eval"):
        for part, wanted in want.get(mode, {}).items():
            assert len(got[mode][part]) == len(wanted), (mode, part)
            for i, (g, w) in enumerate(zip(got[mode][part], wanted, strict=True)):
                check(f"{mode} {part} {i}", g, w)
