"""Sums over regions: of each class's intersection, prediction and truth, before any ratio."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp

from segjax.contracts import Array, Batch, Term
from segjax.losses.counted import Counted, check_choice, sigmoid_planes, softmax_pixels

Activation = Literal["softmax", "sigmoid"]
Over = Literal["batch", "image"]
Classes = Literal["present", "all"]


@runtime_checkable
class Formula(Protocol):
    """A loss that is a function of the sums over regions."""

    @property
    def over(self) -> Over:
        """What the sums are over: "batch", all images and devices, or each "image"."""
        ...

    @property
    def activation(self) -> Activation:
        """The probabilities: "softmax" of exclusive classes, or "sigmoid" of planes."""
        ...

    @property
    def classes(self) -> Classes | None:
        """The classes that count, as `counted_classes` says."""
        ...

    def of(self, sums: "RegionSums") -> Array:
        """Returns the loss of sums […, k], of shape […]."""
        ...


@flax.struct.dataclass
class RegionSums:
    """Sums over pixels for each class (k), or for each image and class (b k).

    Attributes:
      intersection: Σ w p g, where p is the probability and g the truth, 0 or 1.
      predicted: Σ w p (or Σ w p²).
      true: Σ w g.
      pixels: Σ w.
      formula: the loss, which makes one number of the sums.
    """

    intersection: Any
    predicted: Any
    true: Any
    pixels: Any
    formula: Any = flax.struct.field(pytree_node=False)

    def value(self) -> Array:
        """Returns the loss, a scalar: 0, with gradient 0, where no pixel counts."""
        return self.formula.of(self)


def region_terms(
    formula: Formula, logits: Array, batch: Batch, *, name: str, squared: bool = False
) -> Mapping[str, Term]:
    """Returns {name: sums over the batch}, or {name: (total, weight)} of images.

    Images in which no class counts are left out of the mean over images.

    Args:
      formula: the loss as a function of sums.
      logits: scores b h w k.
      batch: `label` and optionally `weight`, as the cross-entropy of the activation reads them.
      name: the term's name.
      squared: whether p² is summed for `predicted`.

    Raises:
      ValueError: the cross-entropy of the activation refuses logits or batch.
    """
    is_softmax = formula.activation == "softmax"
    counted = (softmax_pixels if is_softmax else sigmoid_planes)(logits, batch)
    sums = _by_image(counted, formula, squared=squared)
    if formula.over == "batch":
        return {name: jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)}
    counts = jnp.any(counted_classes(sums), axis=-1)
    weight = jnp.sum(counts, dtype=sums.pixels.dtype)
    # NaN, if labels or weights are wrong.
    sound = jnp.where(jnp.isnan(jnp.sum(sums.pixels)), jnp.nan, 1.0)
    return {name: (jnp.sum(formula.of(sums)), weight * sound)}


def _by_image(counted: Counted, formula: Formula, *, squared: bool) -> RegionSums:
    """Returns the sums b k. Weights are 0 where a pixel does not count, NaN where wrong."""
    weight, k = counted.weight, counted.scores.shape[-1]
    if formula.activation == "softmax":
        probability = jax.nn.softmax(counted.scores)
        truth = counted.label[..., None] == jnp.arange(k).reshape(1, 1, 1, k)
        weight = jnp.broadcast_to(weight[..., None], counted.scores.shape)
    else:
        probability = jax.nn.sigmoid(counted.scores)
        truth = counted.label == 1
    total = lambda x: jnp.sum(weight * x, axis=(1, 2))
    return RegionSums(
        intersection=total(probability * truth),
        predicted=total(probability**2 if squared else probability),
        true=total(truth),
        pixels=jnp.sum(weight, axis=(1, 2)),
        formula=formula,
    )


def counted_classes(sums: RegionSums) -> Array:
    """Returns a mask […, k] of the classes that count.

    "present": those with a true pixel. "all": those with a pixel that counts. None: "present"
    for a softmax, where a wrong prediction takes from the true class, and "all" for planes,
    where nothing else would punish a prediction where no object is. A sum that is NaN counts.
    """
    classes, activation = sums.formula.classes, sums.formula.activation
    present = classes == "present" or (classes is None and activation == "softmax")
    return ~((sums.true if present else sums.pixels) == 0)


def mean_over(by_class: Array, counts: Array) -> Array:
    """Returns the mean over the classes that count; 0 where none does."""
    number = jnp.maximum(jnp.sum(counts, axis=-1), 1)
    return jnp.sum(jnp.where(counts, by_class, 0), axis=-1) / number


def ratio(numerator: Array, denominator: Array) -> Array:
    """Returns the quotient; 1, with gradient 0, where the denominator is 0."""
    empty = denominator == 0
    numerator, denominator = jnp.where(empty, 0, numerator), jnp.where(empty, 1, denominator)
    # The derivative divides by the square, which is 0 in float32 for sums below 1e-22.
    scale = jax.lax.stop_gradient(denominator)
    quotient = (numerator / scale) / (denominator / scale)
    return jnp.where(empty, 1, quotient)


def check_fields(formula: Formula) -> None:
    """Raises InputError unless `over`, `activation` and `classes` have one of their values."""
    check_choice("over", formula.over, ("batch", "image"))
    check_choice("activation", formula.activation, ("softmax", "sigmoid"))
    check_choice("classes", formula.classes, ("present", "all", None))
