"""The API reference as Markdown, one page per namespace, from the docstrings: python tools/reference.py docs/reference"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import flambeau  # noqa: E402

PAGES = {
    "torch": "flambeau", "Tensor": "flambeau:Tensor", "nn": "flambeau.nn", "nn.functional": "flambeau.nn.functional",
    "nn.init": "flambeau.nn.init", "nn.utils": "flambeau.nn.utils", "autograd": "flambeau.autograd",
    "autograd.functional": "flambeau.autograd.functional", "func": "flambeau.func", "optim": "flambeau.optim",
    "optim.lr_scheduler": "flambeau.optim.lr_scheduler", "optim.swa_utils": "flambeau.optim.swa_utils",
    "utils.data": "flambeau.utils.data", "utils.tensorboard": "flambeau.utils.tensorboard", "utils.training": "flambeau.utils.training",
    "utils.draw": "flambeau.utils.draw", "utils.checkpoint": "flambeau.utils.checkpoint", "utils.benchmark": "flambeau.utils.benchmark",
    "serialization": "flambeau.serialization", "linalg": "flambeau.linalg", "fft": "flambeau.fft", "special": "flambeau.special",
    "testing": "flambeau.testing", "hub": "flambeau.hub", "amp": "flambeau.amp",
    "vision.transforms": "flambeau.vision.transforms", "vision.datasets": "flambeau.vision.datasets",
    "vision.models": "flambeau.vision.models", "vision.utils": "flambeau.vision.utils",
}  # fmt: skip


def members(place: str) -> dict:
    """{name: function or class} that a page tells of."""
    module, _, inner = place.partition(":")
    owner = importlib.import_module(module)
    if inner:
        owner = getattr(owner, inner)
    listed = getattr(owner, "__all__", None)
    names = [n for n in (listed or dir(owner)) if not n.startswith("_")]
    if module == "flambeau" and not inner:
        names += list(flambeau._FROM) + list(flambeau._FUNCTIONAL)
    out = {}
    for name in sorted(set(names)):
        value = inspect.getattr_static(owner, name, None) if inner else getattr(owner, name, None)
        value = value.fget if isinstance(value, property) else value
        if inspect.ismodule(value) or value is None:
            continue
        ours = (getattr(value, "__module__", None) or "flambeau").startswith("flambeau")
        if callable(value) and ours:
            out[name] = value
    return out


def signature(value) -> str:
    """The call's arguments, as far as Python tells."""
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(...)"
    return text.replace("flambeau.core.dtypes.", "torch.")


def documented(value) -> str:
    """The docstring; a class of its own that has none does not take over its base's."""
    own = value.__dict__.get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    return inspect.cleandoc(own) if own else ""


def page(title: str, place: str) -> str:
    """One page: a heading, a signature and the docstring per name."""
    prefix = "Tensor." if place.endswith(":Tensor") else "" if title == "torch" else title + "."
    lines = [f"# {title}", ""]
    for name, value in members(place).items():
        lines += [f"## {prefix}{name}", "", "```text", f"{name}{signature(value)}", "```", ""]
        text = documented(value)
        if text:
            lines += ["```text", text, "```", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    count = bare = 0
    for title, place in PAGES.items():
        (args.folder / f"{title}.md").write_text(page(title, place))
        found = members(place)
        count += len(found)
        missing = sorted(n for n, v in found.items() if not documented(v))
        bare += len(missing)
        if missing:
            print(f"{title}: no docstring: {', '.join(missing)}")
    print(f"{count} names on {len(PAGES)} pages, {bare} without a docstring")


if __name__ == "__main__":
    main()
