"""The programs of programs.txt answer as PyTorch 2.13 does: values, texts, types and beginnings of errors."""

import gzip
import json
import pathlib

import pytest

import flambeau
from tests.nn.programs import same

from .programs import PROGRAMS, answer

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "sparse_programs.json.gz"
ANSWERS = json.loads(gzip.decompress(DATA.read_bytes()))["answers"]


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program(program):
    want, (got, _) = ANSWERS[program], answer(flambeau, program)
    assert got[0] == want[0], f"{program}\ngot: {got}\nwant: {want}"
    if want[0] == "ok":
        assert same(got[1], want[1]), f"{program}\ngot:  {got[1]}\nwant: {want[1]}"
    elif "Could not run 'aten::" not in want[1] and "Cannot access storage" not in want[1]:
        assert got[1].startswith(want[1]), f"{program}\ngot:  {got[1]}\nwant: {want[1]}"
