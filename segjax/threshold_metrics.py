"""Scores of binary planes, one for each class, at one probability threshold or at all.

All are functions of counts over the entire dataset: of a histogram of the probabilities, or of
one 2 × 2 matrix for each class, whose rows are the truth (not the class, the class) and whose
columns are the prediction. With TP, FP and FN from that matrix,

    IoU          TP / (TP + FP + FN)
    Dice (F1)    2 TP / (2 TP + FP + FN)
    precision    TP / (TP + FP)
    recall       TP / (TP + FN)

A score whose denominator is 0 is NaN: IoU and Dice of a class that neither occurs nor is
predicted, precision of a class that is never predicted, recall of a class that does not occur.
Means over classes leave NaN out.

Papers on salient objects average precision and recall over images instead. `image_curves` and
`f_measure` compute these; reports name them "over images".
"""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Integer

from segjax.contracts import IGNORE
from segjax.labels import as_ids, check_same_shape, listed, no_class

BINS = 256
"""Bins of a histogram. The thresholds 0, 1/256, … 255/256 are exact in float32."""

BETA_SQUARED = 0.3
"""β² of the F-measure in papers on salient objects, after Achanta et al. (2009)."""


def binary_confusion(labels: Any, predictions: Any) -> Int64[np.ndarray, "k 2 2"]:
    """Counts pixels by (class, truth, prediction), leaving out label 255.

    Args:
      labels: … k of 0, 1 and 255.
      predictions: … k of 0 and 1, or booleans.

    Raises:
      ValueError: shapes differ, or there is another value.

    >>> binary_confusion(np.array([[0], [1], [1], [255]]), np.array([[1], [1], [0], [1]]))
    array([[[0, 1],
            [1, 1]]])
    """
    truth, prediction = _ids("labels", labels, IGNORE), _ids("predictions", predictions, None)
    check_same_shape(labels=truth, predictions=prediction)
    return _count(truth, prediction, 2).astype(np.int64)


def probability_histogram(
    labels: Any, probabilities: Any, *, bins: int = BINS
) -> Int64[np.ndarray, "k 2 n"]:
    """Counts pixels by (class, truth, bin of the probability), leaving out label 255.

    Bin i holds i / bins ≤ p < (i + 1) / bins; the last one holds 1 too.

    Args:
      labels: … k of 0, 1 and 255.
      probabilities: … k, from 0 to 1.
      bins: n.

    Raises:
      ValueError: shapes differ, a label is not 0, 1 or 255, or a probability not in 0 … 1.
    """
    truth, p = _ids("labels", labels, IGNORE), _probabilities(probabilities)
    check_same_shape(labels=truth, probabilities=p)
    return _count(truth, np.minimum(p * bins, bins - 1).astype(np.int64), bins)


def thresholds(histogram: Integer[np.ndarray, "k 2 n"]) -> Float64[np.ndarray, " n"]:
    """Returns the thresholds t of a histogram: p ≥ t is predicted as the class."""
    bins = histogram.shape[-1]
    return np.arange(bins) / bins


def confusion_by_threshold(
    histogram: Integer[np.ndarray, "k 2 n"],
) -> Int64[np.ndarray, "k n 2 2"]:
    """Returns a 2 × 2 matrix for each class and threshold t, with p ≥ t as the prediction.

    >>> confusion_by_threshold(np.array([[[3, 1], [0, 2]]])).tolist()
    [[[[0, 4], [0, 2]], [[3, 1], [0, 2]]]]
    """
    above = np.cumsum(histogram[..., ::-1], axis=-1, dtype=np.int64)[..., ::-1]
    below = above[..., :1] - above
    return np.stack([below, above], axis=-1).swapaxes(1, 2)


def iou(confusion: Integer[np.ndarray, "*a 2 2"]) -> Float64[np.ndarray, "*a"]:
    """Returns intersection over union; NaN if the class neither occurs nor is predicted."""
    tp, fp, fn = _parts(confusion)
    return _divide(tp, tp + fp + fn)


def dice(confusion: Integer[np.ndarray, "*a 2 2"]) -> Float64[np.ndarray, "*a"]:
    """Returns the Dice coefficient (F1); NaN if the class neither occurs nor is predicted."""
    tp, fp, fn = _parts(confusion)
    return _divide(2 * tp, 2 * tp + fp + fn)


def precision(confusion: Integer[np.ndarray, "*a 2 2"]) -> Float64[np.ndarray, "*a"]:
    """Returns the share of predicted pixels that are right; NaN if none is predicted."""
    tp, fp, _ = _parts(confusion)
    return _divide(tp, tp + fp)


def recall(confusion: Integer[np.ndarray, "*a 2 2"]) -> Float64[np.ndarray, "*a"]:
    """Returns the share of the class's pixels that are predicted; NaN if it has none."""
    tp, _, fn = _parts(confusion)
    return _divide(tp, tp + fn)


def mean_over_classes(scores: Float64[np.ndarray, "k *a"]) -> Float64[np.ndarray, "*a"]:
    """Returns the mean over the first axis, leaving NaN out; NaN if all values are.

    >>> mean_over_classes(np.array([[1.0, np.nan], [0.5, np.nan]])).tolist()
    [0.75, nan]
    """
    there = ~np.isnan(scores)
    return _divide(np.where(there, scores, 0).sum(0), there.sum(0))


def best_threshold(histogram: Integer[np.ndarray, "k 2 n"]) -> float:
    """Returns the threshold with the largest mean Dice over classes; NaN if there is none.

    Of several it takes the middle one. It is chosen on the data that it is scored on, so
    reports say so.
    """
    score = mean_over_classes(dice(confusion_by_threshold(histogram)))
    if np.isnan(score).all():
        return float("nan")
    best = np.flatnonzero(score == np.nanmax(score))
    return float(thresholds(histogram)[best[len(best) // 2]])


def image_curves(
    histogram: Integer[np.ndarray, "k 2 n"],
) -> tuple[Float64[np.ndarray, "k n"], Float64[np.ndarray, "k n"]]:
    """Returns (precision, recall) by class and threshold of one image, for means over images.

    As in U²-Net's evaluation (Qin et al., 2020, section 4.3, and the authors' tool), precision
    is 0 where nothing is predicted. Both are NaN if the image has no pixel of the class; the
    benchmarks have no such image.
    """
    confusion = confusion_by_threshold(histogram)
    there = confusion[..., 1, :].sum(-1) > 0
    found = np.nan_to_num(precision(confusion), nan=0.0)
    return np.where(there, found, np.nan), recall(confusion)


def f_measure(
    precision: Float64[np.ndarray, "*a"],
    recall: Float64[np.ndarray, "*a"],
    *,
    beta_squared: float = BETA_SQUARED,
) -> Float64[np.ndarray, "*a"]:
    """Returns F_β = (1 + β²) · P · R / (β² · P + R); 0 where both are 0.

    The maximal F-measure of papers on salient objects takes the mean precision and the mean
    recall over images, computes F at each threshold, and takes the largest. It is not the mean
    of each image's maximum.

    >>> f_measure(np.array([0.8, 0.0]), np.array([0.5, 0.0])).round(4).tolist()
    [0.7027, 0.0]
    """
    total = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / np.where(total == 0, 1, total)


def absolute_error(labels: Any, probabilities: Any) -> Float64[np.ndarray, "k 2"]:
    """Returns (Σ |p − label|, pixels) by class, leaving out label 255; in float64.

    Raises:
      ValueError: `probability_histogram` would refuse the values.
    """
    truth, p = _ids("labels", labels, IGNORE), _probabilities(probabilities)
    check_same_shape(labels=truth, probabilities=p)
    counted = truth != IGNORE
    error = np.abs(p.astype(np.float64) - truth, where=counted, out=np.zeros(p.shape))
    pixels = tuple(range(p.ndim - 1))
    return np.stack([error.sum(pixels), counted.sum(pixels)], axis=-1)


def _ids(what: str, values: Any, ignore: int | None) -> np.ndarray:
    ids = np.asarray(as_ids(what, values))
    if not ids.ndim:
        raise ValueError(f"{what} must have a last axis, a plane for each class; got a number.")
    if (wrong := ids[no_class(ids, 2, ignore=ignore)]).size:
        known = "0 and 1" if ignore is None else f"0, 1 and {ignore} (ignored)"
        raise ValueError(f"{what} of planes hold {known}, got {listed(wrong)}.")
    return ids


def _probabilities(values: Any) -> np.ndarray:
    p = np.asarray(values)
    if p.dtype.kind != "f":
        raise ValueError(f"probabilities must be floats from 0 to 1, got {p.dtype}.")
    if (wrong := p[~((p >= 0) & (p <= 1))]).size:
        raise ValueError(f"probabilities must be from 0 to 1, got {wrong[0]}.")
    return p


def _count(truth: np.ndarray, column: np.ndarray, columns: int) -> np.ndarray:
    """Counts pixels by (class, truth, column), where `truth` and `column` are … k."""
    k = truth.shape[-1]
    counted = truth != IGNORE
    cell = (np.arange(k) * 2 + truth) * columns + column
    return np.bincount(cell[counted], minlength=k * 2 * columns).reshape(k, 2, columns)


def _parts(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns TP, FP, FN of matrices … 2 2."""
    if confusion.shape[-2:] != (2, 2) or confusion.dtype.kind not in "iu":
        raise ValueError(
            f"A confusion of planes holds counts, … 2 2, got {confusion.dtype} of shape "
            f"{confusion.shape}: take it from binary_confusion or confusion_by_threshold."
        )
    return confusion[..., 1, 1], confusion[..., 0, 1], confusion[..., 1, 0]


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator = np.asarray(numerator, np.float64)
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan)
