"""The arrays that names in sample calls stand for, made from the text of the call alone."""

from __future__ import annotations

import re
import zlib

import numpy as np


def signed(r, *shape):
    """Away from 0, from +-0.5 and from integers, so that no branch is met exactly, in half precision neither."""
    a = r.uniform(-2, 2, shape)
    return np.where(np.abs(2 * a - np.round(2 * a)) < 0.06, a + 0.05, a)


def spread(r, *shape):
    """No two alike or close, in random order: for what compares elements."""
    n = int(np.prod(shape))
    return ((r.permutation(n) - n / 2 + 0.25) * (4 / n)).reshape(shape)


def definite(r, *shape):
    """Symmetric positive definite."""
    a = r.uniform(-1, 1, shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


def cplx(r, *shape):
    return signed(r, *shape) + 1j * signed(r, *shape)


INPUTS = {
    "x": lambda r: signed(r, 3, 4), "y": lambda r: signed(r, 3, 4), "v": lambda r: signed(r, 4), "w": lambda r: signed(r, 3),
    "t": lambda r: signed(r, 2, 3, 4), "s": lambda r: signed(r), "e": lambda r: np.zeros((0, 4)), "o": lambda r: signed(r, 3, 4),
    "p": lambda r: r.uniform(0.1, 2.0, (3, 4)), "q": lambda r: r.uniform(0.3, 2.0, (3, 4)), "u": lambda r: r.uniform(0.05, 0.95, (3, 4)),
    "a": lambda r: spread(r, 3, 5), "c": lambda r: spread(r, 2, 3, 4), "l": lambda r: spread(r, 12),
    "A": lambda r: definite(r, 4, 4) + 0.3 * r.uniform(-1, 1, (4, 4)), "S": lambda r: definite(r, 4, 4), "B": lambda r: signed(r, 4, 3),
    "M": lambda r: definite(r, 2, 3, 3) + 0.2 * r.uniform(-1, 1, (2, 3, 3)), "N": lambda r: signed(r, 2, 3, 5),
    "W": lambda r: signed(r, 5, 4), "wide": lambda r: signed(r, 3, 6),
    "img": lambda r: spread(r, 2, 4, 6, 5), "seq": lambda r: spread(r, 2, 4, 7), "vol": lambda r: spread(r, 1, 2, 4, 5, 4),
    "k1": lambda r: signed(r, 6, 2, 3), "k2": lambda r: signed(r, 6, 4, 3, 2), "k3": lambda r: signed(r, 3, 2, 2, 3, 2),
    "g2": lambda r: signed(r, 6, 2, 3, 3), "d1": lambda r: signed(r, 4, 3, 3), "d2": lambda r: signed(r, 4, 2, 3, 2),
    "d3": lambda r: signed(r, 2, 3, 2, 2, 3), "b6": lambda r: signed(r, 6), "b3": lambda r: signed(r, 3),
    "Q": lambda r: signed(r, 2, 2, 5, 4), "K": lambda r: signed(r, 2, 2, 6, 4), "V": lambda r: signed(r, 2, 2, 6, 3),
    "h": lambda r: signed(r, 3, 5), "G": lambda r: signed(r, 20, 4), "H": lambda r: signed(r, 20, 5), "b20": lambda r: signed(r, 20),
    "n": lambda r: r.integers(-4, 6, (3, 4)), "k": lambda r: r.integers(1, 5, (3, 4)), "i": lambda r: r.integers(0, 3, (3, 4)),
    "j": lambda r: r.integers(0, 3, (5,)), "i2": lambda r: np.stack([r.permutation(3) for _ in range(4)], 1),
    "j2": lambda r: r.permutation(3), "i1": lambda r: r.integers(0, 5, (3, 2)),
    "lab": lambda r: r.integers(0, 4, (3,)), "lab2": lambda r: r.integers(0, 4, (2, 6, 5)), "m": lambda r: r.random((3, 4)) < 0.5,
    "m2": lambda r: r.random((3, 4)) < 0.5, "z": lambda r: cplx(r, 3, 4), "Z": lambda r: cplx(r, 4, 4) + 3 * np.eye(4),
    "z2": lambda r: cplx(r, 3, 4), "fixed": lambda r: r.uniform(0.5, 2, (3, 4)),
}  # fmt: skip

CONSTANT = {"fixed"}  # no gradient is taken of these


def names(text: str) -> list[str]:
    """The inputs an expression uses."""
    text = re.sub(r"'[^']*'", "", text)
    found = re.findall(r"(?<![\w.])[A-Za-z]\w*(?!\w*\s*=[^=])", text)
    return [n for n in INPUTS if n in found]


def arrays(call: str) -> dict[str, np.ndarray]:
    """An array for each name the call uses."""
    r = np.random.default_rng(zlib.crc32(call.encode()))
    return {n: np.asarray(INPUTS[n](r)) for n in names(call)}
