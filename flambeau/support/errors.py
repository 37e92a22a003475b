"""Exceptions of flambeau's own."""

__all__ = ["OutOfMemoryError"]


class OutOfMemoryError(RuntimeError):
    """Memory could not be had: the message names the sizes requested, allocated and reserved."""
