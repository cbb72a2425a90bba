"""Which true box each anchor or proposal is matched to (Ren et al., 2015, section 3.1.2)."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Integer

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
"""An anchor or proposal shows an object, shows none, or is not trained on."""


class Matches(NamedTuple):
    """What n boxes are matched to.

    `truth` n int32 is the index of each box's best true box, whatever its overlap. `label` n
    int32 is `POSITIVE`, `NEGATIVE` or `IGNORED`.
    """

    truth: Array
    label: Array


def match(
    iou: Float[Array, "n m"],
    valid: Bool[Array, "m"],
    *,
    positive: float,
    negative: float,
    low_quality: bool = False,
) -> Matches:
    """Returns the matches of n boxes with the valid ones of m true boxes.

    It is torchvision's rule, with one difference: there a true box that overlaps no box at all
    has low-quality matches with all boxes that it does not overlap; here it has none.

    Args:
      iou: the intersection over union of each box with each true box.
      valid: the slots that hold a true box; others never match.
      positive: a box is positive from this overlap with its best true box on.
      negative: a box is negative below this overlap with every true box.
      low_quality: whether the boxes that overlap a true box the most are positive too, all of
        those with equal overlap. Each keeps its own best true box, which may be another.
    """
    # One array for the maxima and what is compared with them: XLA may otherwise compute it
    # twice, with other roundings, and the largest value would not equal itself.
    iou = lax.optimization_barrier(jnp.where(valid[None], iou, -1.0))
    best = iou.max(1)
    label = jnp.where(best >= positive, POSITIVE, jnp.where(best < negative, NEGATIVE, IGNORED))
    if low_quality:
        is_best = (iou == iou.max(0, keepdims=True)) & (iou > 0)
        label = jnp.where(is_best.any(1), POSITIVE, label)
    return Matches(iou.argmax(1).astype(jnp.int32), label)


def taken(values: Integer[Array, "m *rest"], matches: Matches) -> Integer[Array, "n *rest"]:
    """Returns for each box the value of its true box if it is positive, else 0."""
    found = values[matches.truth]
    is_positive = (matches.label == POSITIVE).reshape(-1, *(1,) * (found.ndim - 1))
    return jnp.where(is_positive, found, jnp.zeros_like(found))
