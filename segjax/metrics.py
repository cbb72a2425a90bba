"""Scores of a segmentation, as functions of one confusion matrix over the entire dataset.

A mean of per-batch or per-image scores is a different number; nothing here computes one. Rows
are the truth, columns the prediction. As in Long et al. (2015), section 5, with n_ij pixels of
class i predicted as j and t_i = Σ_j n_ij:

    pixel accuracy            Σ_i n_ii / Σ_i t_i
    mean accuracy             mean_i n_ii / t_i
    mean IoU                  mean_i n_ii / (t_i + Σ_j n_ji − n_ii)
    frequency weighted IoU    Σ_i t_i IoU_i / Σ_i t_i

Mean IoU leaves out classes that occur neither in the truth nor in the prediction. Mean accuracy
leaves out classes without truth. VOC's scorer would divide 0 by 0 for them. A class that has no
truth but is predicted somewhere has IoU 0 and lowers mean IoU; papers that leave it out report
`mean_iou_over_true_classes`. `occurring` and `with_truth` return the classes of each mean.

All functions of a matrix raise ValueError unless it is a k × k matrix of counts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int64, Integer

from segjax.contracts import IGNORE, Array
from segjax.labels import as_array, as_ids, check_ids, check_same_shape, equals, no_class

Confusion = Any
"""k × k counts, row truth and column prediction: a NumPy or JAX array, or nested lists."""


def confusion_matrix(
    labels: Any, predictions: Any, num_classes: int, *, ignore: int | None = IGNORE
) -> Integer[Array, "k k"] | Integer[np.ndarray, "k k"]:
    """Counts pixels by (true class, predicted class), leaving out `ignore`.

    Args:
      labels: true class ids, any shape; ids 0 … num_classes − 1, or `ignore`. NumPy and JAX
        arrays or nested lists, of integers or booleans.
      predictions: predicted class ids, of the same shape.
      num_classes: k, 2 or more.
      ignore: the label of pixels that are not counted; None counts all pixels.

    Returns:
      The counts, k × k: int64 for NumPy arrays and lists, int32 for JAX arrays. Add those of
        batches in int64 on the host, because 2³¹ pixels are soon reached.

    Raises:
      ValueError: shapes differ, values are not integers, there is only one class, or an id is
        outside the classes. Inside `jit` ids cannot be checked, and pixels with an id outside
        the classes are not counted.

    >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 0]), 2)
    array([[1, 1],
           [0, 1]])
    """
    if num_classes < 2:
        raise ValueError(
            f"num_classes={num_classes}: with one class every prediction is right; count "
            "background as a class too (num_classes=2)."
        )
    truth, prediction = as_ids("labels", labels), as_ids("predictions", predictions)
    check_same_shape(labels=truth, predictions=prediction)
    check_ids("label", truth, num_classes, ignore=ignore)
    check_ids("prediction", prediction, num_classes, ignore=None)
    on_device = isinstance(truth, jax.Array) or isinstance(prediction, jax.Array)
    xp = jnp if on_device else np
    # Compared in their own dtype: cast to 32 bits, 2**32 would be class 0.
    left_out = no_class(truth, num_classes, ignore=None) | equals(truth, ignore)
    left_out |= no_class(prediction, num_classes, ignore=None)
    truth, prediction = (
        xp.where(left_out, 0, ids).astype(xp.int32) for ids in (truth, prediction)
    )
    cell = xp.where(left_out, num_classes**2, truth * num_classes + prediction).ravel()
    # Every cell is within the bins, so both forms have the same length.
    bins = num_classes**2 + 1
    counts = jnp.bincount(cell, length=bins) if on_device else np.bincount(cell, minlength=bins)
    return counts[:-1].reshape(num_classes, num_classes)


def iou(confusion: Confusion) -> Float[np.ndarray, " k"]:
    """Returns intersection over union by class; NaN for classes that do not occur at all."""
    counts = _counts(confusion)
    intersection = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - intersection
    return _divide(intersection, union)


def mean_iou(confusion: Confusion) -> float:
    """Returns the mean of `iou` over the classes in truth or prediction; NaN if none is."""
    return _mean(iou(confusion))


def mean_iou_over_true_classes(confusion: Confusion) -> float:
    """Returns the mean of `iou` over the classes that occur in the truth; NaN if none does.

    `mean_iou` also counts classes that are only predicted, each as 0. Both are in use, so name
    the one that you report.
    """
    return _mean(iou(confusion)[with_truth(confusion)])


def pixel_accuracy(confusion: Confusion) -> float:
    """Returns the share of counted pixels whose class is right; NaN if none was counted."""
    counts = _counts(confusion)
    return float(_divide(np.trace(counts), counts.sum()))


def mean_accuracy(confusion: Confusion) -> float:
    """Returns the mean recall over the classes that occur in the truth; NaN if none does."""
    counts = _counts(confusion)
    return _mean(_divide(np.diag(counts), counts.sum(1)))


def frequency_weighted_iou(confusion: Confusion) -> float:
    """Returns the mean of `iou`, weighted by each class's share of the true pixels."""
    counts = _counts(confusion)
    frequency = _divide(counts.sum(1), counts.sum())
    present = counts.sum(1) > 0
    return float(np.sum(frequency[present] * iou(counts)[present])) if present.any() else np.nan


def occurring(confusion: Confusion) -> Bool[np.ndarray, " k"]:
    """Returns a mask of the classes in truth or prediction, over which `mean_iou` averages."""
    counts = _counts(confusion)
    return (counts.sum(0) + counts.sum(1)) > 0


def with_truth(confusion: Confusion) -> Bool[np.ndarray, " k"]:
    """Returns a mask of the classes in the truth, over which `mean_accuracy` averages."""
    return _counts(confusion).sum(1) > 0


def _counts(confusion: Confusion) -> Int64[np.ndarray, "k k"]:
    """Returns the matrix in int64, after checking that it holds counts."""
    counts = np.asarray(as_array(confusion))
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"A confusion matrix has shape k k, got {counts.shape}.")
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(
            f"A confusion matrix holds counts of pixels (integers of 0 or more), got "
            f"{counts.dtype} from {counts.min()} to {counts.max()}: give it before it is "
            "normalised, and astype(int) of counts kept as floats."
        )
    return counts.astype(np.int64)


def _divide(numerator, denominator) -> np.ndarray:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator)
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan
