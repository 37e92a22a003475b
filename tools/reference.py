"""The API reference as Markdown, one page per namespace, from the docstrings: python tools/reference.py docs/reference"""

from __future__ import annotations

import argparse
import functools
import html
import importlib
import inspect
import re
import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import flambeau  # noqa: E402

# Page titles by section. A title is the module's name below flambeau; `torch` is flambeau itself, `Tensor` the class.
SECTIONS = {
    "Tensors and functions": [
        "torch", "Tensor", "linalg", "sparse", "fft", "special", "random", "return_types", "types",
    ],
    "Networks": [
        "nn", "nn.functional", "nn.init", "nn.attention", "nn.parallel", "nn.grad", "nn.utils", "nn.utils.rnn",
        "nn.utils.parametrize", "nn.utils.parametrizations", "nn.utils.prune", "nn.utils.stateless", "nn.modules.module", "nn.modules.utils",
    ],
    "Probability": [
        "distributions", "distributions.constraints", "distributions.constraint_registry", "distributions.transforms",
        "distributions.kl", "distributions.utils",
    ],
    "Gradients": ["autograd", "autograd.functional", "autograd.function", "autograd.graph", "autograd.profiler", "func"],
    "Training": [
        "optim", "optim.lr_scheduler", "optim.swa_utils", "amp", "utils.data", "utils.checkpoint", "utils.training",
        "utils.tensorboard", "utils.draw", "utils.benchmark",
    ],
    "Images": ["vision.transforms", "vision.transforms.v2", "vision.transforms.functional", "vision.datasets", "vision.models", "vision.utils"],
    "Saving and the rest": [
        "serialization", "hub", "testing", "utils", "utils.hooks", "utils.dlpack", "utils.model_zoo", "multiprocessing", "compiler", "jit", "onnx", "profiler",
        "distributed", "backends", "accelerator", "cpu", "cuda", "mps", "xpu", "version", "torch_version",
    ],
}  # fmt: skip
PAGES = [title for titles in SECTIONS.values() for title in titles]
LABEL = re.compile(r"(Shapes|Dtypes|Units|Args|Returns|Errors|Raises|Numerics|Cost|Source|Note|Options): *(.*)")
HIDDEN_METHODS = ("forward", "extra_repr", "reset_parameters", "initialize_parameters", "check_forward_args", "permute_hidden", "clone")


def owner(title: str):
    """The module or class whose names a page lists."""
    if title == "Tensor":
        return flambeau.Tensor
    return importlib.import_module("flambeau" if title == "torch" else f"flambeau.{title}")


def public_names(title: str) -> list[str]:
    """The names of a namespace that are meant for users."""
    place = owner(title)
    if title in NAMES:
        return NAMES[title]
    names = set(getattr(place, "__all__", None) or dir(place))
    names.update(vars(place).get("_HOMES", ()))  # what loads when it is asked for
    if title == "torch":
        names |= {*flambeau._FROM, *flambeau._FUNCTIONAL, *flambeau._METHODS}
        names.update(*(getattr(family, "__all__", ()) for family in flambeau.ops.MODULES))
        names -= INTERNAL
    return sorted(n for n in names if not n.startswith(("_", "special_", "fft_")))




# Helpers among the functions of ops; and functions of other namespaces.
INTERNAL = {"copy_elements", "resize", "spread", "sum_to", "fold", "householder_product", "vector_norm"}
NAMES = {  # modules that keep helpers beside their public names
    "nn.modules.module": [
        f"register_module_{kind}_hook" for kind in (
            "backward", "buffer_registration", "forward", "forward_pre", "full_backward", "full_backward_pre",
            "module_registration", "parameter_registration",
        )
    ],
    "nn.modules.utils": ["consume_prefix_in_state_dict_if_present"],
    "autograd.functional": ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"],
    "autograd.function": ["Function", "FunctionCtx", "once_differentiable"],
    "autograd.graph": ["Node", "save_on_cpu", "saved_tensors_hooks"],
}


@functools.cache
def members(title: str) -> dict:
    """{name: function, class or property} that a page tells of."""
    place = owner(title)
    out = {}
    for name in public_names(title):
        value = inspect.getattr_static(place, name, None) if inspect.isclass(place) else getattr(place, name)
        value = unwrapped(value)
        if callable(value) and not inspect.ismodule(value) and is_ours(value, place):
            out[name] = value
        elif inspect.isdatadescriptor(value):
            out[name] = value
    return out


@functools.cache
def constants(title: str) -> dict:
    """{name: value} of what is neither called nor a module: dtypes, layouts, numbers, settings."""
    place, out = owner(title), {}
    if inspect.isclass(place):
        return out
    for name in public_names(title):
        value = getattr(place, name, types)
        plain = value is None or isinstance(value, (bool, int, float, str, flambeau.dtype, flambeau.layout, flambeau.memory_format))
        if plain or type(value).__module__.startswith("flambeau") and not callable(value):
            out[name] = value
    return out


def shown(value) -> str:
    """A constant's value; the class of what has no short one."""
    text = repr(value)
    return f"a {type(value).__name__.strip('_').lower()}" if "0x" in text or len(text) > 80 else text


def unwrapped(value):
    """The function below a property or a method's wrapping."""
    if isinstance(value, property):
        if inspect.isfunction(value.fget):
            value.fget.__doc__ = value.__doc__  # a lambda's text is the property's
        return value.fget
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def is_ours(value, place) -> bool:
    """False for what a module without __all__ merely imports."""
    made = getattr(value, "__module__", None) or "flambeau"
    if hasattr(place, "__all__") or inspect.isclass(place) or place is flambeau:
        return made.startswith(("flambeau", "torch"))
    return (made + ".").startswith(place.__name__ + ".")


def inherited(name: str, value, cls) -> str:
    """A method's docstring, or that of the method it replaces."""
    for base in cls.__mro__:
        text = documented(unwrapped(base.__dict__.get(name)))
        if text:
            return text
    return documented(value)


def methods(cls, listed: frozenset) -> dict:
    """Public methods and properties of a class and of its bases that have no entry of their own."""
    out: dict = {}
    told = {b for base in cls.__mro__[1:] if base in listed for b in base.__mro__}
    for base in cls.__mro__:
        if base in told or not base.__module__.startswith("flambeau"):
            continue
        for name, value in base.__dict__.items():
            value = unwrapped(value)
            if not name.startswith("_") and name not in HIDDEN_METHODS and name not in out and inspect.isfunction(value):
                out[name] = value
    return dict(sorted(out.items()))


def signature(value, method: bool = False) -> str:
    """The call's arguments, as far as Python tells; those of a method without the object."""
    record = getattr(value, "record", None)
    try:
        found = record.signature if record is not None else inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    first, *rest = [*found.parameters.values()] or [None]
    if method and first is not None and first.name in ("self", "input", "cls"):
        found = found.replace(parameters=rest)
    text = str(found)
    text = re.sub(r"(-> |: )'([^']*)'", r"\1\2", text)  # annotations that are kept as text
    return re.sub(r"<(?:built-in )?function (\w+)(?: at 0x\w+)?>", r"\1", text.replace("flambeau.core.dtypes.", "torch."))


def documented(value) -> str:
    """The docstring; a class of its own that has none does not take over its base's."""
    own = value.__dict__.get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    return inspect.cleandoc(own) if own else ""


# Markdown -----------------------------------------------------------------------------------------
def escaped(text: str) -> str:
    """Text whose characters mean themselves, code spans apart."""
    parts = re.split(r"(``.+?``|`[^`]+`)", text)
    plain = [re.sub(r"([\\*_\[\]#|~])", r"\\\1", html.escape(p, quote=False)) for p in parts]
    return "".join(p if i % 2 else plain[i] for i, p in enumerate(parts))


def prose(text: str) -> list[str]:
    """A docstring as paragraphs, indented examples, and its labelled parts as a list."""
    out: list[str] = []
    labels: list[list[str]] = []
    code: list[str] = []
    for line in text.split("\n"):
        found = LABEL.match(line)
        if found:
            labels.append([found[1], found[2]])
        elif labels and line.startswith("  "):
            labels[-1][1] += " " + line.strip()
        elif line.startswith("    ") or line.startswith(">>>"):
            code.append(line)
        else:
            out += fence(code) + [escaped(line)]
            code = []
    out += [*fence(code), ""]
    return out + [f"- **{name}**: {escaped(rest)}" for name, rest in labels] + [""]


def fence(code: list[str]) -> list[str]:
    """Indented lines as a block: a program if they are Python's prompt, else a formula."""
    kind = "python" if any(line.startswith(">>>") for line in code) else "text"
    return ["", f"```{kind}", *inspect.cleandoc("\n".join(code)).split("\n"), "```", ""] if code else []


def entry(name: str, value, prefix: str, level: int, text: str, method: bool) -> list[str]:
    """A heading, the call, the docstring."""
    lines = ["#" * level + f' {escaped(prefix + name)} {{ data-toc-label="{name}" }}', ""]
    if callable(value):
        lines += ["```python", f"{name}{signature(value, method)}", "```", ""]
    return lines + prose(text)


def page(title: str) -> str:
    """One page: constants, then functions and classes, each class with its methods."""
    place, prefix = owner(title), "" if title == "torch" else title + "."
    lines = [f"# {title}", ""]
    if title not in ("torch", "Tensor"):
        lines += [*prose(inspect.cleandoc(place.__doc__ or "")), ""]
    if constants(title):
        lines += ["| constant | value |", "|---|---|"]
        lines += [f"| {escaped(prefix + n)} | {escaped(shown(v))} |" for n, v in constants(title).items()] + [""]
    listed = classes()
    for name, value in members(title).items():
        lines += entry(name, value, prefix, 2, documented(value), title == "Tensor")
        if inspect.isclass(value) and title != "Tensor" and value is not flambeau.Tensor:
            for method, fn in methods(value, listed).items():
                lines += entry(method, fn, f"{name}.", 3, inherited(method, fn, value), True)
    return "\n".join(lines)


@functools.cache
def classes() -> frozenset:
    """The classes that have an entry of their own."""
    return frozenset(v for title in PAGES for v in members(title).values() if inspect.isclass(v))


def bare() -> list[str]:
    """Public names without a docstring."""
    out, listed = [], classes()
    for title in PAGES:
        for name, value in members(title).items():
            if not documented(value):
                out.append(f"{title}.{name}")
            if inspect.isclass(value) and value is not flambeau.Tensor:
                out += [f"{title}.{name}.{m}" for m, fn in methods(value, listed).items() if not inherited(m, fn, value)]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    index = ["# Reference", "", "Every public name, from its docstring. `torch` stands for `flambeau`.", ""]
    for section, titles in SECTIONS.items():
        index += [f"## {section}", "", "| page | |", "|---|---|"]
        for title in titles:
            (args.folder / f"{title}.md").write_text(page(title), encoding="utf-8")
            about = documented(owner(title)) if title != "torch" else "functions that make, change and combine tensors"
            index.append(f"| [{title}]({title}.md) | {escaped(about.split(chr(10))[0])} |")
        index.append("")
    (args.folder / "index.md").write_text("\n".join(index), encoding="utf-8")
    count = sum(len(members(t)) + len(constants(t)) for t in PAGES)
    missing = bare()
    print(f"{count} names on {len(PAGES)} pages, {len(missing)} without a docstring: {', '.join(missing)}")


if __name__ == "__main__":
    main()
