"""What a command says while work takes long: what is being done, and for how long by now."""

import contextlib
import logging
import shutil
import sys
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

from segjax.console import one_line

LOGGER = logging.getLogger("segjax")
"""Functions called from other programs are silent; commands set its level to INFO."""

TICK = 0.5
"""Seconds between two looks of the clock on a terminal."""


def announcing() -> bool:
    """Returns whether this is a command, whose main process says what it does."""
    return LOGGER.isEnabledFor(logging.INFO)


def say(line: str) -> None:
    """Prints a line on standard error, beside live bars, where a command runs."""
    if announcing():
        tqdm.write(one_line(line), file=sys.stderr)


@contextlib.contextmanager
def announced(task: str, *, after: float = 0.0) -> Iterator[None]:
    """Prints on standard error what is being done in the block, and how long it took.

    On a terminal the line shows the seconds as they pass, above or below other bars; elsewhere
    there are two plain lines, at the beginning and at the end.

    Args:
      task: "Compiling the training step": what is being done, without a full stop.
      after: seconds before it is said; a block that is over by then says nothing.
    """
    if not announcing():
        yield
        return
    line, began, over = _Line(task), time.monotonic(), threading.Event()
    if not after:
        line.show()
    ticker = threading.Thread(target=_tick, args=(line, over, after), daemon=True)
    ticker.start()
    try:
        yield
    except BaseException:
        _end(ticker, over)
        line.close()
        raise
    _end(ticker, over)
    line.close(f"{task}: {time.monotonic() - began:.1f} s")


def _tick(line: "_Line", over: threading.Event, after: float) -> None:
    wait = after or TICK
    while not over.wait(wait):
        line.show()
        wait = TICK


def _end(ticker: threading.Thread, over: threading.Event) -> None:
    over.set()
    ticker.join()


class _Line:
    """One line of a task: live on a terminal, plain elsewhere."""

    def __init__(self, task: str):
        self._task, self._began = task, time.time()
        self._bar, self._shown = None, False

    def show(self) -> None:
        """Says the task; said already, brings the time up to date where it can be seen."""
        if self._bar is not None:
            self._bar.refresh()
        elif not self._shown and sys.stderr.isatty():
            form = "{desc} … {elapsed}"
            # A line that wraps could not be drawn over.
            fits = self._task[
                : max(shutil.get_terminal_size().columns - len(" … 00:00:00 "), 0)
            ]
            self._bar = tqdm(desc=fits, bar_format=form, leave=False, file=sys.stderr)
            self._bar.start_t = self._began
        elif not self._shown:
            print(f"{self._task} …", file=sys.stderr, flush=True)
        self._shown = True

    def close(self, last: str = "") -> None:
        """Takes the live line away; says `last` where the task was said."""
        if self._bar is not None:
            self._bar.close()
        if self._shown and last:
            tqdm.write(last, file=sys.stderr)
