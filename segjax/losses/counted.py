"""What a loss counts of a batch: scores, labels, weights, and a mask, after checking them.

A label must be a class or 255. Outside `jit` any other value is an error. Inside `jit`, which
cannot raise errors, its weight is NaN, so that loss and gradient become NaN and the train step
refuses the batch. The same is true of a pixel weight that is negative or not finite.
"""

import math
import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from segjax.class_weights import NegativesPerPositive, WeightRule
from segjax.contracts import IGNORE, Array, Batch
from segjax.errors import InputError
from segjax.labels import as_array, as_ids, check_ids, equals, is_traced, listed, no_class


class Counted(NamedTuple):
    """A batch as a loss reads it: b h w of exclusive classes, or b h w k of planes.

    Attributes:
      scores: logits b h w k, float32 or wider; 0 where a pixel does not count.
      label: class ids, or 0 and 1 of planes; 0 where a pixel does not count.
      weight: 0 where ignored; NaN where label or weight is wrong.
      counts: whether a pixel counts: it is not ignored, and its weight is not 0.
    """

    scores: Array
    label: Array
    weight: Array
    counts: Array


def softmax_pixels(logits: Array, batch: Batch) -> Counted:
    """Returns what counts for a softmax over k ≥ 2 exclusive classes: label, weight b h w.

    Scores are masked before any softmax, or the gradient of an infinite score would be 0 · ∞.

    Raises:
      ValueError: shapes differ, there is only one class, or labels are not integers; outside
        `jit` also if a label is not a class or a weight is negative or not finite.
    """
    label = class_labels(logits, batch)
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    ignored, wrong = equals(label, IGNORE), no_class(label, logits.shape[-1])
    given = jnp.ones(label.shape, dtype)
    if "weight" in batch:
        given = _pixel_weights(batch["weight"], ignored, dtype)
    weight, counts = _counted_weights(given, ignored, wrong)
    scores = jnp.where(jnp.expand_dims(counts, -1), logits.astype(dtype), 0)
    # A label that is not a class is out of range: read class 0, since the weight is 0 or NaN.
    index = jnp.where(ignored | wrong, 0, label).astype(jnp.int32)
    return Counted(scores, index, weight, counts)


def sigmoid_planes(logits: Array, batch: Batch) -> Counted:
    """Returns what counts for the sigmoid of each of k ≥ 1 planes: label, weight b h w k.

    Raises:
      ValueError: shapes differ, or labels are not integers; outside `jit` also if a label is
        not 0, 1 or 255, or a weight is negative or not finite.
    """
    label, given = plane_labels(logits, batch)
    dtype = jnp.promote_types(logits.dtype, jnp.float32)
    ignored, wrong = equals(label, IGNORE), no_class(label, 2)
    if given is None:
        given = jnp.ones(label.shape, dtype)
    else:
        given = _pixel_weights(given, ignored, dtype)
    weight, counts = _counted_weights(given, ignored, wrong)
    scores = jnp.where(counts, logits.astype(dtype), 0)
    return Counted(scores, equals(label, 1).astype(jnp.int32), weight, counts)


def class_labels(logits: Array, batch: Batch) -> Array:
    """Returns class ids b h w, after checking shapes, and values unless they are traced."""
    k = logits.shape[-1]
    if k < 2:
        raise ValueError(
            f"Logits of shape {logits.shape} have {k} class; the softmax over one class is "
            "always 1. Give a binary task two classes, background and object (num_classes=2), "
            "or one plane, with task=Multilabel() and a loss of planes, such as "
            "loss=sigmoid_cross_entropy."
        )
    label = as_ids("labels", batch["label"])
    for what in ("label", "weight"):
        if what in batch and np.shape(batch[what]) != logits.shape[:-1]:
            planes = np.shape(batch[what])[:-1] == logits.shape[:-1]
            raise ValueError(
                f"Logits have shape {logits.shape} and {what} has shape "
                f"{np.shape(batch[what])}; {what} must be b h w, here {logits.shape[:-1]}"
                + (": this loss is for exclusive classes, not for planes." if planes else ".")
            )
    check_ids("label", label, k)
    return label


def plane_labels(logits: Array, batch: Batch) -> tuple[Array, Any]:
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


def weighed_by_class(
    weights: tuple[float, ...] | WeightRule | None, logits: Array, batch: Batch
) -> Batch:
    """Returns the batch with each pixel's weight times that of its true class.

    Raises:
      ValueError: there is not one weight for each class, or `class_labels` refuses the labels.
    """
    if weights is None:
        return batch
    weights = computed_weights(weights)
    check_count(weights, logits.shape[-1])
    label = class_labels(logits, batch)
    by_class = jnp.asarray(weights, jnp.float32)
    outside = no_class(label, len(weights), ignore=None)
    weight = by_class[jnp.where(outside, 0, label)]
    if "weight" in batch:
        weight = weight * as_array(batch["weight"])
    return {**batch, "weight": weight}


def check_class_weights(weights: Any) -> None:
    """Raises InputError unless weights are a tuple of numbers ≥ 0, one above 0; or None.

    A rule for exclusive classes is accepted: it becomes numbers when the run starts.
    """
    if isinstance(weights, NegativesPerPositive):
        raise InputError(
            f"loss.weights={weights!r} is for planes, but this loss is for classes that "
            "exclude one another: use MedianFrequency()."
        )
    if weights is None or isinstance(weights, WeightRule):
        return
    check_is_tuple(weights)
    number = lambda w: isinstance(w, numbers.Real) and 0 <= float(w) < math.inf
    wrong = [w for w in weights if not number(w)]
    if wrong:
        raise InputError(
            f"loss.weights={weights} must be numbers, finite and at least 0, got {wrong[0]!r}."
        )
    if not any(weights):
        raise InputError(
            f"loss.weights={weights} has no weight above 0, so nothing would be "
            "learned; give the classes that count a weight above 0."
        )


def check_is_tuple(weights: Any) -> None:
    """Raises InputError unless class weights are a tuple, a list or a rule."""
    if not isinstance(weights, tuple | list | WeightRule):
        raise InputError(
            f"loss.weights={weights!r} must be a tuple of one number per class, or a rule of "
            "segjax.class_weights, such as MedianFrequency()."
        )


def computed_weights(weights: tuple[float, ...] | WeightRule) -> tuple[float, ...]:
    """Returns weights that are numbers already.

    Raises:
      InputError: they are a rule, which a run replaces by numbers before it uses the loss.
    """
    if isinstance(weights, WeightRule):
        raise InputError(
            f"loss.weights={weights!r} is a rule, which becomes numbers when a run starts: "
            "give the numbers that its method `computed` returns to use the loss by itself."
        )
    return weights


def check_count(weights: tuple[float, ...], classes: int) -> None:
    """Raises ValueError unless there is one weight for each class."""
    count = len(weights)
    if count != classes:
        raise ValueError(
            f"loss.weights has {count} number{'s' * (count != 1)} for {classes} "
            f"class{'es' * (classes != 1)}."
        )


def check_number(
    name: str,
    value: Any,
    *,
    low: float,
    high: float = math.inf,
    with_low: bool = False,
    with_high: bool = False,
) -> None:
    """Raises InputError unless a field is a finite number between two bounds.

    Args:
      name: the field, in the message `loss.name=value`.
      value: the field's value.
      low, high: the bounds.
      with_low, with_high: whether the bound itself is allowed.
    """
    number = float(value) if isinstance(value, numbers.Real) else math.nan
    above = number > low or (with_low and number == low)
    below = number < high or (with_high and number == high)
    if not (above and below and math.isfinite(number)):
        lower = f"{'at least' if with_low else 'above'} {low:g}"
        upper = f"{'at most' if with_high else 'below'} {high:g}"
        bounds = lower if high == math.inf else f"{lower} and {upper}"
        raise InputError(f"loss.{name}={value!r} must be a number {bounds}.")


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raises InputError unless a field has one of its values."""
    if value not in choices:
        options = ", ".join(map(repr, choices))
        raise InputError(f"loss.{name}={value!r} must be one of {options}.")
