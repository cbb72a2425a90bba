"""Scores of a segmentation, all of them functions of one confusion matrix over the whole set.

A mean of per-batch or per-image scores is another number; nothing here computes one. Rows are
the truth, columns the prediction. Following Long et al. (2015), section 5, with n_ij pixels of
class i predicted as j and t_i = Σ_j n_ij:

    pixel accuracy            Σ_i n_ii / Σ_i t_i
    mean accuracy             mean_i n_ii / t_i
    mean IoU                  mean_i n_ii / (t_i + Σ_j n_ji − n_ii)
    frequency weighted IoU    Σ_i t_i IoU_i / Σ_i t_i

Classes that occur neither in the truth nor in the prediction are left out of mean IoU, classes
without truth out of mean accuracy. VOC's own scorer would divide 0 by 0 there.
"""

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Integer

from segjax.types import IGNORE, Array

Confusion = Integer[Array, "k k"] | Integer[np.ndarray, "k k"]


def confusion_matrix(
    labels: Integer[Array, "*shape"] | Integer[np.ndarray, "*shape"],
    predictions: Integer[Array, "*shape"] | Integer[np.ndarray, "*shape"],
    num_classes: int,
    *,
    ignore: int = IGNORE,
) -> Confusion:
    """Counts pixels by (true class, predicted class), leaving out `ignore`.

    Args:
      labels: true class ids, any shape; ids 0 … num_classes − 1, or `ignore`.
      predictions: predicted class ids, of the same shape.
      num_classes: k.
      ignore: the label of pixels that are not counted.

    Returns:
      Counts: int64 for NumPy arrays; int32 for JAX arrays, whose batches a caller adds up in
        int64 on the host, for 2³¹ pixels are soon reached.

    Raises:
      ValueError: an id is outside the classes. Inside `jit` ids cannot be looked at: there such
        pixels are left out.

    >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 0]), 2)
    array([[1, 1],
           [0, 1]])
    """
    _check_ids("label", labels, num_classes, also=ignore)
    _check_ids("prediction", predictions, num_classes, also=None)
    on_device = isinstance(labels, jax.Array) or isinstance(predictions, jax.Array)
    xp = jnp if on_device else np
    truth, prediction = xp.asarray(labels, xp.int32), xp.asarray(predictions, xp.int32)
    counted = (truth != ignore) & (truth >= 0) & (truth < num_classes)
    counted &= (prediction >= 0) & (prediction < num_classes)
    cell = xp.where(counted, truth * num_classes + prediction, num_classes**2).ravel()
    # Every cell lies within the bins, so that both forms have the same length.
    bins = num_classes**2 + 1
    counts = jnp.bincount(cell, length=bins) if on_device else np.bincount(cell, minlength=bins)
    return counts[:-1].reshape(num_classes, num_classes)


def _check_ids(what: str, ids, num_classes: int, *, also: int | None) -> None:
    if isinstance(ids, jax.core.Tracer) or ids.size == 0:
        return
    found = np.unique(np.asarray(ids))
    wrong = [int(i) for i in found if not 0 <= i < num_classes and i != also]
    if wrong:
        raise ValueError(
            f"{what} ids {wrong} are outside the {num_classes} classes 0 to {num_classes - 1}; "
            "map them to classes or to the ignored label first."
        )


def iou(confusion: Confusion) -> Float[np.ndarray, " k"]:
    """Intersection over union by class; NaN for one absent from truth and prediction."""
    counts = np.asarray(confusion, np.int64)
    intersection = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - intersection
    return _divide(intersection, union)


def mean_iou(confusion: Confusion) -> float:
    """Mean of `iou` over the classes that occur; NaN when none does."""
    return _mean(iou(confusion))


def pixel_accuracy(confusion: Confusion) -> float:
    """Share of the counted pixels whose class is right; NaN when none was counted."""
    counts = np.asarray(confusion, np.int64)
    return float(_divide(np.trace(counts), counts.sum()))


def mean_accuracy(confusion: Confusion) -> float:
    """Mean over the classes with truth of the share of their pixels that is right (recall)."""
    counts = np.asarray(confusion, np.int64)
    return _mean(_divide(np.diag(counts), counts.sum(1)))


def frequency_weighted_iou(confusion: Confusion) -> float:
    """Mean of `iou` weighted by each class's share of the true pixels."""
    counts = np.asarray(confusion, np.int64)
    frequency = _divide(counts.sum(1), counts.sum())
    present = counts.sum(1) > 0
    return float(np.sum(frequency[present] * iou(counts)[present])) if present.any() else np.nan


def _divide(numerator, denominator) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator)
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan
