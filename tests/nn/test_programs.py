"""The programs of programs.txt answer as PyTorch 2.13 does: values, errors, warnings."""

import gzip
import json
import pathlib

import pytest

import flambeau

from .programs import PROGRAMS, answer, same

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "nn_programs.json.gz"
ANSWERS = json.loads(gzip.decompress(DATA.read_bytes()))["answers"]


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program(program):
    want = ANSWERS[program]
    ended, said, warned = answer(flambeau, program)
    assert ended == want[0], f"{program}\ngot: {said}\nwant: {want[1]}"
    assert same(said, want[1]), f"{program}\ngot:  {said}\nwant: {want[1]}"
    assert warned == want[2], program
