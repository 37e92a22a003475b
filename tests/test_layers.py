"""Imports point down: one table of layers, checked against every import statement in the source."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "flambeau"

# Lowest first. A module may import from its own row and from rows above it in this list.
# "." is the package's own namespace: `import flambeau`, or `from flambeau import <not a module>`.
LAYERS = (
    ("_version", "runner"),
    ("support",),
    ("core",),
    ("return_types",),
    ("ir",),
    ("codegen",),
    ("runtime",),
    ("ops",),
    ("autograd",),
    ("tensor",),
    ("sparse",),
    (".", "_functions", "random", "version", "torch_version", "types"),
    (
        "compiler",
        "_dynamo",
        "_utils",
        "amp",
        "backends",
        "cuda",
        "fft",
        "linalg",
        "special",
        "accelerator",
        "mps",
        "xpu",
        "cpu",
    ),
    ("nn", "multiprocessing", "overrides", "jit"),
    ("serialization",),
    ("optim", "distributions", "func", "testing", "profiler"),
    ("distributed", "onnx"),
    ("utils", "hub"),
    ("vision",),
    ("__main__",),
)
RANK = {name: i for i, row in enumerate(LAYERS) for name in row}
LLVMLITE = {"codegen", "runtime"}
# The package file gathers names from all layers for users; it is "." to those who import it.
EXEMPT = {Path("__init__.py")}


def modules():
    return sorted(p.relative_to(ROOT) for p in ROOT.rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(node: ast.AST):
    """Import statements below a node, those of functions too, without `if TYPE_CHECKING` bodies."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            for other in child.orelse:
                yield from imports(ast.Module([other], []))
        else:
            yield from imports(child)


def targets(statement, path: Path):
    """Dotted names of what an import statement may load."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    base = statement.module or ""
    if statement.level:
        package = ("flambeau", *path.parts[:-1])
        package = package[: len(package) - statement.level + 1]
        base = ".".join((*package, *([base] if base else [])))
    return [f"{base}.{alias.name}" for alias in statement.names]


def layer_named(dotted: str) -> str | None:
    """The layer a dotted name belongs to; None outside flambeau."""
    first, _, rest = dotted.partition(".")
    if first != "flambeau":
        return None
    name = rest.partition(".")[0]
    is_module = name in RANK or (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()
    return name if name and is_module else "."


def uses(path: Path):
    """(line, dotted name) of each import in a file."""
    tree = ast.parse((ROOT / path).read_text(), str(path))
    return [(s.lineno, name) for s in imports(tree) for name in targets(s, path)]


@pytest.mark.parametrize("path", [p for p in modules() if p not in EXEMPT], ids=str)
def test_imports_point_down(path):
    own = layer_of(path)
    assert own in RANK, f"flambeau/{path}: no layer {own!r}; give it a row in LAYERS"
    for line, name in uses(path):
        layer = layer_named(name)
        if layer is None:
            continue
        assert layer in RANK, f"flambeau/{path}:{line}: no layer {layer!r}; give it a row in LAYERS"
        assert RANK[layer] <= RANK[own], f"flambeau/{path}:{line}: {own} may not import {name}"


@pytest.mark.parametrize("path", modules(), ids=str)
def test_llvmlite_is_imported_in_codegen_and_runtime_only(path):
    if layer_of(path) not in LLVMLITE:
        lines = [line for line, name in uses(path) if name.split(".")[0] == "llvmlite"]
        assert not lines, f"flambeau/{path}:{lines[0]} imports llvmlite"


@pytest.mark.parametrize("path", modules(), ids=str)
def test_torch_is_never_imported(path):
    lines = [line for line, name in uses(path) if name.split(".")[0] in ("torch", "torchvision")]
    assert not lines, f"flambeau/{path}:{lines[0]} imports torch"


@pytest.mark.parametrize("path", [p for p in modules() if layer_of(p) == "core"], ids=str)
def test_core_needs_numpy_and_the_standard_library_only(path):
    for line, name in uses(path):
        first = name.split(".")[0]
        known = first in ("numpy", "flambeau") or first in sys.stdlib_module_names
        assert known, f"flambeau/{path}:{line} imports {first}"


def test_the_reader_sees_function_level_and_skips_type_checking_imports():
    tree = ast.parse(
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    from c import d\n"
    )
    assert [t for s in imports(tree) for t in targets(s, Path("x.py"))] == ["b", "c.d"]


def test_the_reader_resolves_relative_imports():
    tree = ast.parse("from . import a\nfrom ..core import b\nfrom .c.d import e\n")
    found = [t for s in imports(tree) for t in targets(s, Path("nn/modules.py"))]
    assert found == ["flambeau.nn.a", "flambeau.core.b", "flambeau.nn.c.d.e"]
