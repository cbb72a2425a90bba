"""The list of a split: names of images, or images with their masks in two columns."""

import os
import pathlib
import re
from collections.abc import Sequence
from functools import partial

from segjax.data.faults import Fault, report
from segjax.data.files import IMAGES, LOSSY
from segjax.data.lists import listed
from segjax.data.names import composed, inside, near_entry, printable
from segjax.data.source import Source
from segjax.errors import InputError

LISTS = "splits"
"""A folder of lists, as `segjax.convert` makes it; lists may lie beside it too."""

_FILES = {*IMAGES, *LOSSY, ".npy"}

_ENDED = re.compile(rf"({'|'.join(map(re.escape, sorted(_FILES)))})\s+", re.IGNORECASE)
"""The end of a file's name and the spaces after it."""


def split_list(root: pathlib.Path, split: str) -> pathlib.Path:
    """Returns where the list of a split is: `split.txt`, or `splits/split.txt` if that exists.

    Raises:
      InputError: there are both.
    """
    beside, below = (inside(root, name) for name in (f"{split}.txt", f"{LISTS}/{split}.txt"))
    if beside.is_file() and below.is_file():
        raise InputError(
            f"Folder's split {split!r} has two lists, {beside} and {below}: keep one of them."
        )
    return below if below.is_file() else beside


def listed_stems(path: pathlib.Path) -> list[str]:
    """Returns the names of a list without the suffixes of images.

    Raises:
      InputError: as `listed`.
    """
    return listed(path, _without_suffix)


def listed_pairs(path: pathlib.Path) -> list[tuple[str, str]] | None:
    """Returns each line's image and mask if lines of a list begin with two files, else None.

    The two stand in columns, with a tab, a comma or spaces between them. Names may hold spaces.

    Raises:
      InputError: as `listed`; or some lines have two columns and others have not.
    """
    lines = listed(path, str)
    pairs = [next((c for c in _columns(line) if len(c) == 2), None) for line in lines]
    if not any(pairs) and not any(map(_columns, lines)):
        return None
    if None in pairs:
        odd = lines[pairs.index(None)]
        raise InputError(
            f"The list {path} has files in columns, but its line {odd!r} is not an image and "
            "a mask with a tab, a comma or spaces between them: correct the line, or leave "
            "it out."
        )
    return [(image, mask) for image, mask in filter(None, pairs)]


def _columns(line: str) -> list[list[str]]:
    """Returns the ways to divide a line into columns of which the first two name files."""
    after_names = re.sub(_ENDED, r"\1\t", line)
    ways = [re.split(rf"\s*{between}\s*", line) for between in ("\t", ",")]
    ways.append(after_names.split("\t"))
    return [way for way in ways if len(way) > 1 and all(map(_is_file_name, way[:2]))]


def paired_sources(
    root: pathlib.Path, path: pathlib.Path, pairs: Sequence[tuple[str, str]]
) -> list[Source]:
    """Returns a source for each line of a list of images and masks.

    Paths begin at the folder, even those that begin with "/", as VOC's and CamVid's lists do;
    a whole path on this machine is taken where the folder has no such file. An image's name is
    its path without suffix, below the folder that holds all images.

    Raises:
      InputError: a file is missing, or two lines name one image, or images of one name.
    """
    found = [(_there(root, image), _there(root, mask)) for image, mask in pairs]
    report([partial(_missing, root, path, *pair) for pair in found if not _complete(*pair)])
    found = [pair for pair in found if _complete(*pair)]
    above = pathlib.Path(os.path.commonpath([image.parent for image, _ in found] or [root]))
    by_name: dict[str, Source] = {}
    twice = []
    for image, mask in found:
        name = printable(composed(image.relative_to(above).with_suffix("").as_posix()))
        if name in by_name:
            twice.append(partial(_of_one_name, path, by_name[name].image, image))
        else:
            by_name[name] = Source(name, image, mask)
    report(twice)
    return [*by_name.values()]


def _complete(image: pathlib.Path, mask: pathlib.Path) -> bool:
    return image.is_file() and mask.is_file()


def _missing(
    root: pathlib.Path, path: pathlib.Path, image: pathlib.Path, mask: pathlib.Path
) -> Fault:
    kind, file = ("missing_mask", mask) if image.is_file() else ("missing_image", image)
    text = (
        f"The list {path} names {file}, which is missing{near_entry(file)}: write paths that "
        f"begin at {root}, or add the file."
    )
    return Fault(kind, text, *(each for each in (image, mask) if each.is_file()))


def _of_one_name(path: pathlib.Path, one: pathlib.Path, other: pathlib.Path) -> Fault:
    if one == other:
        text = f"The list {path} names the image {one} in several lines: keep one."
    else:
        text = (
            f"The list {path} names {one} and {other.name}, images of one name: keep one, or "
            "rename one of them."
        )
    return Fault("name_twice", text, other, *([one] if one != other else []))


def _there(root: pathlib.Path, name: str) -> pathlib.Path:
    below = inside(root, name.lstrip("/"))
    return pathlib.Path(name) if not below.is_file() and os.path.isabs(name) else below


def _is_file_name(name: str) -> bool:
    return pathlib.PurePosixPath(name).suffix.lower() in _FILES


def _without_suffix(name: str) -> str:
    path = pathlib.PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in _FILES else str(path)
