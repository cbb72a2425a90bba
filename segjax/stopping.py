"""What asks a running command to end: Ctrl-C, SIGTERM, or another process of the same run.

The first request raises KeyboardInterrupt in the main thread, or is only noted where work must
be finished first (`Stops.deferred`). The second one ends the process at once.

Python runs signal handlers between its own instructions, so none runs while XLA compiles or a
device is waited for. The signal's number is therefore also read from a pipe, by a thread.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple, NoReturn, Protocol

FAILED, INTERRUPTED, TRY_AGAIN = 1, 130, 75
"""Exit statuses: a run failed; Ctrl-C; the same command goes on (EX_TEMPFAIL of sysexits.h)."""

PATIENCE = 2.0
"""Seconds until a main thread that does not answer is taken to be in compiled code."""

PROMPT = 0.3
"""Seconds in which a process may end before it says that it will."""

GRACE = 10.0
"""Seconds in which a process ends by itself once its main thread knows of a request, or after
another process of its run has ended."""

_STOP = 0
"""What ends the listener; no signal has this number."""


class Cause(NamedTuple):
    """Why a command stops: the beginning of its line, and its exit status."""

    kind: str
    status: int
    name: str = ""


CAUSES = {
    signal.SIGINT: Cause("interrupted", INTERRUPTED, "Ctrl-C"),
    signal.SIGTERM: Cause("stopped by SIGTERM", TRY_AGAIN, "SIGTERM"),
}


class Interrupted(KeyboardInterrupt):
    """A command was asked to end; the message says what it leaves behind."""


class Others(Protocol):
    """The other processes of a run, which must hear why this one ends."""

    def explain(self, error: BaseException) -> Cause | None:
        """Returns why another process ended, if that is what `error` comes from."""
        ...

    def part(self, status: int, line: str) -> None:
        """Tells the others why this process ends, and ends it where they would wait for it."""
        ...


class Stops:
    """Whether this process is asked to stop; use it in a `with` block, as `listening` does.

    Signals that are handled or ignored otherwise stay as they are, and so does everything
    outside the main thread.

    Attributes:
      cause: why it was asked; None if it was not.
      left: gives the line that says what the command leaves to do.
      others: the other processes of the run; None if there are none.
    """

    def __init__(self) -> None:
        self.cause: Cause | None = None
        self.left: Callable[[], str] = lambda: "run the same command again."
        self.others: Others | None = None
        self._defers = self._answered = self._is_over = False
        self._is_safe: Callable[[], bool] = lambda: True
        self._process = os.getpid()
        self._ending, self._saying = threading.Lock(), threading.Lock()
        self._handled: dict[int, object] = {}

    @property
    def came(self) -> bool:
        """Whether this process has been asked to stop."""
        return self.cause is not None

    def __enter__(self) -> "Stops":
        if threading.current_thread() is threading.main_thread():
            usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            self._handled = {n: h for n, h in usual.items() if signal.getsignal(n) is h}
        if self._handled:
            reading, self._writing = os.pipe()
            _pipes.add(self._writing)
            os.set_blocking(self._writing, False)
            self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
            self.handle_again()
            self._listener = threading.Thread(target=self._listen, args=(reading,), daemon=True)
            self._listener.start()
        return self

    def __exit__(self, *_) -> None:
        if not self._handled:
            return
        self.over()
        for number, former in self._handled.items():
            signal.signal(number, former)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup)
        # Its end alone would not be seen: a process that was forked may hold it open.
        os.set_blocking(self._writing, True)
        os.write(self._writing, bytes([_STOP]))
        self._listener.join()
        _pipes.discard(self._writing)
        os.close(self._writing)

    def handle_again(self) -> None:
        """Installs the handlers, also where a library has replaced them since."""
        for number in self._handled:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # A forked process: the request is its parent's.
        if self.cause is None:
            self.cause = CAUSES[signal.Signals(number)]
        if self._answered or _is_collecting(frame):
            return
        self._answered = True
        if not self._defers:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Notes a request in the block, and raises KeyboardInterrupt only at its end."""
        yield from self._block(defers=True, is_safe=self._is_safe)
        self._raise_if_asked()

    @contextlib.contextmanager
    def at_once(self, *, is_safe: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Makes a request in the block raise KeyboardInterrupt, also within `deferred`.

        If the main thread is in compiled code, the process ends without it as soon as
        `is_safe` returns True: what has been computed is on disk.
        """
        yield from self._block(defers=False, is_safe=is_safe)

    def _block(self, *, defers: bool, is_safe: Callable[[], bool]) -> Iterator[None]:
        former = self._defers, self._is_safe
        if not defers:
            self._raise_if_asked()
        self._is_safe, self._defers = is_safe, defers
        try:
            yield
        finally:
            # The work that is left must not be interrupted, so the flag comes first.
            self._defers, self._is_safe = former

    def _raise_if_asked(self) -> None:
        if self.came:
            self._answered = True
            raise KeyboardInterrupt

    def ask(self, cause: Cause) -> None:
        """Asks this process to stop, where it was not asked before."""
        self.cause = self.cause or cause

    def over(self) -> None:
        """Lets what is left, the last line, be done without another KeyboardInterrupt."""
        self._answered = True
        with self._saying:
            self._is_over = True

    def follow(self, cause: Cause) -> None:
        """Ends this process because another one of its run has ended; called by a thread.

        The main thread gets a moment to do so itself.
        """
        first, self.cause = self.cause is None, self.cause or cause
        if first and not self._defers and signal.SIGTERM in self._handled:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        time.sleep(GRACE)
        if not self._is_over:
            self.end(cause)

    def end(self, cause: Cause, *, tell: bool = True) -> NoReturn:
        """Says the line of the command and ends the process, whatever its threads do.

        `cause` is the reason if it has none yet; `tell` the other processes of the run.
        """
        self.cause = self.cause or cause
        if not self._ending.acquire(blocking=False):
            time.sleep(60)  # Another thread ends it.
        line = f"{self.cause.kind}: {self.left()}"
        _say(line)
        _kill_workers()
        if tell and self.others is not None:
            self.others.part(self.cause.status, line)
        os._exit(self.cause.status)

    def _listen(self, reading: int) -> None:
        """Answers each signal until it is told to stop."""
        heard = 0
        while True:
            numbers = os.read(reading, 64)
            for number in numbers:
                if number == _STOP:
                    os.close(reading)
                    return
                if number not in self._handled:
                    continue
                heard += 1
                cause = CAUSES[signal.Signals(number)]
                if heard > 1:
                    self.end(cause)
                threading.Thread(target=self._attend, args=(cause,), daemon=True).start()

    def _attend(self, cause: Cause) -> None:
        """Says what a request does, and ends the process if it stays in compiled code."""
        began, said = time.monotonic(), False
        while not self._is_over:
            waited = time.monotonic() - began
            if waited > PROMPT and not said:
                self._tell(cause)
                said = True
            # What was raised may have been lost, in a destructor say.
            patience = GRACE if self._answered else PATIENCE
            if waited > patience and not self._defers and self._is_safe():
                self.end(cause)
            time.sleep(0.05)

    def _tell(self, cause: Cause) -> None:
        what = "saving after this step" if self._defers else "stopping"
        verb = "Press" if cause.status == INTERRUPTED else "Send"
        with self._saying:
            if not self._is_over and self.cause in (None, cause):
                _say(f"{cause.name}: {what}. {verb} {cause.name} again to stop at once.")


def _is_collecting(frame: FrameType | None) -> bool:
    """Returns whether Python runs a callback of its garbage collector, where nothing is raised.

    JAX has one: an exception in it is printed and forgotten.
    """
    codes = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    return frame is not None and frame.f_code in codes


_current: list[Stops] = []
"""The `Stops` of this process, if any: a process has one set of signal handlers."""

_pipes: set[int] = set()
"""The ends that signals are written to, which forked processes inherit."""


@contextlib.contextmanager
def listening() -> Iterator[Stops]:
    """Yields the `Stops` of this process: the one that is there already, or a new one.

    Outside the main thread, where no signal is handled, it is one that hears nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield Stops()
        return
    if _current:
        yield _current[0]
        return
    with Stops() as stops:
        _current.append(stops)
        try:
            yield stops
        finally:
            _current.remove(stops)


@contextlib.contextmanager
def leaving(left: Callable[[], str]) -> Iterator[None]:
    """Turns a request to stop in the block into an `Interrupted` that says what is `left`.

    Raises:
      Interrupted: the process was asked to stop within the block, or another process of the
        run has ended.
    """
    with listening() as stops:
        former, stops.left = stops.left, left
        try:
            yield
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(left()) from None
        except Exception as error:
            cause = stops.others.explain(error) if stops.others is not None else None
            if cause is None:
                raise
            stops.cause = stops.cause or cause
            raise Interrupted(left()) from error
        finally:
            stops.left = former


def ignore_signals() -> None:
    """Ignores signals while Python itself ends: the command is over, and has its status."""
    if threading.current_thread() is threading.main_thread():
        for number in CAUSES:
            signal.signal(number, signal.SIG_IGN)


def _kill_workers() -> None:
    """Ends the processes that read data: they ignore signals, and would outlive this one."""
    with contextlib.suppress(Exception):  # Whatever they are like, this process ends.
        for worker in multiprocessing.active_children():
            worker.kill()


def _leave_pipes_to_the_parent() -> None:
    """Closes the signal pipes in a forked process.

    Ctrl-C reaches forked processes too; through the pipe it would count once more. SIGTERM
    ends a forked process as its parent expects.
    """
    if _pipes:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while _pipes:
        os.close(_pipes.pop())


os.register_at_fork(after_in_child=_leave_pipes_to_the_parent)


def _say(line: str) -> None:
    from tqdm import tqdm  # Only now: a handler should be there before much is imported.

    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
