"""Pictures of labels and predictions: palette PNGs, overlays, comparisons. NumPy and Pillow.

A palette is 256 × 3, with the colour of each class id; row 255 is for ignored pixels. Images
may be uint8, uint16 or float: `as_rgb` makes them visible. Functions return arrays; those with
`_image` or `_png` in their name return PIL images, which a notebook shows.
"""

import os
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from segjax.atomic import atomic_path
from segjax.contracts import IGNORE
from segjax.labels import as_ids, check_on_image

Image_HWC = Shaped[np.ndarray, "..."]
"""h w c; functions of image and label raise ValueError, with both shapes, if they differ."""

Label_HW = Any
"""h w of ids 0 … 255: an integer array or nested lists."""

Palette = UInt8[np.ndarray, "256 3"]
RGB_HW3 = UInt8[np.ndarray, "h w 3"]

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in the brightness (ITU-R BT.601)."""

WRONG = np.array([255, 84, 20], np.uint8)
"""Orange-red on dark grey: the two differ in brightness too, for colour-blind people."""

UNCOUNTED = np.array([150, 150, 150], np.uint8)


def palette_png(label: Label_HW, palette: Palette) -> Image.Image:
    """Returns a PIL image of mode "P" whose pixel values are the class ids."""
    image = Image.fromarray(_ids("label", label))
    image.putpalette(palette.tobytes(), "RGB")
    return image


def save_png(image: Image.Image, path: str | os.PathLike) -> None:
    """Writes a PNG by way of a temporary file, so that no partial file can remain."""
    with atomic_path(path) as partial:
        image.save(partial, format="PNG")


def colour(label: Label_HW, palette: Palette) -> RGB_HW3:
    """Returns the palette's colour at every pixel."""
    return palette[_ids("label", label)]


def _ids(name: str, label: Label_HW) -> UInt8[np.ndarray, "h w"]:
    """Returns the label map as uint8; it raises ValueError for ids that do not fit."""
    ids = np.asarray(as_ids(name, label))
    if ids.ndim != 2 or ids.min(initial=0) < 0 or ids.max(initial=0) > 255:
        raise ValueError(
            f"A label map must be h w with ids 0 to 255, but {name} has shape {ids.shape} and "
            f"ids {ids.min(initial=0)} to {ids.max(initial=0)}."
        )
    return ids.astype(np.uint8)


def as_rgb(image: Image_HWC) -> RGB_HW3:
    """Returns the image as 8-bit RGB.

    uint8 is kept, and floats within 0 … 1 are multiplied by 255. Other values (12 bits in
    uint16, normalised floats) are stretched from the 0.5th to the 99.5th percentile. Of one or
    two channels, the first is shown as grey; of four or more, the first three are shown.
    """
    image = image[..., :3] if image.shape[-1] >= 3 else image[..., :1]
    if image.dtype != np.uint8:
        image = _to_uint8(image)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def _to_uint8(image: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(image.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = 0.0, 1.0
    if image.dtype.kind != "f" or values.min() < 0 or values.max() > 1:
        low, high = np.percentile(values, (0.5, 99.5))
    scaled = (values - low) / max(high - low, 1e-12)
    return np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)


def overlay(
    image: Image_HWC,
    label: Label_HW,
    palette: Palette,
    *,
    opacity: float = 0.5,
    ignore: int = IGNORE,
) -> RGB_HW3:
    """Returns the image tinted with the classes' colours, with a thin outline of each region.

    The outline is one pixel wide, inside the class with the higher id, and a lighter or darker
    shade of its colour, so that a region of one pixel stays visible. Pixels of `ignore` and of
    black classes, such as VOC's background, show the image: a black tint would only darken it.

    Raises:
      ValueError: image and label differ in size, an id is not 0 … 255, or `opacity` is not
        within 0 … 1.
    """
    check_on_image(image, label=label)
    label = _ids("label", label)
    if not 0 <= opacity <= 1:
        raise ValueError(
            f"Opacity must be from 0 (image only) to 1 (colour only), got {opacity}."
        )
    plain = (label == ignore) | (palette.max(axis=1) == 0)[label]
    rgb = as_rgb(image)
    mixed = (1 - opacity) * rgb + opacity * palette[label]
    tinted = np.where(plain[..., None], rgb, np.rint(mixed).astype(np.uint8))
    return np.where(_edges(label, plain)[..., None], _shades(palette)[label], tinted)


def overlay_image(
    image: Image_HWC,
    label: Label_HW,
    palette: Palette,
    *,
    opacity: float = 0.5,
    ignore: int = IGNORE,
) -> Image.Image:
    """Returns `overlay` as a PIL image.

    Raises:
      ValueError: as `overlay`.
    """
    return Image.fromarray(overlay(image, label, palette, opacity=opacity, ignore=ignore))


def planes_overlay(
    image: Image_HWC,
    planes: Shaped[np.ndarray, "h w k"],
    colours: Shaped[np.ndarray, "k 3"],
    *,
    opacity: float = 0.5,
) -> RGB_HW3:
    """Returns the image with planes drawn over it as by `overlay`, the first one lowest.

    Planes may overlap and are true inside. `colours` has a row for each plane; black is drawn
    as white.

    Raises:
      ValueError: as `overlay`.
    """
    rgb = as_rgb(image)
    for k in range(planes.shape[-1]):
        table = np.zeros((256, 3), np.uint8)
        table[1] = colours[k] if np.any(colours[k]) else 255
        inside = np.asarray(planes[..., k], bool).astype(np.uint8)
        rgb = overlay(rgb, inside, table, opacity=opacity)
    return rgb


def _edges(label: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Returns the pixels beside a lower class; pixels that show the image are the lowest."""
    rank_HW = np.where(plain, -1, label.astype(np.int16))
    padded = np.pad(rank_HW, 1, mode="edge")
    neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    return rank_HW > np.minimum.reduce(neighbours)


def _shades(palette: np.ndarray) -> np.ndarray:
    """Returns each colour moved halfway to white if it is dark, or to black if it is bright."""
    dark = palette @ LUMINANCE < 128
    return (palette // 2 + np.where(dark, 127, 0)[:, None]).astype(np.uint8)


def errors(
    image: Image_HWC, label: Label_HW, prediction: Label_HW, *, ignore: int = IGNORE
) -> RGB_HW3:
    """Returns the image in dark grey, with wrong pixels orange and ignored pixels plain grey.

    Raises:
      ValueError: the three differ in size, or an id is not 0 … 255.
    """
    check_on_image(image, label=label, prediction=prediction)
    label, prediction = _ids("label", label), _ids("prediction", prediction)
    dimmed = (0.45 * (as_rgb(image) @ LUMINANCE)).astype(np.uint8)
    picture = np.repeat(dimmed[..., None], 3, axis=-1)
    picture[label != prediction] = WRONG
    picture[label == ignore] = UNCOUNTED
    return picture


def panels(
    image: Image_HWC,
    label: Label_HW,
    prediction: Label_HW,
    palette: Palette,
    *,
    ignore: int = IGNORE,
) -> tuple[RGB_HW3, RGB_HW3, RGB_HW3, RGB_HW3]:
    """Returns image, overlay of the truth, overlay of the prediction, and errors.

    Raises:
      ValueError: the three differ in size, or an id is not 0 … 255.
    """
    check_on_image(image, label=label, prediction=prediction)
    rgb = as_rgb(image)
    return (
        rgb,
        overlay(rgb, label, palette, ignore=ignore),
        overlay(rgb, prediction, palette, ignore=ignore),
        errors(rgb, label, prediction, ignore=ignore),
    )


def side_by_side(
    image: Image_HWC,
    label: Label_HW,
    prediction: Label_HW,
    palette: Palette,
    *,
    ignore: int = IGNORE,
    gap: int = 4,
) -> UInt8[np.ndarray, "h w4 3"]:
    """Returns `panels` in one row of h × (4 w + 3 gap) pixels, with white gaps.

    Raises:
      ValueError: the three differ in size, or an id is not 0 … 255.
    """
    pictures = panels(image, label, prediction, palette, ignore=ignore)
    white = np.full((image.shape[0], gap, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (picture, white)]
    return np.concatenate(row[:-1], axis=1)


def side_by_side_image(
    image: Image_HWC,
    label: Label_HW,
    prediction: Label_HW,
    palette: Palette,
    *,
    ignore: int = IGNORE,
    gap: int = 4,
) -> Image.Image:
    """Returns `side_by_side` as a PIL image.

    Raises:
      ValueError: as `side_by_side`.
    """
    row = side_by_side(image, label, prediction, palette, ignore=ignore, gap=gap)
    return Image.fromarray(row)
