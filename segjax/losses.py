"""Losses as sums: each returns {term: (total, weight)} over the pixels that count.

The train step adds totals and weights over all devices and divides once. A mean per device
would be the wrong loss as soon as devices hold different numbers of ignored pixels.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Float

from segjax.types import IGNORE, Array, Batch


def softmax_cross_entropy(
    logits: Float[Array, "b h w k"], batch: Batch
) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
    """Cross-entropy of the softmax over classes, summed over the pixels that are not ignored.

        total = Σ w · (log Σ_k exp z_k − z_label),    weight = Σ w

    Args:
      logits: scores of k classes.
      batch: `label` (b h w, class ids or 255) and optionally `weight` (b h w, ≥ 0), both on the
        logits' grid; without `weight`, w = 1 at every pixel that is not ignored.

    Returns:
      {"cross_entropy": (total, weight)}, in float32 or better.
    """
    label = batch["label"].astype(jnp.int32)
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    counted = (label != IGNORE).astype(dtype)
    weight = counted * batch["weight"] if "weight" in batch else counted
    log_probability = jax.nn.log_softmax(logits.astype(dtype))
    # Ignored labels lie outside the classes: read class 0 there, the weight is 0.
    index = jnp.where(label == IGNORE, 0, label)[..., None]
    cross_entropy = -jnp.take_along_axis(log_probability, index, axis=-1)[..., 0]
    return {"cross_entropy": (jnp.sum(weight * cross_entropy), jnp.sum(weight))}


@dataclasses.dataclass(frozen=True)
class ClassWeightedCrossEntropy:
    """`softmax_cross_entropy` in which a pixel counts by the weight of its true class.

    Where a few classes cover most pixels, SegNet (Badrinarayanan et al., 2015, section 4) takes
    the median of the classes' frequencies over the class's own.

    Attributes:
      weights: one number ≥ 0 a class.
    """

    weights: tuple[float, ...]

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """{"cross_entropy": (total, weight)}; see `softmax_cross_entropy`.

        Raises:
          ValueError: the logits have another number of classes than there are weights.
        """
        if len(self.weights) != logits.shape[-1]:
            raise ValueError(
                f"loss.weights has {len(self.weights)} numbers for {logits.shape[-1]} classes."
            )
        label = batch["label"].astype(jnp.int32)
        by_class = jnp.asarray(self.weights, jnp.float32)
        weight = by_class[jnp.where(label == IGNORE, 0, label)] * batch.get("weight", 1.0)
        return softmax_cross_entropy(logits, {**batch, "weight": weight})


def on_logits_grid(batch: Batch, size: tuple[int, int], *, stride: int = 1) -> Batch:
    """The batch with `label` and `weight` brought to a network's own grid of scores.

    One mechanism for the papers whose loss does not live on the image's grid: every `stride`-th
    pixel from the first (DeepLab v1 and v2 train on their stride-8 map), then the centre (the
    valid-convolution U-Net answers for the centre of its input).

    Args:
      batch: `label` b H W, `weight` b H W if present; other entries pass through.
      size: (h, w) of the logits.
      stride: pixels of the image from one score to the next.

    Raises:
      ValueError: the logits are larger than the labels.

    >>> label = jnp.arange(25).reshape(1, 5, 5)
    >>> on_logits_grid({"label": label}, (3, 3))["label"].tolist()
    [[[6, 7, 8], [11, 12, 13], [16, 17, 18]]]
    >>> on_logits_grid({"label": label}, (3, 3), stride=2)["label"].tolist()
    [[[0, 2, 4], [10, 12, 14], [20, 22, 24]]]
    """
    return {
        key: _centre(value[:, ::stride, ::stride], size)
        if key in ("label", "weight")
        else value
        for key, value in batch.items()
    }


def _centre(x: Array, size: tuple[int, int]) -> Array:
    (height, width), (h, w) = x.shape[1:3], size
    if h > height or w > width:
        raise ValueError(f"Logits of {h}x{w} are larger than their labels of {height}x{width}.")
    top, left = (height - h) // 2, (width - w) // 2
    return x[:, top : top + h, left : left + w]
