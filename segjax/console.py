"""How commands speak on the console: under the name they were called by, in any encoding."""

import io
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


def allow_any_text() -> None:
    """Lets standard output and error print every text.

    What the terminal's encoding lacks, and names of files that are not valid text, are printed
    as escapes such as \\xfc. Without this a name with an umlaut ends the command where the
    locale is not UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Not so where a program caught our output.
            stream.reconfigure(errors="backslashreplace")
