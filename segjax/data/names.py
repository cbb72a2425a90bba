"""Names of files as people compare them: in any Unicode form, and what nearly fits."""

import difflib
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Mapping

from segjax.console import UNLISTABLE


def composed(name: str) -> str:
    """Returns the name in Unicode's composed form (NFC), in which names are compared.

    "é" is one character in names typed on Linux and Windows, "e" and an accent in those from
    older Macs, and looks the same.
    """
    return unicodedata.normalize("NFC", name)


def printable(name: str) -> str:
    """Returns the name as valid text: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", errors="backslashreplace").decode("utf-8")


def unlistable(name: str) -> str:
    """Returns the characters of a name that a line of text cannot hold, or "".

    They are control characters such as line ends and tabs, Unicode's separators of lines and
    paragraphs, and surrogates, which UTF-8 cannot write.
    """
    return "".join(each for each in name if unicodedata.category(each) in UNLISTABLE)


def inside(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of `name` in a folder, whatever the Unicode form of the name on disk."""
    path = folder
    for part in pathlib.PurePath(name).parts:
        there = path / part
        if not os.path.lexists(there):
            same = (other for other in _entries(path) if composed(other) == composed(part))
            there = path / next(same, part)
        path = there
    return path


def near_entry(path: pathlib.Path) -> str:
    """Returns a clause on the entry whose name is nearest to a missing path's, or ""."""
    others = {name: name for name in _entries(path.parent) if name != path.name}
    found = nearest(path.name, others)
    return f", but there is {path.parent / found[0]} ({found[1]})" if found else ""


def nearest(name: str, others: Mapping[str, str]) -> tuple[str, str] | None:
    """Returns (key, how it differs) of the value nearest to `name`, or None.

    The values are compared in their composed form: equal but for case and spaces, in another
    folder, longer by an ending, or else alike.
    """
    for difference, alike in (
        ("upper and lower case or spaces differ", lambda other: _loose(other) == _loose(name)),
        ("in another folder", lambda other: _base(other) == _base(name)),
        ("its name goes on", lambda other: _goes_on(other, name)),
    ):
        for key in sorted(others):
            if alike(others[key]):
                return key, difference
    by_name = {other: key for key, other in sorted(others.items())}
    close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.7)
    return (by_name[close[0]], "the nearest name") if close else None


def _loose(name: str) -> str:
    return "".join(composed(name).casefold().split())


def _base(name: str) -> str:
    return _loose(name.rpartition("/")[2])


def _goes_on(other: str, name: str) -> bool:
    """Returns whether one is the other and an ending such as "_mask"."""
    short, long = sorted((_loose(name), _loose(other)), key=len)
    return long.startswith(short) and not long[len(short)].isalnum()


def _entries(folder: pathlib.Path) -> Iterable[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return ()
