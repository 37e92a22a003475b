"""`python -m flambeau`: as python in everything but the meaning of `torch`."""

import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest

from flambeau import runner

ROOT = Path(__file__).parent.parent


def run(*arguments, flambeau=True, cwd, input=None):
    """Run python, or python -m flambeau: (exit status, output, errors)."""
    command = [sys.executable, *(["-m", "flambeau"] if flambeau else []), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, input=input, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def write(directory, files):
    """Write texts: path -> text."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))


ASK = """
import sys
print(sys.argv, sys.path[0], __name__, __spec__, __package__, __doc__)
print(globals().get("__file__"), sys.modules["__main__"].__dict__ is globals())
"""

# Programs that never mention torch: python and python -m flambeau must do the very same.
SAME = {
    "answers": ASK,
    "raises": "def f():\n    return 1 / 0\n\n\nf()\n",
    "raises_in_turn": "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError(3) from e\n",
    "is_no_python": "x = 1\nif x\n    pass\n",
    "exits_0": "import sys; sys.exit()",
    "exits_3": "raise SystemExit(3)",
    "exits_with_words": "raise SystemExit('no luck')",
    "interrupted": "print(1)\nraise KeyboardInterrupt\n",
    "says_goodbye": "import atexit; atexit.register(print, 'bye', __name__)\nx = 5\n1 / 0\n",
    "has_its_hook": "import sys\nsys.excepthook = lambda t, e, tb: print(t, tb.tb_lineno)\n\n1 / 0\n",
    "pickles_its_classes": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))",
    "reads_latin": "# -*- coding: latin-1 -*-\nprint(ascii('x'))\n",
    "has_no_module": "import no_such_module\n",
    "has_a_thread": "import threading\nthreading.Timer(0.1, print, ['later']).start()\n",
}


@pytest.mark.parametrize("name", SAME)
def test_scripts_run_as_with_python(name, tmp_path):
    (tmp_path / "program.py").write_text(SAME[name])
    theirs = run("program.py", "-x", "2", flambeau=False, cwd=tmp_path)
    assert run("program.py", "-x", "2", cwd=tmp_path) == theirs


@pytest.mark.parametrize("name", ["answers", "exits_3", "pickles_its_classes"])
def test_code_and_stdin_run_as_with_python(name, tmp_path):
    for arguments, text in (
        (("-c", SAME[name], "a"), None),
        (("-", "a"), SAME[name]),
        ((), SAME[name]),
    ):
        theirs = run(*arguments, flambeau=False, cwd=tmp_path, input=text or "")
        assert run(*arguments, cwd=tmp_path, input=text or "") == theirs


def test_a_package_runs_as_with_python(tmp_path):
    relative = "from . import name\nprint(name, __spec__.name)\n"
    plain = {"plain/__main__.py": ASK.replace("__spec__", "__spec__.name"), "plain/__init__.py": ""}
    write(tmp_path, {"pkg/__init__.py": "name = 'pkg'", "pkg/__main__.py": relative, **plain})
    for arguments in (
        ("-m", "pkg", "-v"),
        ("-m", "plain"),
        ("-m", "plain.__main__"),
        ("plain", "-v"),
    ):
        theirs = run(*arguments, flambeau=False, cwd=tmp_path)
        assert theirs[0] == 0 and run(*arguments, cwd=tmp_path) == theirs


def test_what_cannot_be_run(tmp_path):
    write(tmp_path, {"empty/readme": ""})
    for arguments, status, words in (
        (("nothing.py",), 2, "can't open file"),
        (("-m", "nothing"), 1, "No module named nothing"),
        (("-m", "empty"), 1, "'empty' is a package and cannot be directly executed"),
        (("empty",), 1, "can't find '__main__' module"),
        (("-x",), 2, "unknown option -x"),
        (("-c",), 2, "argument expected for the -c option"),
    ):
        code, _, errors = run(*arguments, cwd=tmp_path)
        assert code == status and words in errors and "Traceback" not in errors


def test_help(tmp_path):
    code, text, _ = run("-h", cwd=tmp_path)
    assert code == 0 and text.startswith("usage: python -m flambeau")


TORCH = """
    import sys
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    from torch import Tensor
    from torch.nn import Linear
    import flambeau

    assert torch is flambeau and nn is flambeau.nn and torch.nn is nn
    assert F is flambeau.nn.functional and sys.modules["torch.nn"] is flambeau.nn
    assert flambeau.__spec__.name == "flambeau" and nn.__spec__.name == "flambeau.nn"
    assert Tensor is flambeau.Tensor and Linear is flambeau.nn.Linear
    print(torch.tensor([1.0, 2.0]))
"""


def test_torch_means_flambeau(tmp_path):
    write(tmp_path, {"program.py": TORCH})
    assert run("program.py", cwd=tmp_path) == (0, "tensor([1., 2.])\n", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import torch.foo", "ModuleNotFoundError: torch.foo is not in flambeau (yet)"),
        ("import torch.nn.foo.bar", "ModuleNotFoundError: torch.nn.foo is not in flambeau (yet)"),
        ("from torch import foo", "cannot import name 'foo'"),
        ("import torch; torch.foo", "has no attribute 'foo'"),
    ],
)
def test_what_is_missing_is_named(line, words, tmp_path):
    write(tmp_path, {"program.py": line})
    code, _, errors = run("program.py", cwd=tmp_path)
    assert code == 1 and words in errors
    assert errors.count("program.py") == 1 and "runner.py" not in errors


WORKERS = """
    import multiprocessing, sys
    import torch

    def job(x):
        import torch.nn
        return torch.__name__, sys.modules["torch"] is torch, torch.nn.__name__, x

    if __name__ == "__main__":
        with multiprocessing.get_context({method!r}).Pool(1) as pool:
            print(*pool.map(job, [7]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="start methods of POSIX")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_see_the_alias(method, tmp_path):
    write(tmp_path, {"program.py": WORKERS.format(method=method)})
    code, text, errors = run("program.py", cwd=tmp_path)
    assert (code, text) == (0, "('flambeau', True, 'flambeau.nn', 7)\n"), errors


def test_torch_imported_before_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if f is not runner.ALIAS])
    with pytest.raises(RuntimeError, match="imported already"):
        runner.install()


def test_missing_names_owner_and_attribute():
    error = runner.missing("nn.functional.foo")
    assert isinstance(error, AttributeError) and error.name == "foo"
    assert str(error).startswith("module 'torch.nn.functional' has no attribute 'foo'")


# the finder, on packages of our own
@pytest.fixture
def alias(tmp_path, monkeypatch):
    package = tmp_path / "real_pkg"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import eager\n")
    (package / "eager.py").write_text("value = []\n")
    (package / "needy.py").write_text("import no_such_dependency\n")
    (package / "sub" / "__init__.py").write_text("")
    (package / "sub" / "deep.py").write_text("count = []\ncount.append(1)\nclass A: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    finder = runner.Alias({"false_pkg": "real_pkg", "false_sub": "real_pkg.sub"})
    sys.meta_path.insert(0, finder)
    yield finder
    sys.meta_path.remove(finder)
    for name in set(sys.modules) - before:
        if name.startswith(("real_pkg", "false_")):
            del sys.modules[name]


def test_same_objects_whichever_name_comes_first(alias):
    import false_pkg.sub.deep
    import real_pkg.eager
    import real_pkg.sub.deep

    assert false_pkg is real_pkg and false_pkg.sub.deep is real_pkg.sub.deep
    import false_pkg.eager
    import false_sub.deep

    assert false_pkg.eager is real_pkg.eager and false_sub.deep is real_pkg.sub.deep
    assert real_pkg.sub.deep.count == [1]
    assert real_pkg.sub.deep.__spec__.name == real_pkg.sub.deep.__name__ == "real_pkg.sub.deep"


def test_pickles_name_the_real_module_and_load_by_either(alias):
    import pickle

    from false_pkg.sub.deep import A

    text = pickle.dumps(A, 0)
    assert b"real_pkg.sub.deep" in text
    assert pickle.loads(text) is pickle.loads(text.replace(b"real_pkg", b"false_pkg")) is A


def test_reload_and_find_spec(alias):
    import importlib.util

    import false_pkg.sub.deep as deep

    assert importlib.reload(deep) is deep
    assert importlib.util.find_spec("false_pkg.eager") is not None


def test_a_missing_dependency_is_not_taken_for_a_missing_module(alias):
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        import false_pkg.needy
    with pytest.raises(ModuleNotFoundError, match="false_pkg.nothing is not in flambeau"):
        import false_pkg.nothing
    with pytest.raises(ModuleNotFoundError, match="not a package|not in flambeau"):
        import false_pkg.eager.nothing  # noqa: F401
