"""What an audit keeps of one example: counts, digests and a small grey picture of the image."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segjax.audit.objects import ObjectLook, look_at_objects
from segjax.data.class_counts import LabelCounts, label_counts
from segjax.drawing.overlay import as_rgb

SIDE = 32
"""Pixels of a side of the grey picture by which near-copies are found."""


class Look(NamedTuple):
    """One example, as the audit remembers it.

    Attributes:
      name: of the example.
      place: where its `Examples` finds it again.
      size: (height, width) of the image.
      channels: of the image.
      files: how image and masks are stored, such as ("JPEG, 8-bit RGB", "PNG, 8-bit L").
      counts: of its label.
      image_digest, label_digest: of the pixels.
      grey: the image, shrunk to `SIDE` × `SIDE`.
      objects: of the example, if it has any.
    """

    name: str
    place: Any
    size: tuple[int, int]
    channels: int
    files: tuple[str, ...]
    counts: LabelCounts
    image_digest: str
    label_digest: str
    grey: UInt8[np.ndarray, "s s"]
    objects: ObjectLook | None = None


def look_at(
    example: Mapping[str, Any],
    place: Any,
    *,
    classes: int,
    planes: bool,
    files: tuple[str, ...] = (),
    unknown: Mapping[int, int] | None = None,
) -> Look:
    """Returns what is kept of an example.

    `unknown` are ids that its label has as 255 by now; those that it still has are added.
    """
    image, label = example["image"], example["label"]
    image = image if image.ndim == 3 else image[..., None]
    counts = label_counts(label, classes=classes, planes=planes)
    if unknown and not planes:
        ignored = counts.ignored[0] - sum(unknown.values())
        counts = counts._replace(ignored=(ignored,), unknown={**counts.unknown, **unknown})
    return Look(
        str(example["name"]),
        place,
        image.shape[:2],
        image.shape[2],
        files or (f"{image.dtype.name} array", f"{label.dtype.name} array"),
        counts,
        _digest(image),
        _digest(label),
        _grey(image),
        look_at_objects(example),
    )


def _digest(array: np.ndarray) -> str:
    about = f"{array.shape} {array.dtype.name}".encode()
    data = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return hashlib.blake2b(about + data.tobytes(), digest_size=12).hexdigest()


def _grey(image: np.ndarray) -> UInt8[np.ndarray, "s s"]:
    rgb = Image.fromarray(as_rgb(image))
    # Colour is reduced after the size, which is faster.
    return np.asarray(rgb.resize((SIDE, SIDE), Image.Resampling.BOX).convert("L"))
