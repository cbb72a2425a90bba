"""Image files → pixels: upright, 8 bits, RGB or grey; what cannot be read is named."""

import io
import pathlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from segjax.data.decode import DEFAULT_LIMIT, Limit, Page, decode
from segjax.errors import InputError

MODES = {1: "L", 3: "RGB"}
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""


def read_image(
    path: pathlib.Path, *, channels: int, limit: Limit = DEFAULT_LIMIT
) -> UInt8[np.ndarray, "h w c"]:
    """Returns the pixels of a file, turned as its EXIF data say; 3 channels are RGB, 1 is grey.

    Raises:
      InputError: the file cannot be read, holds several images, or has more than 8 bits a
        channel.
    """
    return pixels(upright(decode(path, limit=limit), path, channels=channels))


def pixels(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    """Returns an image's pixels with an axis of channels, even of one."""
    array = np.array(image)
    return array if array.ndim == 3 else array[..., None]


def encode_image(
    page: Page, data: bytes, name: pathlib.Path, *, channels: int
) -> tuple[bytes, tuple[int, int]]:
    """Returns (file contents, (width, height)) of `upright(page)`.

    The contents are `data`, the page's own file, if that shows the same pixels.

    Raises:
      InputError: as `upright`.
    """
    image = page.image
    shown = upright(page, name, channels=channels)
    as_stored = image.getexif().get(ORIENTATION, 1) == 1
    alone = page.count == 1 and image.format in ("JPEG", "PNG")
    if alone and image.mode == MODES[channels] and as_stored:
        return data, image.size
    return png(shown), shown.size


def upright(page: Page, name: pathlib.Path | str, *, channels: int) -> Image.Image:
    """Returns the page turned as its EXIF data say, in RGB (3 channels) or grey (1).

    Raises:
      InputError: it has more than 8 bits a channel, signed samples, or colours that have no
        known way to RGB; the line calls the file `name`.
    """
    if reason := unreadable(page.image, page.bits, page.signed):
        where = f"{name}, image {page.number}," if page.count > 1 else str(name)
        raise InputError(f"{where} {reason}")
    return turned(page.image).convert(MODES[channels])


def turned(image: Image.Image) -> Image.Image:
    """Returns a copy turned as its EXIF data say; transparent pixels keep their colours."""
    copy = ImageOps.exif_transpose(image)
    if copy.mode == "P":
        copy.info.pop("transparency", None)  # Pillow would warn that it is lost.
    # From premultiplied grey Pillow only knows the way to plain grey with alpha.
    return copy.convert("LA") if copy.mode == "La" else copy


def unreadable(image: Image.Image, bits: int, signed: bool) -> str | None:
    """Returns why the image does not fit 8 bits a channel, as the end of a line, or None."""
    if bits > 8:
        return (
            f"has more than 8 bits a channel ({bits}, mode {image.mode}): convert the images "
            "to 8 bits, with a range of values that suits them."
        )
    if signed:
        return "has signed samples, below zero too: convert the images to values of 0 to 255."
    if image.mode == "LAB":
        return "has colours in CIELAB: save it in RGB."
    return None


def png(image: Image.Image) -> bytes:
    """Returns the image as a PNG file's contents."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
