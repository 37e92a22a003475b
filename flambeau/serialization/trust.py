"""The allow-list: which names of the running program a file may use, beside data."""

from __future__ import annotations

from contextlib import contextmanager

_allowed: dict[str, object] = {}
NEVER = {"sys", "os", "posix", "nt", "subprocess", "builtins.eval", "builtins.exec"}


def add_safe_globals(safe_globals: list) -> None:
    """Let files name these classes or functions too (or pairs (thing, "module.name")).

    Source:   torch.serialization.add_safe_globals
    """
    for item in safe_globals:
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[1], str):
                raise ValueError(f"Expected tuple of length 2 (global, str of callable full path), but got {item!r:.100}")
            thing, name = item
        else:
            thing, name = item, f"{item.__module__}.{item.__qualname__}"
        if name in NEVER or name.partition(".")[0] in NEVER:
            raise ValueError(f"add_safe_globals: {name} runs what it is given; a file may never name it")
        _allowed[name] = thing


def clear_safe_globals() -> None:
    """Only the built-in list again."""
    _allowed.clear()


def get_safe_globals() -> list:
    """What add_safe_globals added."""
    return list(_allowed.values())


@contextmanager
def safe_globals(safe_globals: list):
    """add_safe_globals, inside."""
    before = dict(_allowed)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _allowed.clear()
        _allowed.update(before)


def allowed(name: str):
    """The thing of an allowed name, or None."""
    return _allowed.get(name)


def is_allowed(thing) -> bool:
    """Whether a program allowed a class or function by itself."""
    return any(thing is a for a in _allowed.values())
