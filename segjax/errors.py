"""The errors that commands turn into one line and an exit status, and the turning."""

import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial

from segjax.announce import LOGGER
from segjax.console import allow_any_text


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
        isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    )


class RunError(RuntimeError):
    """A run that had begun cannot go on: disk full, loss not finite (exit status 1)."""


class UserCodeError(Exception):
    """An experiment file itself raised (exit status 1); the message holds its traceback."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a command that can say what it leaves behind (exit status 130)."""


def run_command(
    command: Callable[[], None], *, interrupted: str = "run the same command again."
) -> int:
    """Runs a command; returns 0, or says what was wrong and returns the exit status.

    While it runs, what lasts long is announced (`segjax.announce`). `interrupted` says what
    Ctrl-C leaves to do, where the command itself does not.
    """
    allow_any_text()
    # Orbax reports each of its steps, and prints a traceback for what it then raises as well.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    if not isinstance(sys.unraisablehook, partial):
        sys.unraisablehook = partial(_without_echoes, sys.unraisablehook)
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    try:
        command()
    except InputError as error:
        return _say(str(error), 2)
    except (RunError, UserCodeError) as error:
        return _say(str(error), 1)
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`); nor can the rest be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Interrupted as error:
        return _say(f"{error}", 130, kind="interrupted")
    except KeyboardInterrupt:
        return _say(interrupted, 130, kind="interrupted")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" for {error.filename}" if error.filename else ""
            return _say(f"no space left{where}: make room, and run the same command again.", 1)
        traceback.print_exc()
        return _say(f"{type(error).__name__}: {error}", 1)
    finally:
        LOGGER.setLevel(level)
    return 0


def _without_echoes(report: Callable, unraisable) -> None:
    """Reports what a library's threads could not raise, but for the echo of a failed write.

    After it, the storage library calls into Orbax's event loop, which has ended by then, and
    each of its threads would print what it got beside the one line that says what is wrong.
    """
    echo = str(unraisable.exc_value)
    if echo != "Event loop is closed" and os.strerror(errno.ENOSPC) not in echo:
        report(unraisable)


def _say(message: str, status: int, *, kind: str = "error") -> int:
    print(f"{kind}: {message}", file=sys.stderr, flush=True)
    return status
