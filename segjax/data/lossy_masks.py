"""Black-and-white masks in JPEG files, whose grey levels a label map cuts into classes.

JPEG changes pixels a little, so a stored sample is not a class id. Where a label map makes one
class of all dark levels and one of all light ones, small changes do no harm.
"""

import pathlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segjax.data.label_map import LabelMap, classes_of
from segjax.errors import InputError

EXAMPLE = 'label_map=((">127", 1), ("else", 0))'

BLACK, WHITE = 32, 223
"""Levels from black to here and from here to white are what JPEG makes of black and white."""

MOST_COLOUR = 48
"""Levels by which the channels of a grey JPEG may differ."""


class Levels(NamedTuple):
    """Pixels of a mask that are neither near black nor near white, and all of its pixels."""

    between: int
    total: int


def cuts_levels(label_map: LabelMap) -> bool:
    """Returns whether a label map is a threshold: at most a band between dark and light.

    >>> cuts_levels(((">127", 1), ("else", 0)))
    True
    >>> cuts_levels(((">191", 1), ("<64", 0), ("else", 255)))
    True
    >>> cuts_levels((("nonzero", 1),)), cuts_levels(())
    (False, False)
    """
    classes = classes_of(range(256), label_map)
    changes = [level for level, (one, next) in enumerate(pairwise(classes)) if one != next]
    return len(changes) in (1, 2) and BLACK <= changes[0] and changes[-1] < WHITE


def grey_levels(image: Image.Image, name: pathlib.Path) -> UInt8[np.ndarray, "h w"]:
    """Returns the brightness of an image of grey levels.

    Raises:
      InputError: it has colours.
    """
    if image.mode != "L":
        rgb = np.asarray(image.convert("RGB")).astype(np.int16)
        if (spread := int((rgb.max(-1) - rgb.min(-1)).max())) > MOST_COLOUR:
            raise InputError(
                f"{name} is a JPEG with colours (channels differ by {spread}), which are not "
                "class ids: make the mask again without loss, as PNG."
            )
    return np.asarray(image.convert("L"))


def levels(samples: UInt8[np.ndarray, "h w"]) -> Levels:
    """Returns how many pixels are neither near black nor near white."""
    return Levels(int(((samples > BLACK) & (samples < WHITE)).sum()), samples.size)


def statement(found: Sequence[Levels]) -> str | None:
    """Returns a line on the masks that were read with loss; None if there are none."""
    if not found:
        return None
    between, total = (sum(column) for column in zip(*found, strict=True))
    return (
        f"{len(found)} mask(s) are JPEG files: label_map cuts their grey levels into classes. "
        f"{100 * between / total:.2f} % of their pixels lie between {BLACK} and {WHITE}, where "
        "the class depends on the threshold."
    )
