"""Losses as sums: each returns {term: (total, weight)} over the pixels that count.

The train step adds totals and weights over all devices and divides once. A mean per device
would be wrong if devices hold different numbers of ignored pixels.

A label must be a class or 255. Outside `jit` any other value is an error. Inside `jit`, which
cannot raise errors, the total, the weight and the gradient become NaN, so that the train step
refuses the batch. The same is true of a pixel weight that is negative or not finite.
"""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from segjax.contracts import IGNORE, Array, Batch
from segjax.errors import InputError
from segjax.labels import (
    as_array,
    as_ids,
    check_ids,
    check_same_shape,
    equals,
    is_traced,
    listed,
    no_class,
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
    label = _labels(logits, batch)
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    ignored, wrong = equals(label, IGNORE), no_class(label, logits.shape[-1])
    given = jnp.ones(label.shape, dtype)
    if "weight" in batch:
        given = _pixel_weights(batch["weight"], ignored, dtype)
    weight, counted = _counted_weights(given, ignored, wrong)
    # Masked before the softmax, or the gradient of an infinite score would be 0 · ∞.
    scores = jnp.where(jnp.expand_dims(counted, -1), logits.astype(dtype), 0)
    log_probability = jax.nn.log_softmax(scores)
    # A label that is not a class is out of range: read class 0, since the weight is 0 or NaN.
    index = jnp.where(ignored | wrong, 0, label).astype(jnp.int32)[..., None]
    cross_entropy = -jnp.take_along_axis(log_probability, index, axis=-1)[..., 0]
    return {"cross_entropy": (jnp.sum(weight * cross_entropy), jnp.sum(weight))}


def _labels(logits: Array, batch: Batch) -> Array:
    """Returns the labels, after checking shapes, and values unless they are traced."""
    k = logits.shape[-1]
    if k < 2:
        raise ValueError(
            f"Logits of shape {logits.shape} have {k} class; the softmax over one class is "
            "always 1. Give a binary task two classes, background and object (num_classes=2), "
            "or one plane, with task=Multilabel() and loss=sigmoid_cross_entropy."
        )
    label = as_ids("labels", batch["label"])
    for what in ("label", "weight"):
        if what in batch and np.shape(batch[what]) != logits.shape[:-1]:
            raise ValueError(
                f"Logits have shape {logits.shape} and {what} has shape "
                f"{np.shape(batch[what])}; {what} must be b h w, here {logits.shape[:-1]}."
            )
    check_ids("label", label, k)
    return label


def _counted_weights(given: Array, ignored: Array, wrong: Array) -> tuple[Array, Array]:
    """Returns weights (0 where ignored, NaN where wrong), and a mask of pixels that count."""
    broken = jnp.where(wrong | ~((given >= 0) & (given < jnp.inf)), jnp.nan, given)
    weight = jnp.where(ignored, jnp.zeros((), given.dtype), broken)
    return weight, ~(ignored | (given == 0))


def _pixel_weights(weight: Array, ignored: Array, dtype: jnp.dtype) -> Array:
    """Returns the weight map in `dtype` or wider, after checking it unless it is traced."""
    weight = as_array(weight)
    if not is_traced(weight) and not is_traced(ignored):
        counted = np.asarray(weight)[~np.asarray(ignored)]
        wrong = counted[~((counted >= 0) & (counted < np.inf))]
        if wrong.size:
            raise ValueError(f"Pixel weights must be finite and at least 0, got {wrong[0]}.")
    weight = jnp.asarray(weight)
    return weight.astype(jnp.promote_types(dtype, weight.dtype))


def _check_is_tuple(weights: Any) -> None:
    if not isinstance(weights, tuple | list):
        raise InputError(f"loss.weights={weights!r} must be a tuple of one number per class.")


@dataclasses.dataclass(frozen=True)
class ClassWeightedCrossEntropy:
    """`softmax_cross_entropy` in which a pixel counts by the weight of its true class.

    If a few classes cover most pixels, SegNet (Badrinarayanan et al., 2015, section 4) weights
    a class by the median of all classes' frequencies, divided by the class's own.

    Attributes:
      weights: one number ≥ 0 for each class, at least one of them above 0.

    Raises:
      InputError: a weight is negative or not finite, or all are 0.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_is_tuple(self.weights)
        number = lambda w: isinstance(w, numbers.Real) and 0 <= float(w) < math.inf
        wrong = [w for w in self.weights if not number(w)]
        if wrong:
            raise InputError(
                f"loss.weights={self.weights} must be numbers, finite and at least 0, got "
                f"{wrong[0]!r}."
            )
        if not any(self.weights):
            raise InputError(
                f"loss.weights={self.weights} has no weight above 0, so nothing would be "
                "learned; give the classes that count a weight above 0."
            )

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"cross_entropy": (total, weight)}; see `softmax_cross_entropy`.

        Raises:
          ValueError: the logits have another number of classes than there are weights, or
            `softmax_cross_entropy` refuses them.
        """
        if len(self.weights) != logits.shape[-1]:
            raise ValueError(
                f"loss.weights has {len(self.weights)} numbers for {logits.shape[-1]} classes."
            )
        label = _labels(logits, batch)
        by_class = jnp.asarray(self.weights, jnp.float32)
        outside = no_class(label, len(self.weights), ignore=None)
        weight = by_class[jnp.where(outside, 0, label)]
        if "weight" in batch:
            weight = weight * as_array(batch["weight"])
        return softmax_cross_entropy(logits, {**batch, "weight": weight})


def sigmoid_cross_entropy(
    logits: Float[Array, "b h w k"], batch: Batch
) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
    """Returns the binary cross-entropy of the sigmoid of each plane, summed over pixels.

        total = Σ w · softplus(−z) where the label is 1, w · softplus(z) where it is 0
        weight = Σ w

    The planes are independent: a pixel may belong to several classes, or to none. Ignored
    pixels of a plane and pixels of weight 0 are masked, not multiplied by 0. So total and
    gradient do not depend on their scores, not even on −inf and NaN.

    Args:
      logits: scores of k ≥ 1 planes.
      batch: `label` (b h w k of 0, 1 or 255; for k = 1 also b h w) and optionally `weight`
        (b h w for all planes, or b h w k; ≥ 0), both on the logits' grid; without `weight`,
        w = 1 wherever the label is not ignored.

    Returns:
      {"binary_cross_entropy": (total, weight)}, in float32 or wider. Inside `jit` both are NaN
      if a label is not 0, 1 or 255, or a weight is negative or not finite.

    Raises:
      ValueError: shapes differ, or labels are not integers; outside `jit` also if a label is
        not 0, 1 or 255, or a weight is negative or not finite.
    """
    label, given = _planes(logits, batch)
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    ignored, wrong = equals(label, IGNORE), no_class(label, 2)
    if given is None:
        given = jnp.ones(label.shape, dtype)
    else:
        given = _pixel_weights(given, ignored, dtype)
    weight, counted = _counted_weights(given, ignored, wrong)
    scores = jnp.where(counted, logits.astype(dtype), 0)
    # softplus of −z or z, not softplus(z) − y·z, which is 0 in float32 from z = 17 on.
    cross_entropy = jax.nn.softplus(jnp.where(equals(label, 1), -scores, scores))
    return {"binary_cross_entropy": (jnp.sum(weight * cross_entropy), jnp.sum(weight))}


def _planes(logits: Array, batch: Batch) -> tuple[Array, Any]:
    """Returns label and weight as b h w k, after checking shapes, and values unless traced."""
    *pixels, k = logits.shape
    if (kind := as_array(batch["label"]).dtype).kind not in "iub":
        raise ValueError(
            f"The planes of a label must be integers, 0, 1 or {IGNORE} (ignored), got {kind}: "
            "give (probability >= 0.5).astype(np.uint8) of probabilities."
        )
    label, weight = as_ids("labels", batch["label"]), batch.get("weight")
    label = label[..., None] if label.shape == (*pixels,) and k == 1 else label
    if label.shape != logits.shape:
        accepted = "b h w k" if k > 1 else "b h w or b h w 1"
        raise ValueError(
            f"Logits have shape {logits.shape} and label has shape {np.shape(batch['label'])}; "
            f"label must be {accepted}, one plane of 0, 1 or {IGNORE} a class."
        )
    wrong = no_class(label, 2)
    if not is_traced(wrong) and wrong.any():
        raise ValueError(
            f"The planes of a label hold 0, 1 or {IGNORE} (ignored), got "
            f"{listed(np.asarray(label)[np.asarray(wrong)])}: map other values to these first."
        )
    if weight is None:
        return label, None
    weight = as_array(weight)
    if weight.shape not in (logits.shape, (*pixels,)):
        raise ValueError(
            f"Logits have shape {logits.shape} and weight has shape {weight.shape}; it must "
            f"be b h w, here {(*pixels,)}, or b h w k."
        )
    weight = weight if weight.ndim == 4 else weight[..., None]
    xp = jnp if isinstance(weight, jax.Array) else np
    return label, xp.broadcast_to(weight, logits.shape)


@dataclasses.dataclass(frozen=True)
class PositiveWeightedCrossEntropy:
    """`sigmoid_cross_entropy` in which the pixels of a plane's class count by its weight.

    A pixel counts `weights[k]` where plane k is 1, and 1 where it is 0. For objects that cover
    few pixels, the ratio of pixels outside to pixels inside balances both. The mean divides by
    the sum of these weights; PyTorch's `pos_weight` divides by the number of pixels instead.

    Attributes:
      weights: one number above 0 for each class.

    Raises:
      InputError: a weight is not a finite number above 0.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_is_tuple(self.weights)
        number = lambda w: isinstance(w, numbers.Real) and 0 < float(w) < math.inf
        wrong = [w for w in self.weights if not number(w)]
        if wrong or not self.weights:
            raise InputError(
                f"loss.weights={self.weights} must be finite numbers above 0, one per class"
                + (f", got {wrong[0]!r}." if wrong else ".")
            )

    def __call__(
        self, logits: Float[Array, "b h w k"], batch: Batch
    ) -> Mapping[str, tuple[Float[Array, ""], Float[Array, ""]]]:
        """Returns {"binary_cross_entropy": (total, weight)}; see `sigmoid_cross_entropy`.

        Raises:
          ValueError: the logits have another number of classes than there are weights, or
            `sigmoid_cross_entropy` refuses them.
        """
        if len(self.weights) != logits.shape[-1]:
            raise ValueError(
                f"loss.weights has {len(self.weights)} numbers for {logits.shape[-1]} classes."
            )
        label, given = _planes(logits, batch)
        by_class = jnp.asarray(self.weights, jnp.float32).reshape(1, 1, 1, -1)
        weight = jnp.where(equals(label, 1), by_class, 1.0)
        weight = weight if given is None else weight * given
        return sigmoid_cross_entropy(logits, {**batch, "label": label, "weight": weight})


def on_logits_grid(batch: Batch, size: tuple[int, int], *, stride: int = 1) -> Batch:
    """Returns the batch with `label` and `weight` on a network's grid of scores.

    It serves papers whose loss is not on the image's grid. It takes every `stride`-th pixel
    from the first (DeepLab v1 and v2 train on their stride-8 map), then the centre (the
    valid-convolution U-Net returns scores of the centre of its input).

    Args:
      batch: `label` b H W, or b H W k of k planes, and if present `weight`, in either shape;
        other entries do not change.
      size: (h, w) of the logits.
      stride: pixels of the image from one score to the next.

    Raises:
      ValueError: the logits are larger than the labels, a map is neither b H W nor b H W k, or
        two maps differ in b, H, W or, where both have planes, in k.

    >>> label = jnp.arange(25).reshape(1, 5, 5)
    >>> on_logits_grid({"label": label}, (3, 3))["label"].tolist()
    [[[6, 7, 8], [11, 12, 13], [16, 17, 18]]]
    >>> on_logits_grid({"label": label}, (3, 3), stride=2)["label"].tolist()
    [[[0, 2, 4], [10, 12, 14], [20, 22, 24]]]
    """
    maps = {key: as_array(batch[key]) for key in ("label", "weight") if key in batch}
    # A map without planes applies to each plane of the other.
    shared = min((np.ndim(value) for value in maps.values()), default=0)
    if len({np.shape(value)[:shared] for value in maps.values()}) > 1:
        check_same_shape(**maps)
    for key, value in maps.items():
        if np.ndim(value) not in (3, 4):
            raise ValueError(
                f"The {key} has shape {np.shape(value)}; it must be b h w, one number a pixel, "
                "or b h w k, one a pixel and plane."
            )
    moved = {key: _centre(value[:, ::stride, ::stride], size) for key, value in maps.items()}
    return {**batch, **moved}


def _centre(x: Array, size: tuple[int, int]) -> Array:
    (height, width), (h, w) = x.shape[1:3], size
    if h > height or w > width:
        raise ValueError(f"Logits of {h}x{w} are larger than their labels of {height}x{width}.")
    top, left = (height - h) // 2, (width - w) // 2
    return x[:, top : top + h, left : left + w]
