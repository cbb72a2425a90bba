"""Which of the objects that a network found are shown: by their score, and how many."""

import dataclasses

import numpy as np

from segjax.objects import Objects

SCORE_ABOVE = 0.5
"""Detectors give up to a hundred objects an image, most of them unlikely; people see these."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """The objects that are shown.

    Attributes:
      score_above: the lowest score.
      most: the largest number of objects of an image, the best ones; None: all.
    """

    score_above: float = SCORE_ABOVE
    most: int | None = None

    def of(self, objects: Objects) -> Objects:
        """Returns the objects that are shown, by falling score."""
        best = ranked(objects)
        return best.chosen(slice(self.count(best.scores)))

    def count(self, scores: np.ndarray) -> int:
        """Returns how many of objects with these falling scores are shown."""
        count = int((np.asarray(scores) >= self.score_above).sum())
        return count if self.most is None else min(count, self.most)


ALL = Selection(score_above=0.0)
"""All that the task returns."""


def ranked(objects: Objects) -> Objects:
    """Returns the objects by falling score; of equal scores the first comes first."""
    return objects.chosen(np.argsort(-objects.scores, kind="stable"))
