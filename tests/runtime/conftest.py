"""What the runtime's tests share: a private object cache, and a process of their own."""

import os
import subprocess
import sys
import textwrap

import pytest

from flambeau.runtime import cache, jit
from flambeau.support import config


@pytest.fixture
def cache_dir(tmp_path, monkeypatch):
    """An empty object cache, and a JIT that remembers no kernel."""
    path = tmp_path / "kernels"
    monkeypatch.setattr(config, "cache_dir", str(path))
    monkeypatch.setattr(config, "cache_size", 1 << 20)
    monkeypatch.setattr(cache, "_checked", False)
    monkeypatch.setattr(cache, "_bytes_held", -1)
    monkeypatch.setattr(jit, "_loaded", {})
    yield path
    cache._checked = False  # what the monkeypatch restores is looked up again


@pytest.fixture
def python():
    """Run a script in a fresh interpreter; its output, or an AssertionError with all it said."""

    def run(script, **environ):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
