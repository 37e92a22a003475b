"""The single-precision logarithm, sine and cosine that PyTorch's float32 normal numbers are made with.

They are Moshier's Cephes routines (logf.c, sincosf.c, 1992) in the form that vectorises; with the same operations in the
same order, torch.randn comes out the same to the last bit. For everything else codegen.maths is more accurate.
"""

from __future__ import annotations

from flambeau.core import dtypes as dt
from flambeau.ir import expr as E

LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
QUARTER = (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)  # pi / 4 in three parts


def horner(x, coefficients):
    """The polynomial, highest coefficient first, one fma a step."""
    y = E.wrap(coefficients[0], x.dtype)
    for c in coefficients[1:]:
        y = E.fma(y, x, c)
    return y


def log(x):
    """The natural logarithm of a normal positive float32."""
    bits = E.bitcast(x, dt.int32)
    e = E.cast((bits >> 23) - 126, dt.float32)
    m = E.bitcast((bits & 0x007FFFFF) | 0x3F000000, dt.float32)  # in [1/2, 1)
    low = m < 0.707106781186547524
    e = E.where(low, e - 1, e)
    m = E.where(low, (m - 1) + m, m - 1)
    z = m * m
    y = horner(m, LOG) * m
    y = E.fma(y, z, e * -2.12194440e-4)
    y = E.fma(z, -0.5, y)
    return E.fma(e, 0.693359375, m + y)


def sincos(x):
    """(sine, cosine) of a float32 >= 0 of modest size."""
    octant = (E.cast(x * 1.27323954473516, dt.int32) + 1) & -2
    y = E.cast(octant, dt.float32)
    for part in QUARTER:
        x = E.fma(y, -part, x)
    z = x * x
    c = E.fma(horner(z, COS) * z, z, z * -0.5) + 1
    s = E.fma(horner(z, SIN) * z, x, x)
    swap = (octant & 2) != 0
    sine, cosine = E.where(swap, c, s), E.where(swap, s, c)
    return E.where((octant & 4) != 0, -sine, sine), E.where(((octant - 2) & 4) == 0, -cosine, cosine)
