"""Anchors: the boxes of several sides and ratios around each position of a feature map."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def anchors(
    grid: tuple[int, int],
    *,
    stride: tuple[int, int],
    sizes: Sequence[float | int],
    ratios: Sequence[float | int],
    rounded: bool = True,
) -> Float[Array, "n 4"]:
    """Returns the anchors of a level, (h·w·a) 4, in the order of rows, columns, shapes.

    Their centres are the multiples of the stride, without a half offset. The a shapes of a
    position are all sizes of the first ratio, then all sizes of the next one. Anchors may reach
    over the border of the image.

    Args:
      grid: the level's (height, width).
      stride: pixels of the image from one position to the next, (y, x).
      sizes: square roots of areas, in pixels.
      ratios: heights over widths.
      rounded: whether corners around the centre are rounded to whole pixels, as torchvision
        does; detectron2 does not.
    """
    shapes = jnp.asarray(anchor_shapes(sizes, ratios, rounded=rounded))
    y, x = (jnp.arange(n, dtype=jnp.float32) * s for n, s in zip(grid, stride, strict=True))
    y, x = jnp.meshgrid(y, x, indexing="ij")
    centres = jnp.stack([x, y, x, y], -1)
    return (centres[:, :, None] + shapes[None, None]).reshape(-1, 4)


def anchor_shapes(
    sizes: Sequence[float | int], ratios: Sequence[float | int], *, rounded: bool = True
) -> Float[np.ndarray, "a 4"]:
    """Returns the anchors around the origin.

    >>> anchor_shapes([32], [0.5]).tolist()
    [[-23.0, -11.0, 23.0, 11.0]]
    """
    heights = np.sqrt(np.asarray(ratios, np.float64))[:, None]
    width, height = (
        (factor * np.asarray(sizes, np.float64)[None]).ravel()
        for factor in (1 / heights, heights)
    )
    shapes = np.stack([-width, -height, width, height], -1) / 2
    return (shapes.round() if rounded else shapes).astype(np.float32)
