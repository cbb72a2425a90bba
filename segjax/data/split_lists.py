"""The list of a split: names of images, or images with their masks in two columns."""

import collections
import os
import pathlib
import re
from collections.abc import Sequence

from segjax.data.files import IMAGES, LOSSY
from segjax.data.lists import listed
from segjax.data.names import composed, inside, near_entry, printable
from segjax.data.source import Source
from segjax.errors import InputError

LISTS = "splits"
"""A folder of lists, as `segjax.convert` makes it; lists may lie beside it too."""

_FILES = {*IMAGES, *LOSSY, ".npy"}


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
    """Returns each line's image and mask if every line of a list names two files, else None.

    The two stand in columns, with spaces, a tab or a comma between them.

    Raises:
      InputError: as `listed`.
    """
    columns = [re.split(r"\s*,\s*|\s+", line) for line in listed(path, str)]
    if all(len(each) == 2 and all(map(_is_file_name, each)) for each in columns):
        return [(image, mask) for image, mask in columns]
    return None


def paired_sources(
    root: pathlib.Path, path: pathlib.Path, pairs: Sequence[tuple[str, str]]
) -> list[Source]:
    """Returns a source for each line of a list of images and masks.

    Paths begin at the folder, even those that begin with "/", as VOC's and CamVid's lists do;
    a whole path on this machine is taken where the folder has no such file. An image's name is
    its path without suffix, below the folder that holds all images.

    Raises:
      InputError: a file is missing, or an image stands in several lines.
    """
    found = [[_there(root, name) for name in line] for line in pairs]
    if missing := [file for files in found for file in files if not file.is_file()]:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(
            f"The list {path} names {missing[0]}, which is missing{near_entry(missing[0])}: "
            f"write paths that begin at {root}, or add the file{more}."
        )
    images = [image for image, _ in found]
    image, lines = collections.Counter(images).most_common(1)[0]
    if lines > 1:
        raise InputError(f"The list {path} names the image {image} {lines} times: keep one.")
    above = pathlib.Path(os.path.commonpath([image.parent for image in images]))
    name = lambda image: composed(image.relative_to(above).with_suffix("").as_posix())
    return [Source(printable(name(image)), image, mask) for image, mask in found]


def _there(root: pathlib.Path, name: str) -> pathlib.Path:
    below = inside(root, name.lstrip("/"))
    return pathlib.Path(name) if not below.is_file() and os.path.isabs(name) else below


def _is_file_name(name: str) -> bool:
    return pathlib.PurePosixPath(name).suffix.lower() in _FILES


def _without_suffix(name: str) -> str:
    path = pathlib.PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in _FILES else str(path)
