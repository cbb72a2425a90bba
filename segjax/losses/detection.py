"""The loss of a two-stage detector (He et al., 2017, section 3; Ren et al., 2015)."""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Integer, Num

from segjax.contracts import Term
from segjax.losses.counted import check_number

Arrays = Mapping[str, Num[Array, "..."] | Bool[Array, "..."]]


@dataclasses.dataclass(frozen=True)
class TwoStage:
    """The sum of five losses, each divided as torchvision divides it.

    ==============  ==============================================  ========================
    term            what is summed                                  divided by
    ==============  ==============================================  ========================
    rpn_objectness  binary cross-entropy of sampled anchors         sampled anchors
    rpn_boxes       smooth L1 of anchors that show an object        sampled anchors
    classes         cross-entropy of sampled proposals              sampled proposals
    boxes           smooth L1 of proposals that show an object      sampled proposals
    masks           binary cross-entropy of the pixels of their     those pixels
                    masks, in the plane of the true class
    ==============  ==============================================  ========================

    Samples are those of all images and devices together. A network without masks has the first
    four terms. Smooth L1 of a difference d is d² / 2β if |d| < β, else |d| − β / 2.

    Attributes:
      rpn_beta: β of `rpn_boxes`. torchvision has 1/9, detectron2 0, which is |d|.
      beta: β of `boxes`. torchvision has 1/9, detectron2 0.

    Raises:
      InputError: a β is negative or not finite.
    """

    rpn_beta: float = 1 / 9
    beta: float = 1 / 9

    def __post_init__(self) -> None:
        for name in ("rpn_beta", "beta"):
            check_number(name, getattr(self, name), low=0.0, with_low=True)

    def __call__(self, outputs: Arrays, targets: Arrays) -> Mapping[str, Term]:
        """Returns total and weight of each term.

        Args:
          outputs: of the sampled anchors `objectness` b s, logits, and `anchor_deltas` b s 4;
            of the sampled proposals `logits` b r k and `deltas` b r k 4; and of the first p of
            these `masks` b p m m k, logits.
          targets: `anchor_drawn` b s, whether the slot counts; `anchor_is_object` b s;
            `anchor_deltas` b s 4; `drawn` b r; `classes` b r, 0 is the background; `deltas`
            b r 4; `masks` b p m m, from 0 to 1.
        """
        terms = {**self._first_stage(outputs, targets), **self._second_stage(outputs, targets)}
        if "masks" in outputs:
            terms["masks"] = _masks(outputs["masks"], targets)
        return terms

    def _first_stage(self, outputs: Arrays, targets: Arrays) -> dict[str, Term]:
        drawn, is_object = targets["anchor_drawn"], targets["anchor_is_object"]
        logits = outputs["objectness"].astype(jnp.float32)
        entropy = optax.sigmoid_binary_cross_entropy(logits, is_object.astype(jnp.float32))
        distance = smooth_l1(
            outputs["anchor_deltas"], targets["anchor_deltas"], beta=self.rpn_beta
        )
        count = jnp.sum(drawn, dtype=jnp.float32)
        return {
            "rpn_objectness": (_sum(entropy, drawn), count),
            "rpn_boxes": (_sum(distance, drawn & is_object), count),
        }

    def _second_stage(self, outputs: Arrays, targets: Arrays) -> dict[str, Term]:
        drawn, classes = targets["drawn"], targets["classes"]
        entropy = optax.softmax_cross_entropy_with_integer_labels(
            outputs["logits"].astype(jnp.float32), classes
        )
        deltas = jnp.take_along_axis(outputs["deltas"], classes[..., None, None], axis=2)
        distance = smooth_l1(deltas[:, :, 0], targets["deltas"], beta=self.beta)
        count = jnp.sum(drawn, dtype=jnp.float32)
        return {
            "classes": (_sum(entropy, drawn), count),
            "boxes": (_sum(distance, drawn & (classes > 0)), count),
        }


def smooth_l1(
    found: Float[Array, "*n 4"], truth: Float[Array, "*n 4"], *, beta: float
) -> Float[Array, "*n"]:
    """Returns the smooth L1 distance of encoded boxes, summed over their four numbers."""
    distance = jnp.abs(found.astype(jnp.float32) - truth)
    if beta > 0:
        near = 0.5 * jnp.square(distance) / beta
        distance = jnp.where(distance < beta, near, distance - 0.5 * beta)
    return distance.sum(-1)


def _masks(logits: Float[Array, "b p m m k"], targets: Arrays) -> Term:
    """Returns the term of the masks, over the first p proposals that show an object."""
    count = logits.shape[1]
    classes: Integer[Array, "b p"] = targets["classes"][:, :count]
    shows_object = targets["drawn"][:, :count] & (classes > 0)
    planes = jnp.take_along_axis(logits, classes[:, :, None, None, None], axis=-1)[..., 0]
    entropy = optax.sigmoid_binary_cross_entropy(planes.astype(jnp.float32), targets["masks"])
    pixels = logits.shape[2] * logits.shape[3]
    weight = jnp.sum(shows_object, dtype=jnp.float32) * pixels
    return _sum(entropy.sum((2, 3)), shows_object), weight


def _sum(values: Float[Array, "b n"], counts: Bool[Array, "b n"]) -> Float[Array, ""]:
    return jnp.sum(jnp.where(counts, values, 0.0))
