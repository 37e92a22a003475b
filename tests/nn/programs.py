"""Small programs whose every result, error text and warning is PyTorch's: programs.txt, run by `answer`.

A program sees `torch` (the library), `L` (torch.nn), `U` (nn.utils), `P` (parametrizations), `I` (nn.init), `F` and
`M` (nn.functional and nn.modules.module), `net(L)` (a network with one of everything) and `log`. Its answer is the
value it leaves in `r`, what it put in `log`, or the exception it raised; and the warnings it gave.
tools/record_nn.py records PyTorch's answers.
"""

import copy
import importlib
import pathlib
import re
import warnings
from collections import OrderedDict

_TEXT = (pathlib.Path(__file__).parent / "programs.txt").read_text()
PROGRAMS = [block.strip("\n") for block in _TEXT.split("\n%%\n")]
NUMBER = re.compile(r"-?\d+\.\d*(?:e[+-]?\d+)?")


def net(L, torch):
    """A network with one of everything."""

    class Net(L.Module):
        def __init__(self):
            super().__init__()
            self.a = L.Linear(2, 3)
            self.seq = L.Sequential(L.Linear(3, 3), L.ReLU(), L.Sequential(L.BatchNorm1d(3)))
            self.register_buffer("buf", torch.ones(2))
            self.register_buffer("np", torch.ones(1), persistent=False)
            self.p = L.Parameter(torch.ones(()))
            self.none = None
            self.l = L.ModuleList([L.Linear(2, 2), L.Linear(2, 2), L.ReLU()])
            self.d = L.ModuleDict({"x": L.Tanh()})
            self.pl = L.ParameterList([torch.ones(2), torch.zeros(1, 3)])
            self.pd = L.ParameterDict({"k": torch.ones(2)})

        def forward(self, x):
            return self.seq(self.a(x))

    return Net()


def plain(text):
    """Text without what names the library, an address, or the node that made a tensor."""
    text = str(text).replace("flambeau.tensor.tensor.", "torch.").replace("flambeau", "torch")
    text = re.sub(r"0x[0-9a-f]+", "", text)
    text = re.sub(r",?\s*grad_fn=<\w+>", "", text)
    return re.sub(r"\s+", " ", text)


def answer(torch, program):
    """[how it ended, what it said, the warnings]."""
    name = torch.__name__
    L = torch.nn
    parts = {
        "U": "nn.utils", "P": "nn.utils.parametrizations", "I": "nn.init", "F": "nn.functional",
        "M": "nn.modules.module", "lazy": "nn.modules.lazy", "prune": "nn.utils.prune",
    }  # fmt: skip
    log = []
    scope = {key: importlib.import_module(f"{name}.{path}") for key, path in parts.items()}
    scope |= {"torch": torch, "L": L, "net": lambda _: net(L, torch), "log": log, "copy": copy}
    scope |= {"OrderedDict": OrderedDict}
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exec(program, scope)  # noqa: S102
            ended = ["ok", plain((scope.get("r"), log))]
        except Exception as error:  # noqa: BLE001 - the error is the answer
            ended = [type(error).__name__, plain(error)]
    said = [f"{w.category.__name__}: {plain(w.message)}" for w in caught]
    return [*ended, [text for text in said if "nested tensors is in prototype" not in text]]


def same(got, want):
    """Whether two texts differ in nothing but the last digits of numbers."""
    if got == want:
        return True
    if NUMBER.sub("#", got) != NUMBER.sub("#", want):
        return False
    pairs = zip(NUMBER.findall(got), NUMBER.findall(want), strict=True)
    return all(abs(float(a) - float(b)) <= 2e-4 * max(1.0, abs(float(b))) for a, b in pairs)
