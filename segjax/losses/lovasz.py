"""The Lovász extension of the Jaccard loss, of the softmax and of hinges, for each image.

Berman et al., 2018 (arXiv:1705.08790). The Jaccard loss of a class is a set function of its
wrong pixels M: Δ(M) = |M| / |G ∪ M|, where G are its true pixels. Its Lovász extension is
defined for errors m ≥ 0 of each pixel, and equals Δ where each m is 0 or 1. With the errors in
descending order (definition 1),

    loss = Σ_i m_i (Δ({1 … i}) − Δ({1 … i − 1})).

A `weight` map weighs the pixels that the set function counts. Ignored pixels and pixels of
weight 0 are masked, not multiplied by 0. Sorting needs all pixels, so the loss is of an image:
the mean over images or, for hinges, over the planes of images.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from segjax.contracts import Array, Batch
from segjax.losses.counted import check_choice, sigmoid_planes, softmax_pixels
from segjax.losses.region_sums import Classes, mean_over


@dataclasses.dataclass(frozen=True)
class LovaszSoftmax:
    """The Lovász extension of the Jaccard loss, with errors |g − p| of the softmax's p.

    Berman et al., 2018, section 3.2: the mean over classes, of each image. An image counts if
    one of its pixels does.

    Attributes:
      classes: those in the mean: "present", which have a true pixel in the image (the paper's),
        or "all". The loss of an absent class is its largest probability in the image.

    Raises:
      InputError: `classes` is neither.
    """

    classes: Classes = "present"
    activation: ClassVar[str] = "softmax"

    def __post_init__(self) -> None:
        check_choice("classes", self.classes, ("present", "all"))

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"lovasz": (total, weight)}, sums over images.

        Raises:
          ValueError: `softmax_cross_entropy` refuses logits or batch.
        """
        pixels = softmax_pixels(logits, batch)
        b, _, _, k = logits.shape
        by_class = lambda x: x.reshape(b, -1, k).transpose(0, 2, 1)
        truth = pixels.label[..., None] == jnp.arange(k).reshape(1, 1, 1, k)
        error = jnp.where(truth, -1.0, 1.0) * jax.nn.softmax(pixels.scores) + truth
        weight = jnp.broadcast_to(pixels.weight[..., None], logits.shape)
        error, truth, weight = by_class(error), by_class(truth), by_class(weight)
        loss = jnp.sum(error * jaccard_slopes(error, truth, weight), axis=-1)
        present = ~(jnp.sum(weight * truth, axis=-1) == 0)
        by_image = mean_over(loss, present if self.classes == "present" else present | True)
        return {"lovasz": _mean(by_image, jnp.sum(weight[:, 0], axis=-1))}


@dataclasses.dataclass(frozen=True)
class LovaszHinge:
    """The Lovász extension of the Jaccard loss, with hinges as errors, for each plane.

        m = max(0, 1 − z) where the label is 1, max(0, 1 + z) where it is 0

    Berman et al., 2018, section 3.1: for binary masks, here the mean over the planes of all
    images. A plane of an image counts if one of its pixels does. The loss only asks that z has
    the right sign, so `Multilabel`'s threshold of 0.5 fits; the sigmoid of z is not a
    calibrated probability.
    """

    activation: ClassVar[str] = "sigmoid"

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"lovasz": (total, weight)}, sums over planes of images.

        Raises:
          ValueError: `sigmoid_cross_entropy` refuses logits or batch.
        """
        planes = sigmoid_planes(logits, batch)
        b, _, _, k = logits.shape
        by_class = lambda x: x.reshape(b, -1, k).transpose(0, 2, 1)
        score, weight = by_class(planes.scores), by_class(planes.weight)
        truth = by_class(planes.label) == 1
        error = jax.nn.relu(1 - jnp.where(truth, score, -score))
        loss = jnp.sum(error * jaccard_slopes(error, truth, weight), axis=-1)
        return {"lovasz": _mean(loss, jnp.sum(weight, axis=-1))}


def jaccard_slopes(
    error: Float[Array, "b k n"], truth: Array, weight: Float[Array, "b k n"]
) -> Float[Array, "b k n"]:
    """Returns Δ({1 … i}) − Δ({1 … i − 1}) of each pixel i, in the order of the errors.

    The extension is linear where the order does not change, so these are its slopes: constants
    for differentiation. A pixel of weight 0 has the slope 0; if a weight is NaN, all are NaN.
    """
    error, weight = jax.lax.stop_gradient((error, weight))
    order = _descending(error, counts=weight != 0)
    inside, outside = weight * truth, weight * ~truth
    in_order = lambda x: jnp.cumsum(jnp.take_along_axis(x, order, axis=-1), axis=-1)
    all_inside = jnp.sum(inside, axis=-1, keepdims=True)
    union = all_inside + in_order(outside)
    left = jnp.maximum(all_inside - in_order(inside), 0)
    jaccard = jnp.where(union == 0, 0, 1 - left / jnp.where(union == 0, 1, union))
    slopes = jnp.diff(jaccard, axis=-1, prepend=0)
    place = lambda order, x: jnp.zeros_like(x).at[order].set(x, unique_indices=True)
    return jnp.where(weight == 0, 0, jax.vmap(jax.vmap(place))(order, slopes))


def _descending(error: Array, *, counts: Array) -> Array:
    """Returns the order of the errors, largest first; behind all, pixels that do not count.

    Of floats that are not negative, the order is that of their bits. XLA sorts integers in
    about two thirds of the time on a CPU.
    """
    integer = jnp.int32 if error.dtype == jnp.float32 else jnp.int64
    bits = jax.lax.bitcast_convert_type(jnp.maximum(error, 0), integer)
    index = jax.lax.broadcasted_iota(jnp.int32, error.shape, error.ndim - 1)
    return jax.lax.sort((jnp.where(counts, -bits, 1), index), dimension=-1, num_keys=1)[1]


def _mean(loss: Array, weight: Array) -> tuple[Array, Array]:
    """Returns (total, weight) of losses; each counts once if its weight is above 0."""
    counts = jnp.where(jnp.isnan(weight), weight, (weight > 0).astype(loss.dtype))
    return jnp.sum(jnp.where(weight == 0, 0, loss)), jnp.sum(counts)
