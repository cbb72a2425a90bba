"""Colours of label ids, as tables of 256 × 3."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segjax.contracts import IGNORE
from segjax.errors import InputError

VOID = (224, 224, 192)
"""The colour of ignored pixels: entry 255 of PASCAL VOC's table."""


def voc_palette() -> UInt8[np.ndarray, "256 3"]:
    """Returns PASCAL VOC's table.

    Three bits of an id at a time are the high bits of red, green and blue.

    >>> voc_palette()[[0, 1, 2, 20, 255]].tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [0, 64, 128], [224, 224, 192]]
    """
    ids = np.arange(256)
    table = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = ids >> (3 * place + channel) & 1
            table[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return table


def check_colours(who: str, colours: Any, num_classes: int) -> None:
    """Raises InputError unless they are None or one (red, green, blue), 0 to 255, a class."""
    if colours is None:
        return
    if not isinstance(colours, tuple | list) or not all(map(_is_colour, colours)):
        raise InputError(
            f"{who} has colours={colours!r}: write one (red, green, blue), 0 to 255, a class, "
            "as colours=((0, 0, 0), (128, 0, 0))."
        )
    if len(colours) != num_classes:
        raise InputError(
            f"{who} needs one colour a class, got {len(colours)} colours for {num_classes} "
            "classes."
        )


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 3
        and all(
            isinstance(part, numbers.Integral) and not isinstance(part, bool) for part in value
        )
        and all(0 <= part <= 255 for part in value)
    )


def palette_of(colours: Sequence[Sequence[int]]) -> UInt8[np.ndarray, "256 3"]:
    """Returns a table that begins with `colours`; later ids are black, 255 is `VOID`."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    table[IGNORE] = VOID
    return table


def voc_planes(count: int) -> UInt8[np.ndarray, "256 3"]:
    """Returns VOC's colours for `count` planes, without black, its first.

    >>> voc_planes(2)[[0, 1, 255]].tolist()
    [[128, 0, 0], [0, 128, 0], [224, 224, 192]]
    """
    return palette_of(voc_palette()[1 : count + 1].tolist())
