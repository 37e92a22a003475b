"""torch.save and torch.load: PyTorch's zip format, written atomically and read as data only."""

from flambeau.serialization.reading import add_safe_globals, clear_safe_globals, get_safe_globals, load, safe_globals
from flambeau.serialization.tensors import load_file, save_file
from flambeau.serialization.writing import save

__all__ = [
    "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "load_file", "safe_globals", "save", "save_file",
]  # fmt: skip
