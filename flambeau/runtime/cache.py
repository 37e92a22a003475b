"""The object cache: machine code on disk, keyed by everything it depends on.

A file is magic, SHA-256 over key and payload, payload. Whatever does not check is deleted and
built again. The directory must belong to the user and be writable by nobody else, since what is
read from it is executed; where that cannot be had, there is no disk cache and no error.
"""

import contextlib
import hashlib
import os
import stat
import time
import warnings

from flambeau.support import config

__all__ = ["directory", "drop", "key", "read", "write"]

_MAGIC = b"flambeau object 1\n"
_HEADER = len(_MAGIC) + 32
_SUFFIX = ".fobj"
_TOUCH_AFTER = 3600.0  # seconds: a used file's time is renewed at most this often

_directory: str | None = None
_checked = False
_bytes_held = -1  # estimate of the directory's size; -1: not measured yet


def key(ir_text: str, fingerprint: str) -> str:
    """Hex SHA-256 of the IR text and of all else the object depends on."""
    digest = hashlib.sha256(fingerprint.encode())
    digest.update(b"\0")
    digest.update(ir_text.encode())
    return digest.hexdigest()


def read(key: str) -> bytes | None:
    """The object stored under `key`, or None; a damaged file is removed."""
    path = _path(key)
    if path is None:
        return None
    try:
        with open(path, "rb", opener=_open_private) as file:
            data = file.read()
            written = os.fstat(file.fileno()).st_mtime
    except OSError:
        return None
    payload = data[_HEADER:]
    if data[:_HEADER] != _MAGIC + _checksum(key, payload):
        drop(key)
        return None
    if time.time() - written > _TOUCH_AFTER:
        with contextlib.suppress(OSError):
            os.utime(path)
    return payload


def write(key: str, payload: bytes) -> None:
    """Store an object: complete or not at all, whoever else is writing."""
    path = _path(key)
    if path is None:
        return
    temporary = f"{path}.{os.urandom(8).hex()}.tmp"
    try:
        with open(temporary, "xb", opener=_open_private) as file:
            file.write(_MAGIC + _checksum(key, payload) + payload)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        return
    _account(len(payload) + _HEADER)


def drop(key: str) -> None:
    """Remove an entry, if there is one."""
    path = _path(key)
    if path is not None:
        with contextlib.suppress(OSError):
            os.unlink(path)


def directory() -> str | None:
    """The directory in use, or None: switched off, not to be had, or not safe."""
    global _directory, _checked
    if not _checked:
        _directory, _checked = _find_directory(), True
    return _directory


def _find_directory():
    if not config.cache_size:
        return None
    path = config.cache_dir
    if path is None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        path = os.path.join(base, "flambeau")
    path = os.path.realpath(path)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError:
        return None
    if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        warnings.warn(
            f"{path} is not used as kernel cache: it must belong to this user and be "
            "writable by no other; set FLAMBEAU_CACHE_DIR to another directory",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return path if stat.S_ISDIR(status.st_mode) else None


def _path(key):
    base = directory()
    return None if base is None else os.path.join(base, key + _SUFFIX)


def _open_private(path, flags):
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _checksum(key, payload):
    return hashlib.sha256(key.encode() + payload).digest()


def _account(size):
    """Add to the size held; past the bound, remove the files that were unused for longest."""
    global _bytes_held
    if _bytes_held < 0:
        _bytes_held = sum(entry[1] for entry in _entries())
    else:
        _bytes_held += size
    if _bytes_held > config.cache_size:
        _bytes_held = _evict(config.cache_size * 3 // 4)


def _entries():
    """(time, size, path) of each file, oldest first; files another process removes are skipped."""
    found = []
    with contextlib.suppress(OSError), os.scandir(directory()) as entries:
        for entry in entries:
            if entry.name.endswith((_SUFFIX, ".tmp")):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_size, entry.path))
    return sorted(found)


def _evict(bound):
    entries = _entries()
    held = sum(entry[1] for entry in entries)
    for _, size, path in entries:
        if held <= bound:
            break
        with contextlib.suppress(OSError):
            os.unlink(path)
        held -= size
    return held
