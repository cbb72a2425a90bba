"""The anchors and proposals that a training step is computed on, drawn at random."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Integer

from segjax.detection.matching import NEGATIVE, POSITIVE


class Sample(NamedTuple):
    """What was drawn, in slots of a static number; positives come first.

    `index` s int32 is the box in each slot. `drawn` s bool is False in slots that are left
    over, whose index means nothing.
    """

    index: Array
    drawn: Array


def sample(key: Array, label: Integer[Array, "n"], *, count: int, positives: int) -> Sample:
    """Returns up to `count` of n boxes: up to `positives` positive ones, the rest negative.

    Positives and negatives are drawn uniformly and without replacement. As in torchvision,
    negatives fill what positives leave. There are min(count, n) slots.

    Args:
      key: decides the draw.
      label: of each box, from `match`.
      count: the largest number of boxes.
      positives: the largest number of positive boxes.
    """
    n = len(label)
    score = jax.random.uniform(key, (n,))
    is_positive = label == POSITIVE
    first, places = lax.top_k(jnp.where(is_positive, score, -1.0), min(positives, n))
    is_chosen = jnp.zeros(n, bool).at[places].set(first >= 0)
    rank = jnp.where(is_chosen, 2 + score, jnp.where(label == NEGATIVE, score, -1.0))
    rank, index = lax.top_k(rank, min(count, n))
    return Sample(index.astype(jnp.int32), rank >= 0)
