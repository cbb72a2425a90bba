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


def clash(one: Annotated, other: Annotated) -> str:
    """Returns what to say of two images that have one name in the result."""
    if one.image == other.image:
        return (
            f"{_place(one)} is annotated twice, in {one.where} and {other.where}: keep one of "
            "them."
        )
    return (
        f"{_place(one)} and {_place(other)} would both be named {one.name!r}: rename one of "
        "the images, and correct its annotations."
    )


def _place(image: Annotated) -> str:
    return str(image.image) if isinstance(image.image, pathlib.Path) else image.where


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
                raise InputError(clash(other, image))
        except InputError as error:
            problems.append(str(error))
    return list(images.values()), tuple(problems)
