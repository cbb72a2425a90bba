"""How commands speak on the console: under the name they were called by, in any encoding."""

import io
import os
import pathlib
import re
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


def restart_in_utf8() -> None:
    """Starts this process's command anew in Python's UTF-8 mode, where the locale is another.

    Experiments, lists and class names are UTF-8, and so are the names of files on most disks.
    Python takes these, and JAX's storage libraries do not, in the locale's encoding: only one
    encoding for all of them finds a folder called "größe". The console keeps its own. A
    process that is not the command's own, such as a notebook's that calls `main`, stays.
    """
    is_utf8 = sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1"
    if is_utf8 or not sys.executable or sys.stdout is None or not _is_our_process():
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    os.environ["PYTHONUTF8"] = "1"
    os.environ.setdefault("PYTHONIOENCODING", f"{encoding}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _is_our_process() -> bool:
    """Returns whether Python was started for a segjax command."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name.partition(".")[0] == "segjax"
    script = pathlib.PurePath(getattr(main, "__file__", None) or "")
    # On Windows a script is an archive with a module in it.
    name = script.parent.name if script.name == "__main__.py" else script.name
    return re.fullmatch(r"segjax(-[a-z]+)?(-script)?(\.(exe|pyw?))?", name) is not None


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
