"""The test matrix of the op table: every op, by construction, through every check of matrix.py."""

import sys
import warnings

import pytest

from flambeau.ops.record import TABLE
from tests.ops import matrix
from tests.ops.samples import BY_OP, SAMPLES


@pytest.mark.parametrize("check", matrix.CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("op", BY_OP, ids=lambda op: op or "expressions")
def test_op(op, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in BY_OP[op]:
            check(sample)


def bodies_that_run(samples) -> set:
    """The code of every function called by samples, forward and backward, twice where there is a second derivative."""
    ran = set()

    def note(frame, event, argument):
        ran.add(frame.f_code)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.setprofile(note)
        try:
            for sample in samples:
                matrix.forward(sample)
                matrix.gradients(sample)
        finally:
            sys.setprofile(None)
    return ran


def is_public(record) -> bool:
    """True if users can call it by name."""
    method = record.option("method", record.params[:1] in (("input",), ("self",)))
    return bool(record.option("function", True) or method or record.option("functional"))


def test_every_op_is_exercised():
    """A public op has sample calls of its own; the body of any other runs below those of the public ones."""
    for record in TABLE.values():
        getattr(record.call, "known", {}).clear()  # geometries whose bodies ran in other tests
    ran = bodies_that_run(SAMPLES)
    dense = {n: r for n, r in TABLE.items() if not r.fn.__module__.startswith("flambeau.sparse")}  # tests/sparse has those
    without = [n for n, r in dense.items() if n not in BY_OP and (is_public(r) or r.fn.__code__ not in ran)]
    assert not without, f"no sample calls (see tests/ops/samples) for {without}"


def test_samples_name_ops():
    assert not [op for op in BY_OP if op is not None and op not in TABLE]
