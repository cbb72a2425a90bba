"""The processes of a run watch each other: whoever ends says why, and the others follow.

Without that they would wait in a collective for one that never comes.
"""

import contextlib
import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from segjax.errors import InputError, RunError, UserCodeError
from segjax.stopping import INTERRUPTED, TRY_AGAIN, Cause, Stops

HEARTBEAT = 40
"""Seconds without a heartbeat after which JAX takes a process for lost."""

LOST = Cause("stopped because another process of the run was lost", TRY_AGAIN)

_FOLDER = "segjax/ended/"
"""Of the keys in JAX's coordination service under which processes say how they ended."""

_LOOK = 1.0
"""Seconds between two looks at those keys."""

_SAME_FAULT = 4.0
"""Seconds in which a process may find by itself what another one has found wrong."""

_HEARD = 10.0
"""Seconds that process 0, which keeps the keys, waits at most for the others to hear why it
ends: longer than they take for a look and for what they may find themselves."""

_HEARD_STOP = 5.0
"""The same where it was asked to stop: then the others follow at once."""

_STOPPED = (TRY_AGAIN, INTERRUPTED)

_BROKEN = (
    *("Gloo", "NCCL", "nccl", "UNAVAILABLE", "DEADLINE_EXCEEDED", "Connection", "heartbeat"),
    *("coordination", "Coordination", "barrier", "Barrier"),
)
"""Words of the errors that a process gets while it waits for one that has ended."""


class Peers:
    """The other processes of a run; see `segjax.stopping.Others`.

    Args:
      client: of JAX's coordination service: `key_value_set`, `key_value_dir_get`.
      index: of this process.
      count: of the processes.
      stops: whether this process is asked to stop.
    """

    def __init__(self, client: Any, *, index: int, count: int, stops: Stops):
        self._client, self._index, self._count = client, index, count
        self._stops, self._over = stops, threading.Event()

    def watch(self) -> None:
        """Begins to look whether another process has ended."""
        threading.Thread(target=self._watch, daemon=True).start()

    def finish(self) -> None:
        """Waits until every process is done, and stops looking."""
        self._client.wait_at_barrier("segjax/done", 7 * 24 * 3600 * 1000)
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            if cause := self._ended():
                # It may be wrong here too, and then this process's own line says it best.
                if cause.status not in _STOPPED and self._over.wait(_SAME_FAULT):
                    return
                self._over.set()
                self._stops.follow(cause)

    def _ended(self) -> Cause | None:
        """Returns why another process ended, if one did."""
        try:
            found = self._client.key_value_dir_get(_FOLDER)
        except Exception:
            return None  # The service is gone, and JAX says so to `lost`.
        for key, value in found:
            index, (status, line) = int(key.rpartition("/")[2]), json.loads(value)
            if index != self._index:
                # What is saved is said by this process, in the rest of its line.
                why = line.partition(":")[0] if status in _STOPPED else line.rstrip(".")
                return Cause(f"process {index} ended ({why})", status)
        return None

    def explain(self, error: BaseException) -> Cause | None:
        """Returns why another process ended, if that is what `error` comes from."""
        if not _is_broken(error):
            return None
        for _ in range(6):
            if cause := self._ended():
                return cause
            time.sleep(0.5)
        return LOST

    def part(self, status: int, line: str) -> None:
        """Tells the others why this process ends, and ends it.

        JAX's own end would wait for them, and they may wait for this process. Process 0 keeps
        the coordination service, so it gives the others a moment to hear why.
        """
        self._over.set()
        with contextlib.suppress(Exception):
            value = json.dumps([status, line])
            self._client.key_value_set(f"{_FOLDER}{self._index}", value, True)
            # One that was lost says nothing any more.
            patience = _HEARD_STOP if status in _STOPPED else _HEARD
            until = time.monotonic() + (1 if line.startswith(LOST.kind) else patience)
            while self._index == 0 and time.monotonic() < until:
                if len(self._client.key_value_dir_get(_FOLDER)) >= self._count:
                    break
                time.sleep(0.1)
        os._exit(status)


def _is_broken(error: BaseException | None) -> bool:
    """Returns whether an error, or what it comes from, is that of a broken connection.

    An error of segjax or of the operating system is not: it may hold such a word in the name
    of a file, or come from a server of data.
    """
    while error is not None:
        own = isinstance(error, (InputError, RunError, UserCodeError, OSError))
        if not own and any(word in str(error) for word in _BROKEN):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def lost_is_heard(lost: Callable[[], None]) -> Iterator[None]:
    """Lets `jax.distributed.initialize` in the block call `lost` where it ends the process.

    JAX ends a process with a C++ stack when the coordination service says that another one is
    lost, or is itself gone. jaxlib can take a callback instead, but jax does not pass one, and
    up to 0.12 jaxlib cannot hand its status over to Python: `std::bad_cast` is thrown, which
    C++ terminates for. So the callback is passed, and this exception is heard as well.
    """
    from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

    made = getattr(_jax, "get_distributed_runtime_client", None)
    if made is None or not _hear_bad_cast(lost):
        yield
        return

    def client(*arguments, **options):
        return made(*arguments, **{**options, "missed_heartbeat_callback": lambda *_: lost()})

    _jax.get_distributed_runtime_client = client
    try:
        yield
    finally:
        _jax.get_distributed_runtime_client = made


_kept: list[Any] = []
"""Callbacks that C++ holds, which Python must not collect."""


def _hear_bad_cast(lost: Callable[[], None]) -> bool:
    """Calls `lost` where C++ terminates for a `std::bad_cast`; returns whether it can."""
    function = ctypes.CFUNCTYPE(None)
    try:
        name = "libc++.1.dylib" if sys.platform == "darwin" else "libstdc++.so.6"
        library = ctypes.CDLL(name)
        set_terminate = library._ZSt13set_terminatePFvvE
        thrown = library.__cxa_current_exception_type
    except (OSError, AttributeError):
        return False
    set_terminate.restype, set_terminate.argtypes = ctypes.c_void_p, [function]
    thrown.restype = ctypes.c_void_p

    def terminate() -> None:
        # A std::type_info holds the address of its virtual table, and then its name.
        pointers = ctypes.POINTER(ctypes.c_char_p)
        kind = thrown()
        if kind and ctypes.cast(kind, pointers)[1] == b"St8bad_cast":
            lost()
        elif former:
            ctypes.cast(former, function)()

    _kept.append(function(terminate))
    former = set_terminate(_kept[-1])
    return True
