"""Masks of boxes, pasted into the image: torchvision's rule, in NumPy and in JAX.

A mask of m × m probabilities gets a border of one zero pixel. Its box grows by (m + 2) / m and
is truncated to whole pixels. The mask is then stretched over the pixels x0 … x1 and y0 … y1,
both ends included, and pixels above ½ belong to the object.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Integer

from segjax.ops.resize import interpolation_matrix

THRESHOLD = 0.5


def paste_mask(
    probabilities: Float[np.ndarray, "m m"],
    box: Float[np.ndarray, "4"],
    size: tuple[int, int],
) -> Bool[np.ndarray, "h w"]:
    """Returns the mask of an object in an image of `size` = (height, width).

    Args:
      probabilities: of each part of the box, from 0 to 1.
      box: (x0, y0, x1, y1) in pixels of the image; it may reach over the border.
      size: the image's height and width.
    """
    side = len(probabilities) + 2
    padded = np.pad(probabilities.astype(np.float32), 1)
    x0, y0, x1, y1 = _grown(np.asarray(box, np.float32), side).tolist()
    mask = np.zeros(size, bool)
    rows, row_weights = _stretched_inside(y0, y1, side=side, extent=size[0])
    columns, column_weights = _stretched_inside(x0, x1, side=side, extent=size[1])
    mask[rows, columns] = row_weights @ padded @ column_weights.T > THRESHOLD
    return mask


def paste_masks(
    probabilities: Float[Array, "r m m"], boxes: Float[Array, "r 4"], size: tuple[int, int]
) -> Bool[Array, "r h w"]:
    """Returns what `paste_mask` returns, for several objects, as an XLA program.

    Rounding may decide otherwise about pixels whose probability is ½ up to 1e-6.
    """
    probabilities, boxes = jnp.asarray(probabilities), jnp.asarray(boxes)
    side = probabilities.shape[1] + 2
    padded = jnp.pad(probabilities, ((0, 0), (1, 1), (1, 1)))
    corners = _grown(boxes, side)
    rows, columns = (
        _stretched(corners[:, axis], corners[:, axis + 2], side=side, extent=extent)
        for axis, extent in ((1, size[0]), (0, size[1]))
    )
    pasted = jnp.einsum(
        "rhm,rmn,rwn->rhw", rows, padded, columns, precision=lax.Precision.HIGHEST
    )
    return pasted > THRESHOLD


def _grown(boxes: Any, side: int) -> Any:
    """Returns the boxes for masks with a border, in whole pixels; NumPy or JAX."""
    half = (boxes[..., 2:] - boxes[..., :2]) * 0.5 * (side / (side - 2))
    centre = (boxes[..., 2:] + boxes[..., :2]) * 0.5
    xp = np if isinstance(boxes, np.ndarray) else jnp
    return xp.concatenate([centre - half, centre + half], -1).astype(xp.int32)


def _stretched_inside(
    first: int, last: int, *, side: int, extent: int
) -> tuple[slice, Float[np.ndarray, "n side"]]:
    """Returns the pixels first … last inside the image, and the weights of a mask in them."""
    length = max(last - first + 1, 1)
    weights = np.asarray(interpolation_matrix(side, length, align_corners=False), np.float32)
    start = min(max(first, 0), extent)
    stop = max(min(last + 1, extent), start)
    return slice(start, stop), weights[start - first : stop - first]


def _stretched(
    first: Integer[Array, "r"], last: Integer[Array, "r"], *, side: int, extent: int
) -> Float[Array, "r extent side"]:
    """Returns the weights of a mask's `side` pixels in each pixel of an axis of the image."""
    length = jnp.maximum(last - first + 1, 1)[:, None]
    pixel = jnp.arange(extent)[None] - first[:, None]
    source = ((pixel + 0.5) * side / length - 0.5).clip(0, side - 1)
    near = jnp.abs(source[..., None] - jnp.arange(side, dtype=source.dtype)[None, None])
    inside = (pixel >= 0) & (pixel < length)
    return (1 - near).clip(0) * inside[..., None]
