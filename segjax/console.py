"""How commands speak on the console: under the name they were called by, in any encoding."""

import io
import os
import pathlib
import sys


def program(command: str) -> str:
    """The name by which the running command was called, for its usage line.

    `segjax-predict` or `segjax predict` where that is how it was, else the form that works
    everywhere, `python -m segjax.predict`.
    """
    called = pathlib.PurePath(sys.argv[0]).stem
    if called == f"segjax-{command}":
        return called
    return f"segjax {command}" if called == "segjax" else f"python -m segjax.{command}"


def restart_in_utf8() -> None:
    """Starts this process's command anew in Python's UTF-8 mode, where the locale is another.

    Experiments, lists and class names are UTF-8, and so are the names of files on most disks.
    Python takes these, and JAX's storage libraries do not, in the locale's encoding: only one
    encoding for all of them finds a folder called "größe". The console keeps its own.
    """
    is_utf8 = sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1"
    if is_utf8 or not sys.executable or sys.stdout is None:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def allow_any_text() -> None:
    """Lets standard output and error print every text.

    What the terminal's encoding lacks, and names of files that are not valid text, are printed
    as escapes such as \\xfc. Without this a name with an umlaut ends the command where the
    locale is not UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Not so where a program caught our output.
            stream.reconfigure(errors="backslashreplace")
