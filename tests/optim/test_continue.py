"""A PyTorch checkpoint (network, optimizer, schedule) continues training here as it would have there, and back."""

import io
import pathlib
import zipfile

import numpy as np
import pytest

import flambeau

from .continue_cases import CASES, case_id, start, train

FILES = pathlib.Path(__file__).resolve().parent.parent / "data" / "pytorch_files.zip"


def through_a_file(saver, loader, state):
    """What another library's load makes of a state."""
    buffer = io.BytesIO()
    saver.save(state, buffer)
    buffer.seek(0)
    return loader.load(buffer)


def recorded(case, when):
    """PyTorch's checkpoint of a case: half way or at the end."""
    with zipfile.ZipFile(FILES) as files:
        return flambeau.load(io.BytesIO(files.read(f"{case_id(case)}.{when}.pt")))


def close(got, want, path=""):
    """Two states, to rounding."""
    if hasattr(want, "detach"):
        a, b = got.detach().numpy(), want.detach().numpy()
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=path)
    elif isinstance(want, dict):
        assert got.keys() == want.keys(), path
        for k in want:
            close(got[k], want[k], f"{path}/{k}")
    elif isinstance(want, (list, tuple)):
        assert len(got) == len(want), path
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            close(a, b, f"{path}/{i}")
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=2e-4, abs=2e-5), path
    else:
        assert got == want, path


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_continues_pytorchs_run(case):
    run = start(flambeau, case, seed=1).load(recorded(case, "half"))
    train(flambeau, run, 4)
    close(run.state(), recorded(case, "end"))


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_is_the_same_run_from_the_start(case):
    run = start(flambeau, case)
    train(flambeau, run, 3)
    close(run.state(), recorded(case, "half"))
    saved = through_a_file(flambeau, flambeau, run.state())
    other = start(flambeau, case, seed=1).load(saved)
    train(flambeau, other, 4)
    close(other.state(), recorded(case, "end"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_pytorch_continues_ours_and_gives_it_back(case):
    torch = pytest.importorskip("torch")
    run = train(flambeau, start(flambeau, case), 3)
    theirs = start(torch, case, seed=1).load(through_a_file(flambeau, torch, run.state()))
    train(torch, theirs, 2)
    back = start(flambeau, case, seed=2).load(through_a_file(torch, flambeau, theirs.state()))
    train(flambeau, back, 2)
    close(back.state(), recorded(case, "end"))
