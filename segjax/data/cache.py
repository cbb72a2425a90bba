"""The cache folder, and how a folder gets into it: complete or not at all."""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from segjax.errors import InputError

VERSION = "2.1.0"
"""Part of each prepared folder's key: raise it when the same files are written differently."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
_DISK_REASONS = [os.strerror(number) for number in _FULL]
"""What the operating system calls the ways in which a disk takes no more."""


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
        raise _cannot_be_written(root, error.strerror or str(error)) from error
    except RuntimeError as error:
        # ArrayRecord says it in a line of its own, without an errno.
        reasons = [reason for reason in _DISK_REASONS if reason in str(error)]
        if not reasons:
            raise
        raise _cannot_be_written(root, reasons[0]) from error
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)


def _cannot_be_written(root: pathlib.Path, reason: str) -> InputError:
    return InputError(
        f"The cache {root} cannot be written ({reason}): make room there, "
        "or set SEGJAX_CACHE to another folder."
    )


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
