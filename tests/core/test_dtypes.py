"""dtypes: promotion against PyTorch's recorded table, categories, casting, identity."""

import copy
import itertools
import pickle

import numpy as np
import pytest

from flambeau.core import dtypes as dt

# torch.promote_types of PyTorch 2.13, upper triangle; "-" where it raises.
NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
         "complex64", "complex128", "uint16", "uint32", "uint64"]  # fmt: skip
TABLE = """
b8 u8 i8 i16 i32 i64 f16 bf16 f32 f64 c64 c128 - - -
u8 i16 i16 i32 i64 f16 bf16 f32 f64 c64 c128 - - -
i8 i16 i32 i64 f16 bf16 f32 f64 c64 c128 - - -
i16 i32 i64 f16 bf16 f32 f64 c64 c128 - - -
i32 i64 f16 bf16 f32 f64 c64 c128 - - -
i64 f16 bf16 f32 f64 c64 c128 - - -
f16 f32 f32 f64 c64 c128 f16 f16 f16
bf16 f32 f64 c64 c128 bf16 bf16 bf16
f32 f64 c64 c128 f32 f32 f32
f64 c128 c128 f64 f64 f64
c64 c128 - - -
c128 - - -
u16 - -
u32 -
u64
"""
ROWS = [line.split() for line in TABLE.split("\n") if line]
PAIRS = [(NAMES[i], NAMES[i + j], abbr) for i, row in enumerate(ROWS) for j, abbr in enumerate(row)]


@pytest.mark.parametrize(("a", "b", "abbr"), PAIRS)
def test_promote_types(a, b, abbr):
    for x, y in ((a, b), (b, a)):
        if abbr == "-":
            with pytest.raises(RuntimeError, match="Promotion for uint16, uint32, uint64"):
                dt.promote_types(dt.BY_NAME[x], dt.BY_NAME[y])
        else:
            assert dt.promote_types(dt.BY_NAME[x], dt.BY_NAME[y]).abbr == abbr


# (dtype, category) operands and torch.result_type's answer.
RESULTS = [
    ("int32 tensor, int64 zero", "int32"),
    ("int32 tensor, float64 zero", "float64"),
    ("float32 tensor, float64 zero", "float32"),
    ("float32 tensor, int64 tensor", "float32"),
    ("float32 tensor, complex128 zero", "complex64"),
    ("float64 tensor, complex64 number", "complex128"),
    ("bfloat16 tensor, complex64 number", "complex64"),
    ("bool tensor, int64 number", "int64"),
    ("bool tensor, uint8 zero", "uint8"),
    ("uint8 tensor, int64 number", "uint8"),
    ("int64 tensor, float32 number", "float32"),
    ("int64 zero, float32 number", "float32"),
    ("float16 zero, float32 number", "float16"),
    ("uint16 tensor, int64 zero", "uint16"),
    ("uint16 tensor, complex64 zero", "complex64"),
    ("uint16 tensor, float32 number", "float32"),
    ("bool number, int64 number", "int64"),
    ("float16 tensor, bfloat16 tensor", "float32"),
    ("complex64 zero, float64 tensor", "complex128"),
]


@pytest.mark.parametrize(("operands", "expected"), RESULTS)
def test_result_type(operands, expected):
    entries = [(dt.BY_NAME[o.split()[0]], o.split()[1]) for o in operands.split(", ")]
    assert dt.result_type(entries) is dt.BY_NAME[expected]
    assert dt.result_type(entries[::-1]) is dt.BY_NAME[expected]


def test_result_type_of_nothing():
    with pytest.raises(ValueError, match="at least one operand"):
        dt.result_type([])


@pytest.mark.parametrize(
    ("a", "b", "allowed"),
    [
        ("float32", "float16", True),
        ("float32", "int64", False),
        ("int64", "uint8", True),
        ("int8", "bool", False),
        ("bool", "float32", True),
        ("complex64", "float64", False),
        ("float64", "complex64", True),
    ],
)
def test_can_cast(a, b, allowed):
    assert dt.can_cast(dt.BY_NAME[a], dt.BY_NAME[b]) is allowed


@pytest.mark.parametrize("d", dt.ALL, ids=str)
def test_singletons_survive_copies_and_pickles(d):
    assert copy.deepcopy(d) is d and copy.copy(d) is d
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(d, protocol)) is d


@pytest.mark.parametrize("d", dt.ALL, ids=str)
def test_attributes_agree(d):
    assert repr(d) == str(d) == f"torch.{d.name}"
    assert d.itemsize == d.np.itemsize
    assert dt.ALL[d.index] is d
    assert (d.is_floating_point, d.is_complex) == (d.kind == "f", d.kind == "c")


def test_immutable():
    with pytest.raises(AttributeError, match="not writable"):
        dt.float32.itemsize = 8
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        dt.float32.colour = "red"
    with pytest.raises(TypeError, match="cannot create"):
        dt.dtype("float8", "f", 1, 99)


def test_aliases():
    assert (dt.half, dt.float, dt.double) == (dt.float16, dt.float32, dt.float64)
    assert (dt.short, dt.int, dt.long) == (dt.int16, dt.int32, dt.int64)
    assert (dt.cfloat, dt.cdouble) == (dt.complex64, dt.complex128)


def test_real_and_complex_partners():
    assert dt.complex128.to_real() is dt.float64 and dt.int8.to_real() is dt.int8
    assert dt.float64.to_complex() is dt.complex128 and dt.bfloat16.to_complex() is dt.complex64
    with pytest.raises(RuntimeError, match="Unknown Complex ScalarType for Long"):
        dt.int64.to_complex()


def test_promotion_commutes_and_contains_its_operands():
    for a, b in itertools.product(dt.ALL[:12], repeat=2):
        both = dt.promote_types(a, b)
        assert dt.promote_types(b, a) is both
        assert dt.can_cast(a, both) and dt.can_cast(b, both)


def test_promote_types_refuses_what_is_no_dtype():
    with pytest.raises(TypeError, match=r"argument 'type2' \(position 2\) must be torch.dtype"):
        dt.promote_types(dt.float32, "float32")


def test_numpy_both_ways():
    for d in dt.ALL:
        if d is not dt.bfloat16:
            assert dt.from_numpy(dt.to_numpy(d)) is d
    assert dt.from_numpy(np.dtype(">f4")) is dt.float32
    with pytest.raises(TypeError, match="can't convert np.ndarray of type numpy.str_"):
        dt.from_numpy(np.dtype("U3"))
    with pytest.raises(TypeError, match="BFloat16"):
        dt.to_numpy(dt.bfloat16)


def test_default_dtype():
    dt.set_default_dtype(dt.float64)
    assert dt.get_default_dtype() is dt.float64
    for wrong in (dt.int32, dt.complex64, "float32"):
        with pytest.raises(TypeError, match="only floating-point types are supported"):
            dt.set_default_dtype(wrong)
