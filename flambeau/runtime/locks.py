"""A lock that a fork cannot leave held."""

import os
import threading

__all__ = ["ForkSafeLock"]

_PATIENCE = 2.0  # seconds a fork waits for the holder: no cycle of locks can stop it for ever


class ForkSafeLock:
    """A re-entrant lock: a fork waits until it is free, and the child gets a new one."""

    def __init__(self):
        self._lock = threading.RLock()
        self._held = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
            )

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *_):
        self._lock.release()

    def _before(self):
        self._held = self._lock.acquire(timeout=_PATIENCE)

    def _in_parent(self):
        if self._held:
            self._lock.release()

    def _in_child(self):
        self._lock = threading.RLock()
