"""README.md and docs/: every program runs and prints what its page says; the reference names everything public."""

import ast
import importlib
import importlib.util
import pkgutil
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import flambeau
from flambeau.ops import record

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def tool(name: str):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


snippets, reference, pictures = tool("snippets"), tool("reference"), tool("pictures")
PAGES = snippets.pages()
CHINESE = [p for p in PAGES if p.parent == DOCS / "zh" or DOCS / "zh" in p.parents]


def title(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def as_found(tmp_path, monkeypatch):
    """A page may write files, define ops and change settings: all is put back."""
    monkeypatch.chdir(tmp_path)
    threads, ops = flambeau.get_num_threads(), set(record.TABLE)
    yield
    flambeau.set_num_threads(threads)
    flambeau.set_printoptions(profile="default")
    for name in set(record.TABLE) - ops:
        del record.TABLE[name]


# programs -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", PAGES, ids=title)
def test_programs_print_what_the_page_says(path, as_found):
    page = snippets.read(path)
    for block, printed in snippets.run(page):
        where = f"{title(path)}:{block.start + 1}"
        promised = page.promised(block)
        assert snippets.agrees(promised, printed), f"{where} printed\n" + "\n".join(printed)


def test_few_programs_are_not_run():
    skipped = [(title(p), b.skip) for p in PAGES for b in snippets.read(p).blocks if b.skip is not None]
    assert all(len(reason.split()) > 3 for _, reason in skipped), skipped
    assert len(skipped) <= 4, skipped


def test_dots_stand_for_any_lines_or_text():
    assert snippets.agrees(["a", "..."], ["a"]) and snippets.agrees(["a", "...", "d"], ["a", "b", "c", "d"])
    assert snippets.agrees(["at ... bytes"], ["at 12 bytes"]) and not snippets.agrees(["at ... bytes"], ["at 12"])
    assert not snippets.agrees(["a", "...", "d"], ["a", "b"]) and not snippets.agrees([], ["a"])


def test_blocks_and_what_they_are_said_to_print(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(
        "```python\nx = 2\nprint(x)  # -> 3\n```\n\n```python\nprint(x)\n```\n\n```text\n0\n```\n\n"
        "<!-- not run: it would never end -->\n```python\nwhile True: ...\n```\n"
    )
    page = snippets.read(path)
    assert [b.skip for b in page.blocks] == [None, None, "it would never end"]
    outputs = list(snippets.run(page))
    assert [(page.promised(b), printed) for b, printed in outputs] == [(["3"], ["2"]), (["0"], ["2"])]
    assert snippets.write_in(page, outputs)
    assert "print(x)  # -> 2" in page.lines and "2" in page.lines and "0" not in page.lines


def test_a_program_inside_a_list_is_refused(tmp_path):
    (tmp_path / "page.md").write_text("- so:\n\n  ```python\n  x = 1\n  ```\n")
    with pytest.raises(ValueError, match="margin"):
        snippets.read(tmp_path / "page.md")


# the site -----------------------------------------------------------------------------------------
def programs(path: Path) -> list[str]:
    """Each program's syntax tree, which knows no comments."""
    return [ast.dump(ast.parse("\n".join(b.code))) for b in snippets.read(path).blocks if b.language == "python"]


@pytest.mark.parametrize("path", CHINESE, ids=title)
def test_chinese_pages_show_the_programs_of_the_english_ones(path):
    english = DOCS / path.relative_to(DOCS / "zh")
    assert english.exists()
    assert programs(path) == programs(english)


def test_every_tutorial_chapter_is_there_in_chinese():
    user_facing = [*sorted((DOCS / "tutorial").glob("*.md"))]
    user_facing += [DOCS / f"{n}.md" for n in ("index", "start", "from_pytorch", "performance", "errors")]
    missing = [title(p) for p in user_facing if not (DOCS / "zh" / p.relative_to(DOCS)).exists()]
    assert not missing


def navigation() -> list[str]:
    """The pages that mkdocs.yml lists."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return re.findall(r"([\w./]+\.md)\s*$", text.partition("\nnav:")[2], re.MULTILINE)


def test_navigation_lists_every_page():
    written = [str(p.relative_to(DOCS)) for p in PAGES if p.parent != ROOT] + ["compatibility.md"]
    made = [f"reference/{name}.md" for name in ["index", *reference.PAGES]]
    listed = navigation()
    assert sorted(listed) == sorted(written + made)


def test_links_lead_somewhere():
    made = {DOCS / "reference" / f"{name}.md" for name in ["index", *reference.PAGES]}
    broken = []
    for path in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
            place = (path.parent / target.partition("#")[0]).resolve()
            if "://" not in target and target[0] != "#" and place not in made and not place.exists():
                broken.append(f"{title(path)}: {target}")
    assert not broken


@pytest.mark.parametrize("make", pictures.PICTURES, ids=lambda make: make.__name__)
def test_pictures_can_be_drawn_again(make):
    drawn = make()
    drawn = drawn if isinstance(drawn, str) else drawn.svg()
    kept = (DOCS / "pictures" / f"{make.__name__}.svg").read_text(encoding="utf-8")
    for text in (drawn, kept):
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    used = [p for p in PAGES if f"pictures/{make.__name__}.svg" in p.read_text(encoding="utf-8")]
    assert used


# reference ----------------------------------------------------------------------------------------
# What has no entry of its own: attributes that only objects have, and Python's own multiprocessing.
APART = re.compile(
    r"torch\.(distributed\.|multiprocessing\.|backends\.|cuda\.amp\.|utils\.tensorboard\.writer|autograd\.Function\.ctx"
    r"|autograd\.variable|optim\.optimizer\.required|.*\.extra_repr|nn\.Module\.(training|forward)"
    r"|optim\.Optimizer\.param_groups|.*Mixin$|.*NonDynamically|jit\.(script_method|interface)|types\.Number|jit\.Final)"
)


def documented_names() -> set[str]:
    out = set()
    for page in reference.PAGES:
        prefix = "torch." if page == "torch" else f"torch.{page}."
        for name, value in reference.members(page).items():
            out.add(prefix + name)
            if isinstance(value, type):
                out |= {f"{prefix}{name}.{m}" for m in reference.methods(value, reference.classes())}
        out |= {prefix + name for name in reference.constants(page)}
    return out


def test_reference_names_what_the_compatibility_table_has():
    table = (DOCS / "compatibility.md").read_text(encoding="utf-8")
    present = re.findall(r"^\| (torch\.\S+) \|.*\| present \|$", table, re.MULTILINE)
    private = re.compile(r"\._|^_")
    known = documented_names()
    missing = [n for n in present if n not in known and not private.search(n) and not APART.match(n)]
    assert len(present) > 1000 and not missing


def test_reference_names_every_op():
    functions, methods = reference.members("torch"), reference.members("Tensor")
    hidden = ("special_", "fft_")
    for name, op in record.TABLE.items():
        if name.startswith(("_", *hidden)):
            continue
        if op.option("function", True):
            assert name in functions, name
        if name in vars(flambeau.Tensor):
            assert name in methods, name


# Packages of our own, below PyTorch's names; and modules whose listed names are for the modules beside them.
OURS = {"core", "ir", "codegen", "runtime", "ops", "tensor", "support", "runner"}
BESIDE = {"autograd.engine", "autograd.hooks", "autograd.views", "distributions.composed", "nn.modules.lazy", "nn.modules.linear", "nn.parameter",
          "nn.utils.spectral_norm", "nn.utils.weight_norm", "utils.recorded", "utils.tensorboard.writer"}  # fmt: skip


def test_no_module_keeps_public_names_to_itself():
    told = {id(v) for page in reference.PAGES for v in reference.members(page).values()}
    untold = []
    for found in pkgutil.walk_packages(flambeau.__path__, "flambeau."):
        name = found.name.removeprefix("flambeau.")
        private = any(part.startswith("_") for part in name.split("."))
        if private or name.partition(".")[0] in OURS or name in {*BESIDE, *reference.PAGES}:
            continue
        module = importlib.import_module(found.name)
        listed = [(n, getattr(module, n)) for n in getattr(module, "__all__", ()) if not n.startswith("_")]
        untold += [f"{name}.{n}" for n, v in listed if callable(v) and id(v) not in told]
    assert not untold


def test_everything_public_has_a_docstring():
    assert reference.bare() == []


def test_reference_shows_signature_text_and_labels():
    page = reference.page("nn.functional")
    entry = page.partition("## nn.functional.conv2d ")[2].partition("\n## ")[0]
    assert "conv2d(input, weight" in entry
    assert "Cross-correlation" in entry and "- **Shapes**: (n, c, h, w)" in entry


def test_reference_tells_of_a_method_once():
    listed = reference.classes()
    assert "zero_grad" in reference.methods(flambeau.nn.Module, listed)
    assert "zero_grad" not in reference.methods(flambeau.nn.Conv2d, listed)
    assert "step" in reference.methods(flambeau.optim.Optimizer, listed)


def test_reference_shows_calls_as_they_are_written():
    assert reference.signature(flambeau.Tensor.add_, method=True) == "(other, *, alpha=1)"
    assert reference.signature(flambeau.add) == "(input, other, *, alpha=1)"
    assert reference.signature(flambeau.nn.Module.zero_grad, method=True).startswith("(set_to_none")


def test_reference_escapes_what_markdown_would_read():
    assert reference.escaped("a * b_c < [d] ``x * y``") == r"a \* b\_c &lt; \[d\] ``x * y``"
