"""Size: a tuple that stays a Size."""

import copy
import pickle

import numpy as np
import pytest

from flambeau.core.size import Size

S = Size([2, 3, 4])


def test_prints_and_counts():
    assert repr(S) == str(S) == "torch.Size([2, 3, 4])"
    assert repr(Size()) == "torch.Size([])"
    assert (S.numel(), Size().numel()) == (24, 1)


@pytest.mark.parametrize(
    "made", [S[1:], S[::-1], S + (1,), (1,) + S, S * 2, 2 * S, S[5:], S + S], ids=repr
)
def test_stays_a_size(made):
    assert type(made) is Size


def test_values():
    assert S[1:] == (3, 4) and (1,) + S == (1, 2, 3, 4) and S + (1,) == (2, 3, 4, 1)
    assert S[-1] == 4 and type(S[-1]) is int
    assert hash(S) == hash((2, 3, 4))


def test_items_become_integers():
    made = Size([np.int64(3), True])
    assert made == (3, 1) and [type(n) for n in made] == [int, int]


@pytest.mark.parametrize(
    ("given", "words"), [(["a"], "item 0 is 'str'"), ([1, 1.5], "item 1 is 'float'")]
)
def test_items_must_be_integers(given, words):
    with pytest.raises(TypeError, match=words):
        Size(given)


def test_joins_with_tuples_only():
    with pytest.raises(TypeError, match="can only concatenate tuple"):
        S + [1]


def test_copies_and_pickles():
    for made in (pickle.loads(pickle.dumps(S)), copy.deepcopy(S), copy.copy(S)):
        assert made == S and type(made) is Size
