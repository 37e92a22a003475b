"""The verifier: a sound program passes, and each rule catches a program that breaks it."""

import pytest

from flambeau.codegen import maths
from flambeau.core import dtypes as dt
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir.kernel import Int, Ptr, kernel
from flambeau.ir.verify import Invalid, mistake, verify

F32, F64, I32, I64, BOOL = dt.float32, dt.float64, dt.int32, dt.int64, dt.bool


@kernel
def softmax_rows(k, y: Ptr, x: Ptr, n: Int):
    with k.parallel() as r:
        top = k.acc("max", F32)
        with k.vector(n) as j:
            top.update(x[r * n + j])
        best = top.value
        total = k.acc("add", F32)
        with k.vector(n) as j:
            total.update(E.exp(x[r * n + j] - best))
        whole = total.value
        with k.vector(n) as j:
            y[r * n + j] = E.exp(x[r * n + j] - best) / whole


def program():
    return softmax_rows.trace((F32, F32))


def test_a_sound_program_passes():
    verify(program())
    verify(program(), maths.expand)


def rows(p):
    """The statements inside the parallel axis."""
    return p.body[0].body


def first(body, kind):
    return next(s for s in body if isinstance(s, kind))


def vectors(p):
    return [s for s in rows(p) if isinstance(s, K.Loop)]


def bool_index(p):
    s = first(vectors(p)[2].body, K.Store)
    s.index = E.cast(s.index, I32)


def wrong_value(p):
    s = first(vectors(p)[2].body, K.Store)
    s.value = E.node("cast", (s.value,), F64)


def lost_definition(p):
    loop = vectors(p)[2]
    loop.body.remove(first(loop.body, K.Load))


def moved_out(p):
    loop = vectors(p)[2]
    load = first(loop.body, K.Load)
    loop.body.remove(load)
    vectors(p)[0].body.append(load)


def varying_bound(p):
    loop = vectors(p)[2]
    loop.body.append(K.Loop("seq", E.leaf("s", I64), E.const(0, I64), loop.index, 1, []))


def varying_condition(p):
    loop = vectors(p)[2]
    loop.body.append(K.If(loop.index < 3, [], []))


def nested_vectors(p):
    one, two, _ = vectors(p)
    one.body.append(K.Loop("vector", E.leaf("v", I64), E.const(0, I64), E.const(4, I64), 1, [], True))


def read_while_updated(p):
    loop = vectors(p)[0]
    acc = first(loop.body, K.Update).acc
    loop.body.append(K.Read(E.leaf("now", F32), acc))


def every_lane_one_place(p):
    first(vectors(p)[2].body, K.Store).index = E.const(0, I64)


def two_parallels(p):
    p.body.append(K.Loop("parallel", E.leaf("p", I64), None, None, 1, []))


def foreign_memory(p):
    s = first(vectors(p)[2].body, K.Store)
    s.ptr = K.PtrRef(None, "elsewhere", F32)


def one_part_of_complex(p):
    s = first(vectors(p)[2].body, K.Store)
    s.value2 = s.value


def unknown_atomic(p):
    first(vectors(p)[2].body, K.Store).atomic = "max"


def twice(p):
    body = vectors(p)[2].body
    body.insert(0, first(body, K.Load))


def no_step(p):
    rows(p).append(K.Loop("seq", E.leaf("s", I64), E.const(0, I64), E.const(4, I64), 0, []))


def odd_unroll(p):
    vectors(p)[0].unroll = 3


def foreign_pointer(p):
    rows(p).append(K.Point(K.PtrRef(None, "q", F32), K.PtrRef(None, "elsewhere", F32), E.const(0, I64)))


def pointer_of_another_type(p):
    rows(p).append(K.Point(K.PtrRef(None, "q", F64), p.params[0][3], E.const(0, I64)))


def transposed_alone(p):
    rows(p).append(K.Transpose([E.leaf("t", F32)] * 2, [E.const(0.0, F32)] * 2))


def transposed_in_more_lanes(p):
    inner = [K.Transpose([E.leaf("t", F32) for _ in range(2)], [E.const(0.0, F32)] * 2)]
    rows(p).append(K.Loop("lanes", E.leaf("v", I64), E.const(0, I64), None, 4, inner, True))


def permuted_alone(p):
    rows(p).append(K.Permute(E.leaf("t", F32), E.const(0.0, F32), (0, 1)))


def permuted_from_nowhere(p):
    inner = [K.Permute(E.leaf("t", F32), E.const(0.0, F32), (0, -1))]
    rows(p).append(K.Loop("lanes", E.leaf("v", I64), E.const(0, I64), None, 2, inner, True))


def foreign_statement(p):
    rows(p).append("nop")


BROKEN = {
    bool_index: "int32.*int64 is needed", wrong_value: "float64.*float32 is needed", lost_definition: "outside the block",
    moved_out: "outside the block", varying_bound: "a loop bound varies", varying_condition: "an if condition varies",
    nested_vectors: "holds another", read_while_updated: "is read in the vector loop", every_lane_one_place: "every lane stores",
    two_parallels: "one parallel axis", foreign_memory: "elsewhere is used outside", one_part_of_complex: "one part expected",
    unknown_atomic: "no atomic max", twice: "defined twice", no_step: "step is 0", odd_unroll: "power of two",
    foreign_statement: "no statement", foreign_pointer: "elsewhere is used outside",
    pointer_of_another_type: "in memory of", transposed_alone: "as many lanes", transposed_in_more_lanes: "as many lanes",
    permuted_alone: "as many", permuted_from_nowhere: "nothing for the others",
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_rule_is_found(broken):
    p = program()
    broken(p)
    with pytest.raises(Invalid, match=BROKEN[broken]) as found:
        verify(p)
    assert "kernel softmax_rows" in str(found.value)


def node(op, dtypes, dtype, attr=None):
    e = object.__new__(E.Expr)
    e.op, e.args, e.dtype, e.attr = op, tuple(E.leaf("x", d) for d in dtypes), dtype, attr
    return e


@pytest.mark.parametrize(
    ("op", "dtypes", "dtype"),
    [
        ("add", (F32, F64), F64), ("add", (F32,), F32), ("add", (dt.float16, dt.float16), dt.float16), ("lt", (F32, F32), F32),
        ("select", (F32, F32, F32), F32), ("and", (F32, F32), F32), ("shl", (BOOL, BOOL), BOOL), ("sqrt", (I32,), I32),
        ("exp", (I64,), I64), ("bitcast", (F32,), I64), ("nope", (F32,), F32), ("add", (dt.complex64,) * 2, dt.complex64),
    ],
)  # fmt: skip
def test_mistakes_in_types(op, dtypes, dtype):
    assert mistake(node(op, dtypes, dtype))


def test_constants_hold_their_kind():
    assert mistake(node("const", (), F32, 1)) and mistake(node("const", (), I64, 1.0)) and mistake(node("const", (), BOOL, 1))
    assert mistake(E.const(1, F32)) is None and mistake(E.const(True, BOOL)) is None


def test_a_bad_expansion_is_found():
    with pytest.raises(Invalid, match="float64.*float32 is needed"):
        verify(program(), lambda op, args, dtype: E.cast(args[0], F64))
