"""docs/compatibility.md: which of PyTorch's names, as 361 repositories use them, flambeau has.

    python tools/compatibility.py path/to/api_usage.csv

The census has the columns api, kind, uses, repositories. Names that exist only on instances are looked up on instances.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import flambeau  # noqa: E402

# What a class does not show until there is an object.
INSTANCES = {
    "nn.Module": lambda: flambeau.nn.Linear(1, 1),
    "optim.Optimizer": lambda: flambeau.optim.SGD([flambeau.ones(1, requires_grad=True)], lr=1.0),
    "autograd.Function.ctx": lambda: context(),
}
DIFFERENCES = {
    "cuda": "reports that no device is available; what needs one raises",
    "mps": "reports that no device is available",
    "xpu": "reports that no device is available",
    "jit": "script and trace return the function itself: nothing is compiled ahead",
    "compile": "returns the function itself",
    "_dynamo": "nothing is compiled: settings are kept, marks do nothing",
    "onnx": "nothing is exported",
    "profiler": "only record_function: ranges can be named, nothing records them",
    "Tensor.record_stream": "raises: tensors of the CPU belong to no stream",
    "distributed": "one process; what needs several raises",
    "func": "vmap calls the function once per element",
    "vmap": "calls the function once per element",
    "amp": "autocast of CUDA is off with PyTorch's warning; autocast('cpu') raises",
    "sin": "float64 beyond 5.6e14 gives NaN", "cos": "float64 beyond 5.6e14 gives NaN", "tan": "float64 beyond 5.6e14 gives NaN",
}  # fmt: skip


def context():
    """The ctx of a function that has run."""
    seen = []

    class Probe(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append(ctx)
            ctx.save_for_backward(x)
            return x * 1

        @staticmethod
        def backward(ctx, g):
            _ = ctx.saved_tensors
            return g

    seen.append(Probe.apply(flambeau.ones(1, requires_grad=True)))
    return seen[0]


def found(api: str) -> bool:
    """True if flambeau has what PyTorch calls `api` (torch.a.b)."""
    path = api.removeprefix("torch.")
    for prefix, build in INSTANCES.items():
        if path.startswith(prefix + ".") and hasattr(build(), path[len(prefix) + 1 :]):
            return True
    value = flambeau
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except (AttributeError, ImportError, NotImplementedError):
            try:
                value = importlib.import_module(f"{value.__name__}.{part}")
            except (AttributeError, ImportError):
                return False
        except RuntimeError:
            return False
    return True


def area(api: str) -> str:
    """The part of PyTorch a name belongs to."""
    parts = api.removeprefix("torch.").split(".")
    return parts[0] if len(parts) > 1 else "torch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("census")
    args = parser.parse_args()
    with open(args.census, newline="") as f:
        rows = [(r["api"], r["kind"], int(r["uses"])) for r in csv.DictReader(f)]
    status = {api: found(api) for api, _, _ in rows}
    kinds: dict[str, Counter] = {}
    areas: dict[str, Counter] = {}
    for api, kind, uses in rows:
        for table, key in ((kinds, kind), (areas, area(api))):
            count = table.setdefault(key, Counter())
            count.update(uses=uses, names=1, used=uses * status[api], have=int(status[api]))
    total = sum(u for _, _, u in rows)
    covered = sum(u for api, _, u in rows if status[api])
    lines = [
        "# Compatibility", "",
        "Made by `tools/compatibility.py` from a census of PyTorch names in 361 repositories. A name counts as present if it",
        "resolves; what it computes is held to PyTorch's recorded results by the tests.", "",
        f"**{covered / total:.2%} of {total:,} uses, {sum(status.values())} of {len(rows)} names.**", "",
        "| kind | names | present | share of uses |", "|---|---|---|---|",
        *(f"| {k} | {c['names']} | {c['have']} | {c['used'] / max(1, c['uses']):.1%} |" for k, c in sorted(kinds.items(), key=lambda i: -i[1]["uses"])),
        "", "| part | uses | names | present | share of uses |", "|---|---|---|---|---|",
        *(f"| {k} | {c['uses']} | {c['names']} | {c['have']} | {c['used'] / max(1, c['uses']):.1%} |"
          for k, c in sorted(areas.items(), key=lambda i: -i[1]["uses"])),
        "", "## Present with a difference", "", "| name | difference |", "|---|---|",
        *(f"| {k} | {v} |" for k, v in DIFFERENCES.items()),
        "", "## Every name of the census", "", "| name | kind | uses | status |", "|---|---|---|---|",
        *(f"| {api} | {kind} | {uses} | {'present' if status[api] else 'absent'} |" for api, kind, uses in sorted(rows, key=lambda r: -r[2])),
        "",
    ]  # fmt: skip
    (ROOT / "docs" / "compatibility.md").write_text("\n".join(lines))
    print(lines[5])


if __name__ == "__main__":
    main()
