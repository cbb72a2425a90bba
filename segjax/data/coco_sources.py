"""The images that a COCO file lists → sources."""

import pathlib
from collections.abc import Mapping, Sequence

from segjax.data.coco_file import CocoImage
from segjax.data.coco_index import CocoIndex, Row
from segjax.data.drawn_objects import MadeObjects
from segjax.data.faults import raise_first
from segjax.data.files import IMAGES, by_stem
from segjax.data.made_masks import MadeMask
from segjax.data.source import Source
from segjax.errors import InputError


def name_row(image: CocoImage) -> Row:
    """Returns the id and the file of an image."""
    return [str(image.id), image.file]


def sources_of(
    index: CocoIndex,
    images: pathlib.Path,
    files: Sequence[str],
    made: Sequence[MadeMask],
    *,
    objects: Sequence[MadeObjects] = (),
) -> Sequence[Source]:
    """Returns the sources of listed images, with their labels, and objects if they have any.

    Raises:
      InputError: images are missing, or none is listed.
    """
    there = listed_files(index, images, IMAGES, files)
    stems = [*map(stem_of, files)]
    if not stems:
        raise InputError(f"{index.path} lists no image with such classes: choose others.")
    return [
        Source(stem, there[stem], mask, each)
        for stem, mask, each in zip(stems, made, objects or [None] * len(made), strict=True)
    ]


def listed_files(
    index: CocoIndex, folder: pathlib.Path, suffixes: tuple[str, ...], files: Sequence[str]
) -> Mapping[str, pathlib.Path]:
    """Returns the files of a folder by stem.

    Raises:
      InputError: the folder is missing, or a listed file is not in it.
    """
    there = by_stem(folder, suffixes)
    raise_first(
        [
            f"{index.path} lists the file {file}, which is not in {folder}: put it there, or "
            "take its image and annotations out of the list."
            for file in files
            if stem_of(file) not in there
        ]
    )
    return there


def stem_of(file: str) -> str:
    """Returns the path of a listed file without its suffix."""
    return pathlib.PurePosixPath(file).with_suffix("").as_posix()
