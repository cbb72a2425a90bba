"""The files of a source: found by suffix, or by what an annotation file calls them."""

import collections
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from segjax.data.files import IMAGES, relative_stem, walk
from segjax.data.names import composed, nearest
from segjax.errors import InputError, first_of

REMEMBERED = 200_000_000
"""Bytes of JSON files that stay parsed: several formats look at the same ones."""


class FolderFiles:
    """The files below a folder, and below another one for images.

    Only regular files that really lie in one of the two folders count: symbolic links that lead
    out of both are left out, and no path that an annotation file names leads out of them. The
    folder `without`, such as that of the result, counts as outside.

    Raises:
      InputError: a folder cannot be read.
    """

    def __init__(
        self,
        source: pathlib.Path,
        images: pathlib.Path | None = None,
        *,
        without: pathlib.Path | None = None,
    ):
        self._only = source.resolve() if source.is_file() else None
        self.root = (source.parent if source.is_file() else source).resolve()
        extra = [] if images is None or images.resolve() == self.root else [images.resolve()]
        self._roots = [self.root, *extra]
        self._without = None if without is None else without.resolve()
        self._parsed: collections.OrderedDict[pathlib.Path, tuple[int, Any]] = (
            collections.OrderedDict()
        )

    @cached_property
    def _listed(self) -> list[pathlib.Path]:
        """All files, those of the source first."""
        found = (path for root in self._roots for path in _files_below(root))
        return [*dict.fromkeys(path for path in found if self._is_inside(path))]

    @cached_property
    def _by_name(self) -> dict[str, list[pathlib.Path]]:
        """Files by their own name, case aside."""
        by_name = collections.defaultdict(list)
        for path in self._listed:
            by_name[_folded(path.name)].append(path)
        return by_name

    def _is_inside(self, path: pathlib.Path) -> bool:
        real = path.resolve()
        if self._without is not None and real.is_relative_to(self._without):
            return False
        return any(real.is_relative_to(root) for root in self._roots)

    def find(self, *suffixes: str) -> Iterator[pathlib.Path]:
        """Returns the files with these suffixes (lower case, with dot), sorted by path.

        If the source is one file, it is the only one that is not an image.
        """
        for path in self._listed:
            suffix = path.suffix.lower()
            if suffix in suffixes and (
                self._only is None or suffix in IMAGES or path == self._only
            ):
                yield path

    def inside(self, path: str, *, beside: pathlib.Path) -> pathlib.Path:
        """Returns the file that a path written in the file `beside` means.

        Backslashes separate folders too. A path that leads elsewhere (absolute, of another
        machine, or out of the root) is looked up by its longest tail that lies inside. Of
        several files with this tail, the one in the folder of `beside` is meant.

        Raises:
          InputError: no such file inside the root, or several; names both and the remedy.
        """
        parts = _parts(path)
        here = _joined(beside.parent, path)
        if here is not None and os.path.isfile(here) and self._is_inside(here):
            return here
        for start in range(len(parts)):
            if found := self._ending_in(parts[start:]):
                return self._one(found, path, beside)
        raise InputError(self._missing(path, parts, beside))

    def _ending_in(self, tail: Sequence[str]) -> list[pathlib.Path]:
        """Returns the files whose path ends in `tail`: exactly, or else but for case."""
        files = [
            path
            for path in self._by_name.get(_folded(tail[-1]), ())
            if [*map(_folded, path.parts[-len(tail) :])] == [*map(_folded, tail)]
        ]
        exact = [
            path
            for path in files
            if [*map(composed, path.parts[-len(tail) :])] == [*map(composed, tail)]
        ]
        return exact or files

    def _one(
        self, found: Sequence[pathlib.Path], path: str, beside: pathlib.Path
    ) -> pathlib.Path:
        near = [file for file in found if file.parent == beside.parent] or found
        if len(near) == 1:
            return near[0]
        names = first_of([str(self._shown(file)) for file in near], most=3)
        raise InputError(
            f"{beside} names the file {path!r}, which may be {names}: write the path of one of "
            "them, relative to the annotation file."
        )

    def _missing(self, path: str, parts: Sequence[str], beside: pathlib.Path) -> str:
        name = parts[-1] if parts else path
        others = {str(self._shown(file)): file.name for file in self._listed}
        close = nearest(name, others)
        near = f"; there is {close[0]} ({close[1]})" if close else ""
        there = _joined(beside.parent, path)
        if there is not None and os.path.isfile(there):
            near = f"; {there.resolve()} is outside"
        where = " or ".join(map(str, self._roots))
        return (
            f"{beside} names the file {path!r}, which is not in {where}{near}: put it there, "
            "or name its folder with --images DIR."
        )

    def _shown(self, file: pathlib.Path) -> pathlib.Path:
        return file.relative_to(self.root) if file.is_relative_to(self.root) else file

    def json(self, path: pathlib.Path) -> Any:
        """Returns the contents of a JSON file; small files are parsed once.

        Raises:
          InputError: the file is not JSON; names file, line and column.
        """
        if path in self._parsed:
            self._parsed.move_to_end(path)
            return self._parsed[path][1]
        data = path.read_bytes()
        self._parsed[path] = (len(data), _parsed(data, path))
        while len(self._parsed) > 1 and sum(n for n, _ in self._parsed.values()) > REMEMBERED:
            self._parsed.popitem(last=False)
        return self._parsed[path][1]

    def stem_of(self, path: pathlib.Path) -> str:
        """Returns a file's path below the folder it was found in, "/" between, no suffix."""
        root = next((root for root in self._roots if path.is_relative_to(root)), path.parent)
        return relative_stem(path, root)


def _parsed(data: bytes, path: pathlib.Path) -> Any:
    if not data.strip():
        raise InputError(f"{path} is empty, not JSON: write it again, or move it away.")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path} is not UTF-8 text (line {line}): save it in the encoding UTF-8."
        ) from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not complete JSON (line {error.lineno}, column {error.colno}: "
            f"{error.msg}): write it again, or move it away."
        ) from None
    except ValueError as error:  # Such as a number of 5000 digits.
        reason = str(error).partition(";")[0]
        raise InputError(f"{path} is not JSON ({reason}): write it again.") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply for JSON: write it again.") from None


def _parts(path: str) -> list[str]:
    """Returns the names in a path of any system, without drive, "." and "..".

    >>> _parts("C:\\\\photos\\\\..\\\\street\\\\a.jpg")
    ['photos', 'street', 'a.jpg']
    """
    without_drive = re.sub(r"^[A-Za-z]:(?=[\\/])|^file:/+", "", path)
    return [part for part in re.split(r"[\\/]+", without_drive) if part not in ("", ".", "..")]


def _joined(folder: pathlib.Path, path: str) -> pathlib.Path | None:
    """Returns a relative path below a folder, or None for an absolute or impossible one."""
    if "\0" in path or re.match(r"[\\/]|[A-Za-z]:|file:", path) or not path:
        return None
    whole = folder / path
    if not os.path.isfile(whole):  # Also where a name is too long for a path.
        whole = folder.joinpath(*re.split(r"[\\/]+", path))
    return pathlib.Path(os.path.normpath(whole))


def _files_below(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns all files below a folder, sorted; links to folders are not followed.

    A folder that a link leads to counts where it lies itself, if that is inside.
    """
    walked = walk(root, through_links=False)
    return sorted(path for _, paths in walked for path in paths if path.is_file())


def _folded(name: str) -> str:
    return composed(name).casefold()
