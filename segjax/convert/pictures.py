"""The images of a source: decoded as `Folder` will decode them, then copied unchanged."""

import filecmp
import io
import os
import pathlib
import shutil

from PIL import Image

from segjax.atomic import atomic_path, write_bytes
from segjax.convert.annotated import Annotated, EmbeddedImage, Size
from segjax.data.decode import DEFAULT_LIMIT, Limit, decode, pages
from segjax.data.files import IMAGES
from segjax.data.images import upright
from segjax.errors import InputError


def picture(image: Annotated, *, limit: Limit = DEFAULT_LIMIT) -> Image.Image:
    """Returns the image in RGB, turned as its EXIF data say.

    Raises:
      InputError: it cannot be read, or its size is not the one that the annotations say.
    """
    source = image.image
    if isinstance(source, EmbeddedImage):
        page = next(pages(io.BytesIO(source.contents()), name=source.where, limit=limit))
        found = upright(page, source.where, channels=3)
        name = source.where
    else:
        found, name = upright(decode(source, limit=limit), source, channels=3), str(source)
    _check_size(image, Size(found.height, found.width), name)
    return found


def _check_size(image: Annotated, size: Size, name: str) -> None:
    if image.size is None or image.size == size:
        return
    turned = image.size == Size(size.width, size.height)
    hint = (
        " The image is turned by its EXIF data: if the annotations are of the image before "
        "turning, save it without these data."
        if turned
        else ""
    )
    raise InputError(
        f"{image.where} is for an image of {image.size.width}x{image.size.height} pixels, and "
        f"{name} has {size.width}x{size.height}: use the image that was annotated, or annotate "
        f"this one.{hint}"
    )


def suffix_of(image: Annotated) -> str:
    """Returns the suffix of the image's file in the result, in lower case.

    Raises:
      InputError: datasets do not read files with this suffix.
    """
    suffix = image.image.suffix.lower()
    if suffix not in IMAGES:
        raise InputError(
            f"{image.image} is not an image that is read ({' '.join(IMAGES)}): save it as PNG."
        )
    return suffix


def put(image: Annotated, path: pathlib.Path, *, link: bool = False) -> bool:
    """Writes the image to a path unless the same is there; returns whether it did.

    With `link` it is a hard link if both are on one disk, else a copy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image.image, EmbeddedImage):
        contents = image.image.contents()
        if path.is_file() and path.read_bytes() == contents:
            return False
        write_bytes(path, contents)
        return True
    if path.is_file() and filecmp.cmp(image.image, path, shallow=False):
        return False
    with atomic_path(path) as partial:
        if not (link and _linked(image.image, partial)):
            shutil.copyfile(image.image, partial)
    return True


def _linked(source: pathlib.Path, target: pathlib.Path) -> bool:
    try:
        os.link(source.resolve(), target)  # os.link may link a symbolic link itself.
    except OSError:  # Another disk, or one without links.
        return False
    return True
