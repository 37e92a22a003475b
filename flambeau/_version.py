"""The version, read by the build and by flambeau.__version__."""

__version__ = "0.1.0"
PYTORCH = "2.13.0"  # whose interface this is: what programs run as PyTorch's are told
