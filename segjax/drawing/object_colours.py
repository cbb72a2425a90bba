"""Colours of objects: shades of their classes' colours, or as different as possible."""

import colorsys
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from segjax.drawing.overlay import LUMINANCE, Palette
from segjax.objects import Objects, PanopticMap

Colour = tuple[int, int, int]
"""Red, green and blue from 0 to 255."""

GOLDEN = 0.618034
"""Multiples of it, modulo 1, stay far from each other, however many there are."""

NO_COLOUR: Colour = (255, 255, 255)
"""Of objects whose class is black, which would only darken the image."""


def object_colours(classes: Sequence[int], palette: Palette) -> list[Colour]:
    """Returns a colour an object: the class's for its first object, then shades of it."""
    seen: dict[int, int] = {}
    colours = []
    for index in classes:
        place = seen[index] = seen.get(index, -1) + 1
        colours.append(shade(_visible(palette[index]), place))
    return colours


def _visible(colour: UInt8[np.ndarray, " 3"]) -> Colour:
    red, green, blue = map(int, colour)
    return (red, green, blue) if max(red, green, blue) else NO_COLOUR


def shade(colour: Colour, place: int) -> Colour:
    """Returns the colour at place 0, and lighter, darker and slightly turned ones after it.

    >>> shade((200, 0, 0), 0)
    (200, 0, 0)
    """
    if place == 0:
        return colour
    hue, light, full = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    turn = (place * GOLDEN) % 1
    hue = (hue + 0.12 * (turn - 0.5)) % 1
    light = 0.3 + 0.45 * ((light + turn) % 1)
    red, green, blue = colorsys.hls_to_rgb(hue, light, full)
    return round(255 * red), round(255 * green), round(255 * blue)


def distinct_colours(count: int) -> list[Colour]:
    """Returns bright colours whose neighbours in the list differ much.

    >>> len({*distinct_colours(100)})
    100
    """
    colours = []
    for place in range(count):
        hue, light = (0.55 + place * GOLDEN) % 1, (0.55, 0.68, 0.45)[place % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, light, 0.85)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colours


def one_class(class_names: Sequence[str]) -> bool:
    """Returns whether a detector finds one class alone, beside the background.

    Then names tell nothing about objects, and colours need not tell classes apart.

    >>> one_class(("background", "nucleus")), one_class(("background", "car", "bus"))
    (True, False)
    """
    return len(class_names) <= 2


def colours_of(objects: Objects, palette: Palette, class_names: Sequence[str]) -> list[Colour]:
    """Returns a colour an object: shades of its class's, or `distinct_colours` of one class."""
    if one_class(class_names):
        return distinct_colours(len(objects))
    return object_colours(objects.classes.tolist(), palette)


def segment_colours(panoptic: PanopticMap, palette: Palette) -> dict[int, Colour]:
    """Returns {id of a segment: its colour}: shades for things of one class."""
    segments = panoptic.segments
    colours = object_colours([each.class_id for each in segments], palette)
    return {each.id: colour for each, colour in zip(segments, colours, strict=True)}


def line_colour(colour: Colour) -> Colour:
    """Returns the colour of a line: halfway to white of a dark colour, which a photo hides.

    >>> line_colour((64, 0, 128)), line_colour((0, 255, 0))
    ((159, 127, 191), (0, 255, 0))
    """
    if np.dot(colour, LUMINANCE) >= 96:
        return colour
    red, green, blue = (part // 2 + 127 for part in colour)
    return red, green, blue
