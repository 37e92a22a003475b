"""torch.torch_version: a version string that compares by its numbers, as PyTorch's does."""

from __future__ import annotations

import re

from flambeau._version import PYTORCH, __version__

PARTS = re.compile(r"v?(\d+(?:\.\d+)*)(?:[._-]?(dev|a|b|rc)\w*)?.*?(\+.*)?$")
STAGES = {"dev": 0, "a": 1, "b": 2, "rc": 3, None: 4}


class TorchVersion(str):
    """A string; <, <=, ==, !=, >=, > with strings, tuples and lists of numbers compare releases.

    "2.13.0" > "2.2", and TorchVersion("2.13.0") >= (2, 13). What is no version is compared as text.
    Source:   torch.torch_version.TorchVersion; the order is PEP 440's, without epochs and post-releases
    """

    def _keys(self, other):
        mine, theirs = key(self), key(other)
        return (mine, theirs) if mine and theirs else (str(self), str(other))

    def __lt__(self, other):
        a, b = self._keys(other)
        return a < b

    def __le__(self, other):
        a, b = self._keys(other)
        return a <= b

    def __eq__(self, other):
        a, b = self._keys(other)
        return a == b

    def __ne__(self, other):
        return not self == other

    def __ge__(self, other):
        return not self < other

    def __gt__(self, other):
        return not self <= other

    __hash__ = str.__hash__


def key(version):
    """What versions are ordered by: numbers without trailing zeros, stage, whether a local part follows; None if none."""
    text = ".".join(map(str, version)) if isinstance(version, (tuple, list)) else str(version)
    match = PARTS.match(text)
    if match is None:
        return None
    numbers = [int(n) for n in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers, STAGES[match[2]], match[3] is not None


def tell(torch) -> None:
    """Programs that find flambeau under the name torch are told the version of PyTorch whose interface it is."""
    torch.__version__ = torch.version.__version__ = TorchVersion(f"{PYTORCH}+flambeau.{__version__}")


__all__ = ["TorchVersion"]
