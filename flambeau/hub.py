"""Downloading weights: files come from the network, are checked against the hash in their name, and are read as data."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import urllib.parse
import urllib.request

from flambeau.serialization import load as _load

__all__ = ["download_url_to_file", "get_dir", "load_state_dict_from_url", "set_dir"]

HASH = re.compile(r"-([a-f0-9]{8,})\.")
_dir: str | None = None


def get_dir() -> str:
    """Where downloads are kept: set_dir's, $TORCH_HOME/hub, or ~/.cache/torch/hub.

    Source:   torch.hub.get_dir
    """
    home = os.environ.get("TORCH_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "torch"
    )
    return _dir or os.path.join(home, "hub")


def set_dir(d) -> None:
    """Keep downloads in the directory d."""
    global _dir
    _dir = os.path.expanduser(os.fspath(d))


def download_url_to_file(url: str, dst, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Download url to the file dst, which appears whole or not at all.

    Raises:   RuntimeError if the SHA-256 does not begin with hash_prefix; urllib's errors if there is no answer
    Source:   torch.hub.download_url_to_file
    """
    from flambeau.utils.training import progress as bar

    dst = os.path.expanduser(os.fspath(dst))
    digest = hashlib.sha256()
    request = urllib.request.Request(url, headers={"User-Agent": "flambeau.hub"})
    fd, part = tempfile.mkstemp(dir=os.path.dirname(dst) or ".", suffix=".partial")
    try:
        with os.fdopen(fd, "wb") as out, urllib.request.urlopen(request) as answer:
            pieces = iter(lambda: answer.read(1 << 20), b"")
            for piece in bar(pieces, desc=os.path.basename(dst), unit="MiB") if progress else pieces:
                out.write(piece)
                digest.update(piece)
        if hash_prefix is not None and not digest.hexdigest().startswith(hash_prefix):
            raise RuntimeError(f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}") of {url}')
        os.replace(part, dst)
    finally:
        if os.path.exists(part):
            os.remove(part)


def load_state_dict_from_url(url: str, model_dir=None, map_location=None, progress: bool = True, check_hash: bool = False,
                             file_name: str | None = None, weights_only: bool = True):  # fmt: skip
    """The state dict at url, downloaded once into model_dir (by default get_dir()/checkpoints).

    check_hash: the file's name holds the first digits of its SHA-256, as in resnet18-f37072fd.pth.
    Source:   torch.hub.load_state_dict_from_url
    """
    model_dir = model_dir or os.path.join(get_dir(), "checkpoints")
    os.makedirs(model_dir, exist_ok=True)
    name = file_name or os.path.basename(urllib.parse.urlparse(url).path)
    path = os.path.join(model_dir, name)
    if not os.path.exists(path):
        found = HASH.search(name) if check_hash else None
        download_url_to_file(url, path, found.group(1) if found else None, progress)
    return _load(path, map_location=map_location, weights_only=weights_only)


def __getattr__(name: str):
    raise AttributeError(
        f"module 'flambeau.hub' has no attribute {name!r}: repositories' code is not fetched and run; "
        "load_state_dict_from_url fetches weights"
    )
