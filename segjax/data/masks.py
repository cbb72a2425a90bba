"""Mask files → the samples that they store: what a decoder scales for the eye is undone."""

import pathlib
import re

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageOps

from segjax.data.decode import Page
from segjax.data.lossy_masks import EXAMPLE
from segjax.errors import InputError

LARGEST = {"1": 1, "L;2": 3, "L;4": 15, "L": 255, "LX": 255}
"""The largest stored sample of each kind of grey file; Pillow shows all of them as 0 … 255."""

_GREY = re.compile(r"(1|L;2|L;4|LX?);?(I?)R?")
"""Pillow's names for kinds of grey: I where zero is white, R where bits are reversed."""

_REMEDY = (
    "convert each colour to its class id and save one channel, or a palette image; or, for "
    "Folder, name the colours: mask_colours=(((128, 64, 128), 0), ((0, 0, 0), 255))."
)
_LOSSLESS = ("PNG", "BMP", "DIB", "TIFF", "GIF")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")


def stored_samples(page: Page, name: pathlib.Path) -> Int[np.ndarray, "h w"]:
    """Returns the samples that a mask stores (palette: indices), turned as its EXIF data say.

    A grey file's samples are not scaled, whatever its bits, and not inverted, whatever it calls
    white. Three equal colour channels are one. A GIF's colours, all of them grey, are its
    samples: its indices are numbered anew by whatever program saves it. Floats are taken where
    all are whole numbers.

    Raises:
      InputError: the file is compressed with loss, holds different colours, transparent pixels
        or numbers that are not whole, or is a moving picture; the line names it.
    """
    check_format(page, name)
    page_image = ImageOps.exif_transpose(page.image)
    mode = page_image.mode
    if mode in ("1", "L"):
        return _grey(page_image, page)
    if mode == "P" and page.image.format == "GIF":
        return _grey_levels(page_image, name)
    if mode in ("P", "I") or mode.startswith("I;16"):
        return _integers(np.asarray(page_image), page)
    if mode == "F":
        return _whole_numbers(page_image, name)
    if mode in ("LA", "La", "PA", "RGB", "RGBA") and page.bits == 8:
        return _one_channel(page_image, name)
    raise InputError(
        f"{name} holds colours (mode {mode}, {page.bits} bits), not class ids: {_REMEDY}"
    )


def stored_planes(page: Page, name: pathlib.Path) -> list[Int[np.ndarray, "h w"]]:
    """Returns the samples of each channel that a mask stores, one plane a channel.

    Two channels (grey and alpha), three (colours) and four (colours and alpha) of 8 bits are
    planes of their own here, alpha too.

    Raises:
      InputError: as `stored_samples`, or channels have more than 8 bits or are multiplied by
        alpha.
    """
    check_format(page, name)
    if page.image.mode in ("LA", "RGB", "RGBA") and page.bits == 8 and "a" not in page.raw:
        array = np.asarray(ImageOps.exif_transpose(page.image))
        return list(np.moveaxis(array, -1, 0))
    return [stored_samples(page, name)]


def is_lossy(page: Page) -> bool:
    """Returns whether a file's compression changes its samples."""
    compression = page.image.info.get("compression", "")
    return page.image.format not in _LOSSLESS or (
        page.image.format == "TIFF" and compression in _LOSSY_TIFF
    )


def largest_sample(page: Page) -> int:
    """Returns the largest sample that a mask's file could store; 255 for a palette."""
    match = _GREY.fullmatch(page.raw)
    return LARGEST[match[1]] if match else 2**page.bits - 1


def check_format(page: Page, name: pathlib.Path) -> None:
    """Raises InputError unless the file keeps samples exactly, in a single frame or pages."""
    kind = page.image.format or "?"
    compression = page.image.info.get("compression", "")
    if is_lossy(page):
        raise InputError(
            f"{name} is compressed as {compression or kind}, which changes class ids: make it "
            f"again without loss, as PNG. If it is black and white, set {EXAMPLE}."
        )
    if page.count > 1 and kind != "TIFF":
        # Pillow paints later frames over earlier ones, in colours.
        raise InputError(
            f"{name} holds {page.count} frames: save each as a mask of its own, or all as the "
            "pages of a TIFF."
        )


def _grey(image: Image.Image, page: Page) -> Int[np.ndarray, "h w"]:
    match = _GREY.fullmatch(page.raw)
    if match is None:
        raise ValueError(f"Pillow's raw mode {page.raw!r} is not known.")
    largest, shown = LARGEST[match[1]], np.asarray(image).astype(np.uint8)
    samples = shown if match[1] == "1" else shown // (255 // largest)
    return _integers(largest - samples if match[2] else samples, page)


def _grey_levels(image: Image.Image, name: pathlib.Path) -> Int[np.ndarray, "h w"]:
    """Returns the colours of a palette image, of which all that occur are grey."""
    indices = np.asarray(image)
    colours = np.zeros((256, 3), np.uint8)
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colours[: len(palette)] = palette
    used = colours[np.unique(indices)]
    if (used != used[:, :1]).any():
        raise InputError(
            f"{name} is a GIF with colours, which numbers them anew in each file: save the ids "
            "as PNG, or as grey levels."
        )
    return colours[:, 0][indices]


def _integers(samples: np.ndarray, page: Page) -> Int[np.ndarray, "h w"]:
    """Returns the samples in the file's type; Pillow takes 8 bits as unsigned, 32 as signed."""
    if page.bits == 8 and page.signed:
        return samples.view(np.int8)
    if page.bits == 32 and not page.signed:
        return samples.view(np.uint32)
    return samples.astype(samples.dtype.newbyteorder("="))


def are_ids(values: Float[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    """Returns where floats are whole numbers that 32 bits hold."""
    with np.errstate(invalid="ignore"):
        return (np.rint(values) == values) & (np.abs(values) < 2**31)


def _whole_numbers(image: Image.Image, name: pathlib.Path) -> Int[np.ndarray, "h w"]:
    values = np.asarray(image)
    whole = are_ids(values)
    if not whole.all():
        raise InputError(
            f"{name} holds {values[~whole][0]:g}, which is not a class id: save whole numbers."
        )
    return values.astype(np.int32)


def _one_channel(image: Image.Image, name: pathlib.Path) -> Int[np.ndarray, "h w"]:
    """Returns the first of equal channels; where there is transparency it hides nothing."""
    array = np.asarray(image)
    if image.mode != "RGB":
        if (array[..., -1] != 255).any():
            raise InputError(
                f"{name} has transparent pixels, whose class it does not say: save the class "
                "ids as one channel, without transparency."
            )
        array = array[..., :-1]
    if (array != array[..., :1]).any():
        raise InputError(f"{name} holds colours (mode {image.mode}), not class ids: {_REMEDY}")
    return array[..., 0]
