"""Free places for texts beside the objects of a picture, so that texts hide no object."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

MOST_HIDDEN = 0.1
"""The share of an object that a text beside it may hide, or one of its neighbours."""

MOST_INSIDE = 0.25
"""The share of an object that a text in its widest part may hide."""

Window = tuple[slice, slice]
"""The rows and the columns of the smallest rectangle around an object."""


class Region(NamedTuple):
    """The pixels of an object: its window, and within it the mask; None: all of the window."""

    window: Window
    mask: Bool[np.ndarray, "h w"] | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the window."""
        rows, columns = self.window
        return rows.stop - rows.start, columns.stop - columns.start


def region_of_mask(mask: Bool[np.ndarray, "h w"]) -> Region | None:
    """Returns the pixels of a mask; None of an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    window = (
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )
    return Region(window, mask[window])


class Places:
    """The places of a picture that texts have not taken.

    Args:
      size: height and width of the picture.
      regions: of the objects that texts must not hide.
    """

    def __init__(self, size: tuple[int, int], regions: Iterable[Region]):
        self._share: Float[np.ndarray, "h w"] = np.zeros(size, np.float32)
        for window, mask in regions:
            # A pixel of a small object is a large share of it.
            here = self._share[window]
            area = here.size if mask is None else mask.sum()
            np.maximum(here, 1 / max(area, 1), out=here, where=True if mask is None else mask)

    def take(
        self, places: Iterable[tuple[int, int]], high: int, wide: int, *, hidden: float
    ) -> tuple[int, int] | None:
        """Returns the first of these places (y, x) that is free, and takes it; None if none is.

        Args:
          places: upper left corners of a text.
          high, wide: pixels of the text.
          hidden: the share of an object that the text may hide; the shares of several add up.
        """
        height, width = self._share.shape
        for y, x in places:
            if 0 <= y <= height - high and 0 <= x <= width - wide:
                part = self._share[y : y + high, x : x + wide]
                if part.sum() <= hidden:
                    part[:] = np.inf
                    return y, x
        return None


def around(
    region: Region, high: int, wide: int, size: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Yields places (y, x) for a text of an object, the best first.

    These are above and below the object, at its left side, its middle and its right side; then
    beside it; then inside it, at the left above.

    Args:
      region: of the object.
      high, wide: pixels of the text.
      size: height and width of the picture, into which texts are moved.
    """
    (top, bottom), (left, right) = ((part.start, part.stop) for part in region.window)
    height, width = size
    inside_x = lambda x: max(0, min(x, width - wide))
    inside_y = lambda y: max(0, min(y, height - high))
    for y in top - high, bottom:
        for x in left, (left + right - wide) // 2, right - wide:
            yield y, inside_x(x)
    for x in right, left - wide:
        yield inside_y((top + bottom - high) // 2), x
    yield inside_y(top), inside_x(left)


def within(region: Region, high: int, wide: int) -> Iterator[tuple[int, int]]:
    """Yields the place (y, x) for a text in the widest part of an object, if there it fits."""
    from scipy import ndimage  # Lazily: slow to import.

    rows, columns = region.window
    mask = np.ones(region.sides, bool) if region.mask is None else region.mask
    # Distances count in texts: an object that is as wide as the text may be flat, too.
    sampling = 1 / high, 1 / wide
    deep = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1), sampling=sampling))
    y, x = np.unravel_index(int(np.argmax(deep)), deep.shape)
    if deep[y, x] >= 0.5:
        yield rows.start + int(y) - 1 - high // 2, columns.start + int(x) - 1 - wide // 2
