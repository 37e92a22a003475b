"""The package as a whole: what importing it costs, what is shipped, what the project files promise."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import flambeau

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

IMPORT = """
import sys, tempfile, os
os.environ["FLAMBEAU_CACHE_DIR"] = directory = tempfile.mkdtemp()
import flambeau
heavy = {"llvmlite", "scipy", "torch", "PIL", "tqdm", "tensorboard", "matplotlib"}
print(sorted(heavy & set(sys.modules)), os.listdir(directory))
"""


def python(source: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_no_llvmlite_and_compiles_nothing():
    assert python(IMPORT) == "[] []"


def test_import_starts_no_threads():
    assert python("import flambeau, threading; print(threading.active_count())") == "1"


def test_two_hard_dependencies():
    names = {text.split(">")[0] for text in PROJECT["project"]["dependencies"]}
    assert names == {"numpy", "llvmlite"}


def test_version_is_stated_once():
    from flambeau._version import __version__

    assert "version" in PROJECT["project"]["dynamic"]
    assert getattr(flambeau, "__version__", __version__)


@pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="no README")
def test_readme_names_commands_that_exist():
    targets = {
        line.split(":")[0] for line in (ROOT / "Makefile").read_text().splitlines() if ":" in line
    }
    readme = (ROOT / "README.md").read_text()
    for command in ("demo", "test"):
        assert f"make {command}" in readme and command in targets


def test_wheel_is_pure_python(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel")
    (made,) = builder.WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    assert Path(made).name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(made).namelist()
    assert "flambeau/__init__.py" in names
    assert any(name.endswith("/LICENSE") for name in names)
    assert not [n for n in names if n.startswith(("tests/", "tools/", "docs/"))]
    assert not [n for n in names if n.endswith((".so", ".pyd", ".c", ".pyc"))]
