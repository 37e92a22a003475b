"""The most memory a process has held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def start() -> int:
    """Bytes held now; from here on the peak is counted anew, where the system can do that."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
        return field("VmRSS")
    return peak()


def peak() -> int:
    """The most bytes held at once (on Linux since `start`, else since the process began)."""
    if STATUS.exists():  # ru_maxrss of Linux begins at what the parent held
        return field("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def field(name: str) -> int:
    """A size in /proc/self/status, in bytes."""
    line = next(s for s in STATUS.read_text().splitlines() if s.startswith(name + ":"))
    return 1024 * int(line.split()[1])
