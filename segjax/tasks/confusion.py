"""The metric of one class a pixel: one confusion matrix over the whole set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax import metrics
from segjax.contracts import Example
from segjax.parallel.sums import gather_by_index, sum_over_processes
from segjax.report.score import Score
from segjax.tasks.task import Metric

MEANS = {
    "mean_iou": "classes_in_mean_iou",
    "mean_iou_over_true_classes": "classes_with_truth",
    "mean_accuracy": "classes_with_truth",
}
"""Means over classes, and the entry of an evaluation that says over how many."""


class ConfusionMetric(Metric):
    """Scores of one confusion matrix; images are ranked by the mean IoU of each alone.

    Attributes:
      confusion: k × k pixels by (truth, prediction), int64.
    """

    shown = {
        "mean_iou": Score("Mean IoU", is_logged=True),
        "mean_iou_over_true_classes": Score("Mean IoU of true classes", is_optional=True),
        "pixel_accuracy": Score("Pixel accuracy", is_logged=True),
        "mean_accuracy": Score("Mean accuracy"),
        "frequency_weighted_iou": Score("Frequency-weighted IoU"),
    }
    convention = (
        "Mean IoU of one confusion matrix over the whole set; classes absent from truth and "
        "prediction are left out, and ignored pixels are not counted. A class that is "
        "predicted but has no truth counts as 0; mean IoU of true classes leaves it out."
    )

    def __init__(self, class_names: Sequence[str]):
        self._class_names = tuple(class_names)
        k = len(self._class_names)
        self.confusion = np.zeros((k, k), np.int64)
        self._image_iou: dict[int, float] = {}

    def __repr__(self) -> str:
        k, pixels = len(self._class_names), int(self.confusion.sum())
        return f"ConfusionMetric({k} classes, {pixels} pixels counted)"

    def add(self, index: int, example: Example, prediction: np.ndarray) -> None:
        """Counts the pixels of one image; `prediction` holds class ids h w."""
        k = len(self._class_names)
        counts = metrics.confusion_matrix(example["label"], prediction, k)
        counts = np.asarray(counts, np.int64)
        self.confusion += counts
        self._image_iou[index] = metrics.mean_iou(counts)

    def merge(self, total: int) -> None:
        """Adds up the matrices of all processes, and gathers the images' own scores."""
        self.confusion = sum_over_processes(self.confusion)
        self._image_iou = gather_by_index(self._image_iou, total)

    def scores(self) -> dict[str, Any]:
        """Returns the scores by name; IoU is None for classes that occur nowhere.

        `mean_iou` is over the classes that occur in truth or prediction, `mean_accuracy` and
        `mean_iou_over_true_classes` over those that occur in the truth; how many of all
        `classes` these are is said beside them.
        """
        confusion = self.confusion
        by_class = zip(self._class_names, metrics.iou(confusion), strict=True)
        return {
            "mean_iou": _number(metrics.mean_iou(confusion)),
            "pixel_accuracy": _number(metrics.pixel_accuracy(confusion)),
            "mean_accuracy": _number(metrics.mean_accuracy(confusion)),
            "frequency_weighted_iou": _number(metrics.frequency_weighted_iou(confusion)),
            "mean_iou_over_true_classes": _number(
                metrics.mean_iou_over_true_classes(confusion)
            ),
            "classes": len(self._class_names),
            "classes_in_mean_iou": int(metrics.occurring(confusion).sum()),
            "classes_with_truth": int(metrics.with_truth(confusion).sum()),
            "iou": {name: _number(value) for name, value in by_class},
        }

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of the scores, which do not depend on what was counted."""
        return tuple(self.scores())

    def ranking(self) -> Mapping[int, float]:
        """Returns {index: mean IoU of that image alone}."""
        return self._image_iou

    def remark(self, name: str, *evaluations: Mapping[str, Any]) -> str:
        """Returns over how many classes a mean is, such as " over 18 of 21 classes", or "".

        Evaluations without counts, of earlier versions, say nothing.
        """
        key = MEANS.get(name, "")
        counts = sorted({n for each in evaluations if (n := each.get(key)) is not None})
        classes = next((n for each in evaluations if (n := each.get("classes"))), None)
        if not counts or counts == [classes]:
            return ""
        counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f" over {counted} of {classes} classes"

    def line(self, scores: Mapping[str, Any]) -> str:
        """Returns the main scores in one line, mean IoU first."""
        names = ["mean_iou", "pixel_accuracy", "mean_accuracy"]
        if scores["classes_with_truth"] != scores["classes_in_mean_iou"]:
            names.insert(1, "mean_iou_over_true_classes")
        return "  ".join(
            f"{name} {scores[name]:.4f}{self.remark(name, scores)}"
            for name in names
            if scores[name] is not None
        )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
