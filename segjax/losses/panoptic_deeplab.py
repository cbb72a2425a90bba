"""Panoptic-DeepLab's three losses: classes, centres of objects, and the way to them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from segjax.contracts import Array, Batch
from segjax.losses.counted import check_number
from segjax.losses.hard_pixels import flat_entropy, hardest

MAPS = ("center", "center_weight", "offset", "offset_weight")


@dataclasses.dataclass(frozen=True)
class PanopticDeepLab:
    """Cross-entropy of hard pixels, and the errors of the heat-map and of the offsets.

        semantic   Σ w · −log p_label over the ⌈share · n⌉ hardest of an image's n pixels that
                   count, over their number
        center     `center` · Σ (heat-map − truth)², over the pixels of `center_weight` 1
        offset     `offset` · Σ (|down| + |right|) of the error, over those of `offset_weight` 1

    Each is a total and its weight, summed over the images of all devices. As in the authors'
    loss, w counts in the total alone: an object of weight 3 counts three times.

    Attributes:
      share: the share of the pixels whose cross-entropy counts, above 0 and at most 1.
      center: weight of the heat-map's error.
      offset: weight of the offsets' error.

    Raises:
      InputError: the share is out of range, or a weight is not above 0.

    Source: Cheng et al., 2020 (arXiv:1911.10194), section 3.4; the hard pixels are DeeperLab's
    (Yang et al., 2019, arXiv:1902.05093).
    """

    share: float = 0.2
    center: float = 200.0
    offset: float = 0.01

    def __post_init__(self) -> None:
        check_number("share", self.share, low=0.0, high=1.0, with_high=True)
        check_number("center", self.center, low=0.0)
        check_number("offset", self.offset, low=0.0)

    def __call__(
        self, outputs: Any, batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns the sums of the three terms.

        Args:
          outputs: `semantic` b h w k, `center` b h w 1 and `offset` b h w 2.
          batch: `label`, `weight` and what `CenterTargets` adds.

        Raises:
          ValueError: the network gives other maps, the batch lacks targets, or
            `softmax_cross_entropy` refuses the labels.
        """
        if not isinstance(outputs, Mapping) or not {"semantic", "center", "offset"} <= {
            *outputs
        }:
            raise ValueError(
                "losses.PanopticDeepLab is for a network with maps semantic, center and "
                "offset: use model=PanopticDeepLab(...) with "
                "task=segjax.tasks.panoptic_deeplab.BottomUp()."
            )
        if missing := [key for key in MAPS if key not in batch]:
            raise ValueError(
                f"losses.PanopticDeepLab needs {missing[0]!r} in the batch: end the transforms "
                "with segjax.transforms.center_targets.CenterTargets()."
            )
        heat = outputs["center"][..., 0] - batch["center"]
        way = jnp.abs(outputs["offset"] - batch["offset"]).sum(-1)
        return {
            "semantic": self._semantic(outputs["semantic"], batch),
            "center": _sums(self.center, heat**2, batch["center_weight"]),
            "offset": _sums(self.offset, way, batch["offset_weight"]),
        }

    def _semantic(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        entropy, weight, counts = flat_entropy(logits, batch)
        entropy, weight = hardest(entropy, weight, counts, self.share)
        number = jnp.sum(weight > 0, dtype=entropy.dtype)
        return jnp.sum(weight * entropy), number


def _sums(
    factor: float, error: Float[Array, "b h w"], weight: Float[Array, "b h w"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the total and its weight; pixels of weight 0 are masked, not multiplied by 0."""
    total = jnp.sum(jnp.where(weight > 0, weight * error, 0))
    return factor * total, jnp.sum(weight)
