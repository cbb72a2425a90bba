"""Image files → pixels: upright, 8 bits, RGB or grey; what cannot be read is named."""

import io
import pathlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from segjax.errors import InputError

MODES = {1: "L", 3: "RGB"}
ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""


def read_image(path: pathlib.Path, *, channels: int) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of a file, turned as its EXIF data say; 3 channels are RGB, 1 is grey.

    Raises:
      InputError: the file cannot be read, or has more than 8 bits a channel.
    """
    return pixels(_upright(decode(path), path, channels))


def pixels(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    """An image's pixels with an axis of channels, even of one."""
    array = np.array(image)
    return array if array.ndim == 3 else array[..., None]


def encode_image(path: pathlib.Path, *, channels: int) -> tuple[bytes, tuple[int, int]]:
    """(data, (width, height)) of what `read_image` reads: the file's own where it will do.

    Raises:
      InputError: the file cannot be read, or has more than 8 bits a channel.
    """
    image = decode(path)
    upright = _upright(image, path, channels)
    turned = image.getexif().get(ORIENTATION, 1) != 1
    if image.format in ("JPEG", "PNG") and image.mode == MODES[channels] and not turned:
        return path.read_bytes(), image.size
    return png(upright), upright.size


def decode(path: pathlib.Path) -> Image.Image:
    """The decoded file, as it is.

    Raises:
      InputError: the file is missing, truncated, or no image.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else "broken"
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "no known image format"
        raise InputError(
            f"{path} cannot be read as an image ({reason}): replace or remove it."
        ) from None
    return image


def is_deep(image: Image.Image) -> bool:
    """Whether an image has one channel of more than 8 bits; Pillow reads colours at 8."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def png(image: Image.Image) -> bytes:
    """The image as a PNG file's contents."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _upright(image: Image.Image, path: pathlib.Path, channels: int) -> Image.Image:
    if is_deep(image):
        raise InputError(
            f"{path} has more than 8 bits a channel (mode {image.mode}): convert the images to "
            "8 bits, with a range of values that suits them."
        )
    return ImageOps.exif_transpose(image).convert(MODES[channels])
