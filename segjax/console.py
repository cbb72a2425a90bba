"""How commands speak on the console: under the name they were called by, in any encoding."""

import io
import pathlib
import sys
import unicodedata

UNLISTABLE = ("Cc", "Zl", "Zp", "Cs")
"""Unicode's categories of control characters, line and paragraph separators, and surrogates."""

TURNING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of the text after them."""


def program(command: str) -> str:
    """Returns the name by which the running command was called, for its usage line.

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


def one_line(text: str) -> str:
    """Returns a text as one line that changes nothing on a terminal.

    Names of files may hold line ends and control characters: they become escapes, as in
    Python's own `repr`.

    >>> one_line("a\\nb.png cannot be read")
    'a\\\\nb.png cannot be read'
    """
    escaped = lambda each: each.encode("unicode_escape").decode("ascii")
    is_safe = lambda each: unicodedata.category(each) not in UNLISTABLE and each not in TURNING
    return "".join(each if is_safe(each) else escaped(each) for each in text)
