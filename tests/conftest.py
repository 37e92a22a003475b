"""What every test gets: seeds made from its own name, and the default dtype it started with."""

import multiprocessing
import random
import sys
import zlib

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")

if sys.version_info >= (3, 14) and sys.platform == "linux":
    multiprocessing.set_start_method("fork")  # tests hand workers classes made inside functions, which forkserver cannot


def pytest_addoption(parser):
    """How often test_killed.py kills a training run."""
    parser.addoption("--kills", type=int, default=4, help="how often a training run is killed (default 4)")


@pytest.fixture
def seed(request) -> int:
    """A number that depends on the test's name alone: the same alone, in any order, on any machine."""
    return zlib.crc32(request.node.name.encode())


@pytest.fixture
def rng(seed) -> np.random.Generator:
    """NumPy's generator with the test's seed."""
    return np.random.default_rng(seed)


@pytest.fixture(autouse=True)
def seeded(seed):
    """Seed every global generator the test may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    flambeau = sys.modules.get("flambeau")
    if flambeau is not None and hasattr(flambeau, "manual_seed"):
        flambeau.manual_seed(seed)


@pytest.fixture(autouse=True)
def default_dtype_restored():
    """A test that changes the default dtype changes it for itself."""
    yield
    dtypes = sys.modules.get("flambeau.core.dtypes")
    if dtypes is not None:
        dtypes.set_default_dtype(dtypes.float32)
