"""Outlines that annotation tools write as numbers → masks.

Coordinates are those of COCO: pixel (row 0, column 0) covers x and y from 0 to 1. Polygons and
boxes are drawn by COCO's own code; circles and ellipses cover the pixels whose
centres lie inside.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segjax.convert.annotated import Mask_HW, Size
from segjax.data import coco_shapes
from segjax.data.coco_shapes import FARTHEST
from segjax.errors import InputError

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Outline:
    """A shape that can be drawn.

    Attributes:
      draw: returns its pixels in an image of a size; what lies outside is cut off.
      bounds: left, top, right and bottom.
    """

    draw: Callable[[Size], Mask_HW]
    bounds: Bounds


def numbers(texts: Sequence[str | float], *, where: str) -> list[float]:
    """Returns finite numbers.

    Raises:
      InputError: a text is not a number, is NaN or infinite, or above a million; the line
        begins with `where`.
    """
    values = []
    for text in texts:
        try:
            value = float(text)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                f"{where} has the coordinate {text!r}, which is not a finite number: correct "
                "it, or delete the shape."
            )
        if abs(value) > FARTHEST:
            raise InputError(
                f"{where} has the coordinate {value:g}, far outside of any image: correct it, "
                "or delete the shape."
            )
        values.append(value)
    return values


def is_number(value: Any) -> bool:
    """Returns whether a value of JSON is a number; true, false and texts are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_polygon(x_y: Sequence[float], *, where: str) -> None:
    """Raises InputError unless x1, y1, x2, y2, … are at least three points.

    Raises:
      InputError: they are not; the line begins with `where`.
    """
    if len(x_y) % 2:
        raise InputError(
            f"{where} has {len(x_y)} coordinates, but each point has an x and a y: correct it, "
            "or delete the shape."
        )
    if len(x_y) < 6:
        count = len(x_y) // 2
        points = f"{count} point" + "s" * (count != 1)
        raise InputError(
            f"{where} is a polygon of {points}, and at least 3 enclose an area: add points, or "
            "delete the shape."
        )


def polygon(x_y: Sequence[float], *, where: str) -> Outline:
    """Returns a closed polygon of the points x1, y1, x2, y2, …, which COCO's rule fills.

    Raises:
      InputError: it has fewer than three points, or an odd count of numbers.
    """
    check_polygon(x_y, where=where)
    flat = [float(value) for value in x_y]

    def draw(size: Size) -> Mask_HW:
        return coco_shapes.draw([flat], height=size.height, width=size.width, where=where)

    return Outline(draw, (min(flat[::2]), min(flat[1::2]), max(flat[::2]), max(flat[1::2])))


def box(
    left: float,
    top: float,
    right: float,
    bottom: float,
    *,
    degrees: float = 0.0,
    where: str,
) -> Outline:
    """Returns a filled box as a polygon, turned clockwise on the screen about its centre."""
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if degrees:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        corners = (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
    return polygon(corners.ravel().tolist(), where=where)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, *, degrees: float = 0.0, where: str
) -> Outline:
    """Returns an ellipse, turned clockwise: the pixels whose centres lie inside.

    Raises:
      InputError: a radius is not positive.
    """
    if min(radius_x, radius_y) <= 0:
        raise InputError(
            f"{where} has the radius {min(radius_x, radius_y):g}, which is not positive: "
            "correct it, or delete the shape."
        )
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    reach_x = math.hypot(radius_x * cos, radius_y * sin)
    reach_y = math.hypot(radius_x * sin, radius_y * cos)

    def draw(size: Size) -> Mask_HW:
        dx = np.arange(size.width) + 0.5 - x
        dy = np.arange(size.height)[:, None] + 0.5 - y
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        return (along / radius_x) ** 2 + (across / radius_y) ** 2 <= 1

    return Outline(draw, (x - reach_x, y - reach_y, x + reach_x, y + reach_y))


def pasted(mask: Mask_HW, *, left: int, top: int) -> Outline:
    """Returns a small mask at a place in the image."""
    height, width = mask.shape

    def draw(size: Size) -> Mask_HW:
        canvas = np.zeros(size, bool)
        y, x = max(top, 0), max(left, 0)
        shown = mask[y - top : max(size.height - top, 0), x - left : max(size.width - left, 0)]
        if shown.size:
            canvas[y : y + shown.shape[0], x : x + shown.shape[1]] = shown
        return canvas

    return Outline(draw, (left, top, left + width, top + height))
