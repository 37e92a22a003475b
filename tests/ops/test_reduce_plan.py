"""Reductions of every geometry against NumPy: short rows, long rows, columns, parts, rearranged axes, reversed strides."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.ops import reduce_plan

SHAPES = [
    (7, 3), (100, 8), (33, 15), (33, 16), (65, 17), (9, 255), (9, 256), (5, 5000), (70000,), (300, 300), (2, 70000),
    (6, 5, 4, 3), (3, 40, 2, 50), (1, 1), (0, 4), (4, 0),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_whole_numbers_are_exact(rng, shape):
    a = rng.integers(-8, 8, shape).astype(np.float32)
    every = [None, *range(a.ndim), tuple(range(a.ndim)), *([(0, a.ndim - 1)] if a.ndim > 1 else [])]
    every += [(0, 2), (1, 3)] if a.ndim == 4 else []
    for view in (lambda t: t, lambda t: t.T if t.ndim > 1 else t, lambda t: t[::2]):
        t, b = view(torch.from_numpy(a).clone()) if a.ndim < 3 else torch.from_numpy(a), view(a) if a.ndim < 3 else a
        for dim in every:
            np.testing.assert_array_equal(t.sum(dim).numpy() if dim is not None else t.sum().numpy(), b.sum(dim))
            if b.size:
                np.testing.assert_array_equal((t.amax(dim) if dim is not None else t.amax()).numpy(), b.max(dim))


def test_a_geometry_is_planned_once(rng):
    x = torch.from_numpy(rng.standard_normal((13, 29)).astype(np.float32))
    x.sum(1)
    before = reduce_plan.planned.cache_info().misses
    (x + 1).sum(1)
    assert reduce_plan.planned.cache_info().misses == before
