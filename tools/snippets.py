"""The programs in README.md and docs/: run them and compare what they print, or write it in.

    python tools/snippets.py [PAGE ...]             runs the pages (all), shows what differs
    python tools/snippets.py --update [PAGE ...]    writes what the programs print into the pages

A page's ```python blocks run in order, in one namespace. What a block prints is said in one of two ways:

  - the ```text block that follows it at once; `...` in it stands for any text, a line `...` for any lines;
  - comments `# -> text` at the ends of its lines, one per printed line.

A block that says neither must print nothing. In a ```console block the lines that start with `$ ` are commands, run by
the shell, and the rest is what they print. `<!-- not run: reason -->` before a block keeps it from being run.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import os
import re
import subprocess
import sys
import tempfile
import types
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
MADE = ("reference", "compatibility.md")  # written by tools, without programs
FENCE = re.compile(r"(\s*)(`{3,})(\w*)\s*$")
SKIP = re.compile(r"<!-- not run: (.*) -->\s*$")
PROMISE = re.compile(r"  # ->(?: (.*))?$")


@dataclass
class Block:
    """A fenced block to run: its code starts on line `start` (from 0); `said` is where its output is."""

    language: str
    start: int
    code: list[str]
    said: tuple[int, int] | None = None
    skip: str | None = None

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.code if line.startswith("$ ")]


@dataclass
class Page:
    """A Markdown file as lines, with its blocks."""

    path: Path
    lines: list[str]
    blocks: list[Block] = field(default_factory=list)

    def promised(self, block: Block) -> list[str]:
        """The lines a block is said to print."""
        if block.language == "console":
            return [line for line in block.code if not line.startswith("$ ")]
        if block.said is not None:
            return self.lines[slice(*block.said)]
        return [m[1] or "" for line in block.code if (m := PROMISE.search(line))]


def read(path: Path) -> Page:
    """A page and its blocks.

    Errors: ValueError for a fence that is never closed, and for a program inside a list, which would not be run.
    """
    page = Page(path, path.read_text(encoding="utf-8").split("\n"))
    fences = list(fenced(page))
    for i, (language, first, last) in enumerate(fences):
        if language not in ("python", "console"):
            continue
        block = Block(language, first, page.lines[first:last])
        before = SKIP.match(page.lines[first - 2]) if first >= 2 else None
        block.skip = before[1] if before else None
        if language == "python" and i + 1 < len(fences):
            kind, start, end = fences[i + 1]
            between = page.lines[last + 1 : start - 1]
            if kind == "text" and not any(line.strip() for line in between):
                block.said = (start, end)
        page.blocks.append(block)
    return page


def fenced(page: Page):
    """(language, first line, line after the last) of each fenced block."""
    language, start, ticks = None, 0, ""
    for i, line in enumerate(page.lines):
        m = FENCE.match(line)
        if language is None and m:
            if m[1] and m[3] in ("python", "console"):
                raise ValueError(f"{page.path}:{i + 1}: an indented program is not run; move it to the margin")
            language, start, ticks = m[3], i + 1, m[2]
        elif m and not m[3] and m[2] == ticks:
            yield language, start, i
            language = None
    if language is not None:
        raise ValueError(f"{page.path}:{start}: a fence is never closed")


def run(page: Page):
    """(block, lines it printed) for each block that is to be run, in order; stops at the first exception."""
    name = "page_" + re.sub(r"\W", "_", page.path.stem)
    module = types.ModuleType(name)
    sys.modules[name] = module  # so that the page's classes can be pickled
    try:
        for block in page.blocks:
            if block.skip is None:
                text = shell(block) if block.language == "console" else execute(block, page, module)
                yield block, text.rstrip("\n").split("\n") if text.rstrip("\n") else []
    finally:
        del sys.modules[name]


def execute(block: Block, page: Page, module: types.ModuleType) -> str:
    """Run Python in the page's namespace; tracebacks name the page and its line."""
    program = compile("\n" * block.start + "\n".join(block.code), str(page.path), "exec", dont_inherit=True)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program, module.__dict__)
    return out.getvalue()


def shell(block: Block) -> str:
    """Run commands, `python` being this one; what they print on either stream."""
    here = str(Path(sys.executable).parent)
    path = os.pathsep.join([here, os.environ.get("PATH", "")])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        "\n".join(block.commands), shell=True, env=env, text=True, timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.stdout


def agrees(promised: list[str], printed: list[str]) -> bool:
    """Whether the lines are those promised; `...` stands for any lines, or for any text within a line."""
    parts = [
        "(?:.*\n)*" if line.strip() == "..." else ".*".join(map(re.escape, line.rstrip().split("..."))) + "\n"
        for line in promised
    ]
    return re.fullmatch("".join(parts), "".join(line.rstrip() + "\n" for line in printed)) is not None


def write_in(page: Page, outputs: list[tuple[Block, list[str]]]) -> bool:
    """Put what the blocks printed in the place of what they were said to print; True if anything changed."""
    before = list(page.lines)
    for block, printed in reversed(outputs):
        if agrees(page.promised(block), printed):
            continue
        if block.said is not None:
            page.lines[slice(*block.said)] = printed
        elif block.language == "console":
            page.lines[block.start : block.start + len(block.code)] = [f"$ {c}" for c in block.commands] + printed
        else:
            write_comments(page, block, printed)
    return page.lines != before


def write_comments(page: Page, block: Block, printed: list[str]) -> None:
    places = [block.start + i for i, line in enumerate(block.code) if PROMISE.search(line)]
    if len(places) != len(printed):
        raise ValueError(f"{page.path}:{block.start + 1}: {len(printed)} lines are printed, {len(places)} are said to be")
    for i, text in zip(places, printed):
        page.lines[i] = PROMISE.sub(lambda _, text=text: f"  # -> {text}", page.lines[i])


def pages() -> list[Path]:
    """README.md and the pages of docs/ that people write."""
    written = (p for p in sorted((ROOT / "docs").rglob("*.md")) if p.relative_to(ROOT / "docs").parts[0] not in MADE)
    return [ROOT / "README.md", *written]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--update", action="store_true", help="write what the programs print into the pages")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    paths, different = [p.resolve() for p in args.pages] or pages(), 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for path in paths:
            page = read(path)
            outputs = list(run(page))
            if args.update:
                if write_in(page, outputs):
                    path.write_text("\n".join(page.lines), encoding="utf-8")
                continue
            for block, printed in outputs:
                promised = page.promised(block)
                if not agrees(promised, printed):
                    different += 1
                    print(f"{path}:{block.start + 1}")
                    print("\n".join(difflib.unified_diff(promised, printed, "said", "printed", lineterm="")))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
