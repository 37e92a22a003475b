"""Every switch flambeau has, in one table, read once from FLAMBEAU_* environment variables.

A switch is an attribute of this module: `config.cache_dir`, `config.num_threads`, ...
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    lowered = value.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("expected 1 or 0")


def _count(value: str) -> int:
    number = int(value)
    if number < 0:
        raise ValueError("expected a number that is not negative")
    return number


def _size(value: str) -> int:
    """Bytes, with an optional binary suffix: '512', '64K', '2G'."""
    value = value.strip().upper().removesuffix("B").removesuffix("I")
    shift = {"K": 10, "M": 20, "G": 30, "T": 40}.get(value[-1:], 0)
    return _count(value[:-1] if shift else value) << shift


@dataclass(frozen=True)
class Switch:
    """One row: the attribute's name, its default, how its text is read, and what it does."""

    name: str
    default: Any
    read: Callable[[str], Any]
    doc: str

    @property
    def variable(self) -> str:
        return "FLAMBEAU_" + self.name.upper()

    def value(self, environ=os.environ) -> Any:
        """The switch's value: its variable's, or the default where that is unset or empty."""
        text = environ.get(self.variable, "")
        if not text.strip():
            return self.default
        try:
            return self.read(text)
        except ValueError as error:
            raise ValueError(f"{self.variable}: cannot use {text!r}: {error}") from None


TABLE = (
    Switch("cache_dir", None, _text, "where compiled kernels are kept; ~/.cache/flambeau if unset"),
    Switch("cache_size", 256 << 20, _size, "bound on that directory in bytes; 0: no disk cache"),
    Switch("num_threads", 0, _count, "threads of the pool; 0: OMP_NUM_THREADS, else the cores"),
    Switch("vector_bits", 0, _count, "widest vectors that kernels use: 512, 256 or 128; 0: the processor's"),
    Switch("spin_us", 150, _count, "microseconds an idle worker spins before it sleeps"),
    Switch("memory_limit", 0, _size, "most bytes the allocator may hold; 0: no limit"),
    Switch("memory_cache", 0, _size, "most free bytes kept for reuse; 0: half of what is in use"),
    Switch("huge_pages", True, _flag, "ask for huge pages for blocks of 2 MiB and more"),
    Switch("dump_ir", None, _text, "directory that receives the LLVM IR of each compiled kernel"),
)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"config: no switch named {name!r}; there are {', '.join(_NAMES)}")


_NAMES = tuple(switch.name for switch in TABLE)
for _switch in TABLE:
    globals()[_switch.name] = _switch.value()
