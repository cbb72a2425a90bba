"""COCO's panoptic PNG: the id of each pixel's segment as a colour."""

import pathlib
from collections.abc import Collection
from typing import BinaryIO

import numpy as np
from jaxtyping import Int

from segjax.data.decode import DEFAULT_LIMIT, Limit, pages
from segjax.data.images import turned
from segjax.errors import InputError

VOID = 0
"""The id of pixels that belong to no segment."""


def segment_ids(
    file: pathlib.Path | BinaryIO, *, name: pathlib.Path, limit: Limit = DEFAULT_LIMIT
) -> Int[np.ndarray, "h w"]:
    """Returns red + 256 · green + 65536 · blue of each pixel.

    Raises:
      InputError: the file cannot be read, or does not hold colours of 8 bits; the line calls
        it `name`.
    """
    (page,) = pages(file, name=name, limit=limit)
    image = turned(page.image)
    if image.mode not in ("RGB", "RGBA") or page.bits != 8 or page.image.format != "PNG":
        raise InputError(
            f"{name} is not a panoptic PNG (mode {image.mode}): it needs colours of 8 bits, "
            "which hold the ids of segments."
        )
    red, green, blue = np.moveaxis(np.asarray(image)[..., :3].astype(np.int32), -1, 0)
    return red + 256 * green + 65536 * blue


def check_segments(
    ids: Int[np.ndarray, "h w"], listed: Collection[int], *, name: pathlib.Path
) -> None:
    """Raises InputError unless the PNG shows the segments that its JSON lists, and no others.

    Raises:
      InputError: a segment stands in one of the two only; the line names it.
    """
    shown = {*np.unique(ids).tolist()} - {VOID}
    for segment in sorted(shown - {*listed})[:1]:
        raise InputError(
            f"{name} shows the segment {segment}, which its `segments_info` does not list: add "
            "it there, or make the PNG anew."
        )
    for segment in sorted({*listed} - shown)[:1]:
        raise InputError(
            f"{name} does not show the segment {segment} of its `segments_info`: delete it "
            "there, or make the PNG anew."
        )
