"""Quoted patterns such as 'in/**/*.jpg' → the files that match."""

import fnmatch
import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from segjax.data.files import belongs, dangles, walk
from segjax.data.names import composed, inside


def split_pattern(pattern: str) -> tuple[pathlib.Path, tuple[str, ...]]:
    """Returns (folder, parts below it): all that is there as it is written, then the rest.

    What exists is itself: in 'ph [1]/*.jpg' the brackets are a folder's, if there is one.
    """
    root, parts = pathlib.Path(), pathlib.Path(pattern).parts
    while parts and (not glob.has_magic(parts[0]) or os.path.lexists(root / parts[0])):
        root, parts = inside(root, parts[0]), parts[1:]
    return root, parts


def matches(root: pathlib.Path, parts: Sequence[str]) -> list[pathlib.Path]:
    """Returns files and dangling links below `root` that match a pattern, each once.

    `*`, `?` and `[...]` stand for characters of one name, `**` for any folders. They match
    what belongs to a folder, as `segjax.data.files.members` has it; a part that begins with a
    dot matches hidden names. A name that is there as it is written is itself.

    Raises:
      InputError: a folder cannot be read.
    """
    return sorted(set(_expand(root, parts)))


def _expand(path: pathlib.Path, parts: Sequence[str]) -> Iterator[pathlib.Path]:
    if not parts:
        if path.is_file() or dangles(path):
            yield path
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        while rest and rest[0] == "**":  # Twice is as once, but walks each folder again.
            rest = rest[1:]
        for folder, files in walk(path) if path.is_dir() else ():
            yield from _expand(folder, rest) if rest else files
    else:
        for name in _names(path, part):
            yield from _expand(inside(path, name), rest)


def _names(folder: pathlib.Path, part: str) -> list[str]:
    if not glob.has_magic(part) or os.path.lexists(folder / part):
        return [part]
    there = os.listdir(folder) if folder.is_dir() else []
    hidden = part.startswith(".")
    wanted = composed(part)
    return [
        name
        for name in there
        if fnmatch.fnmatchcase(composed(name), wanted) and (hidden or belongs(name))
    ]
