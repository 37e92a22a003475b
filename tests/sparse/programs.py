"""Small programs with sparse tensors whose results and errors are PyTorch's: programs.txt, run by `answer`.

A program is a line that sees `torch`, F (nn.functional) and the tensors of `scope`; it leaves its answer in `r`. Lines that
are expressions are answers themselves. tools/record_nn.py records PyTorch's answers.
"""

import builtins
import copy
import io
import pathlib
import pickle
import warnings

from tests.nn.programs import plain

PROGRAMS = [line for line in (pathlib.Path(__file__).parent / "programs.txt").read_text().splitlines() if line]


def scope(torch):
    """s: uncoalesced 2 x 3; c: it coalesced; h: two sparse dimensions and a dense one; d, e: dense; W: a table; a, x: leaves."""
    indices, values = torch.tensor([[0, 1, 1, 0], [2, 0, 2, 2]]), torch.tensor([3.0, 4.0, 5.0, 6.0])
    s = torch.sparse_coo_tensor(indices, values, (2, 3))
    return {
        "torch": torch, "F": torch.nn.functional, "copy": copy, "io": io, "pickle": pickle, "i": indices, "v": values,
        "s": s, "c": s.coalesce(), "d": torch.arange(6.0).reshape(2, 3), "e": torch.arange(6.0).reshape(3, 2),
        "h": torch.sparse_coo_tensor([[0, 1], [0, 1]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], (2, 2, 3)),
        "W": torch.nn.Parameter(torch.arange(8.0).reshape(4, 2)),
        "a": torch.sparse_coo_tensor(indices, values, (2, 3), requires_grad=True), "x": values.clone().requires_grad_(),
        "text": lambda t: repr(t).replace(" ", "_"),
    }  # fmt: skip


def answer(torch, program):
    """[how it ended, what it said] and the exception, if any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = scope(torch)
        try:
            try:
                code, expression = compile(program, "<program>", "eval"), True
            except SyntaxError:
                code, expression = compile(program, "<program>", "exec"), False
            result = eval(code, names) if expression else exec(code, names) or names.get("r")  # noqa: S307, S102
            return ["ok", plain((result,))], None
        except Exception as error:  # noqa: BLE001 - the error is the answer
            return [next(c.__name__ for c in type(error).__mro__ if hasattr(builtins, c.__name__)), plain(error)], error
