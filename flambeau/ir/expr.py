"""Scalar expressions: a hash-consed DAG over a small table of primitives.

A pointwise op is one such expression, and so is every value inside a loop nest. Operators on `Expr` build
nodes; Python numbers become constants of the other operand's dtype. Named mathematics (exp, erf, ...) are
single nodes here; `codegen.maths` rewrites them into primitives. Complex values are pairs (`Complex`), so the
primitives are real. What runs expressions lives elsewhere: `evaluate` (NumPy), `codegen.emit` (LLVM).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.core import dtypes as dt

# name -> number of operands. The complexity budget of every back end.
PRIMITIVES: dict[str, int] = {
    # arithmetic; `div` is IEEE for floats and truncating for integers, `rem` has the sign of the dividend
    "add": 2, "sub": 2, "mul": 2, "div": 2, "rem": 2, "fma": 3, "neg": 1, "abs": 1, "sqrt": 1,
    "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "copysign": 2,
    "min": 2, "max": 2,  # NaN if either is NaN
    # comparison (result bool; false on NaN except ne) and choice
    "lt": 2, "le": 2, "gt": 2, "ge": 2, "eq": 2, "ne": 2, "select": 3,
    # bits; `shr` is arithmetic for signed dtypes
    "and": 2, "or": 2, "xor": 2, "not": 1, "shl": 2, "shr": 2, "popcount": 1, "clz": 1,
    # dtype changes: value (`cast`, float -> int saturates nothing: caller's duty) and bit pattern
    "cast": 1, "bitcast": 1,
    # what vector maths is made of: x * 2^n for a whole float n, rounded once; the entry (low bits of an integer) of a
    # table of constants; and (cond, a, b): a where cond, else b, a being worked out only where some lane needs it
    "scalef": 2, "lookup": 1, "rarely": 3,
}  # fmt: skip

# Named mathematics, expanded by codegen.maths. Operand count as above.
MATHS: dict[str, int] = {
    "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1, "pow": 2,
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "atan2": 2,
    "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1,
    "erf": 1, "erfc": 1, "erfinv": 1, "lgamma": 1, "digamma": 1, "sigmoid": 1, "rsqrt": 1,
    "i0": 1, "i0e": 1, "i1": 1, "i1e": 1, "ndtri": 1, "erfcx": 1, "log_ndtr": 1, "cbrt": 1,
    "hypot": 2, "fmod": 2, "nextafter": 2, "sinc": 1, "polygamma": 2, "zeta": 2, "igamma": 2, "igammac": 2,
}  # fmt: skip


class Expr:
    """One node: `op` applied to `args`, of dtype `dtype`; `attr` holds a constant or a leaf's identity."""

    __slots__ = ("args", "attr", "dtype", "op", "uid")
    __array_priority__ = 1000
    _interned: dict[tuple, Expr] = {}
    _count = 0

    op: str
    args: tuple[Expr, ...]
    dtype: Any
    attr: Any
    uid: int

    # arithmetic -----------------------------------------------------------------------------------
    def __add__(self, other):
        return binary("add", self, other)

    def __radd__(self, other):
        return binary("add", other, self)

    def __sub__(self, other):
        return binary("sub", self, other)

    def __rsub__(self, other):
        return binary("sub", other, self)

    def __mul__(self, other):
        return binary("mul", self, other)

    def __rmul__(self, other):
        return binary("mul", other, self)

    def __truediv__(self, other):
        return binary("div", self, other)

    def __rtruediv__(self, other):
        return binary("div", other, self)

    def __floordiv__(self, other):
        return floordiv(self, other)

    def __mod__(self, other):
        return mod(self, other)

    def __pow__(self, other):
        return power(self, other)

    def __rpow__(self, other):
        return power(wrap(other, self.dtype), self)

    def __neg__(self):
        return node("neg", (self,), self.dtype)

    def __abs__(self):
        return node("abs", (self,), self.dtype)

    # comparison -----------------------------------------------------------------------------------
    def __lt__(self, other):
        return binary("lt", self, other)

    def __le__(self, other):
        return binary("le", self, other)

    def __gt__(self, other):
        return binary("gt", self, other)

    def __ge__(self, other):
        return binary("ge", self, other)

    def __eq__(self, other):  # type: ignore[override]
        return binary("eq", self, other)

    def __ne__(self, other):  # type: ignore[override]
        return binary("ne", self, other)

    def __hash__(self):
        return self.uid

    # bits and logic -------------------------------------------------------------------------------
    def __and__(self, other):
        return binary("and", self, other)

    def __rand__(self, other):
        return binary("and", other, self)

    def __or__(self, other):
        return binary("or", self, other)

    def __ror__(self, other):
        return binary("or", other, self)

    def __xor__(self, other):
        return binary("xor", self, other)

    def __rxor__(self, other):
        return binary("xor", other, self)

    def __invert__(self):
        return node("not", (self,), self.dtype)

    def __lshift__(self, other):
        return binary("shl", self, other)

    def __rshift__(self, other):
        return binary("shr", self, other)

    def __bool__(self):
        raise TypeError(
            "a kernel expression has no truth value while it is traced; use where(cond, a, b) "
            "instead of `if`, and & | ~ instead of and, or, not"
        )

    def to(self, dtype) -> Expr:
        """This value as `dtype`."""
        return cast(self, dtype)

    def __repr__(self):
        if self.op == "const":
            return f"{self.attr!r}"
        if self.op == "leaf":
            return str(self.attr)
        return f"{self.op}({', '.join(map(repr, self.args))})"


def node(op: str, args: tuple[Expr, ...], dtype, attr=None) -> Expr:
    """The one node with these contents (equal nodes are the same object)."""
    key = (op, tuple(a.uid for a in args), dtype, attr, str(attr) if isinstance(attr, float) else None)
    found = Expr._interned.get(key)
    if found is None:
        folded = _fold(op, args, dtype)
        if folded is not None:
            return folded
        found = object.__new__(Expr)
        found.op, found.args, found.dtype, found.attr = op, args, dtype, attr
        Expr._count += 1
        found.uid = Expr._count
        Expr._interned[key] = found
    return found


def leaf(name: str, dtype) -> Expr:
    """A fresh input: never equal to another, whatever its name."""
    found = object.__new__(Expr)
    found.op, found.args, found.dtype, found.attr = "leaf", (), dtype, name
    Expr._count += 1
    found.uid = Expr._count
    return found


def const(value, dtype) -> Expr:
    """The constant `value` as `dtype`."""
    if dtype.is_floating_point:
        value = float(value)
    elif dtype is dt.bool:
        value = bool(value)
    else:
        bits = 8 * dtype.itemsize
        value = int(value) & ((1 << bits) - 1)
        if dtype.is_signed and value >> (bits - 1):
            value -= 1 << bits
    return node("const", (), dtype, value)


def wrap(value, dtype) -> Expr:
    """`value` itself if it is an expression, else a constant of `dtype`."""
    return value if isinstance(value, (Expr, Complex)) else const(value, dtype)


def _fold(op, args, dtype):
    """Identities that cost nothing to apply while building: x + 0 for integers, x * 1, casts to the same dtype."""
    if op == "cast" and args[0].dtype is dtype:
        return args[0]
    if op == "cast" and args[0].op == "const" and not (
        args[0].dtype.is_floating_point and not dtype.is_floating_point
    ):
        return const(args[0].attr, dtype)
    if op in ("add", "sub", "mul") and dtype.kind in "iu":
        a, b = args
        if a.op == b.op == "const":
            x, y = a.attr, b.attr
            return const(x + y if op == "add" else x - y if op == "sub" else x * y, dtype)
        if op == "mul":
            for u, v in ((a, b), (b, a)):
                if u.op == "const" and u.attr in (0, 1):
                    return v if u.attr == 1 else u
        if b.op == "const" and b.attr == 0:
            return a
        if op == "add" and a.op == "const" and a.attr == 0:
            return b
    if op == "mul" and dtype.is_floating_point:
        for u, v in ((args[0], args[1]), (args[1], args[0])):
            if u.op == "const" and u.attr == 1.0:
                return v
    return None


_COMPARE = {"lt", "le", "gt", "ge", "eq", "ne"}


def binary(op: str, a, b):
    """`op` of two operands after promotion; Python numbers take the other operand's dtype."""
    if isinstance(a, Complex) or isinstance(b, Complex):
        return Complex.binary(op, a, b)
    if not isinstance(a, Expr):
        if isinstance(a, complex) or not isinstance(a, (int, float, bool)):
            return NotImplemented
        a = const(a, _number_dtype(a, b.dtype))
    if not isinstance(b, Expr):
        if isinstance(b, complex) or not isinstance(b, (int, float, bool)):
            return NotImplemented
        b = const(b, _number_dtype(b, a.dtype))
    if a.dtype is not b.dtype:
        wide = dt.promote_types(a.dtype, b.dtype)
        a, b = cast(a, wide), cast(b, wide)
    return node(op, (a, b), dt.bool if op in _COMPARE else a.dtype)


def _number_dtype(number, dtype):
    """A float meeting an integer expression makes float32; otherwise the expression's dtype rules."""
    if isinstance(number, float) and not dtype.is_floating_point:
        return dt.float32
    if isinstance(number, int) and not isinstance(number, bool) and dtype is dt.bool:
        return dt.int64
    return dtype


def cast(x, dtype):
    """`x` converted to `dtype` by value."""
    if isinstance(x, Complex):
        return x.to(dtype)
    if dtype.is_complex:
        real = dtype.to_real()
        return Complex(cast(x, real), const(0, real))
    return node("cast", (wrap(x, dtype),), dtype)


def bitcast(x: Expr, dtype) -> Expr:
    """The bits of `x` read as `dtype` (same size)."""
    if x.dtype.itemsize != dtype.itemsize:
        raise TypeError(f"bitcast: {x.dtype} and {dtype} differ in size")
    return x if x.dtype is dtype else node("bitcast", (x,), dtype)


def floordiv(a, b):
    """Division rounded towards minus infinity (PyTorch's and Python's //)."""
    a, b = _pair(a, b)
    if a.dtype.is_floating_point:
        # Python's algorithm: exact where fmod is, and right at infinities and signed zeros.
        r = node("rem", (a, b), a.dtype)
        q = (a - r) / b
        q = where((r != 0) & ((b < 0) != (r < 0)), q - 1, q)
        f = floor(q)
        f = where(q - f > 0.5, f + 1, f)
        f = where(q == 0, node("copysign", (const(0, a.dtype), a / b), a.dtype), f)
        return where(b == 0, a / b, f)
    q = node("div", (a, b), a.dtype)
    if not a.dtype.is_signed:
        return q
    return where((q * b != a) & ((a < 0) != (b < 0)), q - 1, q)


def mod(a, b):
    """Remainder with the sign of the divisor (PyTorch's and Python's %)."""
    a, b = _pair(a, b)
    r = node("rem", (a, b), a.dtype)
    if not a.dtype.is_signed and not a.dtype.is_floating_point:
        return r
    return where((r != 0) & ((r < 0) != (b < 0)), r + b, r)


def _pair(a, b):
    d = a.dtype if isinstance(a, Expr) else b.dtype
    a, b = wrap(a, d), wrap(b, d)
    if a.dtype is not b.dtype:
        wide = dt.promote_types(a.dtype, b.dtype)
        a, b = cast(a, wide), cast(b, wide)
    return a, b


def power(x, y):
    """x ** y; small constant exponents become products."""
    if isinstance(x, Complex) or isinstance(y, Complex):
        return Complex.power(x, y)
    if isinstance(y, (int, float)) and not isinstance(y, bool):
        if y == 2:
            return x * x
        if y == 3:
            return x * x * x
        if x.dtype.is_floating_point:
            if y == 0.5:
                return sqrt(x)
            if y == -0.5:
                return 1 / sqrt(x)
            if y == -1:
                return 1 / x
            if y == -2:
                return 1 / (x * x)
            if y == 1:
                return x
            if y == 0:
                return const(1, x.dtype)
        y = const(y, x.dtype)
    x, y = _pair(x, y)
    if x.dtype.is_floating_point:
        return node("pow", (x, y), x.dtype)
    return int_power(x, y)


def int_power(x: Expr, y: Expr) -> Expr:
    """Integer power by squaring, modulo 2^bits, a round per bit of y; y < 0 gives 1/x truncated, as PyTorch's kernels do."""
    d = x.dtype
    result, base, e = const(1, d), x, y
    for _ in range(8 * d.itemsize - d.is_signed):
        result = where((e & 1) != 0, result * base, result)
        base, e = base * base, e >> 1
    if not d.is_signed:
        return result
    one = const(1, d)
    odd = (y & 1) != 0
    negative = where(x == 1, one, where(x == -1, where(odd, const(-1, d), one), const(0, d)))
    return where(y < 0, negative, result)


# functions ----------------------------------------------------------------------------------------
def where(cond, a, b):
    """a where cond is true, else b."""
    if isinstance(a, Complex) or isinstance(b, Complex):
        a, b = Complex.pair(a, b)
        return Complex(where(cond, a.re, b.re), where(cond, a.im, b.im))
    if not isinstance(a, Expr) and not isinstance(b, Expr):
        d = dt.float32 if isinstance(a, float) or isinstance(b, float) else dt.int64
        a, b = const(a, d), const(b, d)
    else:
        a, b = _pair(a, b)
    if a is b:
        return a
    return node("select", (cond, a, b), a.dtype)


def minimum(a, b):
    """The smaller; NaN if either is."""
    a, b = _pair(a, b)
    return node("min", (a, b), a.dtype)


def maximum(a, b):
    """The larger; NaN if either is."""
    a, b = _pair(a, b)
    return node("max", (a, b), a.dtype)


def rarely(cond, a, b):
    """a where cond is true, else b; a costs nothing while cond is false in all lanes."""
    a, b = _pair(a, b)
    return node("rarely", (cond, a, b), a.dtype)


def scalef(x, n):
    """x * 2^n for a whole float n, with one rounding (denormals too)."""
    return node("scalef", _pair(x, n), x.dtype)


def lookup(index, table, dtype):
    """The entry of a table of constants (a power of two of them) that the index's low bits name."""
    return node("lookup", (index,), dtype, tuple(table))


def fma(a, b, c):
    """a * b + c with one rounding."""
    d = next(x.dtype for x in (a, b, c) if isinstance(x, Expr))
    a, b, c = (wrap(x, d) for x in (a, b, c))
    return node("fma", (a, b, c), d)


def isnan(x):
    """True where x is not a number."""
    if isinstance(x, Complex):
        return isnan(x.re) | isnan(x.im)
    return x != x if x.dtype.is_floating_point else const(False, dt.bool)


def isinf(x):
    """True where x is plus or minus infinity."""
    if isinstance(x, Complex):
        return isinf(x.re) | isinf(x.im)
    return abs(x) == math.inf if x.dtype.is_floating_point else const(False, dt.bool)


def signbit(x):
    """True where the sign bit is set (also for -0.0)."""
    if not x.dtype.is_floating_point:
        return x < 0 if x.dtype.is_signed else const(False, dt.bool)
    ints = {2: dt.int16, 4: dt.int32, 8: dt.int64}[x.dtype.itemsize]
    return bitcast(x, ints) < 0


def square(x):
    """x * x."""
    return x * x


def _unary(op: str) -> Callable[[Any], Any]:
    def build(x):
        if isinstance(x, Complex):
            return getattr(x, op)()
        if x.dtype.kind in "iub" and op in _ROUNDING:
            return x
        return node(op, (x,), x.dtype)

    build.__name__ = build.__qualname__ = op
    build.__doc__ = f"{op} of a scalar expression."
    return build


_ROUNDING = {"floor", "ceil", "trunc", "rint"}
sqrt, floor, ceil, trunc, rint = map(_unary, ("sqrt", "floor", "ceil", "trunc", "rint"))
exp, exp2, expm1, log, log2, log10, log1p = map(
    _unary, ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p")
)
sin, cos, tan, asin, acos, atan = map(_unary, ("sin", "cos", "tan", "asin", "acos", "atan"))
sinh, cosh, tanh, asinh, acosh, atanh = map(
    _unary, ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")
)
erf, erfc, erfinv, lgamma, digamma, sigmoid, rsqrt = map(
    _unary, ("erf", "erfc", "erfinv", "lgamma", "digamma", "sigmoid", "rsqrt")
)
i0, i0e, i1, i1e, ndtri, erfcx, log_ndtr, cbrt, sinc = map(
    _unary, ("i0", "i0e", "i1", "i1e", "ndtri", "erfcx", "log_ndtr", "cbrt", "sinc")
)
popcount, clz = map(_unary, ("popcount", "clz"))


def _binary_maths(op: str):
    def build(a, b):
        a, b = _pair(a, b)
        return node(op, (a, b), a.dtype)

    build.__name__ = build.__qualname__ = op
    build.__doc__ = f"{op} of two scalar expressions."
    return build


atan2, hypot, copysign, fmod, nextafter = map(
    _binary_maths, ("atan2", "hypot", "copysign", "rem", "nextafter")
)
polygamma, zeta, igamma, igammac = map(_binary_maths, ("polygamma", "zeta", "igamma", "igammac"))


class Complex:
    """A complex value as a pair of real expressions; arithmetic expands here, once."""

    __slots__ = ("im", "re")

    def __init__(self, re: Expr, im: Expr):
        self.re, self.im = re, im

    @property
    def dtype(self):
        return self.re.dtype.to_complex()

    @staticmethod
    def pair(a, b) -> tuple[Complex, Complex]:
        """Both operands as Complex of one dtype."""
        real = next(x for x in (a, b) if isinstance(x, Complex)).re.dtype
        for x in (a, b):
            d = x.re.dtype if isinstance(x, Complex) else getattr(x, "dtype", real)
            if d.is_floating_point:
                real = dt.promote_types(real, d)
        return Complex.lift(a, real), Complex.lift(b, real)

    @staticmethod
    def lift(x, real) -> Complex:
        """x as Complex over the real dtype `real`."""
        if isinstance(x, Complex):
            return Complex(cast(x.re, real), cast(x.im, real))
        if isinstance(x, Expr):
            return Complex(cast(x, real), const(0, real))
        x = complex(x)
        return Complex(const(x.real, real), const(x.imag, real))

    @staticmethod
    def binary(op: str, a, b):
        a, b = Complex.pair(a, b)
        if op in ("add", "sub"):
            return Complex(binary(op, a.re, b.re), binary(op, a.im, b.im))
        if op == "mul":
            return Complex(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
        if op == "div":
            return a.divide(b)
        if op == "eq":
            return (a.re == b.re) & (a.im == b.im)
        if op == "ne":
            return (a.re != b.re) | (a.im != b.im)
        raise NotImplementedError(f'"{op}_cpu" not implemented for complex numbers: compare abs() or real parts')

    def divide(self, b: Complex) -> Complex:
        """Smith's method: scales by the larger part of the divisor, so no needless overflow."""
        big = abs(b.re) >= abs(b.im)
        p, q = where(big, b.re, b.im), where(big, b.im, b.re)
        r = where(p == 0, const(0, p.dtype), q / p)
        d = where(p == 0, p, p + q * r)
        re = where(big, self.re + self.im * r, self.re * r + self.im) / d
        im = where(big, self.im - self.re * r, self.im * r - self.re) / d
        return Complex(re, im)

    __add__ = lambda s, o: Complex.binary("add", s, o)  # noqa: E731
    __radd__ = lambda s, o: Complex.binary("add", o, s)  # noqa: E731
    __sub__ = lambda s, o: Complex.binary("sub", s, o)  # noqa: E731
    __rsub__ = lambda s, o: Complex.binary("sub", o, s)  # noqa: E731
    __mul__ = lambda s, o: Complex.binary("mul", s, o)  # noqa: E731
    __rmul__ = lambda s, o: Complex.binary("mul", o, s)  # noqa: E731
    __truediv__ = lambda s, o: Complex.binary("div", s, o)  # noqa: E731
    __rtruediv__ = lambda s, o: Complex.binary("div", o, s)  # noqa: E731
    __eq__ = lambda s, o: Complex.binary("eq", s, o)  # type: ignore # noqa: E731
    __ne__ = lambda s, o: Complex.binary("ne", s, o)  # type: ignore # noqa: E731
    __lt__ = __le__ = __gt__ = __ge__ = lambda s, o: Complex.binary("lt", s, o)  # type: ignore # noqa: E731
    __pow__ = lambda s, o: Complex.power(s, o)  # noqa: E731
    __rpow__ = lambda s, o: Complex.power(o, s)  # noqa: E731
    __hash__ = object.__hash__

    def __neg__(self):
        return Complex(-self.re, -self.im)

    def __abs__(self):
        return hypot(self.re, self.im)

    def conj(self) -> Complex:
        """The complex conjugate."""
        return Complex(self.re, -self.im)

    def angle(self):
        """The argument, in (-pi, pi]."""
        return atan2(self.im, self.re)

    def to(self, dtype):
        if dtype.is_complex:
            real = dtype.to_real()
            return Complex(cast(self.re, real), cast(self.im, real))
        if dtype is dt.bool:
            return (self.re != 0) | (self.im != 0)
        return cast(self.re, dtype)

    @staticmethod
    def polar(r, theta) -> Complex:
        """r * (cos(theta) + i sin(theta))."""
        return Complex(r * cos(theta), r * sin(theta))

    @staticmethod
    def power(x, y):
        if isinstance(y, (int, float)) and y == 2:
            return x * x
        if isinstance(y, (int, float)) and y == 1:
            return x
        if isinstance(y, (int, float)) and y == -1:
            return 1 / x
        x, y = Complex.pair(x, y)
        r, t = abs(x), x.angle()
        z = Complex.polar(exp(y.re * log(r) - y.im * t), y.im * log(r) + y.re * t)
        zero = (x.re == 0) & (x.im == 0)
        one = const(1, r.dtype)
        none = const(0, r.dtype)
        y0 = (y.re == 0) & (y.im == 0)
        nan = const(math.nan, r.dtype)  # 0 to a power with no positive real part has no value
        at_zero = where(y0, one, where(y.re > 0, none, where(y.re < 0, const(math.inf, r.dtype), nan)))
        return where(zero, Complex(at_zero, where(y0 | (y.re > 0), none, nan)), z)

    def exp(self):
        e = exp(self.re)
        s = where(self.im == 0, self.im, e * sin(self.im))
        return Complex(where(self.im == 0, e, e * cos(self.im)), s)

    def log(self):
        return Complex(log(abs(self)), self.angle())

    def exp2(self):
        return (self * math.log(2)).exp()

    def log2(self):
        return self.log() * (1 / math.log(2))

    def log10(self):
        return self.log() * (1 / math.log(10))

    def log1p(self):
        return self.plus(1).log()

    def expm1(self):
        s = sin(self.im * 0.5)
        re = expm1(self.re) * cos(self.im) - 2 * s * s
        return Complex(re, exp(self.re) * sin(self.im))

    def sqrt(self):
        r = abs(self)
        t = sqrt((r + abs(self.re)) * 0.5)
        u = where(t == 0, t, abs(self.im) / (2 * t))
        right = self.re >= 0
        return Complex(where(right, t, u), copysign(where(right, u, t), self.im))

    def rsqrt(self):
        return 1 / self.sqrt()

    def sin(self):
        return Complex(sin(self.re) * cosh(self.im), cos(self.re) * sinh(self.im))

    def cos(self):
        return Complex(cos(self.re) * cosh(self.im), -(sin(self.re) * sinh(self.im)))

    def sinh(self):
        return Complex(sinh(self.re) * cos(self.im), cosh(self.re) * sin(self.im))

    def cosh(self):
        return Complex(cosh(self.re) * cos(self.im), sinh(self.re) * sin(self.im))

    def tanh(self):
        # tanh(a+ib) = (sinh 2a + i sin 2b) / (cosh 2a + cos 2b), scaled by cosh^2 to avoid overflow
        t, s, c = tanh(self.re), sin(self.im), cos(self.im)
        sech2 = 1 - t * t
        d = c * c + (s * s) * (t * t)
        return Complex(t / d, (s * c) * sech2 / d)

    def tan(self):
        z = Complex(-self.im, self.re).tanh()
        return Complex(z.im, -z.re)

    def plus(self, real):
        """self + real, the imaginary part as it is: its sign tells the sides of a branch cut apart even at zero."""
        return Complex(self.re + real, self.im)

    def asinh(self):
        s = copysign(const(1, self.re.dtype), self.re)  # an odd function: no cancellation for re > 0
        z = Complex(self.re * s, self.im * s)
        w = (z + Complex((z.re - z.im) * (z.re + z.im) + 1, 2 * z.re * z.im).sqrt()).log()
        return Complex(w.re * s, w.im * s)

    def acosh(self):
        return (self + self.plus(1).sqrt() * self.plus(-1).sqrt()).log()

    def atanh(self):
        w = self.plus(1).log() - Complex(1 - self.re, -self.im).log()
        return Complex(w.re * 0.5, w.im * 0.5)

    def asin(self):
        z = Complex(-self.im, self.re).asinh()
        return Complex(z.im, -z.re)

    def acos(self):
        z = self.asin()
        return Complex(math.pi / 2 - z.re, -z.im)

    def atan(self):
        z = Complex(-self.im, self.re).atanh()
        return Complex(z.im, -z.re)

    def sigmoid(self):
        return 1 / ((-self).exp() + 1)


def postorder(roots: Iterable[Expr]) -> list[Expr]:
    """Every node below `roots`, operands before users, each once; iterative, so depth is no limit."""
    seen: set[int] = set()
    order: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(list(roots))]
    while stack:
        e, done = stack.pop()
        if done:
            order.append(e)
        elif e.uid not in seen:
            seen.add(e.uid)
            stack.append((e, True))
            stack.extend((a, False) for a in reversed(e.args) if a.uid not in seen)
    return order


def substitute(roots: list[Expr], mapping: dict[Expr, Expr]) -> list[Expr]:
    """`roots` with leaves replaced by `mapping` (by identity)."""
    new: dict[int, Expr] = {k.uid: v for k, v in mapping.items()}
    for e in postorder(roots):
        if e.uid not in new:
            args = tuple(new[a.uid] for a in e.args)
            same = all(x is y for x, y in zip(args, e.args, strict=True))
            new[e.uid] = e if same else node(e.op, args, e.dtype, e.attr)
    return [new[r.uid] for r in roots]
