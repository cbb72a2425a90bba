"""Proposals: the boxes that the first stage hands to the second (Ren et al., 2015)."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer

from segjax.detection.targets import unit_box
from segjax.ops.boxes import clip_boxes, decode_boxes, sides_at_least
from segjax.ops.nms import nms


class Proposals(NamedTuple):
    """Boxes in p slots by falling score.

    `boxes` p 4, in pixels; `scores` p, logits; `valid` p bool, the slots that hold a box. In
    other slots the box is (0, 0, 1, 1).
    """

    boxes: Array
    scores: Array
    valid: Array


def propose(
    objectness: Sequence[Float[Array, "_"]],
    deltas: Sequence[Float[Array, "_ 4"]],
    anchors: Sequence[Float[Array, "_ 4"]],
    size: Integer[Array, "2"],
    *,
    before: int,
    after: int,
    iou: float,
    least_side: float,
) -> Proposals:
    """Returns the proposals of one image, through which no gradient flows.

    Of each level the `before` anchors of the highest scores become boxes, which are clipped to
    the image; those with a side below `least_side` go. Non-maximum suppression treats each
    level on its own. The `after` best of all levels together remain.

    Args:
      objectness: logits of the anchors of each level.
      deltas: their encoded boxes.
      anchors: in pixels.
      size: height and width of the image on its canvas.
      before, after: largest numbers of boxes of one level, and of all levels.
      iou: boxes that overlap a better one by more are suppressed.
      least_side: in pixels.
    """
    most = min(before, max(map(len, objectness)))
    of_level = partial(_of_level, size=size, most=most, least_side=least_side)
    levels = map(of_level, objectness, deltas, anchors)
    boxes, scores, valid = (jnp.stack(each) for each in zip(*levels, strict=True))
    # The levels in step: one loop, and not one after the other.
    keep = jax.vmap(lambda b, s, v: nms(b, s, iou=iou, valid=v))(boxes, scores, valid)
    scores = jnp.where(keep, scores, -jnp.inf).reshape(-1)
    scores, index = lax.top_k(scores, min(after, scores.size))
    valid = keep.reshape(-1)[index]
    boxes = jnp.where(valid[:, None], boxes.reshape(-1, 4)[index], unit_box(boxes.dtype))
    return lax.stop_gradient(Proposals(boxes, scores, valid))


def _of_level(
    objectness: Float[Array, "n"],
    deltas: Float[Array, "n 4"],
    anchors: Float[Array, "n 4"],
    *,
    size: Integer[Array, "2"],
    most: int,
    least_side: float,
) -> tuple[Array, Array, Array]:
    """Returns boxes, scores and validity of the best anchors of a level, in `most` slots."""
    objectness = lax.stop_gradient(objectness.astype(jnp.float32))
    deltas = lax.stop_gradient(deltas.astype(jnp.float32))
    scores, index = lax.top_k(objectness, min(most, len(objectness)))
    boxes = clip_boxes(decode_boxes(deltas[index], anchors[index]), size)
    valid = sides_at_least(boxes, least_side)
    filled = lambda x, value: jnp.pad(
        x, [(0, most - len(x))] + [(0, 0)] * (x.ndim - 1), constant_values=value
    )
    return filled(boxes, 0), filled(scores, -jnp.inf), filled(valid, False)
