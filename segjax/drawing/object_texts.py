"""Names and scores beside the objects of a picture."""

import functools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import ImageDraw, ImageFont

from segjax.drawing.object_colours import Colour
from segjax.drawing.overlay import LUMINANCE

MARGIN = 2
"""Pixels around a text."""


class WrittenText(NamedTuple):
    """A text, the upper left corner of its object, and the colour behind it."""

    text: str
    x: int
    y: int
    colour: Colour


def write_texts(
    draw: ImageDraw.ImageDraw,
    texts: Sequence[WrittenText],
    *,
    size: tuple[int, int],
    letters: int,
) -> None:
    """Writes each text above its object, inside the picture, unless it covers an earlier one.

    Args:
      draw: of the picture.
      texts: the most important first.
      size: height and width of the picture.
      letters: height of the letters in pixels.
    """
    font, taken = _font(letters), []
    height, width = size
    for text, at_x, at_y, colour in texts:
        left, _, right, _ = draw.textbbox((0, 0), text, font=font)
        wide, high = round(right - left) + 2 * MARGIN, letters + 2 * MARGIN
        x = max(0, min(at_x, width - wide))
        y = at_y - high if at_y >= high else max(0, min(at_y, height - high))
        if any(_overlap((x, y, x + wide, y + high), other) for other in taken):
            continue
        taken.append((x, y, x + wide, y + high))
        draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
        fill = "white" if np.dot(colour, LUMINANCE) < 128 else "black"
        draw.text((x + MARGIN - left, y + high / 2), text, fill=fill, font=font, anchor="lm")


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_font_file()), size)


@functools.cache
def _font_file() -> pathlib.Path:
    import matplotlib  # Its own font has Latin, Greek and Cyrillic letters.

    return pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@functools.cache
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(_font_file())).get_charmap())


def object_text(name: str, number: int, *, score: float | None = None) -> str:
    """Returns "car 0.93"; "class 3 0.93" of a name in a script without letters here.

    >>> object_text("car", 3, score=0.934), object_text("汽车", 3)
    ('car 0.93', 'class 3')
    """
    shown = name if all(ord(letter) in _letters() for letter in name) else f"class {number}"
    return shown if score is None else f"{shown} {score:.2f}"
