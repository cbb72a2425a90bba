"""Quoted patterns such as 'in/**/*.jpg' → the files that match."""

import collections
import fnmatch
import glob
import os
import pathlib
from collections.abc import Iterator, Sequence

from segjax.data.files import belongs, dangles, folders_above, inode, listed
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
    dot matches hidden names. A name that is there as it is written is itself. A folder counts
    once: of several ways to it, one without links is taken, or else the first. Links that lead
    to a folder above `root` are left out.

    Raises:
      InputError: a folder cannot be read.
    """
    found: set[pathlib.Path] = set()
    above = folders_above(root)
    # Each folder meets each part of the pattern once, however many ways lead to it.
    seen: set[tuple[tuple[int, int], int]] = set()
    ways, links = collections.deque([(root, 0)]), collections.deque()
    while ways or links:
        path, place = (ways or links).popleft()
        if place == len(parts):
            if path.is_file() or dangles(path):
                found.add(path)
        elif path.is_dir() and (state := (inode(path), place)) not in seen:
            seen.add(state)
            for step, then in _steps(path, parts, place):
                is_link = step != path and step.is_symlink() and step.is_dir()
                if not (is_link and inode(step) in above):
                    (links if is_link else ways).append((step, then))
    return sorted(found)


def _steps(
    folder: pathlib.Path, parts: Sequence[str], place: int
) -> Iterator[tuple[pathlib.Path, int]]:
    """Yields what a folder leads to, with the part of the pattern that is next there."""
    if parts[place] != "**":
        for name in _names(folder, parts[place]):
            yield inside(folder, name), place + 1
        return
    yield folder, place + 1
    for path in listed(folder):
        if path.is_dir():
            yield path, place
        elif place + 1 == len(parts):
            yield path, place + 1


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
