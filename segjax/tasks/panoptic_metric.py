"""The metric of panoptic tasks: panoptic quality over the whole set."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer

from segjax.contracts import IGNORE, Example, WithObjects
from segjax.objects import PanopticMap
from segjax.parallel.sums import gather_by_index, sum_over_processes
from segjax.report.score import Score
from segjax.scores.panoptic_quality import mean, panoptic_counts, panoptic_quality, qualities
from segjax.tasks.task import Metric


class PanopticMetric(Metric):
    """PQ, SQ and RQ by class, of things and of stuff; images are ranked by the PQ of each.

    Attributes:
      counts: k × 4, see `panoptic_quality.Counts`.
      pixels: k × 3 of the class map: right ones, true ones and predicted ones, int64.
    """

    shown = {
        "pq": Score("PQ", is_logged=True),
        "sq": Score("SQ", is_logged=True),
        "rq": Score("RQ", is_logged=True),
        "pq_things": Score("PQ of things"),
        "pq_stuff": Score("PQ of stuff"),
        "mean_iou": Score("Mean IoU"),
    }
    convention = (
        "Panoptic quality over the whole set, as COCO's panopticapi counts it. Means are over "
        "the classes that have a true or a predicted segment. Mean IoU is of the classes of "
        "pixels, whichever segment they belong to."
    )

    def __init__(self, data: WithObjects):
        self._class_names, self._things = tuple(data.class_names), tuple(data.things)
        k = len(self._class_names)
        self.counts, self.pixels = np.zeros((k, 4), np.int64), np.zeros((k, 3), np.int64)
        self._ranking: dict[int, float] = {}

    def __repr__(self) -> str:
        k, segments = len(self._class_names), int(self.counts[:, 1:].sum())
        return f"PanopticMetric({k} classes, {segments} segments counted)"

    def add(self, index: int, example: Example, prediction: PanopticMap) -> None:
        """Counts the segments of one image."""
        truth = PanopticMap.of_example(example, self._things)
        counts = panoptic_counts(truth, prediction, len(self._class_names))
        self.counts += counts
        self.pixels += class_pixels(example["label"], prediction, len(self._class_names))
        own = mean(qualities(counts)[:, 0])
        self._ranking[index] = np.nan if own is None else own

    def merge(self, total: int) -> None:
        """Adds up the counts of all processes, and gathers the images' own scores."""
        self.counts = sum_over_processes(self.counts)
        self.pixels = sum_over_processes(self.pixels)
        self._ranking = gather_by_index(self._ranking, total)

    def scores(self) -> dict[str, Any]:
        """Returns the scores by name; None where no class has a segment or a pixel."""
        found = panoptic_quality(self.counts, self._class_names, self._things)
        right, true, predicted = self.pixels.T
        with np.errstate(invalid="ignore"):
            iou = right / (true + predicted - right)
        pairs = zip(self._class_names, iou.tolist(), strict=True)
        return {
            **found,
            "classes": len(self._class_names),
            "mean_iou": mean(iou),
            "iou": {name: None if np.isnan(value) else value for name, value in pairs},
        }

    @property
    def entries(self) -> tuple[str, ...]:
        """The names of the scores, which do not depend on what was counted."""
        return tuple(self.scores())

    def ranking(self) -> Mapping[int, float]:
        """Returns {index: PQ of that image alone}."""
        return self._ranking

    def remark(self, name: str, *evaluations: Mapping[str, Any]) -> str:
        """Returns over how many classes PQ is, such as " over 98 of 133 classes", or ""."""
        if name != "pq":
            return ""
        counts = sorted({n for e in evaluations if (n := e.get("classes_in_pq")) is not None})
        classes = next((n for e in evaluations if (n := e.get("classes"))), None)
        if not counts or counts == [classes]:
            return ""
        counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return f" over {counted} of {classes} classes"


def class_pixels(
    label: Integer[np.ndarray, "h w"], prediction: PanopticMap, num_classes: int
) -> Int64[np.ndarray, "k 3"]:
    """Returns by class the pixels that are right, true and predicted, ignored ones left out."""
    counted = label != IGNORE
    true, said = label[counted].astype(np.int64), prediction.class_map()[counted]
    count = lambda ids: np.bincount(ids, minlength=num_classes)
    found = np.stack([count(true[true == said]), count(true), count(said[said >= 0])], axis=-1)
    return found.astype(np.int64)
