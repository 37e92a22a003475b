"""Every expression of cases.py and every layer, with its gradients, gives back all the memory it takes."""

import gc

import pytest

import flambeau as torch
from flambeau.runtime import memory
from tests.nn import layer_cases
from tests.parity import cases

TIMES = 4


def kept(use) -> bool:
    """Whether each call of use() keeps memory."""
    for times in (2, TIMES):  # what is cached is there after two
        gc.collect(0)
        before = memory.stats()["blocks"]
        for _ in range(times):
            use()
    return memory.stats()["blocks"] - before >= TIMES


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", cases.GROUPS)
def test_no_memory_is_kept(group):
    arrays = {expression: cases.inputs(expression) for expression in cases.cases(group)}
    assert not [e for e in arrays if kept(lambda e=e: cases.evaluate(torch, e, arrays[e]))]


@pytest.mark.filterwarnings("ignore")
def test_no_memory_is_kept_by_layers():
    assert not [layer_cases.case_id(c) for c in layer_cases.CASES if kept(lambda c=c: layer_cases.run(torch, c))]
