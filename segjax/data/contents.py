"""SHA-256 of files, remembered: a file is read again only if it may have changed.

A file counts as unchanged if its size, time of modification, time of change (ctime, which no
program can set back) and inode are all what they were when it was read. There is one exception:
if a time was younger than `SETTLED` at that moment, the file is read again, since two writes
within one tick of the file system's clock look alike.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from segjax.atomic import write_text

SETTLED = 2_000_000_000
"""Nanoseconds after which a file's times tell a later write from the last one (FAT has 2 s)."""

Stamp = tuple[int, int, int, int]
"""Size, mtime and ctime in nanoseconds, inode."""


def stamps(paths: Iterable[pathlib.Path]) -> dict[pathlib.Path, Stamp | None]:
    """Returns each file's stamp, to be taken before it is read; None where it is too young."""
    now = time.time_ns()
    return {path: _stamp(path, now) for path in paths}


def _stamp(path: pathlib.Path, now: int) -> Stamp | None:
    status = path.stat()
    if max(status.st_mtime_ns, status.st_ctime_ns) > now - SETTLED:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def digest(data: bytes) -> str:
    """Returns SHA-256 of a file's contents, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digests(paths: Iterable[pathlib.Path]) -> dict[pathlib.Path, str]:
    """Returns the digest of each file; all cores read."""

    def read(path: pathlib.Path) -> str:
        """Returns the digest of a file."""
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    paths = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(read, paths), strict=True))


def remembered(
    memo: pathlib.Path, now: Mapping[pathlib.Path, Stamp | None]
) -> dict[pathlib.Path, str] | None:
    """Returns digests of the files whose stamps are in the memo; None if there is no memo."""
    try:
        lines = json.loads(memo.read_text(encoding="utf-8"))
        return {
            path: lines[str(path)][1]
            for path, stamp in now.items()
            if stamp is not None and lines[str(path)][0] == [*stamp]
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def remember(
    memo: pathlib.Path,
    before: Mapping[pathlib.Path, Stamp | None],
    found: Mapping[pathlib.Path, str],
) -> None:
    """Writes the memo, whole or not at all; nothing if the cache is read-only."""
    lines = {str(path): [stamp, found[path]] for path, stamp in before.items()}
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_text(memo, json.dumps(lines))
