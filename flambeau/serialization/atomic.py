"""Files that are whole whatever happens: written beside the old one, then put in its place."""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

_count = itertools.count()


@contextmanager
def replaced(path):
    """A binary file to write; it takes the place of `path` when the block ends well and its bytes are on disk.

    Errors:   RuntimeError if the directory does not exist
    """
    path = Path(os.path.realpath(path))  # a link stays, and what it points to is replaced
    if not path.parent.is_dir():
        raise RuntimeError(f"Parent directory {path.parent} does not exist.")
    if path.exists() and not path.is_file():  # a pipe or a device: nothing to replace
        with open(path, "wb") as file:
            yield file
        return
    handle, temporary = _nameless(path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fchmod(handle, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
            os.fsync(handle)
            if temporary is None:  # a name at last, for a moment: a link cannot replace a file, a rename can
                temporary = str(path.parent / f".{path.name}.{os.getpid()}.{next(_count)}")
                _name(handle, temporary)
        os.replace(temporary, path)
    except BaseException:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise
    with _opened(path.parent) as directory:
        if directory is not None:
            os.fsync(directory)  # the new name survives a power cut too


def _name(handle: int, name: str) -> None:
    """Give a nameless file a name; the directory's handle makes Python call linkat, which follows the link in /proc."""
    with _opened(Path(name).parent) as directory:
        os.link(f"/proc/self/fd/{handle}", name, src_dir_fd=directory, follow_symlinks=True)


@contextmanager
def _opened(directory: Path):
    """A directory's handle, None where directories cannot be opened."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _nameless(directory: Path) -> tuple[int, str | None]:
    """A new file without a name, which is gone if we are (Linux), or one with a name, and the name."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        try:
            return os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600), None
        except OSError:  # a file system that has no such files
            pass
    return tempfile.mkstemp(dir=directory, prefix=".saving.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
