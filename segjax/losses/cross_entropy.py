"""Cross-entropy of the softmax over exclusive classes: plain, weighted by class, smoothed."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from segjax.class_weights import WeightRule
from segjax.contracts import Array, Batch
from segjax.losses.counted import (
    Counted,
    check_class_weights,
    check_is_tuple,
    check_number,
    softmax_pixels,
    weighed_by_class,
)


def softmax_cross_entropy(
    logits: Float[Array, "b h w k"], batch: Batch
) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
    """Returns the cross-entropy of the softmax over classes, summed over pixels.

        total = Σ w · (log Σ_k exp z_k − z_label),    weight = Σ w

    Ignored pixels and pixels of weight 0 are masked, not multiplied by 0. So total and gradient
    do not depend on their scores, not even on −inf and NaN.

    Args:
      logits: scores of k ≥ 2 classes.
      batch: `label` (b h w, class ids or 255) and optionally `weight` (b h w, ≥ 0), both on the
        logits' grid; without `weight`, w = 1 at every pixel that is not ignored.

    Returns:
      {"cross_entropy": (total, weight)}, in float32 or wider. Inside `jit` both are NaN if a
      label is not a class, or a weight is negative or not finite.

    Raises:
      ValueError: shapes differ, there is only one class, or labels are not integers; outside
        `jit` also if a label is not a class or a weight is negative or not finite.
    """
    pixels = softmax_pixels(logits, batch)
    cross_entropy = cross_entropy_map(pixels)
    return {"cross_entropy": (jnp.sum(pixels.weight * cross_entropy), jnp.sum(pixels.weight))}


def cross_entropy_map(pixels: Counted) -> Float[Array, "b h w"]:
    """Returns −log p of each pixel's true class; finite where a pixel does not count."""
    log_probability = jax.nn.log_softmax(pixels.scores)
    return -jnp.take_along_axis(log_probability, pixels.label[..., None], axis=-1)[..., 0]


@dataclasses.dataclass(frozen=True)
class ClassWeightedCrossEntropy:
    """`softmax_cross_entropy` in which a pixel counts by the weight of its true class.

    If a few classes cover most pixels, SegNet (Badrinarayanan et al., 2015, section 4) weights
    a class by the median of all classes' frequencies, divided by the class's own.

    Attributes:
      weights: one number ≥ 0 for each class, at least one of them above 0; or a rule of
        `segjax.class_weights`, which computes them from the training data.

    Raises:
      InputError: a weight is negative or not finite, or all are 0.
    """

    weights: tuple[float, ...] | WeightRule
    activation: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        check_is_tuple(self.weights)
        check_class_weights(self.weights)

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"cross_entropy": (total, weight)}; see `softmax_cross_entropy`.

        Raises:
          ValueError: the logits have another number of classes than there are weights, or
            `softmax_cross_entropy` refuses them.
        """
        return softmax_cross_entropy(logits, weighed_by_class(self.weights, logits, batch))


@dataclasses.dataclass(frozen=True)
class SmoothedCrossEntropy:
    """Cross-entropy with label smoothing: the truth gives every class a share.

        total = Σ w · −((1 − ε) log p_label + ε/k Σ_c log p_c),    weight = Σ w

    Szegedy et al., 2016 (arXiv:1512.00567, section 7). With `weights`, w is a pixel's own
    weight times the weight of its true class. PyTorch's `CrossEntropyLoss` differs if both are
    given: it multiplies each log p_c of the smoothed part by the weight of class c.

    Attributes:
      smoothing: ε, at least 0 and below 1; at 0 this is the plain cross-entropy.
      weights: one number ≥ 0 for each class, at least one of them above 0; None: all 1.

    Raises:
      InputError: the smoothing is out of range, a weight is negative or not finite, or all
        weights are 0.
    """

    smoothing: float = 0.1
    weights: tuple[float, ...] | WeightRule | None = None
    activation: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        check_number("smoothing", self.smoothing, low=0.0, high=1.0, with_low=True)
        check_class_weights(self.weights)

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"cross_entropy": (total, weight)}, sums over pixels.

        Raises:
          ValueError: as `softmax_cross_entropy`, or there is not one weight for each class.
        """
        pixels = softmax_pixels(logits, weighed_by_class(self.weights, logits, batch))
        uniform = -jnp.mean(jax.nn.log_softmax(pixels.scores), axis=-1)
        true = cross_entropy_map(pixels)
        smoothed = (1 - self.smoothing) * true + self.smoothing * uniform
        return {"cross_entropy": (jnp.sum(pixels.weight * smoothed), jnp.sum(pixels.weight))}
