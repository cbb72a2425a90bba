"""Compiled programs kept on disk: the same command starts faster the next time.

JAX finds a program by its key, which covers the computation, the compiler's flags and the
versions. segjax adds the folder and the files, because JAX's own files carry no checksum. With
the library zstandard installed, a flipped bit in one crashed the process (8 of 24 flips) or
changed its results (1 of 24), without a message.
"""

import contextlib
import hashlib
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
from jax._src import compilation_cache  # Its public part chooses the folder, not the files.
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from segjax.atomic import write_bytes
from segjax.parallel.machine import machine_digest

SUFFIX = ".program"
MOST_BYTES = 2 * 2**30
"""Of one folder; `JAX_COMPILATION_CACHE_MAX_SIZE` says otherwise."""

SHORTEST = 0.3
"""Seconds; `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS` says otherwise. What compiles faster is
compiled anew."""

_DIGEST = hashlib.sha256().digest_size


def keep_programs(root: Callable[[], pathlib.Path]) -> None:
    """Keeps what this process compiles from now on in a folder of the cache that `root` names.

    Call it after `cluster.initialize`. It changes nothing where the user has chosen:
    `JAX_COMPILATION_CACHE_DIR` names JAX's own cache, and `JAX_ENABLE_COMPILATION_CACHE=false`
    turns it off. Nor where the folder cannot be written or belongs to another user.

    Nor in a cluster: JAX lets process 0 alone write, so on CPUs it would load its programs and
    then wait for the others to compile theirs, longer than the connection lasts. And XLA tunes
    GPU programs on all hosts together: those that compile would wait for those that load.
    """
    is_chosen = _set("compilation_cache_dir") or not _set("enable_compilation_cache")
    if is_chosen or jax.distributed.is_initialized():
        return
    if (folder := _own_folder(root)) is None:
        return
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)
    compilation_cache.get_file_cache = lambda path: (Programs(pathlib.Path(path)), path)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    reset_cache()  # JAX looks once, and may have compiled something by now.


def _set(name: str) -> Any:
    """Returns the value of one of JAX's settings, which its class declares only as it runs."""
    return getattr(jax.config, f"jax_{name}")


def _own_folder(root: Callable[[], pathlib.Path]) -> pathlib.Path | None:
    """Returns the folder of this user and this kind of machine, made if need be.

    None if there is none: programs are code, so nobody else may be able to write them.
    """
    try:
        folder = root() / f"programs-{machine_digest()}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
    except (OSError, RuntimeError):  # The latter: a user without a home.
        return None
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
        return None
    return folder if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else None


class Programs:
    """A folder of compiled programs, as JAX's cache asks for them: by key, as bytes.

    Each file begins with the checksum of key and contents, and is written as a whole. A file
    that is damaged is removed; one that cannot be read or written is as good as none.
    """

    def __init__(self, folder: pathlib.Path):
        self._path = folder
        limit = _set("compilation_cache_max_size")
        self._most = MOST_BYTES if limit < 0 else limit

    def get(self, key: str) -> bytes | None:
        """Returns a program, or None if there is none, or none that is as it was written."""
        path = self._file(key)
        try:
            contents = path.read_bytes()
            program = contents[_DIGEST:]
            if contents[:_DIGEST] == _digest(key, program):
                os.utime(path)  # The longest unused go first.
                return program
            path.unlink()
        except OSError:
            pass
        return None

    def put(self, key: str, value: bytes) -> None:
        """Writes a program, and removes those unused for longest if the folder is too large."""
        if len(value) + _DIGEST > self._most:
            return
        with contextlib.suppress(OSError):
            self._make_room(len(value) + _DIGEST)
            write_bytes(self._file(key), _digest(key, value) + value)

    def _file(self, key: str) -> pathlib.Path:
        return self._path / f"{key}{SUFFIX}"

    def _make_room(self, needed: int) -> None:
        files, now = [], time.time()
        for entry in os.scandir(self._path):
            with contextlib.suppress(OSError):  # Another process may remove it first.
                found = entry.stat(follow_symlinks=False)
                if entry.name.endswith(SUFFIX):
                    files.append((found.st_mtime_ns, found.st_size, entry.path))
                elif entry.name.endswith(".partial") and now - found.st_mtime > 86_400:
                    os.unlink(entry.path)  # What a killed process left.
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total + needed <= self._most:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size


def _digest(key: str, program: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + program).digest()
