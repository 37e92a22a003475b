"""Settings of load that hold for a program."""

from __future__ import annotations

from mmap import MAP_PRIVATE, MAP_SHARED

_flags = MAP_PRIVATE


class set_default_mmap_options:  # noqa: N801 - PyTorch's name
    """How load maps files (mmap=True), at once or inside a with statement.

    MAP_PRIVATE (the default): changes to the tensors stay in memory. MAP_SHARED: they go into the file.
    Source:   torch.serialization.set_default_mmap_options
    """

    def __init__(self, flags: int):
        global _flags
        if flags not in (MAP_PRIVATE, MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, "
                f"but got {flags}"
            )
        self.before, _flags = _flags, flags

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        global _flags
        _flags = self.before


def get_default_mmap_options() -> int:
    """mmap.MAP_PRIVATE or mmap.MAP_SHARED."""
    return _flags
