"""Boxes (x0, y0, x1, y1) in pixels, corners on pixel edges: x from 0 to the width.

Their coding is that of R-CNN (Girshick et al., 2014, appendix C): shifts of the centre in units
of the reference's sides, and logarithms of the ratios of sides.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

LARGEST_LOG_RATIO = math.log(1000 / 16)
"""The bound of dw and dh in torchvision and detectron2."""

_SMALLEST_SIDE = 1e-6
"""Sides below are encoded as this one, so that boxes of unused slots give finite numbers."""


def box_area(boxes: Float[Array, "*n 4"]) -> Float[Array, "*n"]:
    """Returns the areas of boxes in square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(a: Float[Array, "n 4"], b: Float[Array, "m 4"]) -> Float[Array, "n m"]:
    """Returns the intersection over union of each box of `a` with each of `b`.

    It is 0 where the union is empty.
    """
    upper = jnp.maximum(a[:, None, :2], b[None, :, :2])
    lower = jnp.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = (lower - upper).clip(0)
    intersection = sides[..., 0] * sides[..., 1]
    union = box_area(a)[:, None] + box_area(b)[None, :] - intersection
    is_empty = union <= 0
    return jnp.where(is_empty, 0, intersection / jnp.where(is_empty, 1, union))


def encode_boxes(
    truth: Float[Array, "*n 4"],
    reference: Float[Array, "*n 4"],
    *,
    weights: Sequence[float | int] = (1, 1, 1, 1),
) -> Float[Array, "*n 4"]:
    """Returns the (dx, dy, dw, dh) that `decode_boxes` turns back into `truth`.

    Args:
      truth: the boxes to encode.
      reference: their anchors or proposals.
      weights: factors of the four numbers.
    """
    centre, sides = _centre_and_sides(truth)
    from_centre, from_sides = _centre_and_sides(reference)
    sides, from_sides = (jnp.maximum(each, _SMALLEST_SIDE) for each in (sides, from_sides))
    deltas = [(centre - from_centre) / from_sides, jnp.log(sides / from_sides)]
    return jnp.concatenate(deltas, -1) * jnp.asarray(weights, truth.dtype).reshape(
        (1,) * (truth.ndim - 1) + (4,)
    )


def decode_boxes(
    deltas: Float[Array, "... 4"],
    reference: Float[Array, "... 4"],
    *,
    weights: Sequence[float | int] = (1, 1, 1, 1),
    largest: float | int = LARGEST_LOG_RATIO,
) -> Float[Array, "... 4"]:
    """Returns the boxes that `deltas` = (dx, dy, dw, dh) describe relative to `reference`.

    Args:
      deltas: encoded boxes; their leading axes broadcast with those of `reference`.
      reference: the anchors or proposals.
      weights: factors of the four numbers, as in `encode_boxes`.
      largest: the bound of dw and dh, which keeps the exponential finite.
    """
    deltas = deltas / jnp.asarray(weights, deltas.dtype).reshape(
        (1,) * (deltas.ndim - 1) + (4,)
    )
    from_centre, from_sides = _centre_and_sides(reference)
    centre = from_centre + deltas[..., :2] * from_sides
    half = 0.5 * from_sides * jnp.exp(jnp.minimum(deltas[..., 2:], largest))
    return jnp.concatenate([centre - half, centre + half], -1)


def clip_boxes(
    boxes: Float[Array, "*n 4"],
    size: tuple[int | Num[Array, ""], int | Num[Array, ""]] | Num[Array, "2"],
) -> Float[Array, "*n 4"]:
    """Returns the parts of boxes inside an image of `size` = (height, width)."""
    height, width = size[0], size[1]
    x, y = boxes[..., 0::2].clip(0, width), boxes[..., 1::2].clip(0, height)
    return jnp.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


def sides_at_least(boxes: Float[Array, "*n 4"], least: float | int) -> Bool[Array, "*n"]:
    """Returns whether both sides of each box are at least `least` pixels."""
    return (boxes[..., 2:] - boxes[..., :2] >= least).all(-1)


def _centre_and_sides(boxes: Float[Array, "... 4"]) -> tuple[Array, Array]:
    """Returns the centres (x, y) and the sides (width, height) of boxes."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
