"""Regions of a mask as polygons, exact or simplified, for two conventions of polygons.

Annotation formats place the polygon of a region differently. For a region of 2 × 1 pixels:

    edges of pixels (COCO)           centres of the outermost pixels (Labelme)

    (0,0)───────────(2,0)            ┌───────┬───────┐
      │       │       │              │   o═══════o   │   o (0.5, 0.5) and (1.5, 0.5)
    (0,1)───────────(2,1)            └───────┴───────┘

Along the edges, the polygon has the region's area and shape, and pixels whose centre is inside
are filled. Through the centres, the outline itself is filled too. Pixel (x, y) covers x … x + 1
by y … y + 1 in both. Pixels that touch only at a corner are two regions, so that regions of two
classes never cross: each lies in one hole of the other, or outside it.
"""

import dataclasses
from typing import Any

import contourpy
import numpy as np
from jaxtyping import Bool, Float64

Mask_HW = Bool[np.ndarray, "h w"]
Ring = Float64[np.ndarray, "_ 2"]
"""Corners x, y of a closed line; the last one is joined to the first."""

NEARLY_INSIDE = 0.999
"""Level of a contour between pixel centres of 1 and 0 that rounds to the centres of 1."""


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """Pixels of a mask that are connected by their sides.

    Attributes:
      outer: outline.
      holes: outlines of the holes.
    """

    outer: Ring
    holes: tuple[Ring, ...]


def edges(mask: Mask_HW) -> list[Region]:
    """Returns the mask's regions with outlines along pixel edges, at whole numbers."""
    found = ([_straight(_corners(line)) for line in lines] for lines in _contours(mask, 0.5))
    return [Region(outer, tuple(holes)) for outer, *holes in found]


def centres(mask: Mask_HW) -> list[Ring]:
    """Returns the outline of each region through pixel centres, at whole numbers plus 0.5."""
    return [_straight(np.rint(lines[0][:-1])) + 0.5 for lines in _contours(mask, NEARLY_INSIDE)]


def _contours(mask: np.ndarray, level: float) -> list[list[np.ndarray]]:
    """Returns for each region its outline, then its holes', with centres at whole numbers."""
    if not mask.any():
        return []
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    contours = contourpy.contour_generator(
        z=np.pad(part, 1).astype(np.float64), fill_type=contourpy.FillType.OuterOffset
    )
    found: Any = contours.filled(level, 2.0)
    origin = columns[0] - 1, rows[0] - 1
    return [
        [line + origin for line in np.split(region, ends[1:-1])]
        for region, ends in zip(*found, strict=True)
    ]


def _corners(line: np.ndarray) -> np.ndarray:
    """Returns the pixel corners that a contour passes.

    The contour crosses pixel edges in their middle. A crossing has one whole coordinate, along
    the normal of its edge, and one halfway along the edge; the corner shared by the edges of
    two consecutive crossings lies between them.
    """
    middle = line + 0.5
    one, next_one = middle[:-1], middle[1:]
    between = (one + next_one) / 2
    return np.where(one % 1 == 0, one, np.where(next_one % 1 == 0, next_one, between))


def _straight(ring: np.ndarray) -> np.ndarray:
    """Returns the ring without repeated points and points inside a straight line.

    A point where the line turns back, at the end of a row of single pixels, is kept.
    """
    moves = (ring != np.roll(ring, 1, axis=0)).any(1)
    if not moves.any():
        return ring[:1]
    ring = ring[moves]
    came, goes = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = came[:, 0] * goes[:, 1] != came[:, 1] * goes[:, 0]
    back = (came * goes).sum(1) < 0
    return ring[turns | back]


def simplified(ring: Ring, *, tolerance: float) -> Ring:
    """Returns the ring without corners that are within `tolerance` pixels of the new ring.

    A `tolerance` of 0 gives the ring. Source: Douglas & Peucker, 1973, applied to the two
    halves between the first corner and the one farthest from it.

    Raises:
      ValueError: `tolerance` is negative or not a number.
    """
    if not tolerance >= 0:
        raise ValueError(
            f"The tolerance must be a number of pixels, 0 or more, got {tolerance}."
        )
    if tolerance == 0 or len(ring) < 3:
        return ring
    closed = np.concatenate([ring, ring[:1]])
    farthest = int(((ring - ring[0]) ** 2).sum(1).argmax())
    kept = np.zeros(len(closed), bool)
    kept[[0, farthest]] = True
    waiting = [(0, farthest), (farthest, len(ring))]
    while waiting:
        start, end = waiting.pop()
        distance = _distance(closed[start + 1 : end], closed[start], closed[end])
        if len(distance) and distance.max() > tolerance:
            middle = start + 1 + int(distance.argmax())
            kept[middle] = True
            waiting += [(start, middle), (middle, end)]
    return ring[kept[:-1]]


def _distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the distance of each point to the segment from `start` to `end`."""
    along = end - start
    share = (points - start) @ along / max(along @ along, 1e-12)
    return np.linalg.norm(points - start - share.clip(0, 1)[:, None] * along, axis=1)


def area(ring: Ring) -> float:
    """Returns the area in pixels inside a ring that does not cross itself."""
    x, y = ring.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def bridged(region: Region) -> Ring:
    """Returns the region as one ring that goes to each hole and back on the same line.

    Filled by the even-odd rule, the ring gives the region: a line passed twice has no effect.
    """
    outer = region.outer
    at = [int(((outer - hole[0]) ** 2).sum(1).argmin()) for hole in region.holes]
    pieces, done = [], 0
    for place in np.argsort(at, kind="stable"):
        hole, to = region.holes[place], at[place] + 1
        pieces += [outer[done:to], hole, hole[:1], outer[to - 1 : to]]
        done = to
    return np.concatenate([*pieces, outer[done:]])
