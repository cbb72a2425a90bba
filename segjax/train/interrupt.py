"""Ctrl-C while a run trains: the first one lets it save, the second one ends it at once.

The train step donates its state, so an exception in the middle of a step would lose it. The
signal is therefore only noted, and the loop asks between steps whether one has come.
"""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from tqdm import tqdm

from segjax.parallel.cluster import is_alone
from segjax.train.checkpoint import last_step

SAVING = "Ctrl-C: saving after this step. Press Ctrl-C again to stop at once."
STOPPING = "Ctrl-C: stopping. Press Ctrl-C again to stop at once."
STATUS = 130
STOP = 0
"""What ends the listener; no signal has this number."""

_pipes: set[int] = set()
"""The ends that signals are written to, which forked processes inherit."""


def what_is_left(workdir: pathlib.Path, steps: int) -> str:
    """Returns what an interrupted run has saved and what its command does next."""
    step = last_step(workdir)
    if step is None:
        return "nothing is saved yet; the same command starts again."
    if step >= steps:
        return f"all {step} steps are trained; the same command evaluates them."
    return f"step {step} is saved; the same command resumes from there."


class CtrlC:
    """Whether the user wants the run to stop; use it in a `with` block.

    Python runs signal handlers between its own instructions, so none runs while XLA compiles or
    a device is waited for. The signal's number is therefore also read from a pipe, by a thread,
    which answers at once and ends the process at the second signal.

    Outside the main thread, where Ctrl-C is handled otherwise, and where several processes
    train together (they would have to agree on a step), it leaves everything as it is.

    `left` gives the line that a process says when it is ended at once.
    """

    def __init__(self, left: Callable[[], str]) -> None:
        self.came = False
        self.saves = False  # Whether a step is under way, after which the state is saved.
        self._left = left
        self._stops_work = False

    def __enter__(self) -> "CtrlC":
        in_main = threading.current_thread() is threading.main_thread()
        default = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self._active = default and is_alone()
        if self._active:
            reading, self._writing = os.pipe()
            _pipes.add(self._writing)
            os.set_blocking(self._writing, False)
            self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
            self._former = signal.signal(signal.SIGINT, self._note)
            self._listener = threading.Thread(target=self._listen, args=(reading,), daemon=True)
            self._listener.start()
        return self

    def __exit__(self, kind, *_) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._former)
            signal.set_wakeup_fd(self._wakeup)
            # Its end alone would not be seen: a process that was forked may hold it open.
            os.set_blocking(self._writing, True)
            os.write(self._writing, bytes([STOP]))
            self._listener.join()
            _pipes.discard(self._writing)
            os.close(self._writing)
        if self.came and kind is None:
            raise KeyboardInterrupt  # It came when the block had nothing left to do.

    def _note(self, *_) -> None:
        self.came = True
        if self._stops_work:
            self.saves = False  # The listener may answer after the block has been left.
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def stops_work(self) -> Iterator[None]:
        """Makes the first Ctrl-C in the block raise KeyboardInterrupt at once."""
        if self.came:
            raise KeyboardInterrupt
        self._stops_work = True
        try:
            yield
        finally:
            self._stops_work = False

    def _listen(self, reading: int) -> None:
        """Answers each Ctrl-C until it is told to stop."""
        heard, numbers = 0, b""
        while STOP not in numbers and (numbers := os.read(reading, 64)):
            for _ in range(numbers.count(signal.SIGINT)):
                heard += 1
                if heard == 2:
                    _say(f"interrupted: {self._left()}")
                    _kill_workers()
                    os._exit(STATUS)
                _say(SAVING if self.saves and not self._stops_work else STOPPING)
        os.close(reading)


def _kill_workers() -> None:
    """Ends the processes that read data: they ignore Ctrl-C, and would outlive this one."""
    with contextlib.suppress(Exception):  # Whatever they are like, this process ends.
        for worker in multiprocessing.active_children():
            worker.kill()


def _leave_pipes_to_the_parent() -> None:
    """Closes the signal pipes in a forked process.

    Ctrl-C reaches forked processes too; through the pipe it would count once more.
    """
    if _pipes:
        signal.set_wakeup_fd(-1)
    while _pipes:
        os.close(_pipes.pop())


os.register_at_fork(after_in_child=_leave_pipes_to_the_parent)


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
