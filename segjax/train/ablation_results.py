"""What an ablation leaves behind, read from its runs: `comparison.json`, `comparison.html`."""

import contextlib
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from segjax.atomic import write_text
from segjax.parallel.cluster import is_main
from segjax.report.comparison import ComparedImage, Values, Variant, write_comparison
from segjax.report.legend import LegendItem
from segjax.report.score import Score
from segjax.scores.counting import columns
from segjax.tasks.task import Metric
from segjax.train.failures import failure_of
from segjax.train.log import read_metrics
from segjax.train.predictions import PREDICTIONS, has_predictions, prediction_of, shown_images
from segjax.train.run import Run
from segjax.train.variants import COMPARISON, TABLE, differing_fields
from segjax.train.workdir import read_evaluation

LONGEST_SIDE = 320
"""Of the pictures, in pixels."""


CHEAP = 0.05
"""The share of its time that an ablation may spend on pages of what is finished so far."""


class Comparison:
    """The page of an ablation, which several processes may bring up to date."""

    def __init__(self, runs: Sequence[Run]):
        self._runs, self._root = runs, runs[0].workdir.parents[1]
        self._cost, self._at = 0.0, time.monotonic()

    def update_if_cheap(self) -> None:
        """Writes the page, unless the last writing took long for the time that passed since."""
        if self._cost <= CHEAP * (time.monotonic() - self._at):
            self.update()

    def update(self) -> str:
        """Writes the page from what is finished; returns a line that names it and what is not.

        Another process may finish a run while the page is made, and write its own page before
        this one. So a page that is out of date once it is written is made again.
        """
        while is_main():
            began, seen = time.monotonic(), _standing(self._runs)
            write_ablation_results(self._root, self._runs)
            self._at = time.monotonic()
            self._cost = self._at - began
            if seen == _standing(self._runs):
                break
        missing = [run for run in self._runs if not has_predictions(run.workdir)]
        left = f" ({len(missing)} of {len(self._runs)} runs are missing)" if missing else ""
        return f"comparison: {self._root / COMPARISON}{left}"


def _standing(runs: Sequence[Run]) -> list[tuple[float | None, str | None]]:
    """Returns what would change if one of the runs was finished, or failed."""

    def finished(workdir: pathlib.Path) -> float | None:
        with contextlib.suppress(OSError):
            return (workdir / PREDICTIONS).stat().st_mtime_ns
        return None

    return [(finished(run.workdir), failure_of(run.workdir)) for run in runs]


def write_ablation_results(root: pathlib.Path, runs: Sequence[Run]) -> dict[str, Any]:
    """Writes the table and the page of all runs into `root`; returns the table.

    Runs without scores are counted as failed or missing and left out of the means. Folders of
    other variants, which an earlier grid or list had, are named and not compared.
    """
    groups = by_variant(runs)
    fields = differing_fields([group[0].experiment for group in groups])
    names = list(_columns(runs))
    read = [_read(group, told, names) for group, told in zip(groups, fields, strict=True)]
    table = {"variants": [entry for entry, _ in read]}
    write_text(root / TABLE, json.dumps(table, indent=2) + "\n")
    write_comparison(
        root / COMPARISON,
        title=root.name,
        columns=_columns(runs),
        variants=[variant for _, variant in read],
        images=_images([run for run in runs if has_predictions(run.workdir)]),
        others=_other_variants(root, runs),
    )
    return table


def _other_variants(root: pathlib.Path, runs: Sequence[Run]) -> list[str]:
    """Returns the names of variants with finished runs in the folder that are not compared."""
    found = {path.parents[1].name for path in root.glob(f"*/seed*/{PREDICTIONS}")}
    return sorted(found - {run.experiment.name for run in runs})


def _columns(runs: Sequence[Run]) -> dict[str, Score]:
    """Returns the logged scores of the task, then those that any run's evaluation adds."""
    metric = _metric(runs[0])
    found = {name: metric.shown[name] for name in metric.logged}
    for run in runs:
        found |= columns(run.experiment.evaluation.extra_metrics)
    return found


def _metric(run: Run) -> Metric:
    return run.experiment.task.metric(run.experiment.eval_data)


def by_variant(runs: Sequence[Run]) -> list[list[Run]]:
    """Returns the runs of each variant, in their order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.experiment.name, []).append(run)
    return list(groups.values())


def _read(
    group: Sequence[Run], fields: dict[str, str], names: Sequence[str]
) -> tuple[dict[str, Any], Variant]:
    """Returns a variant's entry in the table, and what the page shows: scores by `names`."""
    done = [run for run in group if has_predictions(run.workdir)]
    rest = [run for run in group if not has_predictions(run.workdir)]
    evaluations = [read_evaluation(run.workdir) for run in done]
    metric = _metric(group[0])
    variant = Variant(
        name=group[0].experiment.name,
        fields=fields,
        seeds=tuple(run.experiment.seed for run in done),
        failed={
            run.experiment.seed: reason
            for run in rest
            if (reason := failure_of(run.workdir)) is not None
        },
        missing=tuple(run.experiment.seed for run in rest if failure_of(run.workdir) is None),
        scores={
            name: Values(
                tuple(scores.get(name) for scores in evaluations),
                remark=metric.remark(name, *evaluations),
            )
            for name in names
        },
        histories=tuple(read_metrics(run.workdir) for run in done),
    )
    entry: dict[str, Any] = {
        "name": variant.name,
        "seeds": [*variant.seeds],
        "steps": [scores["step"] for scores in evaluations],
        "failed": [*variant.failed],
        "missing": [*variant.missing],
    }
    for name, values in variant.scores.items():
        entry[name] = {
            "values": [*values.values],
            "mean": values.mean,
            "std": values.std,
            "remark": values.remark.strip(),
        }
    return {**entry, "fields": fields}, variant


def _images(runs: Sequence[Run]) -> list[ComparedImage]:
    """Returns each shown image with its truth and one prediction of each variant."""
    firsts = [group[0] for group in by_variant(runs)]
    return (
        [_image(index, firsts) for index in shown_images(firsts[0].experiment)]
        if firsts
        else []
    )


def _image(index: int, runs: Sequence[Run]) -> ComparedImage:
    data = runs[0].experiment.eval_data
    example = data[index]
    pictures: list[tuple[str, np.ndarray]] = []
    classes: list[LegendItem] = []
    for run in runs:
        task = run.experiment.task
        prediction = prediction_of(run.workdir, index, task)
        panels = task.panels(example, prediction, data, longest=LONGEST_SIDE)
        pictures = pictures or [*panels.given]
        pictures += [(run.experiment.name, picture.rgb) for picture in panels.predicted]
        classes += panels.classes
    return ComparedImage(example["name"], pictures, classes)
