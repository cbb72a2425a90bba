"""Extra metrics of masks alone, without a run: for `segjax.score`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from segjax.errors import InputError
from segjax.report.score import Score
from segjax.scores.counting import ExtraCounts
from segjax.scores.extra_metric import ExtraMetric, ScoredImage


class MaskExtras:
    """Counts of extra metrics over pairs of masks of class ids."""

    def __init__(self, metrics: Sequence[ExtraMetric], class_names: Sequence[str]):
        """Builds counts of nothing.

        Raises:
          InputError: a metric needs probabilities, or does not fit the classes.
        """
        for metric in metrics:
            if metric.needs_probabilities:
                raise InputError(
                    f"{type(metric).__name__} needs probabilities, which masks do not have; "
                    "ask for it in Evaluation.metrics of a run."
                )
            metric.check(class_names, overlapping=False)
        self._counts, self._names = ExtraCounts(metrics), tuple(class_names)
        self._images = 0

    @property
    def columns(self) -> dict[str, Score]:
        """{name: how people read it} of all single numbers."""
        return self._counts.columns

    def add(
        self, truth: Int64[np.ndarray, "h w"], prediction: Int64[np.ndarray, "h w"]
    ) -> None:
        """Counts one image; ids below 0 are ignored in the truth, errors in the prediction."""
        image = ScoredImage(truth, prediction, truth >= 0, self._names)
        self._counts.add(self._images, image)
        self._images += 1

    def scores(self) -> dict[str, Any]:
        """Returns the scores by name."""
        self._counts.merge(self._images)
        return self._counts.scores(self._names)
