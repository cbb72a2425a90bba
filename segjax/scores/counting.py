"""Counts of the extra metrics over an evaluation, merged over processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segjax.errors import InputError
from segjax.parallel.sums import sum_where_there_are
from segjax.report.score import Score
from segjax.scores.extra_metric import ExtraMetric, ScoredImage


class ExtraCounts:
    """What the metrics of one evaluation counted, and their scores.

    Neither depends on the order of the images or on how processes share them.
    """

    def __init__(self, metrics: Sequence[ExtraMetric] = ()):
        """Builds counts of nothing.

        Raises:
          InputError: two metrics have an entry of one name.
        """
        self.metrics = tuple(metrics)
        check_names(self.metrics)
        self._counts: list[dict[int, np.ndarray]] = [{} for _ in self.metrics]
        self._sums: list[np.ndarray | None] = [None for _ in self.metrics]

    def __bool__(self) -> bool:
        return bool(self.metrics)

    @property
    def need_probabilities(self) -> bool:
        """Whether one of the metrics reads probabilities."""
        return any(metric.needs_probabilities for metric in self.metrics)

    @property
    def columns(self) -> dict[str, Score]:
        """{name: how people read it} of all single numbers."""
        return columns(self.metrics)

    def add(self, index: int, image: ScoredImage) -> None:
        """Counts one image.

        Raises:
          InputError: a metric's counts are floats to be summed, or change their shape.
        """
        for i, metric in enumerate(self.metrics):
            counted = np.asarray(metric.count(image))
            if metric.per_image:
                self._counts[i][index] = counted
                continue
            if counted.dtype.kind not in "iub":
                raise InputError(
                    f"evaluation.metrics: {type(metric).__name__}.count returned "
                    f"{counted.dtype}, and a sum of floats depends on its order: count "
                    "integers, or set per_image = True."
                )
            counted = counted.astype(np.int64)
            before = self._sums[i]
            _check_shape(metric, counted, before)
            self._sums[i] = counted if before is None else before + counted

    def merge(self, total: int) -> None:
        """Puts together what all processes counted of `total` images."""
        for i, metric in enumerate(self.metrics):
            mine = self._rows(metric, self._counts[i], total) if metric.per_image else None
            self._sums[i] = sum_where_there_are(mine if metric.per_image else self._sums[i])

    def _rows(
        self, metric: ExtraMetric, counts: Mapping[int, np.ndarray], total: int
    ) -> np.ndarray | None:
        """Returns the counts of each image, n × …, with zeros for those of other processes."""
        if not counts:
            return None
        first = next(iter(counts.values()))
        rows = np.zeros((total, *first.shape), np.result_type(*counts.values(), np.int64))
        for index, counted in counts.items():
            _check_shape(metric, counted, first)
            rows[index] = counted
        return rows

    def scores(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Returns the entries of `evaluation.json`.

        Raises:
          InputError: a metric lacks a score that it shows, or two have the same entry.
        """
        found: dict[str, Any] = {}
        for metric, counts in zip(self.metrics, self._sums, strict=True):
            assert counts is not None  # A dataset without examples is refused before.
            own, who = metric.scores(counts, class_names), type(metric).__name__
            for name in (*metric.shown, *metric.by_class):
                if name not in own:
                    raise InputError(
                        f"evaluation.metrics: {who} shows {name!r}, which its scores() lack; "
                        f"they have {', '.join(own) or 'none'}."
                    )
            if both := [name for name in own if name in found]:
                raise InputError(_twice(who, "another metric", both[0]))
            found |= own
        return found


def check_names(metrics: Sequence[ExtraMetric]) -> None:
    """Raises InputError where two metrics have an entry of one name."""
    owners: dict[str, str] = {}
    for metric in metrics:
        who = type(metric).__name__
        for name in metric.entries:
            if name in owners:
                raise InputError(_twice(who, owners[name], name))
            owners[name] = who


def _twice(one: str, other: str, name: str) -> str:
    return f"evaluation.metrics: {one} and {other} both give {name!r}; leave one out."


def _check_shape(metric: ExtraMetric, counted: np.ndarray, other: np.ndarray | None) -> None:
    if other is not None and counted.shape != other.shape:
        raise InputError(
            f"evaluation.metrics: {type(metric).__name__}.count returned an array of shape "
            f"{counted.shape} and one of {other.shape}: return one shape for all images."
        )


def columns(metrics: Sequence[ExtraMetric]) -> dict[str, Score]:
    """Returns {name: how people read it} of the single numbers of some metrics."""
    return {name: score for metric in metrics for name, score in metric.shown.items()}
