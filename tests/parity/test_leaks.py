"""Every expression of cases.py, with its gradients, gives back all the memory it takes."""

import gc
import warnings

import pytest

import flambeau as torch
from flambeau.runtime import memory
from tests.parity import cases

TIMES = 4


@pytest.mark.parametrize("group", cases.GROUPS)
def test_no_memory_is_kept(group):
    kept = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for expression in cases.cases(group):
            arrays = cases.inputs(expression)
            for times in (2, TIMES):  # what is cached is there after two
                gc.collect(0)
                before = memory.stats()["blocks"]
                for _ in range(times):
                    cases.evaluate(torch, expression, arrays)
            if memory.stats()["blocks"] - before >= TIMES:
                kept.append(expression)
    assert not kept
