"""Expressions and loop nests as text."""

import dataclasses

from flambeau.core.dtypes import float32
from flambeau.ir import expr as E
from flambeau.ir import kernel as K
from flambeau.ir import show
from flambeau.ir.kernel import Int, Ptr, kernel


@kernel
def scaled_sums(k, y: Ptr, x: Ptr, n: Int):
    with k.parallel() as row:
        total = k.acc("add", float32)
        with k.vector(n) as j:
            total.update(x[row * n + j] * 0.5)
        rest = k.var(n)
        with k.while_(lambda: rest.value > 0):
            rest.value = rest.value - 1
        with k.if_(n > 1):
            y[row] = total.value
        with k.else_():
            y.store(row, 0, n == 0)


def test_expression_names_what_is_used_twice():
    x = E.leaf("x", float32)
    s = E.sigmoid(x)
    assert show.expression(s * (1 - s)) == "t = sigmoid(x)\nt * (1 - t)"
    assert show.expression(E.where(x > 0, x, 0.25 * x)) == "select(x > 0, x, 0.25 * x)"


@kernel
def turned(k, y: Ptr, x: Ptr, n: Int):
    with k.parallel() as row:
        here = k.pointer(x.at(row * 4))
        with k.lanes(2) as j:
            a, b = k.transpose([here[j], here[j + n]])
            y[j] = a + k.permute(b, [-1, 0], 2.5)


def test_pointers_and_squares_turned():
    assert show.program(turned.trace((float32, float32))).splitlines()[1:] == [
        "    parallel p1 in begin..end:",
        "        X2 = X from p1 * 4",
        "        lanes v3 in 0.. by 2:",
        "            x2 = X2[v3]",
        "            x2_2 = X2[v3 + n]",
        "            t, t_2 = lanes turned of (x2, x2_2)",
        "            p = lanes (-, 0) of t_2, - 2.5",
        "            Y[v3] = t + p",
    ]


def test_every_statement_can_be_shown():
    statements = {c for c in vars(K).values() if dataclasses.is_dataclass(c) and "__slots__" in vars(c)}
    assert statements == {s for s in show.STATEMENTS if s is not E.Expr}


def test_program():
    assert show.program(scaled_sums.trace((float32, float32))).splitlines() == [
        "kernel scaled_sums(Y: float32*, X: float32*, n: int64)",
        "    parallel p1 in begin..end:",
        "        accumulate a2 by add from 0",
        "        vector v3 in 0..n:",
        "            x = X[(p1 * n) + v3]",
        "            a2 <- x * 0.5",
        "        var x4 = n",
        "        repeat:",
        "            stop unless x4 > 0",
        "            x4 = x4 - 1",
        "        if n > 1:",
        "            Y[p1] = a2",
        "        else:",
        "            Y[p1] = 0 if n == 0",
    ]
