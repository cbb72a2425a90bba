"""Image files that annotations name, and their names in the result."""

import collections
import pathlib
from collections.abc import Iterable

from segjax.convert.annotated import Annotated, Options, SourceFiles
from segjax.convert.layouts import name_below
from segjax.errors import InputError

FOLDERS = ("images", "imgs", "img", "jpegimages", "data")
"""Folders, in lower case, that do not become part of an image's name."""


def find_image(
    files: SourceFiles, options: Options, written: str, *, beside: pathlib.Path
) -> pathlib.Path:
    """Returns the image that a path in an annotation file means.

    It is looked up in `--images`, if that is given, and otherwise in the source.

    Raises:
      InputError: there is no such image, or several.
    """
    if options.images is None:
        return files.inside(written, beside=beside)
    parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".")]
    for start in range(len(parts)):
        if ".." in parts[start:]:
            continue
        path = options.images.joinpath(*parts[start:])
        if path.is_file():
            return path
    raise InputError(
        f"{beside} names the image {written!r}, which is not in --images {options.images}: add "
        "it, or give the folder that holds it."
    )


def image_name(image: pathlib.Path, files: SourceFiles, options: Options) -> str:
    """Returns the name of an image in the result: its path without suffix and "images"."""
    if options.images is not None and image.is_relative_to(options.images):
        return name_below(image, options.images, without=FOLDERS)
    return name_below(image, files.root, without=FOLDERS)


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
