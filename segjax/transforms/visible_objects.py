"""What is left of an example's objects after a motion: one rule for boxes, masks and ids.

An example has objects if it has `boxes`, their `instance_ids` and the layers `instances`.

* An object without a pixel in the layers is dropped: its box, and all that follows the boxes
  (`instance_ids`, `classes`, `crowd`).
* A box that stays whole and upright is moved: it may be tighter or looser than the mask, as it
  was drawn. A box that the border cuts, or that turns by less than a quarter, becomes the
  smallest around the pixels that are left. So do all boxes where a motion cannot move places.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Shaped

from segjax.contracts import Example
from segjax.objects import border_slack
from segjax.transforms.kinds import (
    Boxes,
    Follows,
    Kind,
    Motion,
    Nearest,
    Places,
    corners_after,
)
from segjax.transforms.object_pixels import box_of, pixels_of


def has_masks(kinds: Mapping[str, Kind]) -> bool:
    """Returns whether an example of these entries has boxes whose masks are known."""
    ids = kinds.get("instance_ids")
    return (
        isinstance(kinds.get("boxes"), Boxes)
        and isinstance(ids, Follows)
        and ids.of == "boxes"
        and isinstance(kinds.get("instances"), Nearest)
    )


def visible_objects(
    example: Example, layers: Shaped[np.ndarray, "h w ..."], motion: Motion
) -> tuple[Float[np.ndarray, "m 4"], Bool[np.ndarray, " n"]]:
    """Returns the boxes of the objects that are left, and which of the n they are.

    Args:
      example: as it was before the motion.
      layers: the example's `instances` after it.
      motion: knows where places go, or not.
    """
    boxes = example["boxes"]
    pixels = pixels_of(layers, example["instance_ids"])
    kept = np.array([len(each) > 0 for each in pixels], bool)
    if motion.places is None:
        moved, whole = np.zeros_like(boxes), np.zeros(len(boxes), bool)
    else:
        moved, whole = _moved(boxes, motion.places, motion.size)
    for index in np.flatnonzero(kept & ~whole):
        moved[index] = box_of(pixels[index], motion.size[1])
    return moved[kept], kept


def _moved(
    boxes: Float[np.ndarray, "n 4"], places: Places, size: tuple[int, int]
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"]]:
    """Returns the boxes after a motion, and which of them are whole and upright."""
    corners = corners_after(boxes, places)
    low, high = corners.min(1), corners.max(1)
    # Each corner of an upright box lies at one end of both axes.
    ends = np.minimum(abs(corners - low[:, None]), abs(corners - high[:, None]))
    h, w = size
    moved = np.concatenate([low, high], -1).astype(boxes.dtype)
    inside = moved.clip(0, np.array([w, h, w, h], boxes.dtype))
    # Only rounding may have put a whole box over the border, or made a line of a narrow one.
    whole = (abs(moved - inside) <= border_slack(size)).all(-1)
    whole &= (inside[:, :2] < inside[:, 2:]).all(-1)
    return inside, whole & (ends < 1e-3).all((1, 2))
