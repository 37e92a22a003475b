"""Sizes of threads' scratch."""

import pytest

from flambeau.core import dtypes as dt
from flambeau.ops.tiles import GAP, LINE, per_thread


@pytest.mark.parametrize("d", [dt.uint8, dt.float16, dt.float32, dt.int64, dt.complex128], ids=str)
@pytest.mark.parametrize("count", [0, 1, 63, 64, 1000])
def test_scratch_of_threads_lies_apart(count, d):
    """Each thread's begins at a line if the first one's does, a gap behind what the one before uses."""
    nbytes = per_thread(count, d) * d.itemsize
    assert nbytes % LINE == 0
    assert GAP <= nbytes - count * d.itemsize < GAP + LINE
