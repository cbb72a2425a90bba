"""The lock of a workdir: one run at a time writes into it.

The lock is the operating system's (`flock` on `<workdir>/.lock`), so it ends with its process,
also after SIGKILL. Not every file system carries it from host to host (Lustre mounted with
`localflock`), and some have none. So the file also names its process, and its time of
modification is renewed every few seconds: a run that finds the name of another machine or
container there first watches whether that time still moves.
"""

import contextlib
import errno
import json
import os
import pathlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from segjax.announce import announced
from segjax.data.names import printable
from segjax.errors import InputError, TryAgain
from segjax.parallel.cluster import is_main
from segjax.parallel.sums import gather_bytes

try:
    import fcntl
except ImportError:  # Windows: there the time of modification alone decides.
    fcntl = None

LOCK = ".lock"
BEAT = 5.0
"""Seconds between two renewals of the lock file's time."""

LOST = 30.0
"""Seconds without a renewal after which another host's process counts as dead."""

_HELD = "\0"
"""What begins a refusal that the processes of a run tell each other, if a lock is held."""

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class InUseError(TryAgain):
    """Another process holds the workdir, for now: a sweep leaves the run to it."""


class Holder(NamedTuple):
    """The process that a lock file names.

    Attributes:
      pid: its number on its machine, or in its container.
      host: the host's name; a pod keeps it when it moves to another machine.
      since: when it took the lock, in seconds since 1970.
      machine: which machine and container it is, see `this_machine`; "" if not known.
    """

    pid: int
    host: str
    since: float
    machine: str = ""

    def is_here(self) -> bool:
        """Returns whether it runs on this machine and in this container."""
        return self.machine != "" and self.machine == this_machine()

    def words(self) -> str:
        """Returns "process 1234 on host h since 10:15", and the date unless it is today's."""
        then, now = time.localtime(self.since), time.localtime()
        form = "%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M"
        return f"process {self.pid} on host {self.host} since {time.strftime(form, then)}"

    def stop(self) -> str:
        """Returns the command that stops it, and where to type it."""
        there = "" if self.is_here() else f" on {self.host}"
        return f"kill {self.pid}{there}"


def this_machine() -> str:
    """Returns what tells this machine and container from all others; "" if not known.

    The host's name alone does not: a pod that is started again on another node keeps it. Linux
    has a number for each time that a machine was started, and one for each set of process
    numbers, which containers have of their own.
    """
    host = socket.gethostname()
    if sys.platform != "linux":
        return host
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return f"{host} {boot.strip()} {os.stat('/proc/self/ns/pid').st_ino}"
    except (OSError, ValueError):
        return ""


@contextlib.contextmanager
def locked(workdir: pathlib.Path) -> Iterator[None]:
    """Holds a workdir for the block: the main process takes the lock for all of the run.

    Raises:
      InUseError: another run holds it; the message names its process.
      InputError: the folder cannot be written. Every process of the run raises either.
    """
    held, refusal = None, ""
    if is_main():
        try:
            held = _Held(workdir)
        except InUseError as error:
            refusal = f"{_HELD}{error}"
        except InputError as error:
            refusal = str(error)
    # The other processes must not wait for one that has given up.
    told = [text.decode() for text in gather_bytes(refusal.encode)]
    if refusal := next((text for text in [refusal, *told] if text), ""):
        if refusal.startswith(_HELD):
            raise InUseError(refusal.removeprefix(_HELD))
        raise InputError(refusal)
    try:
        yield
    finally:
        if held:
            held.release()


class _Held:
    """A lock that this process has taken."""

    def __init__(self, workdir: pathlib.Path):
        self._path, self._made = workdir / LOCK, _missing(workdir)
        self._pid, self._over = os.getpid(), threading.Event()
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            self._fd, native = _open_locked(self._path)
            try:
                _check_other_hosts(self._path, native=native)
                self._sign(native)
            except BaseException:
                os.close(self._fd)
                raise
        except PermissionError as error:
            raise _unwritable(workdir, error) from error
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            raise _unwritable(workdir, error) from error
        _held.add(self)
        threading.Thread(target=self._beat, daemon=True).start()

    def _sign(self, native: bool) -> None:
        holder = Holder(self._pid, socket.gethostname(), time.time(), this_machine())
        mine = json.dumps(holder._asdict())
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, mine.encode(), 0)
        os.fsync(self._fd)
        if not native:  # Two may have found the file empty; the later writer has it.
            time.sleep(1)
            if self._path.read_text(encoding="utf-8") != mine:
                raise _in_use(self._path)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def leave_to_parent(self) -> None:
        """Gives up this forked process's share of the lock, which would outlive the parent."""
        os.close(self._fd)

    def release(self) -> None:
        """Removes the file, and the folder that was made for it if it is still empty."""
        if self._pid != os.getpid():
            return
        _held.discard(self)
        self._over.set()
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._fd)
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()


_held: set[_Held] = set()


def _forget() -> None:
    while _held:
        _held.pop().leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _missing(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns which of a folder and its parents do not exist, the innermost first."""
    return [each for each in (folder, *folder.parents) if not each.exists()]


def _open_locked(path: pathlib.Path) -> tuple[int, bool]:
    """Returns the open lock file and whether the operating system locked it.

    Raises:
      InUseError: another process holds it.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            native = _flock(fd)
            if os.fstat(fd).st_nlink:  # Else the holder removed it before we had it.
                return fd, native
        except BlockingIOError:
            os.close(fd)
            raise _in_use(path) from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _flock(fd: int) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _check_other_hosts(path: pathlib.Path, *, native: bool) -> None:
    """Raises InUseError if a process that our `flock` cannot see still renews the file."""
    holder = _read(path)
    if holder is None or (holder.is_here() and (native or _is_dead(holder))):
        return
    first, until = _renewed(path), time.monotonic() + LOST
    with announced(f"Waiting for a sign of {holder.words()}, which used {path.parent}"):
        while time.monotonic() < until:
            time.sleep(min(1.0, BEAT))
            if _renewed(path) != first:
                raise _in_use(path)


def _renewed(path: pathlib.Path) -> int:
    """Returns the time of the last renewal; opening the file makes NFS ask its server."""
    with open(path, "rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _is_dead(holder: Holder) -> bool:
    """Returns whether a process of this machine and container is known to have ended."""
    if holder.pid == os.getpid():
        return True  # An earlier one of this number.
    if os.name != "posix":
        return False  # There, signal 0 is Ctrl-C.
    with contextlib.suppress(PermissionError):
        try:
            os.kill(holder.pid, 0)
        except ProcessLookupError:
            return True
    return False


def _read(path: pathlib.Path) -> Holder | None:
    """Returns the process that a lock file names; None where it names none."""
    try:
        holder = Holder(**json.loads(path.read_bytes()))
        since, machine = float(holder.since), str(holder.machine)
        return Holder(int(holder.pid), str(holder.host), since, machine)
    except (OSError, ValueError, TypeError):
        return None


def _in_use(path: pathlib.Path) -> InUseError:
    until = time.monotonic() + 1
    while (holder := _read(path)) is None and time.monotonic() < until:
        time.sleep(0.05)  # It has the lock, and is about to write its name.
    by = f"{holder.words()}: wait for it, stop it ({holder.stop()})" if holder else ""
    by = by or "another process: wait for it"
    return InUseError(
        f"{printable(str(path.parent))} is in use by {by}, or choose another --workdir."
    )


def _unwritable(workdir: pathlib.Path, error: OSError) -> InputError:
    return InputError(
        f"{printable(str(workdir))} cannot be written ({error.strerror}): change its "
        "permissions, or choose another --workdir."
    )
