"""Op records: signatures read from code objects; views of known geometry are views like any other."""

import inspect

import pytest

import flambeau as torch
from flambeau.ops import record as R


def test_parameters_are_those_of_inspect():
    for op in R.TABLE.values():
        found = inspect.signature(op.fn).parameters
        assert op.params == tuple(found), op
        assert op.keyword_only == {n for n, p in found.items() if p.kind is p.KEYWORD_ONLY}, op
        given = {n: p.default for n, p in found.items() if p.default is not p.empty}
        assert {n: v for n, v in op.defaults.items() if n in given} == given, op


def test_bind_completes_positional_arguments():
    op = R.TABLE["addmm"]
    assert op.bind((1, 2, 3), {}) == (1, 2, 3, 1, 1)
    assert op.bind((1, 2, 3), {"alpha": 4}) == (1, 2, 3, 1, 4)
    with pytest.raises(TypeError, match="missing required argument"):
        op.bind((1, 2), {})


@pytest.mark.parametrize("change", [
    lambda x: x.t(), lambda x: x.view(6, 2), lambda x: x[1], lambda x: x[:, 1:], lambda x: x.unsqueeze(0),
    lambda x: x.transpose(0, 1), lambda x: x.expand(2, 3, 4), lambda x: x.diagonal(), lambda x: x.unfold(1, 2, 1),
])  # fmt: skip
def test_views_known_and_new(change):
    whole = torch.arange(24.0).view(2, 3, 4)
    for x in (whole[0], whole[1]):  # the second is known; it lies elsewhere in the storage
        y = change(x)
        assert y._base is whole._base and y._version == whole._version
        assert y.storage_offset() >= x.storage_offset() and y.data_ptr() >= x.data_ptr()
        assert torch.equal(y, change(x.clone()))
    leaf = whole[1].clone().requires_grad_()
    (change(leaf) * 2).sum().backward()
    assert leaf.grad.max().item() >= 2
    y = change(whole[1])
    whole[1].add_(1)
    assert whole._version == y._version and torch.equal(y, change(whole[1]))


def test_known_views_still_refuse_bad_arguments():
    x = torch.zeros(3, 4)
    assert x.transpose(0, 1).shape == x.transpose(0, 1).shape == (4, 3)
    for bad in (lambda: x.transpose(0.0, 1), lambda: x.transpose(0, 2), lambda: x.view(5, 3), lambda: x.select(0, 3)):
        for _ in range(2):
            with pytest.raises((TypeError, IndexError, RuntimeError)):
                bad()
