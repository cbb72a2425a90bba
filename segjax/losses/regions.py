"""Losses of regions: Dice, generalised Dice, Tversky and Jaccard, over a batch or an image.

They are ratios of sums, so they are not sums over pixels. With `over="batch"` the sums of each
class are added over all images and devices before the ratio. With `over="image"` the loss is
the mean over images of each image's ratio.

p is the probability, by softmax or sigmoid; g is 1 where the truth has the class, 0 elsewhere;
w is the pixel's weight (1 without a `weight` map); s is a smoothing constant in pixels. For
each class I = Σ w p g, P = Σ w p and G = Σ w g. Ignored pixels and pixels of weight 0 are
masked, not multiplied by 0. The loss is 0, with gradient 0, where no pixel counts.

Logits are b h w k. Labels are b h w class ids or 255 for `activation="softmax"`, and b h w k of
0, 1 or 255 for `activation="sigmoid"`, the planes of `Multilabel`.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Float

from segjax.contracts import Array, Batch, Term
from segjax.losses.counted import check_number
from segjax.losses.region_sums import (
    Activation,
    Classes,
    Over,
    RegionSums,
    check_fields,
    counted_classes,
    mean_over,
    ratio,
    region_terms,
)


@dataclasses.dataclass(frozen=True)
class Dice:
    """1 − the mean over classes of the soft Dice coefficient.

        loss = 1 − mean_c (2 I_c + s) / (P_c + G_c + s)

    Milletari et al., 2016 (V-Net, arXiv:1606.04797, section 3), who sum p² for P
    (`squared=True`) and have no smoothing.

    Attributes:
      over: "batch": sums over all images and devices before the ratio; "image": the mean over
        images of each image's loss.
      activation: "softmax" of exclusive classes, or "sigmoid" of planes.
      classes: those in the mean: "present", with a true pixel in the batch or image, or "all".
        None: "present" for the softmax, "all" for the sigmoid.
      smooth: s, in pixels. A class without true and predicted pixels has the coefficient 1.
      squared: whether P = Σ w p².

    Raises:
      InputError: a field has none of these values, or `smooth` is negative or not finite.
    """

    over: Over = "batch"
    activation: Activation = "softmax"
    classes: Classes | None = None
    smooth: float = 1.0
    squared: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        check_number("smooth", self.smooth, low=0.0, with_low=True)

    def of(self, sums: RegionSums) -> Array:
        """Returns the loss of sums […, k], of shape […]."""
        both = sums.predicted + sums.true
        dice = ratio(2 * sums.intersection + self.smooth, both + self.smooth)
        return mean_over(1 - dice, counted_classes(sums))

    def __call__(self, logits: Float[Array, "b h w k"], batch: Batch) -> Mapping[str, Term]:
        """Returns {"dice": sums over the batch, or (total, weight) of images}.

        Raises:
          ValueError: the cross-entropy of the activation refuses logits or batch.
        """
        return region_terms(self, logits, batch, name="dice", squared=self.squared)


@dataclasses.dataclass(frozen=True)
class GeneralizedDice:
    """1 − the generalised Dice score, in which a class counts by 1 / (its true pixels)².

        loss = 1 − 2 Σ_c v_c I_c / Σ_c v_c (P_c + G_c),    v_c = 1 / G_c²

    Sudre et al., 2017 (arXiv:1707.03237, section 2). The paper does not say what v is for a
    class without a true pixel: with `classes="present"` it is 0, with "all" the largest v of
    the classes present (1 if none is). It needs no smoothing.

    Attributes:
      over: "batch" or "image", as in `Dice`.
      activation: "softmax" of exclusive classes, or "sigmoid" of planes.
      classes: "present" or "all", as above. None: "present" for the softmax, "all" for the
        sigmoid.

    Raises:
      InputError: a field has none of these values.
    """

    over: Over = "batch"
    activation: Activation = "softmax"
    classes: Classes | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def of(self, sums: RegionSums) -> Array:
        """Returns the loss of sums […, k], of shape […]."""
        counts = counted_classes(sums)
        absent = sums.true == 0
        # v times the square of the smallest G: the ratio is the same, and nothing overflows.
        smallest = jnp.min(sums.true, axis=-1, keepdims=True, where=~absent, initial=jnp.inf)
        by_size = jnp.where(absent, 1, (smallest / jnp.where(absent, 1, sums.true)) ** 2)
        by_size = jnp.where(counts, by_size, 0)
        both = jnp.sum(by_size * (sums.predicted + sums.true), axis=-1)
        return 1 - ratio(2 * jnp.sum(by_size * sums.intersection, axis=-1), both)

    def __call__(self, logits: Float[Array, "b h w k"], batch: Batch) -> Mapping[str, Term]:
        """Returns {"generalized_dice": sums over the batch, or (total, weight) of images}.

        Raises:
          ValueError: the cross-entropy of the activation refuses logits or batch.
        """
        return region_terms(self, logits, batch, name="generalized_dice")


@dataclasses.dataclass(frozen=True)
class Tversky:
    """1 − the Tversky index, which weighs false positives and false negatives; also focal.

        index_c = (I_c + s) / (I_c + α (P_c − I_c) + β (G_c − I_c) + s)
        loss = mean_c (1 − index_c)^(1/γ)

    Salehi et al., 2017 (arXiv:1706.05721); the exponent is the focal Tversky loss,
    Abraham and Khan, 2019 (arXiv:1810.07842), who set γ = 4/3. α = β = 0.5 is
    `Dice` with half its s; α = β = 1 is `Jaccard`.

    Attributes:
      alpha: α, the weight of pixels wrongly predicted to have the class.
      beta: β, the weight of the class's pixels that are missed.
      gamma: γ ≥ 1; above 1, classes that are nearly right count more.
      over: "batch" or "image", as in `Dice`.
      activation: "softmax" of exclusive classes, or "sigmoid" of planes.
      classes: those in the mean, as in `Dice`.
      smooth: s, in pixels, as in `Dice`.

    Raises:
      InputError: a field has none of these values; α, β or `smooth` is negative or not finite;
        α and β are both 0; γ is below 1.
    """

    alpha: float = 0.3
    beta: float = 0.7
    gamma: float = 1.0
    over: Over = "batch"
    activation: Activation = "softmax"
    classes: Classes | None = None
    smooth: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("alpha", "beta", "smooth"):
            check_number(name, getattr(self, name), low=0.0, with_low=True)
        if self.alpha == self.beta == 0:
            check_number("alpha", self.alpha, low=0.0)
        check_number("gamma", self.gamma, low=1.0, with_low=True)

    def of(self, sums: RegionSums) -> Array:
        """Returns the loss of sums […, k], of shape […]."""
        both = sums.intersection
        wrong, missed = sums.predicted - both, sums.true - both
        mistakes = self.alpha * wrong + self.beta * missed
        index = ratio(both + self.smooth, both + mistakes + self.smooth)
        by_class = 1 - index
        if self.gamma > 1:
            # The slope of the root is infinite at 0, where nothing is left to learn.
            low = by_class <= 0
            root = jnp.where(low, 1, by_class) ** (1 / self.gamma)
            by_class = jnp.where(low, 0, root)
        return mean_over(by_class, counted_classes(sums))

    def __call__(self, logits: Float[Array, "b h w k"], batch: Batch) -> Mapping[str, Term]:
        """Returns {"tversky": sums over the batch, or (total, weight) of images}.

        Raises:
          ValueError: the cross-entropy of the activation refuses logits or batch.
        """
        return region_terms(self, logits, batch, name="tversky")


@dataclasses.dataclass(frozen=True)
class Jaccard:
    """1 − the mean over classes of the soft Jaccard index, intersection over union.

        loss = 1 − mean_c (I_c + s) / (P_c + G_c − I_c + s)

    Rahman and Wang, 2016 (ISVC, doi:10.1007/978-3-319-50835-1_22), who have no
    smoothing. `LovaszSoftmax` is another surrogate of the same index.

    Attributes:
      over: "batch" or "image", as in `Dice`.
      activation: "softmax" of exclusive classes, or "sigmoid" of planes.
      classes: those in the mean, as in `Dice`.
      smooth: s, in pixels, as in `Dice`.

    Raises:
      InputError: a field has none of these values, or `smooth` is negative or not finite.
    """

    over: Over = "batch"
    activation: Activation = "softmax"
    classes: Classes | None = None
    smooth: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        check_number("smooth", self.smooth, low=0.0, with_low=True)

    def of(self, sums: RegionSums) -> Array:
        """Returns the loss of sums […, k], of shape […]."""
        union = sums.predicted + sums.true - sums.intersection
        index = ratio(sums.intersection + self.smooth, union + self.smooth)
        return mean_over(1 - index, counted_classes(sums))

    def __call__(self, logits: Float[Array, "b h w k"], batch: Batch) -> Mapping[str, Term]:
        """Returns {"jaccard": sums over the batch, or (total, weight) of images}.

        Raises:
          ValueError: the cross-entropy of the activation refuses logits or batch.
        """
        return region_terms(self, logits, batch, name="jaccard")
