"""The CPU random generator: mt19937 with PyTorch's seeding, streams and state format.

`Generator.fill(address, n)` writes the next n 32-bit draws; the ops turn them into numbers. The twist and the tempering
run in one kernel with lanes (in the recurrence s[i] = s[i - 227] ^ f(s[i], s[i + 1]) lanes of up to 227 are independent).

Source: Matsumoto and Nishimura, Mersenne Twister, 1998; the state's bytes: torch.Generator.get_state.
"""

from __future__ import annotations

import ctypes
import math
import os
import struct
import threading

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.runtime import kernels as _compiler  # noqa: F401 - installs the compiler
from flambeau.runtime import memory

SIZE, SHIFT = 624, 397
DEFAULT_SEED = 67280421310721
UPPER, LOWER, MATRIX = 0x80000000, 0x7FFFFFFF, 0x9908B0DF


def twisted(k, s, lo: int, hi: int, other: int) -> None:
    """s[i] = s[i + other] ^ twist(s[i], s[i + 1]) for lo <= i < hi."""
    with k.vector(lo, hi) as i:
        y = (s[i] & UPPER) | (s[i + 1] & LOWER)
        odd = E.where((y & 1) != 0, E.const(MATRIX, dt.uint32), E.const(0, dt.uint32))
        s[i] = s[i + other] ^ (y >> 1) ^ odd


@kernel
def draw(k, out: Ptr, s: Ptr, position: Int, n: Int):
    """The next n draws; `position` of the state's 624 words are used up. (s has one word more, for lanes.)"""
    with k.parallel():
        at, done = k.var(position), k.var(E.const(0, dt.int64), dt.int64)
        with k.while_(lambda: done.get() < n):
            with k.if_(at.get() >= SIZE):
                twisted(k, s, 0, SIZE - SHIFT, SHIFT)
                # Blocks no longer than 227, so that no lane reads what another of its block writes.
                for lo, hi in ((227, 416), (416, 623)):
                    twisted(k, s, lo, hi, SHIFT - SIZE)
                y = (s[SIZE - 1] & UPPER) | (s[0] & LOWER)
                odd = E.where((y & 1) != 0, E.const(MATRIX, dt.uint32), E.const(0, dt.uint32))
                s[SIZE - 1] = s[SHIFT - 1] ^ (y >> 1) ^ odd
                at.set(0)
            count = E.minimum(SIZE - at.get(), n - done.get())
            source, target = s.at(at.get()), out.at(done.get())
            with k.vector(count, unroll=2) as i:
                y = source[i]
                y = y ^ (y >> 11)
                y = y ^ ((y << 7) & 0x9D2C5680)
                y = y ^ ((y << 15) & 0xEFC60000)
                target[i] = y ^ (y >> 18)
            at.set(at.get() + count)
            done.set(done.get() + count)


def random_seed() -> int:
    """53 bits from the system."""
    return int.from_bytes(os.urandom(8), "little") >> 11


def words_of(storage, n: int) -> np.ndarray:
    """The first n 32-bit words of a storage (which the caller keeps alive)."""
    return np.ctypeslib.as_array((ctypes.c_uint32 * n).from_address(storage.ptr))


class Engine:
    """State and stream of one generator; every access holds its lock."""

    def __init__(self, seed: int = DEFAULT_SEED):
        self.lock = threading.RLock()
        self.state = memory.allocate(4 * (SIZE + 64))
        self.words = words_of(self.state, SIZE)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start the stream of `seed` (its low 32 bits)."""
        with self.lock:
            self.initial = seed & 0xFFFFFFFFFFFFFFFF
            word, words = seed & 0xFFFFFFFF, []
            for j in range(1, SIZE + 1):
                words.append(word)
                word = (1812433253 * (word ^ word >> 30) + j) & 0xFFFFFFFF
            self.words[:] = words
            self.position, self.fresh = SIZE, True
            self.next_double: float | None = None
            self.next_float: float | None = None

    def fill(self, address: int, n: int) -> None:
        """Write the next n draws as uint32 to memory."""
        if n <= 0:
            return
        with self.lock:
            draw((dt.uint32, dt.uint32))(1, 1, address, self.state.ptr, self.position, n)
            self.position = (self.position + n - 1) % SIZE + 1
            self.fresh = False

    def raw(self, n: int):
        """The next n draws in fresh memory."""
        storage = memory.allocate(4 * n)
        self.fill(storage.ptr, n)
        return storage

    def few(self, n: int) -> list[int]:
        """The next n draws as Python numbers."""
        storage = self.raw(n)
        return words_of(storage, n).tolist()

    def uniform_double(self) -> float:
        """A float64 in [0, 1) from two draws."""
        high, low = self.few(2)
        return ((high << 32 | low) & (1 << 53) - 1) / (1 << 53)

    def normal(self) -> float:
        """A standard normal float64; the second of each pair is kept for the next call."""
        with self.lock:
            if self.next_double is not None:
                value, self.next_double = self.next_double, None
                return value
            u1, u2 = self.uniform_double(), self.uniform_double()
            r, theta = math.sqrt(-2.0 * math.log1p(-u2)), 2.0 * math.pi * u1
            self.next_double = r * math.sin(theta)
            return r * math.cos(theta)

    def get_state(self) -> bytes:
        """PyTorch's 5056 bytes."""
        with self.lock:
            left = SIZE + 1 - self.position
            at = 0 if self.fresh else self.position
            head = struct.pack("<QiiQ", self.initial, left, 1, at)
            body = struct.pack(f"<{SIZE}Q", *self.words.tolist())
            y, f = self.next_double, self.next_float
            tail = struct.pack("<dddii", 0.0, y or 0.0, 0.0, int(y is not None), 0)
            return head + body + tail + struct.pack("<f?3x", f or 0.0, f is not None)

    def set_state(self, data: bytes) -> None:
        """Continue from what get_state gave (here or in PyTorch).

        Errors: RuntimeError if the bytes are no such state.
        """
        if len(data) != 5056:
            raise RuntimeError(f"RNG state is wrong size: expected 5056 bytes, got {len(data)}")
        initial, left, seeded, at = struct.unpack_from("<QiiQ", data, 0)
        words = struct.unpack_from(f"<{SIZE}Q", data, 24)
        _, y, _, valid, _ = struct.unpack_from("<dddii", data, 24 + 8 * SIZE)
        f, f_valid = struct.unpack_from("<f?", data, 5048)
        if seeded != 1 or not 1 <= left <= SIZE or at > SIZE or max(words) >= 1 << 32:
            raise RuntimeError("Invalid mt19937 state: the bytes are no state of a CPU generator")
        with self.lock:
            self.initial, self.position, self.fresh = initial, SIZE + 1 - left, left == 1 and at == 0
            self.words[:] = words
            self.next_double = y if valid else None
            self.next_float = f if f_valid else None


default_engine = Engine(random_seed())
