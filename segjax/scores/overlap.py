"""Scores of overlapping areas: Dice, precision, recall, and the mean of images' mean IoU.

Dice, precision and recall are of pixels counted over the whole set; see `threshold_metrics` for
their formulas. Dice is the F1 score.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64

from segjax import threshold_metrics
from segjax.report.score import Score
from segjax.scores.extra_metric import ExtraMetric, ScoredImage, class_scores


def class_confusion(image: ScoredImage) -> Int64[np.ndarray, "k 2 2"]:
    """Counts pixels by (class, truth, prediction): each class against all others."""
    k = len(image.class_names)
    if image.is_overlapping:
        truth, predicted = (image.label == 1) & image.counted, image.prediction == 1
        over = lambda mask: mask.sum((0, 1))
        counts = over(truth & predicted), over(truth), over(predicted & image.counted)
        counted = over(image.counted)
    else:
        truth, predicted = image.label[image.counted], image.prediction[image.counted]
        over = lambda ids: np.bincount(ids[ids >= 0].astype(np.int64), minlength=k)
        counts = over(truth[truth == predicted]), over(truth), over(predicted)
        counted = np.full(k, truth.size)
    both, true, said = counts
    neither = counted - true - said + both
    rows = [[neither, said - both], [true - both, both]]
    return np.moveaxis(np.array(rows, np.int64), -1, 0)


@dataclasses.dataclass(frozen=True)
class _OfClasses(ExtraMetric):
    """A function of the pixels of each class, and the mean over classes."""

    _function: ClassVar[Callable]

    def count(self, image: ScoredImage) -> np.ndarray:
        """Counts the pixels of each class."""
        return class_confusion(image)

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the score by class and its mean over the classes that have one."""
        (name,) = self.by_class
        return class_scores(name, type(self)._function(counts), class_names)


@dataclasses.dataclass(frozen=True)
class Dice(_OfClasses):
    """The Dice coefficient 2 TP / (2 TP + FP + FN), which is the F1 score.

    By class over the whole set, and the mean over the classes that occur.
    """

    shown = {"mean_dice": Score("Mean Dice")}
    by_class = {"dice": Score("Dice")}
    definition = "2 TP / (2 TP + FP + FN) of the pixels of the whole set; also called F1."
    _function = staticmethod(threshold_metrics.dice)


@dataclasses.dataclass(frozen=True)
class Precision(_OfClasses):
    """The share of predicted pixels that are right, TP / (TP + FP).

    By class over the whole set, and the mean over the classes that are predicted.
    """

    shown = {"mean_precision": Score("Mean precision")}
    by_class = {"precision": Score("Precision")}
    definition = "TP / (TP + FP) of the pixels of the whole set."
    _function = staticmethod(threshold_metrics.precision)


@dataclasses.dataclass(frozen=True)
class Recall(_OfClasses):
    """The share of true pixels that are found, TP / (TP + FN).

    By class over the whole set, and the mean over the classes that have true pixels. The mean
    is what `Semantic` calls mean accuracy.
    """

    shown = {"mean_recall": Score("Mean recall")}
    by_class = {"recall": Score("Recall")}
    definition = "TP / (TP + FN) of the pixels of the whole set."
    _function = staticmethod(threshold_metrics.recall)


@dataclasses.dataclass(frozen=True)
class MeanIoUOverImages(ExtraMetric):
    """The mean over images of each image's own mean IoU.

    An image's mean IoU is over the classes in its truth or prediction. The score gives every
    image the same weight, so it differs from `mean_iou`, which is of one confusion matrix over
    the whole set. Compare it only with papers that average over images.
    """

    shown = {"mean_iou_over_images": Score("Mean of per-image mean IoU")}
    definition = (
        "Each image's mean IoU over the classes in its truth or prediction, then the mean over "
        "images. It is not the mean IoU of the whole set."
    )
    per_image = True

    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns the mean IoU of the image; NaN where no pixel is counted."""
        iou = threshold_metrics.iou(class_confusion(image))
        return np.array(threshold_metrics.mean_over_classes(iou), np.float64)

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the mean over the images that have a score."""
        return {"mean_iou_over_images": float(threshold_metrics.mean_over_classes(counts))}
