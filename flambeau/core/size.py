"""torch.Size: the type of a tensor's shape."""

from __future__ import annotations

import math
import operator

_new = tuple.__new__
_item = tuple.__getitem__


class Size(tuple):
    """A shape: a tuple of integers that prints as torch.Size and stays one when sliced or joined.

    Errors: TypeError for items that are not integers.
    Source: torch.Size
    """

    __slots__ = ()
    __module__ = "flambeau"

    def __new__(cls, sizes=()):
        self = _new(cls, sizes)
        for n in self:
            if n.__class__ is not int:
                return _new(cls, [_integer(x, i) for i, x in enumerate(self)])
        return self

    def numel(self) -> int:
        """The product of the sizes."""
        return math.prod(self)

    def __getitem__(self, i):
        if i.__class__ is slice:
            return _new(Size, _item(self, i))
        return _item(self, i)

    def __add__(self, other):
        if not isinstance(other, tuple):
            raise TypeError(
                f"can only concatenate tuple (not {type(other).__name__}) to torch.Size"
            )
        return Size(tuple(self) + tuple(other))

    def __radd__(self, other):
        if not isinstance(other, tuple):
            raise TypeError(
                f"can only concatenate tuple (not {type(other).__name__}) to torch.Size"
            )
        return Size(tuple(other) + tuple(self))

    def __mul__(self, n):
        return _new(Size, tuple(self) * n)

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __reduce__(self):
        return Size, (tuple(self),)


def _integer(x, i: int) -> int:
    try:
        return operator.index(x)
    except TypeError:
        raise TypeError(
            f"torch.Size() takes an iterable of 'int' (item {i} is '{type(x).__name__}')"
        ) from None
