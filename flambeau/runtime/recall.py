"""What a kernel is called before it is traced: a text from which its machine code can be found on disk at once.

Tracing and emitting a kernel only to find its object in the cache takes milliseconds. A kernel of this package is
told as well by its source (one stamp over all files that matter), the function that describes it, and what the function is
given; the cache keeps, under that, the key of the object. Functions from elsewhere, and values that have no faithful
text, have no such name: their kernels are traced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
from types import CodeType, FunctionType

from flambeau.core import dtypes as dt

FOLDERS = ("core", "ir", "codegen", "ops", "optim", "runtime")  # where kernels, and what they are made with, are written
PLAIN = (type(None), bool, int, float, complex, str, bytes)


class Unnamed(Exception):
    """Raised for a value whose text would not tell it from all others."""


def name_of(*parts) -> str | None:
    """The kernel's name in the cache, or None if it has none."""
    try:
        text = "\n".join([source_stamp(), *map(describe, parts)])
    except Unnamed:
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def describe(x) -> str:
    """A text that is another for another value."""
    kind = type(x)
    if kind in PLAIN:
        return f"{kind.__name__} {x!r}"
    if kind is dt.dtype:
        return x.name
    if kind in (tuple, list, set, frozenset):
        parts = sorted(map(describe, x)) if kind in (set, frozenset) else map(describe, x)
        return f"{kind.__name__}({', '.join(parts)})"
    if kind is dict:
        return f"dict({', '.join(describe(k) + ': ' + describe(v) for k, v in x.items())})"
    if kind is FunctionType and ours(x):
        cells = [c.cell_contents for c in x.__closure__ or ()]
        return f"{x.__module__}.{describe_code(x.__code__)}{describe((cells, x.__defaults__, x.__kwdefaults__))}"
    if isinstance(x, type) and (ours(x) or x.__module__ == "builtins"):
        return f"{x.__module__}.{x.__qualname__}"
    if dataclasses.is_dataclass(x) and ours(kind):
        return f"{kind.__qualname__}{describe([getattr(x, f.name) for f in dataclasses.fields(x)])}"
    raise Unnamed(kind.__name__)


def ours(x) -> bool:
    """True for what the files that the stamp covers define."""
    package, _, rest = (x.__module__ or "").partition(".")
    return package == "flambeau" and rest.partition(".")[0] in FOLDERS


def describe_code(code: CodeType) -> str:
    """A function's place in its file; the columns tell two lambdas of one line apart."""
    return f"{code.co_qualname}:{code.co_firstlineno}:{code.co_code.hex()}:{code.co_linetable.hex()}"


@functools.cache
def source_stamp() -> str:
    """Changes with any file in FOLDERS: names, sizes, times."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folders, found = [os.path.join(root, f) for f in FOLDERS], []
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    found.append(f"{entry.path[len(root):]} {status.st_size} {status.st_mtime_ns}")
                elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
                    folders.append(entry.path)
    if not found:
        raise Unnamed("a package without files")
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()
