"""The differential fuzzer, for a while, where PyTorch is installed."""

import pytest

pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore")
def test_a_thousand_random_cases_agree():
    from tests.parity import fuzz

    found = []
    fuzz.run(1000, 11, found.append)
    assert not found, "\n".join(found)
