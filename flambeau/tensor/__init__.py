"""The Tensor class, its methods, printing, indexing and interchange."""

from flambeau.tensor.tensor import Tensor

__all__ = ["Tensor"]
