"""The metric of planes that do not exclude one another: scores at a threshold, and at all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from segjax import threshold_metrics as planes
from segjax.contracts import Example
from segjax.parallel.sums import gather_by_index, sum_over_processes
from segjax.report.score import Score
from segjax.tasks.task import Metric

BY_CLASS = {
    "dice": planes.dice,
    "iou": planes.iou,
    "precision": planes.precision,
    "recall": planes.recall,
}
"""Scores of a class, and the function of its 2 × 2 matrix that each is."""

MAX_F, MEAN_ERROR = "max_f_measure_over_images", "mean_absolute_error_over_images"


class PlaneMetric(Metric):
    """Scores of k planes over the whole set; images are ranked by the primary score of each.

    Attributes:
      confusion: k 2 2, pixels by (truth, prediction) at the threshold, int64.
      histogram: k 2 n, pixels by (truth, bin of the probability), int64.
      curves: 2 k n, precision and recall by threshold, added up over the images that have the
        class; and `images`, how many these are, k.
      errors: k 2, the images' mean absolute errors added up, and how many images these are.
    """

    convention = (
        "Of pixels counted over the whole set, ignored ones left out; Dice is the F1 score. "
        "Means are over the classes that occur in truth or prediction. The best threshold is "
        "chosen on this very set: what is scored at it is a bound, not a result."
    )

    def __init__(self, names: Sequence[str], *, threshold: float, saliency: bool = False):
        k = len(names)
        self._names, self._threshold, self._saliency = tuple(names), threshold, saliency
        self.confusion = np.zeros((k, 2, 2), np.int64)
        self.histogram = np.zeros((k, 2, planes.BINS), np.int64)
        self.curves, self.images = np.zeros((2, k, planes.BINS)), np.zeros(k, np.int64)
        self.errors = np.zeros((k, 2))
        self._ranking: dict[int, float] = {}
        mean = lambda score: f"{score[:1].upper()}{score[1:]}" if k == 1 else f"Mean {score}"
        self.shown = {
            "mean_dice": Score(mean("Dice"), is_logged=True),
            "mean_iou": Score(mean("IoU"), is_logged=True),
            "mean_precision": Score(mean("precision")),
            "mean_recall": Score(mean("recall")),
            "mean_dice_at_best_threshold": Score(f"{mean('Dice')} at the best threshold"),
        }
        if saliency:
            measures = {
                MAX_F: Score("Maximal F-measure over images", is_logged=True),
                MEAN_ERROR: Score(
                    "Mean absolute error over images",
                    is_share=False,
                    higher_is_better=False,
                    is_logged=True,
                ),
            }
            self.shown = {**measures, **self.shown}
            self.convention += (
                " The F-measure (β² = 0.3) is of the precision and the recall that are means "
                "over images, at the threshold where it is largest; the absolute error is each "
                "image's own, then the mean over images."
            )

    def __repr__(self) -> str:
        pixels = int(self.confusion.sum())
        return f"PlaneMetric({', '.join(self._names)}; {pixels} pixels counted)"

    def add(self, index: int, example: Example, prediction: Float[np.ndarray, "h w k"]) -> None:
        """Counts the pixels of one image; `prediction` holds probabilities."""
        label = example["label"]
        label = label[..., None] if label.ndim == 2 else label
        confusion = planes.binary_confusion(label, prediction >= self._threshold)
        histogram = planes.probability_histogram(label, prediction)
        self.confusion += confusion
        self.histogram += histogram
        own = _mean(planes.dice(confusion))
        if self._saliency:
            curves = np.stack(planes.image_curves(histogram))
            there = ~np.isnan(curves[0, :, 0])
            self.curves += np.nan_to_num(curves)
            self.images += there
            total, pixels = planes.absolute_error(label, prediction).T
            self.errors += np.stack([total / np.maximum(pixels, 1), pixels > 0], axis=-1)
            own = _mean(_largest(planes.f_measure(*curves)))
        self._ranking[index] = own

    def merge(self, total: int) -> None:
        """Adds up the counts of all processes, and gathers the images' own scores."""
        for name in ("confusion", "histogram", "curves", "images", "errors"):
            setattr(self, name, sum_over_processes(getattr(self, name)))
        self._ranking = gather_by_index(self._ranking, total)

    def scores(self) -> dict[str, Any]:
        """Returns the scores by name, at the set threshold and at the best; None: undefined."""
        best = planes.best_threshold(self.histogram)
        at_best = self._at(best)
        found = _by_class(self.confusion, self._names)
        occurring = self.confusion.sum((1, 2)) > self.confusion[:, 0, 0]
        scores = {
            "threshold": self._threshold,
            **{f"mean_{name}": _of(values.values()) for name, values in found.items()},
            "classes": len(self._names),
            "classes_in_mean_dice": int(occurring.sum()),
            **found,
            "best_threshold": _number(best),
            "mean_dice_at_best_threshold": _number(_mean(planes.dice(at_best))),
            "at_best_threshold": _by_class(at_best, self._names),
        }
        return {**scores, **self._saliency_scores()} if self._saliency else scores

    def _at(self, threshold: float) -> np.ndarray:
        """Returns the matrices k 2 2 at a threshold of the histogram; zeros for NaN."""
        if np.isnan(threshold):
            return np.zeros_like(self.confusion)
        place = int(round(threshold * planes.BINS))
        return planes.confusion_by_threshold(self.histogram)[:, place]

    @property
    def f_curve(self) -> np.ndarray:
        """k n, the F-measure of mean precision and recall over images; NaN without images."""
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = self.curves / self.images[:, None]
        return planes.f_measure(precision, recall)

    def _saliency_scores(self) -> dict[str, Any]:
        with np.errstate(invalid="ignore"):
            errors = self.errors[:, 0] / self.errors[:, 1]
        return {
            MAX_F: _number(_mean(_largest(self.f_curve))),
            MEAN_ERROR: _number(_mean(errors)),
        }

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of the scores, which do not depend on what was counted."""
        return tuple(self.scores())

    def ranking(self) -> Mapping[int, float]:
        """Returns {index: mean Dice of the image}; of a saliency metric its largest F."""
        return self._ranking

    def remark(self, name: str, *evaluations: Mapping[str, Any]) -> str:
        """Returns " over 2 of 3 classes" where a mean leaves some out."""
        if name not in ("mean_dice", "mean_iou"):
            return ""
        counts = sorted({n for e in evaluations if (n := e.get("classes_in_mean_dice"))})
        classes = next((n for e in evaluations if (n := e.get("classes"))), None)
        if not counts or counts == [classes]:
            return ""
        counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f" over {counted} of {classes} classes"

    def line(self, scores: Mapping[str, Any]) -> str:
        """Returns the logged scores in one line, and the best threshold's."""
        names = [*self.logged, "mean_dice_at_best_threshold"]
        shown = (
            f"{name} {scores[name]:.4f}{self.remark(name, scores)}"
            for name in names
            if scores.get(name) is not None
        )
        best = scores.get("best_threshold")
        return "  ".join(shown) + ("" if best is None else f" ({best:.3f})")


def _by_class(confusion: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {
        score: dict(zip(names, map(_number, function(confusion)), strict=True))
        for score, function in BY_CLASS.items()
    }


def _of(values: Any) -> float | None:
    """Returns the mean of those that are defined."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _mean(values: np.ndarray) -> float:
    return float(planes.mean_over_classes(values))


def _largest(curves: np.ndarray) -> np.ndarray:
    """Returns the largest value of each row, NaN of a row of NaN."""
    return np.where(np.isnan(curves).all(-1), np.nan, np.nan_to_num(curves, nan=0.0).max(-1))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
