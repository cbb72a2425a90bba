"""Boundary loss: each pixel's probability times its distance to the true boundary."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from segjax.contracts import Array, Batch
from segjax.losses.counted import check_choice, sigmoid_planes, softmax_pixels
from segjax.losses.region_sums import Activation


@dataclasses.dataclass(frozen=True)
class Boundary:
    """The mean over pixels and classes of φ p, with φ the signed distance to the true region.

        total = Σ w φ p,    weight = Σ w,    over pixels and classes

    Kervadec et al., 2019 (arXiv:1812.07032, section 2). As in the authors' code, φ is the
    distance in pixels to the nearest true pixel of the class outside of it, and 1 − the
    distance to the nearest other pixel inside. It is 0 in an image where the
    class is absent, or has all pixels. Ignored pixels belong neither to the class nor to the
    others.

    The loss may be negative, and it has a weak gradient far from a solution: the paper adds it
    to the generalised Dice loss, `Sum(((GeneralizedDice(), 1.0), (Boundary(), 0.01)))`. The
    paper raises its weight during training; here the weight is constant.

    The distances are computed in the step, from the labels as transforms leave them and on the
    grid of the logits. They are exact. An image of h rows costs h operations for each pixel and
    class.

    Attributes:
      activation: "softmax" of exclusive classes, or "sigmoid" of planes.

    Raises:
      InputError: `activation` is neither.
    """

    activation: Activation = "softmax"

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ("softmax", "sigmoid"))

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"boundary": (total, weight)}, sums over pixels and classes.

        Raises:
          ValueError: the cross-entropy of the activation refuses logits or batch.
        """
        if self.activation == "softmax":
            counted, k = softmax_pixels(logits, batch), logits.shape[-1]
            probability = jax.nn.softmax(counted.scores)
            inside = counted.label[..., None] == jnp.arange(k).reshape(1, 1, 1, k)
            spread = lambda x: jnp.broadcast_to(x[..., None], logits.shape)
            weight, counts = spread(counted.weight), spread(counted.counts)
        else:
            counted = sigmoid_planes(logits, batch)
            probability, inside = jax.nn.sigmoid(counted.scores), counted.label == 1
            weight, counts = counted.weight, counted.counts
        distance = signed_distances(inside & counts, ~inside & counts)
        total = jnp.sum(weight * distance.astype(weight.dtype) * probability)
        return {"boundary": (total, jnp.sum(weight))}


def signed_distances(
    inside: Bool[Array, "b h w k"], outside: Bool[Array, "b h w k"]
) -> Float[Array, "b h w k"]:
    """Returns the distance to `inside` where a pixel is outside, 1 − that to `outside` inside.

    It is 0 of pixels that are neither, and in images where one of both has no pixel.
    """
    distance = jnp.where(outside, _distance_to(inside), 0)
    distance = jnp.where(inside, 1 - _distance_to(outside), distance)
    return jnp.where(jnp.isfinite(distance), distance, 0)


def _distance_to(sites: Bool[Array, "b h w k"]) -> Float[Array, "b h w k"]:
    """Returns the Euclidean distance of each pixel to the nearest site; inf without sites.

    The nearest site in a row comes from running maxima; over rows, each row y' is tried:
    d² = min_y' (y − y')² + (distance in row y')².
    """
    _, h, w, _ = sites.shape
    column = jnp.arange(w, dtype=jnp.float32).reshape(1, 1, w, 1)
    last = jax.lax.cummax(jnp.where(sites, column, -jnp.inf), axis=2)
    following = jax.lax.cummin(jnp.where(sites, column, jnp.inf), axis=2, reverse=True)
    in_row = jnp.minimum(column - last, following - column) ** 2
    row = jnp.arange(h, dtype=jnp.float32).reshape(1, h, 1, 1)

    def nearer(y: Array, squared: Array) -> Array:
        """Returns the squared distances, with the sites of row y."""
        at_row = jax.lax.dynamic_slice_in_dim(in_row, y, 1, axis=1)
        return jnp.minimum(squared, (row - y) ** 2 + at_row)

    return jnp.sqrt(jax.lax.fori_loop(0, h, nearer, jnp.full(sites.shape, jnp.inf)))
