"""Run PyTorch programs as they are: `torch` means flambeau, and the rest is as with python itself.

`install` makes the names mean flambeau's modules; `main` is `python -m flambeau`. Imports nothing of
flambeau, so that any module may use `missing`.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import types
import zipfile
from collections.abc import Sequence

USAGE = """\
usage: python -m flambeau [-h] [script.py | directory | -c code | -m module | -] [argument ...]

Runs a Python program in which `torch` means flambeau (and `torchvision` flambeau.vision).

  script.py     a file, or a directory or zip file with a __main__.py
  -c code       the program as text
  -m module     a module or package, found as python finds it
  -             the program from standard input
  -h, --help    this text
"""
NAMES = {"torch": "flambeau", "torchvision": "flambeau.vision"}


def missing(name: str, module: types.ModuleType | None = None) -> AttributeError:
    """The exception to raise for a name of PyTorch's that is not there: missing("nn.Foo")."""
    owner, _, attribute = f"torch.{name}".rpartition(".")
    return AttributeError(
        f"module '{owner}' has no attribute '{attribute}': it is not in flambeau (yet)",
        name=attribute,
        obj=module,
    )


class Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Resolves the modules of one package to those of another: the same objects, not copies."""

    def __init__(self, names: dict[str, str]):
        self.names = names

    def real_name(self, name: str) -> str | None:
        """The name under which a module really lives; None if it is no business of ours."""
        first, dot, rest = name.partition(".")
        return self.names[first] + dot + rest if first in self.names else None

    def find_spec(self, fullname, path=None, target=None):
        real = self.real_name(fullname)
        if real is None:
            return None
        try:
            found = importlib.util.find_spec(real)
        except ModuleNotFoundError as error:
            if not (error.name and (real + ".").startswith(error.name + ".")):
                raise  # a dependency of ours is missing, not the module asked for
            found = None
        if found is None:
            raise ModuleNotFoundError(
                f"{fullname} is not in flambeau (yet): there is no module {real}", name=fullname
            )
        is_package = found.submodule_search_locations is not None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=is_package)

    def create_module(self, spec):
        real = self.real_name(spec.name)
        assert real is not None
        module = importlib.import_module(real)
        # The import system writes the alias's spec over the module's own; exec_module puts it back.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # Runs once per alias name: module.__spec__ is the alias's spec at this moment.
        alias, module.__spec__ = module.__spec__, module.__spec__.loader_state
        if alias.name == "torch":
            importlib.import_module(f"{module.__name__}.torch_version").tell(module)


ALIAS = Alias(NAMES)


def install() -> None:
    """From now on `import torch` gives flambeau, in this process and those it starts.

    Errors: RuntimeError if PyTorch itself has been imported already.
    """
    if ALIAS in sys.meta_path:
        return
    torch = sys.modules.get("torch")
    if torch is not None and torch.__name__ != "flambeau":
        raise RuntimeError(
            "flambeau.runner.install: torch is imported already; call this before the first import"
        )
    sys.meta_path.insert(0, ALIAS)
    _reach_spawned_processes()


class _InstallInChild:
    """Unpickled in a process started by spawn or forkserver, it installs the alias there."""

    def __reduce__(self):
        # The child has not been given its parent's sys.path yet at that moment.
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        source = (
            "import sys, importlib.util as u\n"
            f"if u.find_spec('flambeau') is None: sys.path.append({root!r})\n"
            "import flambeau.runner as r; r.install()"
        )
        return exec, (source, {})


def _reach_spawned_processes() -> None:
    """Send the alias along with what multiprocessing tells a new process before it runs `__main__`."""
    import multiprocessing
    from multiprocessing import spawn

    plain = spawn.get_preparation_data

    def get_preparation_data(name):
        return {**plain(name), "flambeau": _InstallInChild()}

    spawn.get_preparation_data = get_preparation_data
    if "forkserver" in multiprocessing.get_all_start_methods():
        # The server would import __main__ before it is told of the alias.
        multiprocessing.set_forkserver_preload([])


# running ------------------------------------------------------------------------------------------
def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m flambeau arguments`: returns the exit status, or raises the program's SystemExit."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    fault = _fault(arguments)
    if fault:
        print(f"python -m flambeau: {fault}\n{USAGE}", end="", file=sys.stderr)
        return 2
    install()
    atexit.register(_finish)  # before the program's own handlers, so that it runs after them
    try:
        return _run(arguments)
    except SystemExit:
        raise
    except BaseException as error:
        return _report(error)


def _fault(arguments: list[str]) -> str:
    """What is wrong with the command line, or nothing."""
    if not arguments:
        return ""
    option = arguments[0]
    if option in ("-c", "-m"):
        return "" if len(arguments) > 1 else f"argument expected for the {option} option"
    return f"unknown option {option}" if option.startswith("-") and option != "-" else ""


def _run(arguments: list[str]) -> int:
    if not arguments and sys.stdin.isatty():
        return _converse()
    if arguments[:1] == ["-c"]:
        _set_first_path("")
        return _execute(arguments[1], "<string>", ["-c", *arguments[2:]])
    if arguments[:1] == ["-m"]:
        return _run_module(arguments[1], arguments[2:])
    if not arguments or arguments[0] == "-":
        _set_first_path("")
        return _execute(sys.stdin.buffer.read(), "<stdin>", arguments or [""], __file__="<stdin>")
    if os.path.isdir(arguments[0]) or zipfile.is_zipfile(arguments[0]):
        return _run_container(arguments)
    return _run_file(arguments)


def _run_file(arguments: list[str]) -> int:
    path = os.path.abspath(arguments[0])
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        print(f"python -m flambeau: can't open file {path!r}: {reason}", file=sys.stderr)
        return 2
    _set_first_path(os.path.dirname(os.path.realpath(path)))
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    return _execute(source, path, arguments, __file__=path, __loader__=loader, __cached__=None)


def _run_container(arguments: list[str]) -> int:
    """A directory or zip file: its __main__.py."""
    path = os.path.abspath(arguments[0])
    _set_first_path(path)
    spec = importlib.machinery.PathFinder.find_spec("__main__", [path])
    if spec is None:
        print(f"python -m flambeau: can't find '__main__' module in {path!r}", file=sys.stderr)
        return 1
    return _run_spec(spec, arguments)


def _run_module(name: str, arguments: list[str]) -> int:
    _set_first_path(os.getcwd())
    sys.argv = ["-m", *arguments]
    name = ALIAS.real_name(name) or name
    spec = _find(name)
    if spec is not None and spec.submodule_search_locations is not None:
        name += ".__main__"
        spec = _find(name)
        if spec is None:
            name += (
                f"; {name.removesuffix('.__main__')!r} is a package and cannot be directly executed"
            )
    if spec is None or spec.loader is None:
        print(f"python -m flambeau: No module named {name}", file=sys.stderr)
        return 1
    return _run_spec(spec, [spec.origin or "-m", *arguments])


def _find(name: str):
    """The spec of a module; None if it, or a package above it, does not exist."""
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name and (name + ".").startswith(error.name + "."):
            return None
        raise


def _run_spec(spec, argv: list[str]) -> int:
    """Run a module that was found as `__main__`."""
    return _execute(
        spec.loader.get_code(spec.name), spec.origin, argv, __file__=spec.origin,
        __loader__=spec.loader, __cached__=spec.cached, __spec__=spec, __package__=spec.parent,
    )  # fmt: skip


def _execute(program, filename: str, argv: list[str], **attributes) -> int:
    """Run a program (text, bytes or code) in a new `__main__` module."""
    sys.argv = list(argv)
    module = _new_main(**attributes)
    if not isinstance(program, types.CodeType):
        program = compile(program, filename, "exec", dont_inherit=True)
    exec(program, module.__dict__)
    return 0


def _new_main(**attributes) -> types.ModuleType:
    """A fresh `__main__`, so that pickles and worker processes find the program's names there."""
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=__builtins__, **attributes)
    _kept.append(sys.modules["__main__"])
    sys.modules["__main__"] = module
    return module


def _converse() -> int:
    """A prompt, as python without arguments."""
    import code

    module = _new_main()
    code.interact(banner="Python with torch meaning flambeau", local=module.__dict__, exitmsg="")
    return 0


def _set_first_path(directory: str) -> None:
    """Put the program's directory where python puts it (nowhere under -P)."""
    if not sys.flags.safe_path:
        sys.path[0] = directory


# ending -------------------------------------------------------------------------------------------
_kept: list[types.ModuleType] = []  # a module's globals are cleared when it goes
_interrupted: list[bool] = []


def _report(error: BaseException) -> int:
    """Print a traceback that starts in the program, by the program's own excepthook."""
    trace = _without_runner(error.__traceback__)
    if isinstance(error, SyntaxError) and trace is not None and _is_import_system(trace):
        trace = None
    error = error.with_traceback(trace)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    sys.excepthook(type(error), error, trace)
    if isinstance(error, KeyboardInterrupt):
        _interrupted.append(True)
        return 130
    return 1


def _without_runner(trace: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback without this file's frames, at its start or on the way to an alias."""
    if trace is None:
        return None
    rest = _without_runner(trace.tb_next)
    if trace.tb_frame.f_code.co_filename == __file__:
        return rest
    trace.tb_next = rest
    return trace


def _is_import_system(trace: types.TracebackType) -> bool:
    """True if no frame of the program itself is in the traceback (get_code failed to compile it)."""
    step: types.TracebackType | None = trace
    while step is not None:
        if not step.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
            return False
        step = step.tb_next
    return True


def _finish() -> None:
    """End by the signal that ended the program, so that a shell sees what it would have seen."""
    if _interrupted and os.name == "posix":
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
