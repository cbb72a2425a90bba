"""Files that are complete or not there: written beside their place, then renamed.

The one way in which segjax writes a file that someone may read while it is written, or after
the process was killed.
"""

import contextlib
import os
import pathlib
import secrets
from collections.abc import Iterator


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a path to write to; it is renamed to `path` when the block ends well.

    Where the block raises, an earlier file of that name stays as it was.

    Raises:
      OSError: the folder cannot be written, or the file was not.
    """
    path = pathlib.Path(path)
    # Not the process's number alone: containers that share a disk may have the same.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(3)}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, contents: bytes) -> None:
    """Writes a complete file or none.

    Raises:
      OSError: it cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(contents)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a complete UTF-8 file or none; bytes of names that are not text as escapes.

    Raises:
      OSError: it cannot be written.
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))
