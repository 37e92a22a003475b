"""A differential fuzzer: random ops on random tensors, flambeau beside PyTorch.

    python -m tests.parity.fuzz [--count N] [--seed S]

Values, shapes and dtypes must agree; where flambeau raises, so must PyTorch. Prints what differs (case S.K comes again with the same seed); exits 1 if anything did.
"""

from __future__ import annotations

import argparse
import random
import sys

import numpy as np

UNARY = (
    "abs neg sign ceil floor round trunc frac exp expm1 exp2 log log1p log2 log10 sqrt rsqrt sin cos tan asin acos atan sinh cosh "
    "tanh asinh acosh atanh sigmoid erf erfc reciprocal square relu isnan isinf isfinite signbit logical_not bitwise_not "
    "positive sgn deg2rad rad2deg nan_to_num lgamma"
).split()
BINARY = (
    "add sub mul div pow maximum minimum fmax fmin atan2 remainder fmod eq ne lt le gt ge logical_and logical_or logical_xor "
    "bitwise_and bitwise_or bitwise_xor hypot copysign floor_divide true_divide xlogy logaddexp heaviside gcd lcm"
).split()
REDUCE = "sum mean amax amin all any argmax argmin logsumexp std var median nansum count_nonzero norm".split()
SCAN = "cumsum cumprod cummax cummin logcumsumexp flip softmax log_softmax diff".split()
DTYPES = "float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64".split()


def draw_array(r: random.Random, shape: tuple, dtype: str) -> np.ndarray:
    """Small numbers, with ties, zeros and now and then what is not finite."""
    g = np.random.default_rng(r.randrange(1 << 30))
    if dtype == "bool":
        return g.random(shape) < 0.5
    if dtype.startswith(("int", "uint")):
        return g.integers(0 if dtype[0] == "u" else -5, 9, shape).astype(dtype)
    x = np.round(g.normal(size=shape) * 2, 2)
    if dtype == "complex64":
        return (x + 1j * np.round(g.normal(size=shape), 2)).astype(dtype)
    if r.random() < 0.2 and x.size:
        x.flat[r.randrange(x.size)] = r.choice([np.nan, np.inf, -np.inf, 0.0, -0.0])
    return np.asarray(x, "float32" if dtype in ("float16", "bfloat16") else dtype)


def draw_shape(r: random.Random) -> tuple:
    """Up to four dimensions, most of them short, some empty or single."""
    return tuple(r.choice([0, 1, 1, 2, 3, 3, 5, 7, 17] if i else [1, 2, 3, 4, 8, 33]) for i in range(r.choice([0, 1, 1, 2, 2, 3, 4])))


def draw_tensor(r: random.Random, names: list, shape=None, dtype=None) -> str:
    """Source text of an operand; its array joins `names`."""
    shape = draw_shape(r) if shape is None else shape
    dtype = dtype or r.choice(DTYPES)
    names.append(draw_array(r, shape, dtype))
    text = f"t.from_numpy(a[{len(names) - 1}]).to(t.{dtype})"
    if len(shape) >= 2 and r.random() < 0.3:
        text += f".transpose({r.randrange(len(shape))}, {r.randrange(len(shape))})"
    if shape and shape[-1] > 2 and r.random() < 0.2:
        text += "[..., ::2]"
    return text


def draw_case(r: random.Random) -> tuple[str, list]:
    """(an expression of t (the library) and a (arrays), the arrays)."""
    arrays: list = []
    kind = r.choice(["unary", "binary", "binary", "scalar", "reduce", "reduce", "scan", "matmul", "join", "index", "view"])
    if kind == "unary":
        return f"t.{r.choice(UNARY)}({draw_tensor(r, arrays)})", arrays
    if kind == "binary":
        shape = draw_shape(r)
        other = tuple(1 if r.random() < 0.3 else n for n in shape[r.randrange(len(shape) + 1) :])
        return f"t.{r.choice(BINARY)}({draw_tensor(r, arrays, shape)}, {draw_tensor(r, arrays, other)})", arrays
    if kind == "scalar":
        number = r.choice(["2", "-1", "0", "2.5", "True", "7"])
        return f"t.{r.choice(BINARY[:5] + ['remainder', 'eq', 'lt', 'floor_divide'])}({draw_tensor(r, arrays)}, {number})", arrays
    shape = draw_shape(r)
    x = draw_tensor(r, arrays, shape)
    dim = r.randrange(-len(shape) - 1, len(shape) + 1)
    if kind == "reduce":
        args = r.choice(["", f"dim={dim}", f"dim={dim}, keepdim=True"])
        return f"({x}).{r.choice(REDUCE)}({args})", arrays
    if kind == "scan":
        name = r.choice(SCAN)
        return f"({x}).{name}({f'({dim},)' if name == 'flip' else f'dim={dim}'})", arrays
    if kind == "matmul":
        a, b = (r.choice([(), (2,), (3, 2)][:2]) for _ in range(2))
        m, k, n = (r.choice([0, 1, 3, 8, 33]) for _ in range(3))
        dtype = r.choice(["float32", "float64", "float32", "complex64", "int64"])
        left, right = draw_tensor(r, arrays, (*a, m, k), dtype), draw_tensor(r, arrays, (*b, k, n), dtype)
        return f"t.matmul({left}, {right})", arrays
    if kind == "join":
        other = draw_tensor(r, arrays, shape)
        return r.choice([f"t.cat([{x}, {other}], {dim})", f"t.stack([{x}, {other}], {dim})", f"t.where({x} > 0, {x}, {other})"]), arrays
    if kind == "index":
        n = shape[0] if shape else 1
        index = [r.randrange(-n, n) if n else 0 for _ in range(r.randrange(4))]
        forms = [f"({x})[t.tensor({index}, dtype=t.int64)]", f"({x})[{index[0] if index else 'None'}]", f"({x})[1:, ...]", f"({x})[({x}) > 0]",
                 f"t.index_select({x}, {dim}, t.tensor({[abs(i) for i in index]}, dtype=t.int64))"]  # fmt: skip
        return r.choice(forms), arrays
    forms = ["flatten()", "unsqueeze({d})", "squeeze({d})", "reshape(-1)", "contiguous()", "movedim({d}, 0)", "unbind({d})[0]",
             "chunk(2, {d})[0]", "roll(1, {d})", "tile(2)", "tril()", "diagonal()", "expand(2, *s)", "repeat(2, *[1] * len(s))",
             "narrow({d}, 0, 1)", "select({d}, 0)", "unfold({d}, 2, 1)", "unique()"]  # fmt: skip
    return f"(lambda x, s: x.{r.choice(forms).format(d=dim)})({x}, {shape})", arrays


class Recording:
    """A library whose from_numpy makes leaves of the graph out of floats."""

    def __init__(self, library):
        self.library, self.leaves = library, []

    def __getattr__(self, name):
        return getattr(self.library, name)

    def from_numpy(self, array):
        """A leaf."""
        x = self.library.from_numpy(array)
        if array.dtype.kind == "f":
            self.leaves.append(x.requires_grad_())
        return x


def outcome(library, text: str, arrays: list):
    """What the expression gives and, of float results, the operands' gradients; or the exception."""
    t = Recording(library)
    try:
        value = eval(text, {"t": t, "a": [np.array(a) for a in arrays]})
    except Exception as error:  # noqa: BLE001 - it is the result
        return error
    first = value[0] if isinstance(value, (tuple, list)) else value
    if not getattr(first, "requires_grad", False) or not first.dtype.is_floating_point or "float16" in text:
        return value  # of half precision, intermediate results are rounded here and there at other places
    weights = library.from_numpy(np.linspace(1, 2, first.numel()).reshape(tuple(first.shape))).to(first.dtype)
    try:
        first.backward(weights)
    except Exception as error:  # noqa: BLE001
        return error
    return [value, [x.grad for x in t.leaves]]


def plain(value):
    """Tensors as (dtype, array), halves as float32."""
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if not hasattr(value, "numpy"):
        return value
    name = str(value.dtype).removeprefix("torch.")
    value = value.detach()
    if name == "complex32":
        return name, None
    return name, (value.float() if name in ("float16", "bfloat16") else value).resolve_conj().numpy(force=True)


TOLERANCE = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-5, "complex64": 2e-5, "float64": 1e-10}  # of sums in another order


PUBLIC = (RuntimeError, NotImplementedError, IndexError, TypeError, ValueError)


def difference(ours, theirs, text: str = "") -> str:
    """What keeps the outcomes apart, or ''."""
    if isinstance(theirs, Exception) and not isinstance(ours, Exception):
        return ""  # we compute more: PyTorch lacks a kernel, or wants a tensor where a number would do
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        if isinstance(theirs, Exception) and type(ours) in PUBLIC:
            return ""  # where more than one thing is wrong, either may be named first
        if isinstance(ours, PUBLIC) and isinstance(theirs, tuple) and theirs[1].size == 0 or isinstance(theirs, list):
            return ""  # PyTorch checks less where there is nothing to compute
        return f"flambeau: {ours!r:.300}\nPyTorch:  {theirs!r:.300}"
    if isinstance(theirs, list):
        if len(ours) != len(theirs):
            return f"{len(ours)} results, not {len(theirs)}"
        return next(filter(None, (difference(a, b, text) for a, b in zip(ours, theirs, strict=True))), "")
    if isinstance(theirs, tuple) and theirs[0] == "complex32":
        return ""  # we have no half-precision complex numbers: float16 with complex numbers gives complex64
    if not isinstance(theirs, tuple):
        return "" if ours == theirs else f"{ours!r}, not {theirs!r}"
    if ours[0] != theirs[0]:
        return f"dtype {ours[0]}, not {theirs[0]}"
    if ours[1].shape != theirs[1].shape:
        return f"shape {ours[1].shape}, not {theirs[1].shape}"
    exact = theirs[1].dtype.kind not in "fc"
    tolerance = 0 if exact else max(v for d, v in TOLERANCE.items() if d == theirs[0] or d in text or theirs[0] == "complex128" and d == "float64")  # gradients pass through all
    if np.allclose(ours[1], theirs[1], rtol=tolerance, atol=tolerance, equal_nan=True):
        return ""
    bad = ~np.isclose(ours[1], theirs[1], rtol=tolerance, atol=tolerance, equal_nan=True)
    return f"{ours[1][bad][:4]}, not {theirs[1][bad][:4]}"


def run(count: int, seed: int, show) -> int:
    """How many of `count` cases differ; show(text) is called for each."""
    import torch

    import flambeau

    bad = 0
    for k in range(count):
        r = random.Random(f"{seed}.{k}")
        text, arrays = draw_case(r)
        with np.errstate(all="ignore"):
            results = [outcome(t, text, arrays) for t in (flambeau, torch)]
            problem = difference(*(v if isinstance(v, Exception) else plain(v) for v in results), text)
        if problem:
            bad += 1
            shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
            show(f"# case {seed}.{k}: a = {shapes}\n{text}\n# {problem}\n")
    return bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bad = run(args.count, args.seed, print)
    print(f"{bad} of {args.count} cases differ")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
