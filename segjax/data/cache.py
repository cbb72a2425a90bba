"""The cache folder, and how a folder gets into it: complete or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from segjax.errors import InputError

VERSION = "2.1.0"
"""Part of each prepared folder's key: raise it when the same files are written differently."""


def cache_root() -> pathlib.Path:
    """Returns `SEGJAX_CACHE` if set, else `segjax` in the user's cache folder.

    That is `XDG_CACHE_HOME`, or `~/.cache`.
    """
    if root := os.environ.get("SEGJAX_CACHE"):
        return pathlib.Path(root).expanduser().resolve()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(home).expanduser().resolve() / "segjax"


@contextlib.contextmanager
def partial_folder(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a new folder in `root` to fill and rename; deletes what is left of it at the end.

    Raises:
      InputError: `root` cannot be written, or its disk is full.
    """
    partial = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        _sweep(root)
        partial = tempfile.mkdtemp(suffix=".partial", dir=root)
        yield pathlib.Path(partial)
    except OSError as error:
        raise InputError(
            f"The cache {root} cannot be written ({error.strerror or error}): make room there, "
            "or set SEGJAX_CACHE to another folder."
        ) from error
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)


def _sweep(root: pathlib.Path) -> None:
    """Removes what killed preparations left behind a day ago or earlier."""
    for left in root.glob("*.partial"):
        if time.time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)


def move_into_place(partial: pathlib.Path, folder: pathlib.Path) -> None:
    """Renames `partial` to `folder`, unless another process has done the same work faster."""
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.is_dir():
            raise
