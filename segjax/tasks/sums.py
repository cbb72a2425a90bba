"""A metric of sums over pixels: what most scores are, whatever the task."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from segjax.contracts import Example
from segjax.parallel.sums import gather_by_index, sum_where_there_are
from segjax.report.score import Score
from segjax.tasks.task import Metric

Sums = Shaped[np.ndarray, "..."]
"""int64 or float64, of one image or of many: only their sum is ever needed."""


class SumMetric(Metric):
    """Scores that follow from sums which every image adds to.

    Attributes:
      shown: {name: how people read it}, the most important first.
      convention: of what these are scores, for the report.
      sums: what has been added so far; None before the first image.
    """

    def __init__(
        self,
        shown: Mapping[str, Score],
        *,
        count: Callable[[Example, Any], Sums],
        scores: Callable[[Sums], dict[str, Any]],
        convention: str = "",
    ):
        """Builds a metric that has counted nothing.

        Args:
          shown: names in the result of `scores` that are shown.
          count: (example, its prediction) → what it adds, always of one shape and dtype.
          scores: sums → entries of `evaluation.json`, NaN or None where not defined. Of one
            image's sums it gives the score that the image is ranked by.
          convention: of what these are scores.
        """
        self.shown, self.convention = shown, convention
        self._count, self._scores = count, scores
        self.sums: np.ndarray | None = None
        self._ranking: dict[int, float] = {}

    def add(self, index: int, example: Example, prediction: Any) -> None:
        """Counts one image."""
        counted = np.asarray(self._count(example, prediction))
        # Wide enough for whatever is added, and of one dtype on every process.
        counted = counted.astype(np.float64 if counted.dtype.kind == "f" else np.int64)
        self.sums = counted if self.sums is None else self.sums + counted
        own = self._scores(counted).get(self.primary)
        self._ranking[index] = math.nan if own is None else float(own)

    def merge(self, total: int) -> None:
        """Adds up the sums of all processes, and gathers the images' own scores."""
        self.sums = sum_where_there_are(self.sums)
        self._ranking = gather_by_index(self._ranking, total)

    def scores(self) -> dict[str, Any]:
        """Returns the entries of `evaluation.json`."""
        assert self.sums is not None  # A dataset without examples is refused before.
        return self._scores(self.sums)

    def ranking(self) -> Mapping[int, float]:
        """Returns {index: primary score of that image alone}."""
        return self._ranking
