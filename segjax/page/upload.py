"""Uploaded bytes → an upright image to predict; everything else is refused."""

import io

from PIL import Image, ImageOps

from segjax.data.images import is_deep
from segjax.page.limits import Limits, Refused

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""The only decoders that see an upload; a TIFF's or a WebP's first frame counts."""


def opened(data: bytes, limits: Limits) -> Image.Image:
    """The image that the bytes say they hold: its header is read, no pixel is decoded.

    Raises:
      Refused: it is empty, of no known format, too large, or has more than 8 bits a channel.
    """
    if not data:
        raise Refused(400, "The file is empty: choose an image.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(limits) from None
    except Exception:  # Decoders raise whatever a broken header leads them to.
        known = "JPEG, PNG, WebP, BMP or TIFF"
        raise Refused(415, f"The file is no image that can be read: send {known}.") from None
    width, height = image.size
    if width * height > limits.pixels:
        raise _too_large(limits)
    if is_deep(image):
        raise Refused(
            415,
            f"The image has more than 8 bits a channel (mode {image.mode}): convert it to 8 "
            "bits, with a range of values that suits it.",
        )
    return image


def upright(image: Image.Image) -> Image.Image:
    """The decoded image, turned as its EXIF data say.

    Raises:
      Refused: its data are truncated or broken.
    """
    try:
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception:  # As above.
        raise Refused(
            415, "The image is truncated or broken: save it again, or choose another."
        ) from None


def has_more(data: bytes) -> bool:
    """Whether the file holds more images than its first; a JPEG's second is its preview."""
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF", "WEBP")) as image:
            image.seek(1)
    except Exception:  # Decoders raise whatever a broken header leads them to.
        return False
    return True


def _too_large(limits: Limits) -> Refused:
    most = limits.pixels / 1e6
    return Refused(413, f"The image has more than {most:g} megapixels: make it smaller.")
