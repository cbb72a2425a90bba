"""The foreground-restricted Rand error of the ISBI 2012 challenge."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer

from segjax import threshold_metrics
from segjax.errors import InputError
from segjax.report.score import Score
from segjax.scores.extra_metric import ExtraMetric, ScoredImage
from segjax.scores.segments import regions, segment_class, segment_plane


@dataclasses.dataclass(frozen=True)
class RandError(ExtraMetric):
    """1 − the maximal foreground-restricted Rand F-score (Arganda-Carreras et al., 2015).

    It compares segments, the connected regions of one class, of which every other class is the
    border. Pixels connect by their sides. Let p_ij be the share of pixels of true segment j
    and predicted segment i, s_i and t_j its sums over j and over i. Then

        split  V = Σ p_ij² / Σ t_j²    low where true segments are split
        merge  V = Σ p_ij² / Σ s_i²    low where they are merged
        F-score  = 2 Σ p_ij² / (Σ s_i² + Σ t_j²)

    Foreground-restricted: only pixels inside true segments count. Of these, pixels that are
    predicted as border each count as a segment of one pixel. Borders are not thinned first, as
    the challenge's later V^Rand does. Each score is an image's own, then the mean over images.

    With `thresholds`, a pixel belongs to a segment from that probability on, and the scores are
    those at the threshold with the largest mean F-score: "maximal". As that threshold is chosen
    on the scored images, the result is a bound. Without, the predicted mask is scored.

    Attributes:
      segments: name of the class; None: the second of two classes, or the only plane.
      thresholds: probabilities such as (0.1, 0.2, …, 0.9); (): the predicted mask.

    Raises:
      InputError: a threshold does not lie between 0 and 1.
    """

    segments: str | None = None
    thresholds: tuple[float, ...] = ()

    shown = {
        "rand_error": Score("Rand error", is_share=False, higher_is_better=False),
        "rand_f_score": Score("Rand F-score"),
        "rand_split": Score("Rand split score"),
        "rand_merge": Score("Rand merge score"),
    }
    further = ("rand_threshold",)
    definition = (
        "1 − the foreground-restricted Rand F-score of connected regions, a mean over images "
        "(ISBI 2012; Arganda-Carreras et al., 2015)."
    )
    per_image = True

    def __post_init__(self) -> None:
        if wrong := [t for t in self.thresholds if not 0 < t < 1]:
            raise InputError(
                f"RandError(thresholds=…): {wrong[0]} does not lie between 0 and 1."
            )

    @property
    def needs_probabilities(self) -> bool:
        """Whether there are thresholds."""
        return bool(self.thresholds)

    def check(self, class_names: Sequence[str], *, overlapping: bool) -> None:
        """Raises InputError unless the class is known."""
        segment_class(self.segments, class_names, overlapping=overlapping, who="RandError")

    def count(self, image: ScoredImage) -> np.ndarray:
        """Returns for each threshold the three sums of squares of `rand_sums`."""
        plane = segment_plane(self.segments, image, who="RandError")
        truth = regions(plane.truth)
        if not self.thresholds:
            return rand_sums(truth, regions(plane.prediction))[None]
        assert image.probabilities is not None
        p = image.probabilities[..., plane.index]
        return np.stack([rand_sums(truth, regions(p >= t)) for t in self.thresholds])

    def scores(self, counts: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the error, and F-score, split and merge score at the best threshold."""
        both, true, said = np.moveaxis(counts.astype(np.float64), -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            images = np.stack([2 * both / (true + said), both / true, both / said])
        # An image without a true segment has no score.
        images = np.where(true > 0, np.nan_to_num(images), np.nan)
        f_score, split, merge = threshold_metrics.mean_over_classes(np.swapaxes(images, 0, 1))
        best = 0 if np.isnan(f_score).all() else int(np.nanargmax(f_score))
        found = {
            "rand_error": 1 - float(f_score[best]),
            "rand_f_score": float(f_score[best]),
            "rand_split": float(split[best]),
            "rand_merge": float(merge[best]),
        }
        return found | ({"rand_threshold": self.thresholds[best]} if self.thresholds else {})


def rand_sums(
    truth: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"]
) -> Int64[np.ndarray, " 3"]:
    """Returns Σ p_ij², Σ t_j² and Σ s_i² in pixels², of segments 1, 2, …; 0 is border.

    Only pixels with a true segment count; each that is predicted as border is a segment.

    >>> rand_sums(np.array([[1, 1, 2, 0]]), np.array([[1, 1, 1, 1]])).tolist()
    [5, 5, 9]
    """
    inside = truth > 0
    true, said = truth[inside].astype(np.int64), prediction[inside].astype(np.int64)
    _, pairs = np.unique(true * (said.max(initial=0) + 1) + said, return_counts=True)
    single = int((said == 0).sum())
    border = np.bincount(true[said == 0]).astype(np.int64)
    squares = lambda counts: int((counts.astype(np.int64) ** 2).sum())
    both = squares(pairs) - squares(border) + single
    return np.array(
        [both, squares(np.bincount(true)), squares(np.bincount(said[said > 0])) + single],
        np.int64,
    )
