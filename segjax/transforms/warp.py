"""Projective maps of an example: each entry is resampled once, by Pillow."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Shaped
from PIL import Image

from segjax.contracts import Example
from segjax.errors import InputError
from segjax.transforms.averages import as_dtype
from segjax.transforms.entries import move, size_of
from segjax.transforms.kinds import Motion

Border = Literal["reflect"] | None
"""What lies outside of an example: None, the fill; "reflect", its mirror image."""

Matrix = Float64[np.ndarray, "3 3"]
"""Maps homogeneous places (x, y, 1) of the example to places of the result."""

Resample = Callable[[Image.Image, Image.Resampling, Any], Image.Image]
"""(Pillow image, method, fill colour) → the moved image."""


def check_border(transform: Any) -> None:
    """Raises InputError unless the field `border` is None or "reflect"."""
    if transform.border not in (None, "reflect"):
        raise InputError(
            f"{type(transform).__name__} needs border None (outside is `fill`) or 'reflect' "
            f"(outside is mirrored), got {transform.border!r}."
        )


def project(
    example: Example,
    matrix: Matrix,
    *,
    by: str,
    fill: float | tuple[float, ...] = 0,
    border: Border = None,
) -> Example:
    """Returns the example of the same size after a projective map.

    Args:
      example: images and weight maps are sampled bilinearly, labels by nearest neighbours.
      matrix: where a place (x, y, 1) goes.
      by: the transform's name, for messages.
      fill: the colour outside of the example; labels are 255 there, weight maps 0.
      border: "reflect" mirrors all entries about the border pixels instead. The map must then
        be affine.
    """
    h, w = size_of(example, by=by)
    inverse = np.linalg.inv(matrix)
    margins = _margins(inverse, h, w) if border else (0, 0, 0, 0)
    coefficients = _coefficients(inverse, margins)

    def resample(image: Image.Image, method: Image.Resampling, colour: Any) -> Image.Image:
        return image.transform(
            (w, h), Image.Transform.PERSPECTIVE, coefficients, method, fillcolor=colour
        )

    motion = Motion(
        by=by,
        size=(h, w),
        bilinear=lambda planes, fill: resampled(mirrored(planes, margins), resample, fill),
        nearest=lambda label, fill: resampled_nearest(label, resample, fill, margins=margins),
        places=lambda xy: _mapped(xy, matrix),
        fill=None if border else fill,
        repeats=border is not None,
    )
    return move(example, motion)


def about_centre(matrix: Matrix, h: int, w: int) -> Matrix:
    """Returns the map whose origin is the centre of an h × w image."""
    centre = np.array([[1, 0, w / 2], [0, 1, h / 2], [0, 0, 1]])
    back = np.array([[1, 0, -w / 2], [0, 1, -h / 2], [0, 0, 1]])
    return centre @ matrix @ back


def rotation(degrees: float) -> Matrix:
    """Returns a counter-clockwise turn about the origin; y points down."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def homography(old: Float64[np.ndarray, "4 2"], new: Float64[np.ndarray, "4 2"]) -> Matrix:
    """Returns the projective map that moves four places to four others."""
    rows, values = [], []
    for (x, y), (u, v) in zip(old.tolist(), new.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(values)), 1).reshape(3, 3)


def resampled(
    image: Shaped[np.ndarray, "h w c"], resample: Resample, fill: Any
) -> Shaped[np.ndarray, "h2 w2 c"]:
    """Returns an image that Pillow moved, bilinearly and in its own dtype."""
    channels = image.shape[-1]
    fills = np.broadcast_to(0 if fill is None else fill, channels).tolist()
    if image.dtype == np.uint8 and channels == 3:
        return _plane(image, resample, tuple(map(round, fills)))
    # Channel by channel: Pillow would take two or four channels for colours with transparency.
    planes = [_plane(image[..., c], resample, fills[c]) for c in range(channels)]
    return np.stack(planes, axis=-1)


def resampled_nearest(
    label: Shaped[np.ndarray, "h w ..."],
    resample: Resample,
    fill: float,
    *,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> Shaped[np.ndarray, "h2 w2 ..."]:
    """Returns nearest neighbours of any dtype: Pillow moves the numbers of the pixels."""
    h, w = label.shape[:2]
    numbers = mirrored(np.arange(h * w, dtype=np.int32).reshape(h, w), margins)
    moved = resample(Image.fromarray(numbers), Image.Resampling.NEAREST, -1)
    came_from = np.asarray(moved)
    found = label.reshape(h * w, *label.shape[2:])[came_from.clip(0)]
    outside = came_from < 0
    if outside.any():  # With mirrored margins none is, and the dtype need not hold the fill.
        found[outside] = fill
    return found


def mirrored(
    plane: Shaped[np.ndarray, "h w ..."], margins: tuple[int, int, int, int]
) -> Shaped[np.ndarray, "h2 w2 ..."]:
    """Returns a plane with mirrored margins: (top, bottom, left, right) in pixels."""
    if not any(margins):
        return plane
    top, bottom, left, right = margins
    around = [(top, bottom), (left, right)] + [(0, 0)] * (plane.ndim - 2)
    return np.pad(plane, around, mode="reflect")


def _plane(
    plane: Shaped[np.ndarray, "h w ..."], resample: Resample, fill: Any
) -> Shaped[np.ndarray, "h2 w2 ..."]:
    method = Image.Resampling.BILINEAR
    if plane.dtype == np.uint8:
        fill = round(fill) if isinstance(fill, float) else fill
        return np.array(resample(Image.fromarray(np.ascontiguousarray(plane)), method, fill))
    moved = resample(Image.fromarray(plane.astype(np.float32)), method, fill)
    return as_dtype(np.asarray(moved), plane.dtype)


def _mapped(xy: Float64[np.ndarray, "n 2"], matrix: Matrix) -> Float64[np.ndarray, "n 2"]:
    moved = np.column_stack([xy, np.ones(len(xy))]) @ matrix.T
    return moved[:, :2] / moved[:, 2:]


def _margins(inverse: Matrix, h: int, w: int) -> tuple[int, int, int, int]:
    """Returns how far, in pixels, an affine map looks beyond each side of an example."""
    corners = _mapped(np.array([[0, 0], [w, 0], [0, h], [w, h]], float), inverse)
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    beyond = lambda distance: max(0, math.ceil(distance)) + 1
    return beyond(-top), beyond(bottom - h), beyond(-left), beyond(right - w)


def _coefficients(inverse: Matrix, margins: tuple[int, int, int, int]) -> tuple[float, ...]:
    """Returns Pillow's eight numbers, for an image that has these margins."""
    top, _, left, _ = margins
    shifted = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]]) @ inverse
    return tuple((shifted / shifted[2, 2]).ravel()[:8].tolist())
