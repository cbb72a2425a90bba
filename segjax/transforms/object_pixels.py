"""Which pixels belong to each object of an example, found in one pass over its layers."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Integer, Shaped, UInt8


def pixels_of(
    layers: Shaped[np.ndarray, "h w ..."], ids: Sequence[int] | Integer[np.ndarray, " n"]
) -> list[Integer[np.ndarray, " pixels"]]:
    """Returns the pixels of each object, counted row by row; none where an id is not found.

    A pixel may occur twice if two layers give it to the same object.

    >>> [pixels.tolist() for pixels in pixels_of(np.array([[0, 7], [7, 5]]), [5, 6, 7])]
    [[3], [], [1, 2]]

    Args:
      layers: h w or h w l, the object of each pixel, or 0.
      ids: the objects.
    """
    depth = 1 if layers.ndim == 2 else layers.shape[2]
    values = np.ascontiguousarray(layers).reshape(-1)
    covered = np.flatnonzero(values)
    values = values[covered]
    order = np.argsort(values, kind="stable")
    values, pixels = values[order], covered[order] // depth
    ids = np.asarray(ids, np.int64)
    first, last = (np.searchsorted(values, ids, side) for side in ("left", "right"))
    return [pixels[start:end] for start, end in zip(first, last, strict=True)]


def box_of(pixels: Integer[np.ndarray, " pixels"], width: int) -> Float32[np.ndarray, "4"]:
    """Returns the smallest box (x0, y0, x1, y1) around one pixel or more.

    Args:
      pixels: as `pixels_of` counts them.
      width: of the image.
    """
    y, x = np.divmod(pixels, width)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float32)


def packed(
    pixels: Integer[np.ndarray, " pixels"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w8"]:
    """Returns a mask of height and width `size`, eight pixels of a row in a byte.

    It is `np.packbits` of the mask along the width: the first pixel is the highest bit.
    """
    height, width = size
    y, x = np.divmod(pixels, width)
    mask = np.zeros((height, -(-width // 8)), np.uint8)
    if not len(pixels):
        return mask
    top, bottom = y.min(), y.max() + 1
    rows = np.zeros((bottom - top, width), bool)
    rows[y - top, x] = True
    mask[top:bottom] = np.packbits(rows, axis=-1)
    return mask
