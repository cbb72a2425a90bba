"""Lists of names, one a line, as Linux, macOS and Windows write them."""

import codecs
import collections
import os
import pathlib
import re
from collections.abc import Callable

from segjax.data.names import composed, near_entry
from segjax.errors import InputError

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # Before UTF-16's mark, with which this one begins.
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte-order marks: Windows' editors write the first, PowerShell's `>` the third."""


def listed(
    path: pathlib.Path, named: Callable[[str], str], *, what: str = "image"
) -> list[str]:
    """Returns the names of a list in their order; `named` turns each line into a name.

    Names are in Unicode's composed form, and have "/" between folders. Empty lines and lines
    that begin with # are left out. `what` says in messages what they are names of.

    Raises:
      InputError: the file is missing or no text, has no such line, or names something twice.
    """
    # A mark stands where files that begin with one were joined, too.
    lines = (
        line.replace("\ufeff", "").strip() for line in re.split(r"[\r\n]+", _text(path, what))
    )
    names = [
        composed(named(line.replace("\\", "/")))
        for line in lines
        if line and not line.startswith("#")
    ]
    if not names:
        raise InputError(f"The list {path} is empty: it names one {what} a line.")
    repeated = {name: n for name, n in collections.Counter(names).items() if n > 1}
    if repeated:
        name, count = next(iter(repeated.items()))
        more = f" (and {len(repeated) - 1} more names repeatedly)" if len(repeated) > 1 else ""
        raise InputError(
            f"The list {path} has {name!r} {count} times{more}: keep one line for each {what}."
        )
    return names


def listed_stems(path: pathlib.Path) -> list[str]:
    """Returns the stem of the first path of each line, as in the lists of VOC, SBD and CamVid.

    Raises:
      InputError: as `listed`.
    """
    return listed(path, lambda line: pathlib.PurePosixPath(line.split()[0]).stem)


def class_names_in(path: str | os.PathLike) -> tuple[str, ...]:
    """Returns the class names of a text file, one a line, such as `classes.txt`.

    Raises:
      InputError: as `listed`.
    """
    return tuple(listed(pathlib.Path(path), str, what="class"))


def _text(path: pathlib.Path, what: str) -> str:
    if not path.is_file():
        raise InputError(
            f"The list {path} is missing{near_entry(path)}: it names one {what} a line."
        )
    data = path.read_bytes()
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
        # Without a mark, UTF-16 of plain letters passes for UTF-8 with zeros between them.
        wrong = text.find("\0")
    except UnicodeDecodeError as error:
        text, wrong = data[: error.start].decode(encoding, errors="replace"), error.start
    if wrong >= 0:
        line = text[:wrong].count("\n") + 1
        raise InputError(
            f"The list {path} is not UTF-8 text (line {line}): save it in the encoding UTF-8."
        )
    return text
