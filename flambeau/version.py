"""torch.version: this package's version; no CUDA, no ROCm."""

from flambeau._version import __version__

cuda = None
hip = None
git_version = None
debug = False

__all__ = ["__version__", "cuda", "debug", "git_version", "hip"]
