"""Pictures of an audit: an example with its mask, and where a class is."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.drawing.overlay import WRONG, as_rgb, overlay, planes_overlay
from segjax.report.examples import shrunk

LONGEST = 260
"""The longer side of a picture, in pixels."""

Picture = tuple[str, UInt8[np.ndarray, "h w 3"]]


def example_pictures(example: Any, palette: np.ndarray) -> list[Picture]:
    """Returns (caption, pixels) of the image and of its mask, as far as they could be read.

    The mask is drawn over the image, or by itself if the two differ in size. Pixels of unknown
    ids are orange.
    """
    image, label = example.get("image"), example.get("label")
    if image is not None and image.ndim == 2:
        image = image[..., None]
    if label is None:
        return [] if image is None else [("Image", _small(image))]
    fits = image is not None and image.shape[:2] == label.shape[:2]
    unknown = example.get("unknown")
    mask = _painted(image if fits else None, label, palette, unknown)
    orange = "" if unknown is None else "; unknown ids are orange"
    pictures = [] if image is None else [("Image", _small(image))]
    if image is not None and not fits:
        captions = [f"{w} × {h} pixels" for h, w in (image.shape[:2], label.shape[:2])]
        return [
            (f"Image, {captions[0]}", _small(image)),
            (f"Mask, {captions[1]}{orange}", mask),
        ]
    return [*pictures, (f"Mask{orange}", mask)]


def class_picture(example: Any, k: int, palette: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image with one class tinted."""
    image = _small(example["image"])
    label = example["label"]
    inside = label[..., k] == 1 if label.ndim == 3 else label == k
    small = shrunk(inside.astype(np.uint8), LONGEST, nearest=True)
    return planes_overlay(image, small[..., None], palette[k : k + 1], opacity=0.6)


def _painted(
    image: np.ndarray | None,
    label: np.ndarray,
    palette: np.ndarray,
    unknown: np.ndarray | None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the mask over the image; without an image, in its colours alone."""
    ground = _small(np.zeros((*label.shape[:2], 3), np.uint8) if image is None else image)
    nearest = lambda plane: shrunk(plane.astype(np.uint8), LONGEST, nearest=True)
    if label.ndim == 3:
        planes = np.stack([nearest(label[..., k] == 1) for k in range(label.shape[-1])], -1)
        picture = planes_overlay(ground, planes, palette[: planes.shape[-1]], opacity=0.6)
        ignored = nearest((label == IGNORE).any(-1))
        return np.where(ignored[..., None] > 0, palette[IGNORE], picture)
    ids = np.where((label < 0) | (label > IGNORE), IGNORE, label)
    opacity = 1.0 if image is None else 0.6
    picture = overlay(ground, nearest(ids), palette, opacity=opacity)
    if unknown is not None:
        picture = np.where(nearest(unknown)[..., None] > 0, WRONG, picture)
    return picture.astype(np.uint8)


def _small(image: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    image = image if image.ndim == 3 else image[..., None]
    return shrunk(as_rgb(image), LONGEST)
