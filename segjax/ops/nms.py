"""Non-maximum suppression: of boxes that overlap, the one of the highest score stays."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Integer

from segjax.ops.boxes import box_iou

_TILE = 1024
"""Boxes that are compared with all others at a time, which bounds memory."""


def nms(
    boxes: Float[Array, "n 4"],
    scores: Float[Array, "n"],
    *,
    iou: float | int,
    classes: Integer[Array, "n"] | None = None,
    valid: Bool[Array, "n"] | None = None,
) -> Bool[Array, "n"]:
    """Returns which boxes greedy non-maximum suppression keeps.

    In the order of falling scores (of equal scores the earlier box comes first), a box is kept
    unless it overlaps an earlier kept box of its class by more than `iou`. So boxes that are
    suppressed do not suppress others. The answer is exact, and of static size.

    Args:
      boxes: (x0, y0, x1, y1).
      scores: one a box.
      iou: the largest intersection over union of two boxes that are kept.
      classes: boxes of different classes do not suppress each other; None: one class.
      valid: boxes where it is False are not kept and do not suppress; None: all are valid.
    """
    count = len(boxes)
    if not count:
        return jnp.zeros(0, bool)
    classes = jnp.zeros(count, jnp.int32) if classes is None else classes
    valid = jnp.ones(count, bool) if valid is None else valid
    order = jnp.argsort(jnp.where(valid, scores, -jnp.inf), stable=True, descending=True)
    tile = min(count, _TILE)
    padded = lambda x: jnp.pad(x[order], [(0, -count % tile)] + [(0, 0)] * (x.ndim - 1))
    kept = _of_sorted(padded(boxes), padded(classes), padded(valid), iou=iou, tile=tile)
    return jnp.zeros(count, bool).at[order].set(kept[:count])


def _of_sorted(
    boxes: Float[Array, "n 4"],
    classes: Integer[Array, "n"],
    valid: Bool[Array, "n"],
    *,
    iou: float | int,
    tile: int,
) -> Bool[Array, "n"]:
    """Returns which boxes are kept, from boxes that are sorted; `tile` divides their number."""
    position = jnp.arange(len(boxes))

    def visit(kept: Array, start: Array) -> tuple[Array, None]:
        """Decides about one tile; `kept` holds what no earlier tile suppresses."""
        rows = lambda x: lax.dynamic_slice_in_dim(x, start, tile)
        suppresses = box_iou(rows(boxes), boxes) > iou
        suppresses &= rows(classes)[:, None] == classes[None]
        suppresses &= rows(position)[:, None] < position[None]
        inside = lax.dynamic_slice_in_dim(suppresses, start, tile, axis=1)
        winners = _winners(rows(kept), inside)
        return kept & ~(winners[:, None] & suppresses).any(0), None

    return lax.scan(visit, valid, jnp.arange(0, len(boxes), tile))[0]


def _winners(candidates: Bool[Array, "t"], suppresses: Bool[Array, "t t"]) -> Bool[Array, "t"]:
    """Returns the candidates that no winner before them suppresses.

    It repeats that sentence as an assignment. After i rounds the first i entries are final,
    because an entry depends on earlier ones only. Usually a few rounds suffice.
    """

    def improve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        winners, _ = state
        return candidates & ~(winners[:, None] & suppresses).any(0), winners

    changes = lambda state: (state[0] != state[1]).any()
    first = improve((candidates, candidates))
    return jax.lax.while_loop(changes, improve, first)[0]
