"""What the two stages of a detector are trained on, for one image; `vmap` adds the batch.

The draw is apart from what is made of it. So other samples, such as those of another program,
can be put in its place.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from segjax.detection.matching import IGNORED, POSITIVE, Matches, match, taken
from segjax.detection.sampling import Sample
from segjax.ops.boxes import box_iou, encode_boxes


class Truth(NamedTuple):
    """The true objects of an image in m slots.

    `boxes` m 4; `classes` m int32, from 1; `valid` m bool, the slots that hold an object.
    """

    boxes: Array
    classes: Array
    valid: Array


class AnchorTargets(NamedTuple):
    """Targets of the first stage in s slots.

    `index` s int32, the anchor; `drawn` s bool, whether the slot counts; `is_object` s bool;
    `deltas` s 4, the encoded true box, 0 where there is none.
    """

    index: Array
    drawn: Array
    is_object: Array
    deltas: Array


class RoiTargets(NamedTuple):
    """Targets of the second stage in s slots; those with an object come first.

    `boxes` s 4, in pixels; `drawn` s bool, whether the slot counts; `classes` s int32, 0 is the
    background; `truth` s int32, the slot of the true object; `deltas` s 4, the encoded true
    box, 0 where there is none.
    """

    boxes: Array
    drawn: Array
    classes: Array
    truth: Array
    deltas: Array


def match_anchors(
    anchors: Float[Array, "n 4"], truth: Truth, *, positive: float, negative: float
) -> Matches:
    """Returns the matches of anchors, low-quality ones included."""
    iou = box_iou(anchors, truth.boxes)
    return match(iou, truth.valid, positive=positive, negative=negative, low_quality=True)


def match_rois(
    boxes: Float[Array, "n 4"], valid: Bool[Array, "n"], truth: Truth, *, positive: float
) -> Matches:
    """Returns the matches of proposals: below `positive` they are background.

    Proposals that are not `valid` are ignored.
    """
    found = match(
        box_iou(boxes, truth.boxes), truth.valid, positive=positive, negative=positive
    )
    return found._replace(label=jnp.where(valid, found.label, IGNORED))


def with_truth(
    boxes: Float[Array, "n 4"], valid: Bool[Array, "n"], truth: Truth
) -> tuple[Float[Array, "n_m 4"], Bool[Array, "n_m"]]:
    """Returns proposals with the true boxes after them, and which of these are boxes."""
    return jnp.concatenate([boxes, truth.boxes]), jnp.concatenate([valid, truth.valid])


def anchor_targets(
    anchors: Float[Array, "n 4"], matches: Matches, sample: Sample, truth: Truth
) -> AnchorTargets:
    """Returns the targets of the anchors of a sample."""
    index, drawn = sample
    chosen = Matches(*(each[index] for each in matches))
    is_object = drawn & (chosen.label == POSITIVE)
    deltas = _deltas(anchors[index], truth.boxes[chosen.truth], is_object)
    return AnchorTargets(index, drawn, is_object, deltas)


def roi_targets(
    boxes: Float[Array, "n 4"],
    matches: Matches,
    sample: Sample,
    truth: Truth,
    *,
    weights: tuple[float, float, float, float],
) -> RoiTargets:
    """Returns the targets of the proposals of a sample; `weights` are those of the coder."""
    index, drawn = sample
    chosen = Matches(*(each[index] for each in matches))
    classes = jnp.where(drawn, taken(truth.classes, chosen), 0)
    here = jnp.where(drawn[:, None], boxes[index], unit_box(boxes.dtype))
    deltas = _deltas(here, truth.boxes[chosen.truth], classes > 0, weights=weights)
    return RoiTargets(here, drawn, classes, chosen.truth, deltas)


def unit_box(dtype) -> Array:
    """Returns the box 1 4 that stands where there is none, so that all stays finite."""
    return jnp.asarray([[0, 0, 1, 1]], dtype)


def _deltas(
    reference: Float[Array, "s 4"],
    truth: Float[Array, "s 4"],
    is_object: Bool[Array, "s"],
    *,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Float[Array, "s 4"]:
    """Returns the encoded true boxes, 0 where there is none."""
    found = encode_boxes(truth, reference, weights=weights)
    return jnp.where(is_object[:, None], found, 0)
