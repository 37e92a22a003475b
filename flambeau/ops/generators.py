"""Sources of random numbers: Generator, the default one and its functions."""

from __future__ import annotations

import operator

import numpy as np

from flambeau.core import dtypes as dt
from flambeau.core.device import device as Device
from flambeau.ops.create import check_options
from flambeau.ops.record import hooks
from flambeau.runtime import rng


class Generator:
    """A source of random numbers with its own state.

    Source:   torch.Generator
    """

    def __init__(self, device="cpu"):
        d = device if isinstance(device, Device) else Device(device)
        check_options("Generator", d)
        self.device = d
        self._engine = rng.Engine()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`."""
        self._engine.seed(checked_seed(seed))
        return self

    def seed(self) -> int:
        """Start a stream nobody can foresee; returns its seed."""
        value = rng.random_seed()
        self._engine.seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed the stream was started with."""
        return self._engine.initial

    def get_state(self):
        """The state as a uint8 tensor."""
        return hooks.from_array(np.frombuffer(self._engine.get_state(), np.uint8))

    def set_state(self, new_state) -> None:
        """Continue from a state that get_state gave."""
        if not isinstance(new_state, hooks.Tensor) or new_state._dtype is not dt.uint8:
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        self._engine.set_state(hooks.view_array(new_state.contiguous()).tobytes())

    def clone_state(self) -> Generator:
        """A generator with the same state."""
        new = Generator(self.device)
        new._engine.set_state(self._engine.get_state())
        return new

    def __reduce__(self):
        return _rebuild_generator, (self._engine.get_state(),)

    def __repr__(self) -> str:
        return f"<torch._C.Generator object at {id(self):#x}>"


def _rebuild_generator(state: bytes) -> Generator:
    g = Generator()
    g._engine.set_state(state)
    return g


default_generator = Generator()
default_generator._engine = rng.default_engine


def checked_seed(seed) -> int:
    seed = operator.index(seed)
    if not -(1 << 63) <= seed < 1 << 64:
        raise RuntimeError(f"Overflow when unpacking long long: seed {seed} does not fit in 64 bits")
    return seed % (1 << 64)


def manual_seed(seed) -> Generator:
    """Start the default generator's stream of `seed`.

    Source:   torch.manual_seed
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Start an unforeseeable stream; returns its seed.

    Source:   torch.seed
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The default generator's seed.

    Source:   torch.initial_seed
    """
    return default_generator.initial_seed()


def get_rng_state():
    """The default generator's state as a uint8 tensor.

    Source:   torch.get_rng_state
    """
    return default_generator.get_state()


def set_rng_state(new_state) -> None:
    """Continue the default generator from a state.

    Source:   torch.set_rng_state
    """
    default_generator.set_state(new_state)


def engine_of(generator):
    """The engine of a Generator, or the default one."""
    if generator is None:
        return rng.default_engine
    if not isinstance(generator, Generator):
        raise TypeError(f"argument 'generator' must be Generator, not {type(generator).__name__}")
    return generator._engine
