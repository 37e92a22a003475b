"""finfo and iinfo against NumPy's and PyTorch's texts."""

import numpy as np
import pytest

from flambeau.core import dtypes as dt
from flambeau.core.limits import finfo, iinfo


@pytest.mark.parametrize("d", [dt.float16, dt.float32, dt.float64], ids=str)
def test_finfo_is_numpys(d):
    ours, theirs = finfo(d), np.finfo(d.np)
    for name in ("bits", "eps", "max", "min", "tiny", "smallest_normal"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.dtype == d.name


@pytest.mark.parametrize("d", [d for d in dt.ALL if d.kind in "iu"], ids=str)
def test_iinfo_is_numpys(d):
    ours, theirs = iinfo(d), np.iinfo(d.np)
    assert (ours.bits, ours.min, ours.max) == (theirs.bits, theirs.min, theirs.max)


def test_texts():
    assert repr(finfo(dt.bfloat16)) == (
        "finfo(resolution=0.01, min=-3.38953e+38, max=3.38953e+38, eps=0.0078125, "
        "smallest_normal=1.17549e-38, tiny=1.17549e-38, dtype=bfloat16)"
    )
    assert repr(iinfo(dt.int64)) == "iinfo(min=-9.22337e+18, max=9.22337e+18, dtype=int64)"


def test_complex_has_the_limits_of_its_parts_and_none_means_the_default():
    assert finfo(dt.complex64) == finfo(dt.float32) == finfo()
    assert finfo(dt.float16) != finfo(dt.float32)


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (finfo, dt.int8, "requires a floating point input type"),
        (iinfo, dt.float32, "requires an integer input type"),
        (iinfo, dt.bool, "torch.bool is not supported"),
        (finfo, "float32", "must be torch.dtype, not str"),
        (iinfo, 3, "must be torch.dtype, not int"),
    ],
)
def test_errors(make, given, words):
    with pytest.raises(TypeError, match=words):
        make(given)


def test_immutable():
    with pytest.raises(AttributeError, match="not writable"):
        finfo().eps = 0
