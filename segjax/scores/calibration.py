"""Expected calibration error: how far confidence is from accuracy."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from segjax import threshold_metrics
from segjax.errors import InputError
from segjax.report.extra_scores import reliability_diagram
from segjax.report.score import Score
from segjax.scores.extra_metric import ExtraMetric, ScoredImage

STEPS = 2**28
"""Confidences are added as whole multiples of 1 / STEPS, so their sum depends on no order."""


@dataclasses.dataclass(frozen=True)
class CalibrationError(ExtraMetric):
    """Expected calibration error (Guo et al., 2017, arXiv:1706.04599), of all counted pixels.

    Pixels are sorted by confidence into bins of equal width. The error is the mean of
    |accuracy − confidence| over bins, weighted by their pixels. For classes that exclude one
    another, confidence is the probability of the predicted class, accuracy the share of
    pixels that it is right for. For classes that may overlap, confidence is the probability of
    the class and accuracy the share of its true pixels, whatever the threshold; the error is
    the mean over classes.

    A pixel whose confidence is not finite counts as wrong, with confidence 0.

    Wrappers such as the CRF or `MultiScale` change probabilities: the error is of those that
    they return. It needs probabilities, so evaluation takes more time and memory. A compiled
    network may compute other last bits for another batch size; the error then differs by as
    little.

    Attributes:
      bins: of equal width; bin i holds i / bins ≤ confidence < (i + 1) / bins.

    Raises:
      InputError: there is not even one bin.
    """

    bins: int = 15

    shown = {
        "expected_calibration_error": Score(
            "Expected calibration error", is_share=False, higher_is_better=False
        )
    }
    further = ("calibration",)
    definition = (
        "The mean of |accuracy − confidence| over bins of confidence, weighted by their "
        "pixels (Guo et al., 2017)."
    )

    def __post_init__(self) -> None:
        if self.bins < 1:
            raise InputError(
                f"CalibrationError(bins={self.bins}) must be at least 1; 15 is usual."
            )

    @property
    def needs_probabilities(self) -> bool:
        """Always."""
        return True

    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns pixels, right pixels and the summed confidence of each bin, m × bins × 3.

        m is 1, or the number of classes if they may overlap.
        """
        p = image.probabilities
        assert p is not None
        if image.is_overlapping:
            return np.stack([self._plane(image, k) for k in range(p.shape[-1])])
        here = image.counted
        right = image.prediction[here] == image.label[here]
        return confidence_bins(p.max(-1)[here], right, bins=self.bins)[None]

    def _plane(self, image: ScoredImage, k: int) -> np.ndarray:
        assert image.probabilities is not None
        here = image.counted[..., k]
        return confidence_bins(
            image.probabilities[..., k][here], image.label[..., k][here] == 1, bins=self.bins
        )

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the error, and the reliability of each bin over all classes."""
        error = threshold_metrics.mean_over_classes(calibration_error(counts))
        pixels, right, confidence = counts.sum(0).T
        with np.errstate(invalid="ignore"):
            reliability = {
                "confidence": (confidence / STEPS / pixels).tolist(),
                "accuracy": (right / pixels).tolist(),
                "pixels": pixels.tolist(),
            }
        return {"expected_calibration_error": float(error), "calibration": reliability}

    def figures(self, scores: Mapping[str, Any]) -> str:
        """Returns the reliability diagram."""
        return reliability_diagram(scores["calibration"])


def confidence_bins(
    confidence: Float[np.ndarray, " n"], right: np.ndarray, *, bins: int
) -> Int64[np.ndarray, "bins 3"]:
    """Returns pixels, right pixels and Σ confidence · `STEPS` of each bin of confidence.

    A pixel whose confidence is not finite, as of a network that diverged, has confidence 0 and
    is wrong.
    """
    finite = np.isfinite(confidence)
    exact, right = np.where(finite, confidence, 0).astype(np.float64), right & finite
    place = np.clip((exact * bins).astype(np.int64), 0, bins - 1)
    whole = np.rint(exact * STEPS).astype(np.int64)
    counts = np.zeros((bins, 3), np.int64)
    counts[:, 0] = np.bincount(place, minlength=bins)
    counts[:, 1] = np.bincount(place[right], minlength=bins)
    # np.bincount adds weights as floats, which are exact below 2**53 only.
    for index in np.flatnonzero(counts[:, 0]):
        counts[index, 2] = whole[place == index].sum()
    return counts


def calibration_error(counts: Int64[np.ndarray, "*m bins 3"]) -> Float[np.ndarray, "*m"]:
    """Returns Σ |right − confidence| / Σ pixels over bins; NaN where there is no pixel."""
    pixels, right, confidence = np.moveaxis(counts, -1, 0)
    gap = np.abs(right - confidence / STEPS).sum(-1)
    total = pixels.sum(-1)
    return np.where(total > 0, gap / np.maximum(total, 1), np.nan)
