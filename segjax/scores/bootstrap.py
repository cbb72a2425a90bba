"""Confidence intervals by the bootstrap over images (Efron, 1979)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from segjax import threshold_metrics
from segjax.errors import InputError
from segjax.report.extra_scores import interval_table
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.scores.overlap import class_confusion

SCORES = {"mean_iou": threshold_metrics.iou, "mean_dice": threshold_metrics.dice}
"""The scores that get an interval: means over classes of these functions."""


@dataclasses.dataclass(frozen=True)
class BootstrapIntervals(ExtraMetric):
    """Confidence intervals of mean IoU and mean Dice, by the percentile bootstrap over images.

    Each resample draws as many images as there are, with replacement, adds up their pixels by
    class, and computes the scores of the sum. The interval holds the middle `confidence` of
    all resamples. It shows how much the score depends on which images were chosen. It does not
    show the spread over training seeds. Neighbouring frames of a video are not independent, so
    for them the interval is too narrow.

    Attributes:
      resamples: how many are drawn.
      confidence: the share of resamples inside the interval.
      seed: of the draws.

    Raises:
      InputError: `resamples` is below 100, or `confidence` does not lie between 0 and 1.
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    further = ("bootstrap_intervals",)
    per_image = True

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise InputError(
                f"BootstrapIntervals(resamples={self.resamples}) must be at least 100; 1000 is "
                "usual."
            )
        if not 0 < self.confidence < 1:
            raise InputError(
                f"BootstrapIntervals(confidence={self.confidence}) must lie between 0 and 1, "
                "as 0.95 does."
            )

    def count(self, image: ScoredImage) -> np.ndarray:
        """Counts the pixels of each class."""
        return class_confusion(image)

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns {score: [low, high]} and how they were computed."""
        sums = resampled(counts, self.resamples, seed=self.seed)
        tail = 50 * (1 - self.confidence)
        intervals: dict[str, Any] = {}
        for name, function in SCORES.items():
            values = np.array([threshold_metrics.mean_over_classes(function(s)) for s in sums])
            values = values[~np.isnan(values)]
            ends = np.percentile(values, [tail, 100 - tail]) if values.size else [None, None]
            intervals[name] = [None if end is None else float(end) for end in ends]
        about = {"confidence": self.confidence, "resamples": self.resamples}
        return {"bootstrap_intervals": {**intervals, **about}}

    def figures(self, scores: Mapping[str, Any]) -> str:
        """Returns a table of the intervals."""
        return interval_table(scores, scores["bootstrap_intervals"], tuple(SCORES))


def resampled(
    counts: Int64[np.ndarray, "n *a"], resamples: int, *, seed: int
) -> Float64[np.ndarray, "r *a"] | Int64[np.ndarray, "r *a"]:
    """Returns the sums of the counts of n images that are drawn with replacement.

    The sums are exact integers, so they depend on the seed alone.
    """
    n, rng = len(counts), np.random.default_rng(seed)
    flat = counts.reshape(n, -1).astype(np.float64)  # Exact below 2**53, and far faster.
    sums = [
        np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64) @ flat
        for _ in range(resamples)
    ]
    return np.rint(sums).astype(np.int64).reshape(resamples, *counts.shape[1:])
