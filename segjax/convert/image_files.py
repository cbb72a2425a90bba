"""Images of a source, one by one: what is wrong with one does not stop the others."""

import pathlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from segjax.convert.annotated import Annotated, SourceFiles
from segjax.convert.mask_pairs import IMAGE_FOLDER
from segjax.errors import InputError

Item = TypeVar("Item")


def image_name(image: pathlib.Path, files: SourceFiles) -> str:
    """Returns the name of an image in the result: its path without suffix and "images"."""
    *folders, stem = files.stem_of(image).split("/")
    return "/".join([f for f in folders if not IMAGE_FOLDER.fullmatch(f)] + [stem])


def each_image(
    items: Iterable[Item], read: Callable[[Item], Annotated]
) -> tuple[list[Annotated], tuple[str, ...]]:
    """Returns (what `read` makes of each item, problems: a line for each that it refuses).

    An image whose name another one has already is refused as well.
    """
    images: dict[str, Annotated] = {}
    problems = []
    for item in items:
        try:
            image = read(item)
            other = images.setdefault(image.name, image)
            if other is not image:
                raise InputError(
                    f"The image {image.name!r} is annotated twice, in {other.where} and "
                    f"{image.where}: keep one of them, or rename one of the images."
                )
        except InputError as error:
            problems.append(str(error))
    return list(images.values()), tuple(problems)
