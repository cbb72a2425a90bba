"""Binary cross-entropy of the sigmoid of each plane: plain, and weighted where it is 1."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from segjax.class_weights import ExclusiveRule, WeightRule
from segjax.contracts import Array, Batch
from segjax.errors import InputError
from segjax.labels import equals
from segjax.losses.counted import (
    check_count,
    check_is_tuple,
    computed_weights,
    plane_labels,
    sigmoid_planes,
)


def sigmoid_cross_entropy(
    logits: Float[Array, "b h w k"], batch: Batch
) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
    """Returns the binary cross-entropy of the sigmoid of each plane, summed over pixels.

        total = Σ w · softplus(−z) where the label is 1, w · softplus(z) where it is 0
        weight = Σ w

    The planes are independent: a pixel may belong to several classes, or to none. Ignored
    pixels of a plane and pixels of weight 0 are masked, not multiplied by 0. So total and
    gradient do not depend on their scores, not even on −inf and NaN.

    Args:
      logits: scores of k ≥ 1 planes.
      batch: `label` (b h w k of 0, 1 or 255; for k = 1 also b h w) and optionally `weight`
        (b h w for all planes, or b h w k; ≥ 0), both on the logits' grid; without `weight`,
        w = 1 wherever the label is not ignored.

    Returns:
      {"binary_cross_entropy": (total, weight)}, in float32 or wider. Inside `jit` both are NaN
      if a label is not 0, 1 or 255, or a weight is negative or not finite.

    Raises:
      ValueError: shapes differ, or labels are not integers; outside `jit` also if a label is
        not 0, 1 or 255, or a weight is negative or not finite.
    """
    planes = sigmoid_planes(logits, batch)
    # softplus of −z or z, not softplus(z) − y·z, which is 0 in float32 from z = 17 on.
    cross_entropy = jax.nn.softplus(jnp.where(planes.label == 1, -planes.scores, planes.scores))
    weight = planes.weight
    return {"binary_cross_entropy": (jnp.sum(weight * cross_entropy), jnp.sum(weight))}


@dataclasses.dataclass(frozen=True)
class PositiveWeightedCrossEntropy:
    """`sigmoid_cross_entropy` in which the pixels of a plane's class count by its weight.

    A pixel counts `weights[k]` where plane k is 1, and 1 where it is 0. For objects that cover
    few pixels, the ratio of pixels outside to pixels inside balances both. The mean divides by
    the sum of these weights; PyTorch's `pos_weight` divides by the number of pixels instead.

    Attributes:
      weights: one number above 0 for each class, or `NegativesPerPositive()`, which computes
        them from the training data.

    Raises:
      InputError: a weight is not a finite number above 0.
    """

    weights: tuple[float, ...] | WeightRule
    activation: ClassVar[str] = "sigmoid"

    def __post_init__(self) -> None:
        check_is_tuple(self.weights)
        if isinstance(self.weights, ExclusiveRule):
            raise InputError(
                f"loss.weights={self.weights!r} is for classes that exclude one another, but "
                "this loss is for planes: use NegativesPerPositive()."
            )
        if isinstance(self.weights, WeightRule):
            return
        number = lambda w: isinstance(w, numbers.Real) and 0 < float(w) < math.inf
        wrong = [w for w in self.weights if not number(w)]
        if wrong or not self.weights:
            raise InputError(
                f"loss.weights={self.weights} must be finite numbers above 0, one per class"
                + (f", got {wrong[0]!r}." if wrong else ".")
            )

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"binary_cross_entropy": (total, weight)}; see `sigmoid_cross_entropy`.

        Raises:
          ValueError: the logits have another number of classes than there are weights, or
            `sigmoid_cross_entropy` refuses them.
        """
        weights = computed_weights(self.weights)
        check_count(weights, logits.shape[-1])
        label, given = plane_labels(logits, batch)
        by_class = jnp.asarray(weights, jnp.float32).reshape(1, 1, 1, -1)
        weight = jnp.where(equals(label, 1), by_class, 1.0)
        weight = weight if given is None else weight * given
        return sigmoid_cross_entropy(logits, {**batch, "label": label, "weight": weight})
