"""torch.save and torch.load: PyTorch's zip format, written atomically and read as data only."""

from flambeau.serialization.options import get_default_mmap_options, set_default_mmap_options
from flambeau.serialization.reading import get_unsafe_globals_in_checkpoint, load
from flambeau.serialization.tensors import load_file, save_file
from flambeau.serialization.trust import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals
from flambeau.serialization.writing import save

__all__ = [
    "add_safe_globals", "clear_safe_globals", "get_default_mmap_options", "get_safe_globals", "get_unsafe_globals_in_checkpoint",
    "load", "load_file", "safe_globals", "save", "save_file", "set_default_mmap_options",
]  # fmt: skip
