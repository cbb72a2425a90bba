"""Files and folders that are complete or not there: written beside their place, then renamed.

The one way in which segjax writes a file that someone may read while it is written, or after
the process was killed.
"""

import contextlib
import errno
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator


class WriteError(OSError):
    """A file or folder that cannot be written; `filename` is its own, not the partial one's."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a path for a file or a folder; it is renamed to `path` when the block ends well.

    Where the block raises, an earlier file or folder of that name stays as it was.

    Raises:
      WriteError: it cannot be written.
      OSError: the block raised it for another file, or wrote none.
    """
    path = pathlib.Path(path)
    partial = _beside(path)
    try:
        yield partial
        _rename(partial, path)
    except OSError as error:
        if not _is_of(error, partial):
            raise
        raise WriteError(error.errno, error.strerror, str(path)) from error
    finally:
        _remove(partial)


def _is_of(error: OSError, partial: pathlib.Path) -> bool:
    """Returns whether an error is one of writing `partial`; a full disk often names no file."""
    named = str(error.filename or "").startswith(str(partial))
    wrote = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
    missing = isinstance(error, FileNotFoundError) and partial.parent.is_dir()
    return (named or wrote) and not missing


def _beside(path: pathlib.Path) -> pathlib.Path:
    # Not the process's number alone: containers that share a disk may have the same.
    return path.with_name(f".{path.name}.{secrets.token_hex(3)}.partial")


def _rename(partial: pathlib.Path, path: pathlib.Path) -> None:
    if not (partial.is_dir() and path.is_dir()):
        os.replace(partial, path)
        return
    # A folder takes the place of an empty one only, so the earlier one is moved away.
    earlier = _beside(path)
    os.replace(path, earlier)
    os.replace(partial, path)
    shutil.rmtree(earlier)


def _remove(partial: pathlib.Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial)
        return
    with contextlib.suppress(OSError):  # A folder that cannot be written has nothing partial.
        partial.unlink()


def write_bytes(path: str | os.PathLike, contents: bytes) -> None:
    """Writes a complete file or none.

    Raises:
      WriteError: it cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(contents)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a complete UTF-8 file or none; bytes of names that are not text as escapes.

    Raises:
      WriteError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))
