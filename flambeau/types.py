"""torch.types: names for annotations."""

import builtins
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from flambeau.core.device import device as _device
from flambeau.core.size import Size
from flambeau.tensor.tensor import Tensor

_int, _float, _bool = builtins.int, builtins.float, builtins.bool
Number: TypeAlias = builtins.int | builtins.float | builtins.bool
Device: TypeAlias = _device | str | builtins.int | None
FileLike: TypeAlias = str | os.PathLike[str] | Any
_size: TypeAlias = Size | Sequence[builtins.int]
_TensorOrTensors: TypeAlias = Tensor | Sequence[Tensor]

__all__ = ["Device", "FileLike", "Number", "Size", "Tensor"]
