"""Outlines that annotation tools write as numbers → masks.

Coordinates are those of COCO: pixel (row 0, column 0) covers x and y from 0 to 1. Polygons and
boxes are drawn by COCO's own code (pycocotools); circles and ellipses cover the pixels whose
centres lie inside.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from pycocotools import mask as coco_mask

from segjax.convert.annotated import Mask_HW, Size
from segjax.errors import InputError

Draw = Callable[[Size], Mask_HW]

FARTHEST = 50
"""Coordinates are refused from so many times the image's longer side on."""


def numbers(texts: Sequence[str | float], *, where: str) -> list[float]:
    """Returns finite numbers.

    Raises:
      InputError: a text is not a number, or is NaN or infinite; the line begins with `where`.
    """
    values = []
    for text in texts:
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                f"{where} has the coordinate {text!r}, which is not a finite number: correct "
                "it, or delete the shape."
            )
        values.append(value)
    return values


def polygon(x_y: Sequence[float], *, where: str) -> Draw:
    """Returns what draws a closed polygon (x1, y1, x2, y2, …) by COCO's rule.

    Raises:
      InputError: it has fewer than three points, or an odd count of numbers. Drawing raises
        one if it lies outside of the image.
    """
    if len(x_y) % 2:
        raise InputError(
            f"{where} has {len(x_y)} numbers, but each point has an x and a y: correct it, or "
            "delete the shape."
        )
    if len(x_y) < 6:
        count = len(x_y) // 2
        points = f"{count} point" + "s" * (count != 1)
        raise InputError(
            f"{where} is a polygon of {points}, and at least 3 enclose an area: add points, or "
            "delete the shape."
        )
    points = np.asarray(x_y, np.float64).reshape(-1, 2)

    def draw(size: Size) -> Mask_HW:
        check_within(points, size, where=where)
        runs = coco_mask.frPyObjects([points.ravel().tolist()], size.height, size.width)
        return coco_mask.decode(runs)[..., 0].astype(bool)

    return draw


def box(left: float, top: float, right: float, bottom: float, *, where: str) -> Draw:
    """Returns what draws a filled box as a polygon of its corners."""
    return polygon([left, top, right, top, right, bottom, left, bottom], where=where)


def rotated_box(
    left: float, top: float, right: float, bottom: float, *, degrees: float, where: str
) -> Draw:
    """Returns what draws a filled box turned clockwise, on the screen, about its centre."""
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turned = (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
    return polygon(turned.ravel().tolist(), where=where)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, *, degrees: float = 0.0, where: str
) -> Draw:
    """Returns what draws the pixels whose centres lie in an ellipse, turned clockwise.

    Raises:
      InputError: a radius is negative. Drawing raises one if the ellipse lies outside of the
        image.
    """
    if min(radius_x, radius_y) < 0:
        raise InputError(
            f"{where} has the radius {min(radius_x, radius_y):g}, which is negative: correct "
            "it, or delete the shape."
        )
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    reach = np.hypot([radius_x * cos, radius_x * sin], [radius_y * sin, radius_y * cos])
    extent = np.array([[x, y] - reach, [x, y] + reach])

    def draw(size: Size) -> Mask_HW:
        check_within(extent, size, where=where)
        if not min(radius_x, radius_y):
            return np.zeros(size, bool)
        dx = np.arange(size.width) + 0.5 - x
        dy = np.arange(size.height)[:, None] + 0.5 - y
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        return (along / radius_x) ** 2 + (across / radius_y) ** 2 <= 1

    return draw


def check_within(points: Float[np.ndarray, "n 2"], size: Size, *, where: str) -> None:
    """Raises InputError if (x, y) points all lie on one side of the image, or very far away.

    Raises:
      InputError: they do; the line begins with `where`.
    """
    low, high = points.min(0), points.max(0)
    extent = np.array([size.width, size.height])
    image = f"the image ({size.width} x {size.height} pixels)"
    remedy = "correct it, delete the shape, or give the image that it was drawn on."
    if (high < 0).any() or (low > extent).any():
        raise InputError(
            f"{where} lies outside of {image}: its x goes from {low[0]:g} to {high[0]:g}, its "
            f"y from {low[1]:g} to {high[1]:g}: {remedy}"
        )
    far = max(high.max(), -low.min())
    if far > FARTHEST * extent.max():
        raise InputError(
            f"{where} has the coordinate {far:g}, far outside of {image}: {remedy}"
        )
