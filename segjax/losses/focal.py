"""Focal losses: cross-entropy in which pixels that are already right count less.

Lin et al., 2017 (arXiv:1708.02002, section 3). The paper divides by the number of boxes that
contain an object. For pixels, the loss is divided by the sum of the pixels' weights.
"""

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
    check_number,
    sigmoid_planes,
    softmax_pixels,
    weighed_by_class,
)
from segjax.losses.cross_entropy import cross_entropy_map


@dataclasses.dataclass(frozen=True)
class SoftmaxFocal:
    """Focal loss of the softmax over exclusive classes.

        total = Σ w · (1 − p_label)^γ · −log p_label,    weight = Σ w

    Attributes:
      gamma: γ ≥ 0; at 0 this is the cross-entropy.
      weights: one number ≥ 0 for each class, at least one of them above 0; None: all 1. They
        are the paper's α. They are part of w, so they also divide.

    Raises:
      InputError: γ or a weight is negative or not finite, or all weights are 0.
    """

    gamma: float = 2.0
    weights: tuple[float, ...] | WeightRule | None = None
    activation: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, low=0.0, with_low=True)
        check_class_weights(self.weights)

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"focal": (total, weight)}, sums over pixels.

        Raises:
          ValueError: as `softmax_cross_entropy`, or there is not one weight for each class.
        """
        pixels = softmax_pixels(logits, weighed_by_class(self.weights, logits, batch))
        focal = cross_entropy_map(pixels)
        if self.gamma > 0:  # 0 · log(1 − p) would be NaN where all other scores are −inf.
            focal = self._factor(pixels) * focal
        return {"focal": (jnp.sum(pixels.weight * focal), jnp.sum(pixels.weight))}

    def _factor(self, pixels: Counted) -> Float[Array, "b h w"]:
        """Returns (1 − p_label)^γ."""
        k = pixels.scores.shape[-1]
        others = pixels.label[..., None] != jnp.arange(k).reshape(1, 1, 1, k)
        # log(1 − p) from the other scores: 1 − p is 0 in float32 where p is nearly 1.
        log_rest = jax.nn.logsumexp(pixels.scores, axis=-1, where=others)
        log_rest = log_rest - jax.nn.logsumexp(pixels.scores, axis=-1)
        return jnp.exp(self.gamma * log_rest)


@dataclasses.dataclass(frozen=True)
class SigmoidFocal:
    """Focal loss of the sigmoid of each plane.

        total = Σ w · α_t · (1 − p_t)^γ · −log p_t,    weight = Σ w

    p_t is p where the label is 1 and 1 − p where it is 0; α_t is α and 1 − α.

    Attributes:
      gamma: γ ≥ 0.
      alpha: α, above 0 and below 1, or None: α_t = 1 everywhere. It is not part of the weight.

    Raises:
      InputError: γ is negative or not finite, or α is out of range.
    """

    gamma: float = 2.0
    alpha: float | None = 0.25
    activation: ClassVar[str] = "sigmoid"

    def __post_init__(self) -> None:
        check_number("gamma", self.gamma, low=0.0, with_low=True)
        if self.alpha is not None:
            check_number("alpha", self.alpha, low=0.0, high=1.0)

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"focal": (total, weight)}, sums over pixels and planes.

        Raises:
          ValueError: `sigmoid_cross_entropy` refuses logits or batch.
        """
        planes = sigmoid_planes(logits, batch)
        inside = planes.label == 1
        toward = jnp.where(inside, planes.scores, -planes.scores)
        # softplus(−z) is −log p, and softplus(z) is −log(1 − p).
        focal = jnp.exp(-self.gamma * jax.nn.softplus(toward)) * jax.nn.softplus(-toward)
        if self.alpha is not None:
            focal = jnp.where(inside, self.alpha, 1 - self.alpha) * focal
        return {"focal": (jnp.sum(planes.weight * focal), jnp.sum(planes.weight))}
