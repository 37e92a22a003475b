"""Wrong shapes, dtypes, indices, sizes, overlaps and strides: PyTorch's exception types, and words its sentences share with ours.

tests/data/bad_input.txt has one case a line, `expression => type: words`, recorded from PyTorch 2.13.
"""

import warnings
from pathlib import Path

import pytest

import flambeau as torch

LINES = (Path(__file__).parent.parent / "data" / "bad_input.txt").read_text().splitlines()
TYPES = {t.__name__: t for t in (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError, AssertionError)}
TYPES["LinAlgError"] = torch.linalg.LinAlgError


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition(" => ")[0])
def test_bad_input_is_refused_as_by_pytorch(line):
    expression, _, rest = line.partition(" => ")
    name, _, words = rest.partition(":")
    with warnings.catch_warnings(), pytest.raises(TYPES[name]) as caught:
        warnings.simplefilter("ignore")
        eval(expression, {"T": torch, "F": torch.nn.functional})  # noqa: S307 - our own table
    assert words.strip() in str(caught.value)


def test_copies_between_views_that_do_not_overlap():
    x = torch.arange(6.0)
    x[:3].copy_(x[3:])
    assert x.tolist() == [3, 4, 5, 3, 4, 5]
    x.copy_(x.view(6))
    assert x.tolist() == [3, 4, 5, 3, 4, 5]
