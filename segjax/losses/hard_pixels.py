"""Cross-entropy of each image's hardest pixels alone, chosen by share or by probability.

Both are of the softmax over exclusive classes. The choice is made image by image, so it does
not depend on the number of devices, and it is a constant for differentiation. Pixels are ranked
by −log p of their true class, without weights. Of equally hard pixels, the first in the image
is chosen.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from segjax.class_weights import WeightRule
from segjax.contracts import Array, Batch
from segjax.losses.counted import (
    check_class_weights,
    check_number,
    softmax_pixels,
    weighed_by_class,
)
from segjax.losses.cross_entropy import cross_entropy_map


@dataclasses.dataclass(frozen=True)
class TopKCrossEntropy:
    """Cross-entropy of a share of each image's pixels, those with the lowest probability.

        total = Σ w · −log p_label,    weight = Σ w,    over the ⌈share · n⌉ hardest of n pixels

    Online bootstrapping, Wu et al., 2016 (arXiv:1605.06885), who keep 512 pixels;
    DeepLab's later code keeps a share. n are the image's pixels that count.

    Attributes:
      share: the share of the pixels that is kept, above 0 and at most 1.
      weights: one number ≥ 0 for each class, at least one of them above 0; or a rule of
        `segjax.class_weights`; None: all 1. Pixels of weight 0 are never chosen.

    Raises:
      InputError: the share is out of range, a weight is negative or not finite, or all are 0.
    """

    share: float = 0.25
    weights: tuple[float, ...] | WeightRule | None = None
    activation: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        check_number("share", self.share, low=0.0, high=1.0, with_high=True)
        check_class_weights(self.weights)

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"cross_entropy": (total, weight)}, sums over the pixels that are kept.

        Raises:
          ValueError: as `softmax_cross_entropy`, or there is not one weight for each class.
        """
        batch = weighed_by_class(self.weights, logits, batch)
        entropy, weight, counts = flat_entropy(logits, batch)
        entropy, weight = hardest(entropy, weight, counts, self.share)
        return {"cross_entropy": (jnp.sum(weight * entropy), jnp.sum(weight))}


@dataclasses.dataclass(frozen=True)
class OHEMCrossEntropy:
    """Cross-entropy of the pixels whose true class has a probability below a threshold.

        total = Σ w · −log p_label,    weight = Σ w,    over pixels with p_label < threshold

    If fewer of an image's pixels than the share `min_kept` are below it, that share of its
    hardest pixels is kept. Online hard example mining is of Shrivastava et al., 2016
    (arXiv:1604.03540), for boxes; for pixels, with a threshold of 0.7, it is in the code of
    OCNet (Yuan and Wang, 2018, arXiv:1809.00916) and HRNet, which keep a number of pixels of a
    batch on one device instead of a share of each image.

    Attributes:
      threshold: a probability, above 0 and at most 1.
      min_kept: the least share of an image's pixels that is kept, above 0 and at most 1.
      weights: one number ≥ 0 for each class, at least one of them above 0; or a rule of
        `segjax.class_weights`; None: all 1. Pixels of weight 0 are never chosen.

    Raises:
      InputError: threshold or share is out of range, a weight is negative or not finite, or all
        are 0.
    """

    threshold: float = 0.7
    min_kept: float = 0.0625
    weights: tuple[float, ...] | WeightRule | None = None
    activation: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, low=0.0, high=1.0, with_high=True)
        check_number("min_kept", self.min_kept, low=0.0, high=1.0, with_high=True)
        check_class_weights(self.weights)

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"cross_entropy": (total, weight)}, sums over the pixels that are kept.

        Raises:
          ValueError: as `softmax_cross_entropy`, or there is not one weight for each class.
        """
        batch = weighed_by_class(self.weights, logits, batch)
        entropy, weight, counts = flat_entropy(logits, batch)
        limit = -math.log(self.threshold)
        is_hard = jax.lax.stop_gradient(entropy) > limit
        hard = jnp.where(is_hard, weight, 0)
        kept, by = hardest(entropy, weight, counts, self.min_kept)
        # Those of the least share that are not counted yet.
        by = jnp.where(jax.lax.stop_gradient(kept) > limit, 0, by)
        total = jnp.sum(hard * entropy) + jnp.sum(by * kept)
        return {"cross_entropy": (total, jnp.sum(hard) + jnp.sum(by))}


def flat_entropy(logits: Array, batch: Batch) -> tuple[Array, Array, Array]:
    """Returns −log p, weight and mask of pixels that count, b n; weights NaN if one is."""
    pixels = softmax_pixels(logits, batch)
    flat = lambda x: x.reshape(len(x), -1)
    weight = flat(pixels.weight)
    # A pixel that is wrong might not be among the hardest, and the step must still refuse it.
    weight = jnp.where(jnp.any(jnp.isnan(weight)), jnp.nan, weight)
    return flat(cross_entropy_map(pixels)), weight, flat(pixels.counts)


def hardest(entropy: Array, weight: Array, counts: Array, share: float) -> tuple[Array, Array]:
    """Returns −log p and weight of each image's hardest pixels; the others have weight 0."""
    most = min(math.ceil(share * counts.shape[1]), counts.shape[1])
    rank = jnp.where(counts, jax.lax.stop_gradient(entropy), -jnp.inf)
    _, index = jax.lax.top_k(rank, most)
    # Slightly less, or a product that is rounded up would keep one pixel too many.
    wanted = jnp.ceil(share * (1 - 2e-7) * jnp.sum(counts, axis=1, keepdims=True))
    kept = jnp.arange(most).reshape(1, -1) < wanted
    weight = jnp.where(kept, jnp.take_along_axis(weight, index, axis=1), 0)
    return jnp.take_along_axis(entropy, index, axis=1), weight
