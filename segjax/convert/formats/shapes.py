"""Shapes that people draw, as masks: Labelme's rules, which other formats share."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from segjax.convert.annotated import Mask_HW, Size
from segjax.errors import InputError

LINE_WIDTH, POINT_RADIUS = 10, 5
"""Labelme's: a line is so many pixels wide, a point is a disc of this radius."""

FARTHEST = 1e6
"""The largest coordinate, in pixels: Pillow takes longer for shapes far outside of images."""

LARGEST_CIRCLE = 25_000
"""The largest radius that Pillow draws: the fourth power of the diameter must fit 64 bits."""

Points = list[tuple[float, float]]
Draw = Callable[[ImageDraw.ImageDraw, Points], None]


def _circle(draw: ImageDraw.ImageDraw, points: Points) -> None:
    (x, y), on_edge = points
    _disc(draw, x, y, math.dist((x, y), on_edge))


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)


def _rectangle(draw: ImageDraw.ImageDraw, points: Points) -> None:
    (left, right), (top, bottom) = (sorted(side) for side in zip(*points, strict=True))
    draw.rectangle((left, top, right, bottom), outline=1, fill=1)


def _polygon(draw: ImageDraw.ImageDraw, points: Points) -> None:
    draw.polygon(points, outline=1, fill=1)


def _line(draw: ImageDraw.ImageDraw, points: Points) -> None:
    draw.line(points, fill=1, width=LINE_WIDTH)


def _points(draw: ImageDraw.ImageDraw, points: Points) -> None:
    for x, y in points:
        _disc(draw, x, y, POINT_RADIUS)


SHAPES: dict[str, tuple[int, int | None, Draw]] = {
    "polygon": (3, None, _polygon),
    "rectangle": (2, 2, _rectangle),
    "oriented_rectangle": (4, 4, _polygon),
    "circle": (2, 2, _circle),
    "line": (2, 2, _line),
    "linestrip": (2, None, _line),
    "point": (1, 1, _points),
    "points": (1, None, _points),
}
"""For each kind, how many points it has, at least and at most, and how it is drawn."""


def drawn(size: Size, kind: str, points: Points) -> Mask_HW:
    """Returns the pixels of a shape, as `labelme.utils.shape_to_mask` draws it.

    What lies outside of the image is cut off. A polygon that crosses itself is filled by the
    even-odd rule of Pillow's `ImageDraw`.
    """
    if kind == "circle" and (radius := math.dist(*points)) > LARGEST_CIRCLE:
        return _large_disc(size, *points[0], radius)
    image = Image.new("L", (size.width, size.height))
    SHAPES[kind][2](ImageDraw.Draw(image), points)
    return np.asarray(image) > 0


def _large_disc(size: Size, x: float, y: float, radius: float) -> Mask_HW:
    """Returns the pixels whose centres lie inside."""
    # Whole numbers, as Pillow takes them.
    left, top, right, bottom = map(int, (x - radius, y - radius, x + radius, y + radius))
    across = (2 * np.arange(size.width) - left - right) / (right - left + 1)
    down = (2 * np.arange(size.height)[:, None] - top - bottom) / (bottom - top + 1)
    return across**2 + down**2 <= 1


def checked_points(points: Any, kind: str, where: str) -> Points:
    """Returns the points of a shape as pairs of numbers.

    Raises:
      InputError: the kind is not known, there are too few or too many points, or one is not a
        pair of finite numbers; the line begins with `where`.
    """
    if not isinstance(kind, str) or kind not in SHAPES:
        raise InputError(
            f"{where}: the shape {kind!r} is not known; known shapes are {', '.join(SHAPES)}."
        )
    least, most, _ = SHAPES[kind]
    if not isinstance(points, Sequence) or isinstance(points, str):
        raise InputError(f"{where}: its points are {_short(points)}, not a list: draw it anew.")
    if len(points) < least or (most is not None and len(points) > most):
        needs = f"{least}" if most == least else f"at least {least}"
        raise InputError(
            f"{where}: a {kind.replace('_', ' ')} needs {needs} points and this has "
            f"{len(points)}: draw it anew, or delete it."
        )
    return [_pair(point, where) for point in points]


def _pair(point: Any, where: str) -> tuple[float, float]:
    try:
        x, y = point
        if isinstance(x, bool | str) or isinstance(y, bool | str):
            raise TypeError
        pair = float(x), float(y)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"{where}: the point {_short(point)} is not a pair of numbers: draw the shape anew."
        ) from None
    if max(map(abs, pair)) > FARTHEST and all(map(math.isfinite, pair)):
        raise InputError(
            f"{where}: the point {_short(point)} lies far outside of any image: draw the shape "
            "anew, or delete it."
        )
    if not all(map(math.isfinite, pair)):
        raise InputError(
            f"{where}: the point {_short(point)} has a coordinate that is not a finite number: "
            "draw the shape anew, or delete it."
        )
    return pair


def bounds_of(points: Points) -> tuple[float, float, float, float]:
    """Returns left, top, right and bottom of the points."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
