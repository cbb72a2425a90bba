"""The objects that the second stage finds, for one image; `vmap` adds the batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Integer

from segjax.detection.targets import unit_box
from segjax.ops.boxes import clip_boxes, decode_boxes, sides_at_least
from segjax.ops.nms import nms


class Found(NamedTuple):
    """Objects in d slots by falling score.

    `boxes` d 4, in pixels; `classes` d int32, from 1; `scores` d, from 0 to 1; `valid` d bool,
    the slots that hold an object. In other slots box (0, 0, 1, 1), class 0 and score 0.
    """

    boxes: Array
    classes: Array
    scores: Array
    valid: Array


def find(
    logits: Float[Array, "r k"],
    deltas: Float[Array, "r k 4"],
    rois: Float[Array, "r 4"],
    valid: Bool[Array, "r"],
    size: Integer[Array, "2"],
    *,
    weights: tuple[float, float, float, float],
    score: float,
    iou: float,
    least_side: float,
    candidates: int,
    most: int,
) -> Found:
    """Returns the objects of one image, as torchvision finds them.

    Each proposal gives a candidate for every class but the background, class 0. Candidates are
    clipped to the image. Those of a score up to `score` or with a side below `least_side` go.
    Non-maximum suppression treats each class on its own.

    So that shapes are static and the work is bounded, only the `candidates` best candidates
    enter the suppression. What it decides about a box depends on better boxes alone. So if
    `most` boxes are kept among them, the answer is the same as that of all candidates.

    Args:
      logits: of the classes of each proposal.
      deltas: its encoded box for each class.
      rois: the proposals, in pixels.
      valid: the slots that hold a proposal.
      size: height and width of the image on its canvas.
      weights: those of the box coder.
      score: the least score.
      iou: boxes that overlap a better one of their class by more are suppressed.
      least_side: in pixels.
      candidates: how many enter the suppression.
      most: the largest number of objects.
    """
    classes = logits.shape[1]
    scores = jax.nn.softmax(logits.astype(jnp.float32))[:, 1:]
    boxes = decode_boxes(deltas[:, 1:].astype(jnp.float32), rois[:, None], weights=weights)
    boxes = clip_boxes(boxes, size)
    is_candidate = valid[:, None] & (scores > score) & sides_at_least(boxes, least_side)
    ranked = jnp.where(is_candidate, scores, -jnp.inf).reshape(-1)
    scores, index = lax.top_k(ranked, min(candidates, ranked.size))
    boxes = boxes.reshape(-1, 4)[index]
    ids = (index % (classes - 1) + 1).astype(jnp.int32)
    keep = nms(boxes, scores, iou=iou, classes=ids, valid=scores > 0)
    scores, best = lax.top_k(jnp.where(keep, scores, -jnp.inf), min(most, len(scores)))
    is_found = keep[best]
    return Found(
        jnp.where(is_found[:, None], boxes[best], unit_box(boxes.dtype)),
        jnp.where(is_found, ids[best], 0),
        jnp.where(is_found, scores, 0),
        is_found,
    )
