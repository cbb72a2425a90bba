"""The errors that commands turn into one line and an exit status, and the turning."""

import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial

from segjax.announce import LOGGER
from segjax.atomic import WriteError
from segjax.console import allow_any_text, one_line
from segjax.stopping import CAUSES, FAILED, TRY_AGAIN, Interrupted, Stops, leaving, listening


class InputError(ValueError):
    """What the user gave cannot work: arguments, an experiment's field, data (exit status 2).

    The message is one line: it names the value and the remedy.
    """


def first_of(names: Sequence[str], *, most: int = 8) -> str:
    """Returns names for a message, up to so many, and how many more there are.

    >>> first_of(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether Python, NumPy or XLA got no memory; the next work may need less."""
    # XLA's error has no class of its own, and importing jax here would slow every command.
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(each in str(error) for each in _NO_MEMORY)
    )


_NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
"""How XLA says so: GPUs and TPUs the first, and CPUs the second, as an INTERNAL error."""


class RunError(RuntimeError):
    """A run that had begun cannot go on: disk full, loss not finite (exit status 1)."""


class UserCodeError(Exception):
    """An experiment file itself raised (exit status 1); the message holds its traceback."""


class TryAgain(RuntimeError):
    """What a run needs is missing or taken for now; try again later (exit status 75)."""


def run_command(
    command: Callable[[], None], *, interrupted: str = "run the same command again."
) -> int:
    """Runs a command; returns 0, or says what was wrong and returns the exit status.

    While it runs, what lasts long is announced (`segjax.announce`), and Ctrl-C and SIGTERM end
    it in one line (`segjax.stopping`). `interrupted` says what they leave to do, where the
    command itself does not.
    """
    allow_any_text()
    # Orbax reports each of its steps, and prints a traceback for what it then raises as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    if not isinstance(sys.unraisablehook, partial):
        sys.unraisablehook = partial(_without_echoes, sys.unraisablehook)
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    stops = Stops()
    try:
        with listening() as stops, leaving(lambda: interrupted):
            try:
                command()
            except BaseException as error:
                stops.over()
                return _ended(error, stops)
    except KeyboardInterrupt as stop:
        # It came before the command began, or after it was done.
        return _ended(stop, stops)
    finally:
        LOGGER.setLevel(level)
    return 0


def _ended(error: BaseException, stops: Stops) -> int:
    """Says why a command ended and returns its status; tells the other processes of the run."""
    if isinstance(error, KeyboardInterrupt):
        cause = stops.cause or CAUSES[signal.SIGINT]
    else:
        cause = stops.others.explain(error) if stops.others is not None else None
    if cause is not None:
        said = str(error) if isinstance(error, Interrupted) else stops.left()
        line, status = one_line(f"{cause.kind}: {said}"), cause.status
    else:
        line, status = _fault(error)
    if line:
        print(line, file=sys.stderr, flush=True)
    if stops.others is not None:
        stops.others.part(status, line)
    return status


def _fault(error: BaseException) -> tuple[str, int]:
    """Returns the line and the exit status of an error; prints the traceback of a bug."""
    for kind, status in ((InputError, 2), (TryAgain, TRY_AGAIN), (RunError, FAILED)):
        if isinstance(error, kind):
            return one_line(f"error: {error}"), status
    if isinstance(error, UserCodeError):
        return f"error: {error}", FAILED
    if isinstance(error, BrokenPipeError):
        # The reader of our output has seen enough (`| head`); nor can the rest be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "", FAILED
    if not isinstance(error, Exception):
        raise error  # The parser's SystemExit.
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" for {error.filename}" if error.filename else ""
        text = f"no space left{where}: make room, and run the same command again."
        return one_line(f"error: {text}"), FAILED
    if isinstance(error, WriteError):
        text = f"{error}. Make it writable, and run the same command again."
        return one_line(f"error: {text}"), FAILED
    traceback.print_exception(error)
    return f"error: {type(error).__name__}: {error}", FAILED


def _without_echoes(report: Callable, unraisable) -> None:
    """Reports what a library's threads could not raise, but for the echo of a failed write.

    After it, the storage library calls into Orbax's event loop, which has ended by then, and
    each of its threads would print what it got beside the one line that says what is wrong.
    """
    echo = str(unraisable.exc_value)
    if echo != "Event loop is closed" and os.strerror(errno.ENOSPC) not in echo:
        report(unraisable)
