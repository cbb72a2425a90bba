"""Names of images in the result."""

import collections
import pathlib
from collections.abc import Iterable

from segjax.convert.annotated import Annotated, Options, SourceFiles
from segjax.convert.layouts import name_below
from segjax.errors import InputError

FOLDERS = ("images", "imgs", "img", "jpegimages", "data")
"""Folders, in lower case, that do not become part of an image's name."""


def image_name(image: pathlib.Path, files: SourceFiles, options: Options) -> str:
    """Returns the name of an image in the result: its path without suffix and "images"."""
    inside = image.is_relative_to(files.root) or options.images is None
    root = files.root if inside else options.images.resolve()
    return name_below(image, root, without=FOLDERS)


def check_unique(images: Iterable[Annotated]) -> None:
    """Raises InputError if two annotated images have the same name.

    Raises:
      InputError: they do; the line says where the annotations of both are.
    """
    by_name = collections.defaultdict(list)
    for image in images:
        by_name[image.name].append(image)
    for name, same in by_name.items():
        if len(same) > 1:
            first, second = same[:2]
            raise InputError(
                f"The image {name!r} is annotated twice, in {first.where} and {second.where}: "
                "keep one of them, or rename one of the images."
            )
