"""What a command's process must be started with, as Python and the C library read it only then.

A command that lacks some of it starts itself anew, once, before anything slow is imported.
"""

import os
import pathlib
import re
import sys
from collections.abc import Mapping

HUGE_PAGES = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""Where Linux says who gets memory in pages of 2 MiB: `always [madvise] never`, one chosen."""

_MARK = "segjax-restarted"
"""An option of Python's that means nothing to it, and tells that a process is the new start."""

_TUNABLE = "glibc.malloc.hugetlb"


def restart_as_needed() -> None:
    """Starts this process's command anew if Python or the C library should have been set up.

    Both of these are done in one new start. A process that is not the command's own, such as a
    notebook's that calls `main`, stays as it is.

    Text: Python's UTF-8 mode, where the locale is another. Experiments, lists and class names
    are UTF-8, and so are the names of files on most disks. Python takes these, and JAX's
    storage libraries do not, in the locale's encoding: only one encoding for all of them finds
    a folder called "größe". The console keeps its own.

    Memory: pages of 2 MiB, where Linux gives them to those who ask and the C library, glibc
    2.35 or newer, can. Where XLA returns a step's temporary memory to the system and asks for
    it again, pages of 4 KiB took 0.5 of 4.5 CPU seconds of a DeepLab v3 step. Most commands
    now keep it (`segjax.parallel.kept_memory`). A setting that `GLIBC_TUNABLES` already has
    stays.
    """
    if _is_our_process():
        restart_with(missing_variables())


def restart_with(variables: Mapping[str, str]) -> None:
    """Starts this process's program anew with these environment variables too, if any.

    It does so once: the C library takes variables out of the environment of a process that has
    privileges of its own, and a launcher may set all of them. Where it cannot, the process goes
    on as it is.
    """
    if not variables or not sys.executable or _MARK in sys._xoptions:
        return
    former = dict(os.environ)
    os.environ.update(variables)
    try:
        os.execv(sys.executable, [sys.executable, "-X", _MARK, *sys.orig_argv[1:]])
    except OSError:
        for name in variables:
            os.environ.pop(name)
        os.environ.update(former)


def missing_variables() -> dict[str, str]:
    """Returns the environment variables that a command sets and this process does not have."""
    return {**_for_text(), **_for_memory()}


def _for_text() -> dict[str, str]:
    """Returns the variables to set for UTF-8; none where it is in use."""
    is_utf8 = sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1"
    if is_utf8 or sys.stdout is None:
        return {}
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    given = os.environ.get("PYTHONIOENCODING")
    return {
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": f"{encoding}:backslashreplace" if given is None else given,
    }


def _for_memory() -> dict[str, str]:
    """Returns the variable to set for large pages; none where that is done or has no effect."""
    given = os.environ.get("GLIBC_TUNABLES", "")
    if _TUNABLE in given or not _has_tunable() or not _is_on_request():
        return {}
    return {"GLIBC_TUNABLES": ":".join(filter(None, (given, f"{_TUNABLE}=1")))}


def _has_tunable() -> bool:
    """Returns whether the C library is glibc 2.35 or newer."""
    try:
        library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):  # Windows; another C library.
        return False
    version = re.match(r"glibc (\d+)\.(\d+)", library)
    return version is not None and (int(version[1]), int(version[2])) >= (2, 35)


def _is_on_request() -> bool:
    """Returns whether Linux gives large pages to those who ask, and to nobody else."""
    try:
        return "[madvise]" in HUGE_PAGES.read_text(encoding="utf-8")
    except OSError:
        return False


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
