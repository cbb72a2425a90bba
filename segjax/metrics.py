"""Scores of a segmentation, all of them functions of one confusion matrix over the whole set.

A mean of per-batch or per-image scores is another number; nothing here computes one. Rows are
the truth, columns the prediction. Following Long et al. (2015), section 5, with n_ij pixels of
class i predicted as j and t_i = Σ_j n_ij:

    pixel accuracy            Σ_i n_ii / Σ_i t_i
    mean accuracy             mean_i n_ii / t_i
    mean IoU                  mean_i n_ii / (t_i + Σ_j n_ji − n_ii)
    frequency weighted IoU    Σ_i t_i IoU_i / Σ_i t_i

Classes that occur neither in the truth nor in the prediction are left out of mean IoU, classes
without truth out of mean accuracy. VOC's own scorer would divide 0 by 0 there. A class without
truth that is predicted somewhere has IoU 0 and lowers mean IoU; papers that leave it out report
`mean_iou_over_true_classes`. `occurring` and `with_truth` say which classes a mean is over.

All functions of a matrix raise ValueError where it is not k × k counts.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int64, Integer

from segjax.contracts import IGNORE, Array
from segjax.labels import as_array, as_ids, check_ids, check_same_shape, equals, no_class

Confusion = Any
"""k × k counts, row truth and column prediction: NumPy's, JAX's or nested lists."""


def confusion_matrix(
    labels: Any, predictions: Any, num_classes: int, *, ignore: int | None = IGNORE
) -> Integer[Array, "k k"] | Integer[np.ndarray, "k k"]:
    """Counts pixels by (true class, predicted class), leaving out `ignore`.

    Args:
      labels: true class ids, any shape; ids 0 … num_classes − 1, or `ignore`. NumPy and JAX
        arrays or nested lists, of integers or booleans.
      predictions: predicted class ids, of the same shape.
      num_classes: k, 2 or more.
      ignore: the label of pixels that are not counted; None: all are.

    Returns:
      Counts: int64 for NumPy arrays and lists; int32 for JAX arrays, whose batches a caller
        adds up in int64 on the host, for 2³¹ pixels are soon reached.

    Raises:
      ValueError: shapes differ, values are not integers, there is one class only, or an id is
        outside the classes. Inside `jit` ids cannot be looked at: there such pixels are left
        out.

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
    # Compared as they are: cast to 32 bits first, 2**32 would be class 0.
    left_out = no_class(truth, num_classes, ignore=None) | equals(truth, ignore)
    left_out |= no_class(prediction, num_classes, ignore=None)
    truth, prediction = (
        xp.where(left_out, 0, ids).astype(xp.int32) for ids in (truth, prediction)
    )
    cell = xp.where(left_out, num_classes**2, truth * num_classes + prediction).ravel()
    # Every cell lies within the bins, so that both forms have the same length.
    bins = num_classes**2 + 1
    counts = jnp.bincount(cell, length=bins) if on_device else np.bincount(cell, minlength=bins)
    return counts[:-1].reshape(num_classes, num_classes)


def iou(confusion: Confusion) -> Float[np.ndarray, " k"]:
    """Returns intersection over union by class; NaN for one absent from truth and
    prediction.
    """
    counts = _counts(confusion)
    intersection = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - intersection
    return _divide(intersection, union)


def mean_iou(confusion: Confusion) -> float:
    """Returns mean of `iou` over the classes that occur in truth or prediction; NaN when none
    does.
    """
    return _mean(iou(confusion))


def mean_iou_over_true_classes(confusion: Confusion) -> float:
    """Returns mean of `iou` over the classes that occur in the truth; NaN when none does.

    `mean_iou` also counts classes that are only predicted, each as 0. Both are in use: name the
    one that you report.
    """
    return _mean(iou(confusion)[with_truth(confusion)])


def pixel_accuracy(confusion: Confusion) -> float:
    """Returns share of the counted pixels whose class is right; NaN when none was counted."""
    counts = _counts(confusion)
    return float(_divide(np.trace(counts), counts.sum()))


def mean_accuracy(confusion: Confusion) -> float:
    """Returns mean over the classes with truth of the share of their pixels that is right
    (recall).
    """
    counts = _counts(confusion)
    return _mean(_divide(np.diag(counts), counts.sum(1)))


def frequency_weighted_iou(confusion: Confusion) -> float:
    """Returns mean of `iou` weighted by each class's share of the true pixels."""
    counts = _counts(confusion)
    frequency = _divide(counts.sum(1), counts.sum())
    present = counts.sum(1) > 0
    return float(np.sum(frequency[present] * iou(counts)[present])) if present.any() else np.nan


def occurring(confusion: Confusion) -> Bool[np.ndarray, " k"]:
    """Returns which classes occur in the truth or the prediction: those that `mean_iou` is
    over.
    """
    counts = _counts(confusion)
    return (counts.sum(0) + counts.sum(1)) > 0


def with_truth(confusion: Confusion) -> Bool[np.ndarray, " k"]:
    """Returns which classes occur in the truth: those that `mean_accuracy` is over."""
    return _counts(confusion).sum(1) > 0


def _counts(confusion: Confusion) -> Int64[np.ndarray, "k k"]:
    """Returns the matrix in int64, once it is known to hold counts."""
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
