import os
import sys
import warnings

import pytest

from flambeau.runtime import cache, jit
from flambeau.support import config

from .kernels_for_tests import constant

KEY = cache.key("text", "machine")
posix = pytest.mark.skipif(os.name != "posix", reason="ownership is a matter of POSIX")


def only_file(directory):
    (path,) = directory.iterdir()
    return path


def test_round_trip(cache_dir):
    assert cache.read(KEY) is None
    cache.write(KEY, b"code")
    assert cache.read(KEY) == b"code"
    cache.drop(KEY)
    assert cache.read(KEY) is None and not list(cache_dir.iterdir())


def test_key_depends_on_text_and_machine():
    keys = {cache.key("a", "b"), cache.key("ab", ""), cache.key("", "ab"), cache.key("a", "c")}
    assert len(keys) == 4


@pytest.mark.parametrize("damage", ["truncate", "flip", "extend", "empty", "header"])
def test_damage_is_noticed_and_removed(cache_dir, damage):
    cache.write(KEY, bytes(1000))
    path = only_file(cache_dir)
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        data = data[:-1]
    elif damage == "flip":
        data[-1] ^= 1
    elif damage == "extend":
        data += b"x"
    elif damage == "empty":
        data = b""
    else:
        data[0] ^= 1
    path.write_bytes(data)
    assert cache.read(KEY) is None
    assert not path.exists()


def test_an_entry_does_not_pass_for_another(cache_dir):
    cache.write(KEY, b"code")
    other = cache.key("other", "machine")
    path = only_file(cache_dir)
    path.rename(path.with_name(path.name.replace(KEY, other)))
    assert cache.read(other) is None


def test_damaged_kernel_is_built_again(cache_dir):
    jit.compile(constant(3), "constant")
    path = only_file(cache_dir)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    jit._loaded.clear()
    before = jit.stats.compiled
    jit.compile(constant(3), "constant")
    assert jit.stats.compiled == before + 1 and path.read_bytes() == whole


def test_object_that_does_not_link_is_built_again(cache_dir):
    jit.compile(constant(4), "constant")
    key = only_file(cache_dir).name.split(".")[0]
    cache.write(key, b"not an object file")
    jit._loaded.clear()
    before = jit.stats.compiled
    jit.compile(constant(4), "constant")
    assert jit.stats.compiled == before + 1


def test_bound_evicts_what_was_unused_for_longest(cache_dir, monkeypatch):
    monkeypatch.setattr(config, "cache_size", 10_000)
    keys = [cache.key(str(n), "") for n in range(12)]
    for age, key in enumerate(keys):
        cache.write(key, bytes(1000))
        path = cache_dir / f"{key}.fobj"
        if path.exists():
            os.utime(path, (age, age))
    held = [key for key in keys if cache.read(key) is not None]
    assert sum(path.stat().st_size for path in cache_dir.iterdir()) <= 10_000
    assert held == keys[-len(held) :] and len(held) >= 6


def test_reading_renews_an_old_entry(cache_dir):
    cache.write(KEY, b"code")
    path = only_file(cache_dir)
    os.utime(path, (0, 0))
    cache.read(KEY)
    assert path.stat().st_mtime > 0


def test_size_zero_means_no_disk(cache_dir, monkeypatch):
    monkeypatch.setattr(config, "cache_size", 0)
    cache.write(KEY, b"code")
    assert cache.directory() is None and cache.read(KEY) is None and not cache_dir.exists()


def test_directory_that_cannot_be_made_is_no_error(cache_dir, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(config, "cache_dir", str(tmp_path / "file" / "below"))
    cache.write(KEY, b"code")
    assert cache.directory() is None and cache.read(KEY) is None
    jit.compile(constant(6), "constant")


@posix
def test_unwritable_directory_is_no_error(cache_dir, monkeypatch):
    assert cache.directory() is not None

    def refuse(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(cache, "_open_private", refuse)
    cache.write(KEY, b"code")
    assert cache.read(KEY) is None


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_directory_others_may_write_is_refused(cache_dir, mode):
    cache_dir.mkdir()
    cache_dir.chmod(mode)
    with pytest.warns(RuntimeWarning, match="FLAMBEAU_CACHE_DIR"):
        assert cache.directory() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.write(KEY, b"code")  # said once
    assert not list(cache_dir.iterdir())


@posix
def test_directory_is_private(cache_dir):
    cache.write(KEY, b"code")
    assert cache_dir.stat().st_mode & 0o777 == 0o700
    assert only_file(cache_dir).stat().st_mode & 0o077 == 0


@posix
def test_links_are_not_followed(cache_dir, tmp_path):
    cache.write(KEY, b"code")
    path = only_file(cache_dir)
    moved = path.rename(tmp_path / "elsewhere")
    path.symlink_to(moved)
    assert cache.read(KEY) is None


def test_concurrent_processes(tmp_path, python):
    script = """
        import os
        from flambeau.runtime import cache
        keys = [cache.key(str(n), "") for n in range(20)]
        children = []
        for _ in range(4):
            pid = os.fork()
            if pid == 0:
                for _ in range(10):
                    for key in keys:
                        cache.write(key, key.encode() * 50)
                        assert cache.read(key) in (None, key.encode() * 50)
                os._exit(0)
            children.append(pid)
        assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
        print(len(os.listdir(cache.directory())))
    """
    if not hasattr(os, "fork") or sys.platform == "darwin":
        pytest.skip("needs fork")
    out = python(script, FLAMBEAU_CACHE_DIR=str(tmp_path / "c"), FLAMBEAU_CACHE_SIZE="30K")
    assert 0 < int(out) <= 20
