"""Names and scores beside the objects of a picture."""

import functools
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import ImageDraw, ImageFont

from segjax.drawing.object_colours import Colour, one_class
from segjax.drawing.overlay import LUMINANCE
from segjax.drawing.text_places import MOST_HIDDEN, MOST_INSIDE, Places, Region, around, within

MARGIN = 2
"""Pixels around a text."""

SMALLEST = 9
"""Height in pixels of the smallest letters that can be read."""

SHARE = 0.4
"""Height of the letters, as a share of their object's shorter side."""


class WrittenText(NamedTuple):
    """A text of an object.

    Attributes:
      forms: of the text, the longest first, such as ("car 0.93", "0.93").
      region: of the object.
      colour: behind the text.
      inside: whether it stands in the widest part of the object, if it fits there.
      beside: whether it may stand beside the object.
    """

    forms: Sequence[str]
    region: Region
    colour: Colour
    inside: bool = False
    beside: bool = True


def write_texts(
    draw: ImageDraw.ImageDraw,
    texts: Sequence[WrittenText],
    *,
    regions: Iterable[Region],
    size: tuple[int, int],
    letters: int,
) -> None:
    """Writes the texts beside their objects, or in them, where they hide no object.

    A text becomes shorter where the longer one would hide an object or an earlier text, and is
    left out where no form has a place. Small objects have smaller letters; objects that are
    smaller than the smallest letters have no text.

    Args:
      draw: of the picture.
      texts: the most important first.
      regions: of the objects that texts must not hide.
      size: height and width of the picture.
      letters: height of the letters in pixels.
    """
    places = Places(size, regions)
    smallest = min(letters, max(SMALLEST, letters // 2))
    for each in texts:
        own = max(smallest, min(letters, round(SHARE * min(each.region.sides))))
        if max(each.region.sides) < own:
            continue
        for text in each.forms:
            extent = _extent(draw, text, own)
            if (place := _place(each, extent, places, size)) is not None:
                _write(draw, text, place, extent, own, each.colour)
                break


def _place(
    text: WrittenText, extent: tuple[int, int, int], places: Places, size: tuple[int, int]
) -> tuple[int, int] | None:
    """Returns where a text goes, (y, x) of its corner, and takes the place; None: nowhere."""
    _, wide, high = extent
    found = None
    if text.inside:
        deepest = within(text.region, high, wide)
        found = places.take(deepest, high, wide, hidden=MOST_INSIDE)
    if found is None and text.beside:
        free = around(text.region, high, wide, size)
        found = places.take(free, high, wide, hidden=MOST_HIDDEN)
    return found


def _extent(draw: ImageDraw.ImageDraw, text: str, letters: int) -> tuple[int, int, int]:
    """Returns where a text begins, and width and height with its margins."""
    left, _, right, _ = draw.textbbox((0, 0), text, font=_font(letters))
    return round(left), round(right - left) + 2 * MARGIN, letters + MARGIN


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[int, int],
    extent: tuple[int, int, int],
    letters: int,
    colour: Colour,
) -> None:
    (y, x), (left, wide, high) = place, extent
    draw.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
    fill = "white" if np.dot(colour, LUMINANCE) < 128 else "black"
    at = x + MARGIN - left, y + high / 2
    draw.text(at, text, fill=fill, font=_font(letters), anchor="lm")


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


def object_texts(
    class_names: Sequence[str], number: int, *, score: float | None = None, crowd: bool = False
) -> tuple[str, str]:
    """Returns the text of an object and its short form, either of which may be "".

    Where the background and one class are all, the name would be the same on every object.

    >>> object_texts(("background", "car", "bus"), 1, score=0.934)
    ('car 0.93', '0.93')
    >>> object_texts(("background", "nucleus"), 1, score=0.934)
    ('0.93', '')

    Args:
      class_names: of the dataset, the background first.
      number: id of the object's class.
      score: of the object; None: it is not written.
      crowd: whether the object is a region of many.
    """
    own_score = "" if score is None else f"{score:.2f}"
    if one_class(class_names):
        return " ".join(part for part in (own_score, "(crowd)" * crowd) if part), ""
    text = object_text(class_names[number], number, score=score)
    return text + " (crowd)" * crowd, own_score
