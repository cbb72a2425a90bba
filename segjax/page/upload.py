"""Uploaded bytes → an upright image; everything else is refused."""

import io

from PIL import Image

from segjax.data.decode import open_image, page_numbers, stored
from segjax.data.images import turned, unreadable
from segjax.page.limits import Limits, Refused

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""The only formats that are decoded."""


def opened(data: bytes, limits: Limits) -> Image.Image:
    """Returns the uploaded image with its header read and no pixel decoded.

    Raises:
      Refused: the file is empty, of an unknown format, too large, has more than 8 bits for each
        channel, or contains several images.
    """
    if not data:
        raise Refused(400, "The file is empty: choose an image.")
    try:
        image = open_image(io.BytesIO(data), formats=FORMATS)
        count = len(page_numbers(image))
        _, bits, signed = stored(image)
    except Exception:  # Decoders raise whatever a broken header leads them to.
        known = "JPEG, PNG, WebP, BMP or TIFF"
        raise Refused(415, f"The file cannot be read as an image: send {known}.") from None
    width, height = image.size
    if width * height > limits.pixels:
        raise _too_large(limits)
    if count > 1:
        raise Refused(
            415,
            f"The file contains {count} images: send one image, or use segjax.predict, which "
            "predicts each of them.",
        )
    if reason := unreadable(image, bits, signed):
        raise Refused(415, f"The image {reason}")
    return image


def upright_upload(image: Image.Image) -> Image.Image:
    """Returns the decoded image, rotated as its EXIF data say.

    Raises:
      Refused: its data are truncated or broken.
    """
    try:
        image.load()
        return turned(image)
    except Exception:  # As above.
        raise Refused(
            415, "The image is truncated or broken: save it again, or choose another."
        ) from None


def _too_large(limits: Limits) -> Refused:
    most = limits.pixels / 1e6
    return Refused(413, f"The image has more than {most:g} megapixels: make it smaller.")
