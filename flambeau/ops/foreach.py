"""torch._foreach_*: one op over the tensors of a list, as optimizers outside torch.optim write it."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.ops.record import hooks

UNARY = (
    "abs", "ceil", "cos", "erf", "erfc", "exp", "expm1", "floor", "frac", "lgamma", "log", "log10", "log1p", "log2", "neg",
    "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip
BINARY = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "maximum": "maximum", "minimum": "minimum", "pow": "pow",
          "clamp_max": "clamp_max", "clamp_min": "clamp_min"}  # fmt: skip
TERNARY = ("addcmul", "addcdiv")


def spread(value, n: int, name: str) -> list:
    """One value per tensor: a list as long as the tensors, or one number for all."""
    if not isinstance(value, (list, tuple)):
        return [value] * n
    if len(value) != n:
        raise RuntimeError(f"{name}: Tensor lists must have the same number of tensors, got {n} and {len(value)}")
    return list(value)


def lifted(name: str, call: Callable, inplace: bool) -> Callable:
    """The op `name` over lists; in place it writes into the first list and returns nothing."""
    full = f"_foreach_{name}{'_' if inplace else ''}"

    def fn(self, *others, **options):
        tensors = list(self)
        if not tensors:
            raise RuntimeError(f"{full}: Tensor list must have at least one tensor.")
        columns = [spread(v, len(tensors), full) for v in others]
        out = []
        for t, *rest in zip(tensors, *columns, strict=True):
            if name in TERNARY and len(rest) == 3:
                y = call(t, rest[0], rest[1], value=rest[2])
            else:
                y = call(t, *rest, **options)
            if inplace:
                hooks.Tensor.copy_(t, y)
            else:
                out.append(y)
        return None if inplace else out

    fn.__name__ = fn.__qualname__ = full
    fn.__doc__ = f"{name} of each tensor of a list{', in place' if inplace else ''}.\n\n    Source:   torch.{full}\n    "
    return fn


def register(name: str, call: Callable) -> None:
    """Both forms of one op."""
    for inplace in (False, True):
        fn = lifted(name, call, inplace)
        globals()[fn.__name__] = fn
        FUNCTIONS[fn.__name__] = fn


def method(name: str) -> Callable:
    """The tensor's method of that name."""
    return lambda t, *rest, **options: getattr(t, name)(*rest, **options)


FUNCTIONS: dict[str, Callable] = {}
for _name in (*UNARY, *BINARY, *TERNARY, "lerp"):
    register(_name, method(_name))


def _foreach_copy_(self, src, non_blocking=False) -> None:
    """Copy each tensor of src into its place in self."""
    for t, s in zip(list(self), spread(list(src), len(self), "_foreach_copy_"), strict=True):
        t.copy_(s)


def _foreach_zero_(self) -> None:
    """Set each tensor to zero."""
    for t in self:
        t.zero_()


def _foreach_norm(self, ord=2, dtype=None) -> list:
    """The norm of each tensor."""
    return [t.norm(ord, dtype=dtype) for t in self]


FUNCTIONS.update(_foreach_copy_=_foreach_copy_, _foreach_zero_=_foreach_zero_, _foreach_norm=_foreach_norm)
